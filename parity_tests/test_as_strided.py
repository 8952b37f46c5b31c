"""as_strided: any window onto a tensor's memory, from any view of it, with torch's values, gradients and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad

NUMBERS = np.random.default_rng(0).standard_normal(24).round(2)
VIEWS = {
    "all": lambda x: x,
    "t": lambda x: x.t(),
    "rows": lambda x: x[1:],
    "columns": lambda x: x[:, 1::2],
    "row": lambda x: x[2],
    "flat": lambda x: x.reshape(-1),
    "diagonal": lambda x: x.diagonal(),
    "windows": lambda x: x.unfold(1, 3, 2),
    "expanded": lambda x: x[0].expand(2, 6),
    "strided": lambda x: x.as_strided((3, 4), (7, 1), 2),
    "overlapping": lambda x: x.as_strided((3, 4), (2, 1), 2),
}


@st.composite
def windows(draw: Any) -> tuple:
    dims = draw(st.integers(0, 3))
    sizes, strides = (draw(st.lists(st.integers(low, high), min_size=dims, max_size=dims))
                      for low, high in ((0, 4), (0, 6)))
    return sizes, strides, draw(st.none() | st.integers(0, 8))


def both(f: Any, *args: Any) -> list:
    """What f computes on either engine: arrays, or the error."""
    out = []
    for engine in minigrad, torch:
        try:
            out.append([t.detach().numpy() for t in f(engine, *args)])
        except (RuntimeError, TypeError) as error:
            out.append(error)
    return out


def same(mine: Any, theirs: Any) -> None:
    if isinstance(theirs, Exception):
        assert type(mine) is type(theirs), mine
        assert str(mine).startswith(str(theirs)), mine
        return
    assert not isinstance(mine, Exception), mine
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def derivatives(engine: Any, view: str, window: tuple) -> list:
    """The window, the gradient of a function of it, and the second derivative along a direction."""
    x = engine.from_numpy(NUMBERS.copy()).reshape(4, 6).requires_grad_()
    v = VIEWS[view](x).as_strided(*window)
    assert not v.numel() or v.storage_offset() == (VIEWS[view](x).storage_offset() if window[2] is None else window[2])
    weights = engine.arange(v.numel(), dtype=engine.float64).reshape(v.shape) + 1
    g, = engine.autograd.grad((v ** 3 * weights).sum() + (x ** 3).sum(), x, create_graph=True)
    h, = engine.autograd.grad((g * g).sum(), x)
    return [v, g, h]


@given(st.sampled_from(sorted(VIEWS)), windows())
def test_values_and_two_derivatives(view: str, window: tuple) -> None:
    same(*both(derivatives, view, window))


def written(engine: Any, leaf_view: str, view: str, window: tuple, op: str) -> list:
    """What a write through the window leaves in the base, in another view and in the gradient."""
    x = engine.from_numpy(NUMBERS.copy()).reshape(4, 6).requires_grad_()
    base = VIEWS[leaf_view](x).clone()
    other = base[..., 1:]
    v = (VIEWS[view](base) if base.shape == x.shape else base).as_strided(*window)
    if op == "base":
        base.mul_(base.detach() + 2)
    elif op == "values":
        v.copy_(v.detach().sin() * x.sum())
    else:
        v.mul_(3.0)
    total = (base ** 2).sum() + (other ** 3).sum() + (v ** 2).sum()
    return [base, other, v, *engine.autograd.grad(total, x)]


@given(st.sampled_from(["all", "t", "rows", "flat"]), st.sampled_from(sorted(VIEWS)), windows(),
       st.sampled_from(["base", "values", "scaled"]))
def test_writes(leaf_view: str, view: str, window: tuple, op: str) -> None:
    mine, theirs = both(written, leaf_view, view, window, op)
    if isinstance(mine, RuntimeError) and "single memory location" in str(mine):
        reached = set()
        for place in np.ndindex(*window[0]):
            offset = sum(i * step for i, step in zip(place, window[1], strict=True))
            assert op != "base"
            if offset in reached:                    # torch writes there in an order that it does not promise
                return
            reached.add(offset)
        assert isinstance(theirs, RuntimeError)
        return
    same(mine, theirs)


def test_what_is_refused() -> None:
    for engine in minigrad, torch:
        x = engine.arange(6.0).requires_grad_()
        for args in [((2, 2), (1,)), ((2,), (-1,)), ((-1,), (1,)), ((7,), (1,)), ((2,), (1,), 5), ((), (), 6),
                     ((1,), (1,), -1)]:
            with pytest.raises(RuntimeError):
                x.as_strided(*args)
        with pytest.raises(TypeError):
            x.as_strided(2, 1)
        with pytest.raises(RuntimeError, match="leaf Variable"):
            x.as_strided((2,), (1,)).mul_(2)
    # A gap is memory of another tensor, for all that the base's history says.
    gaps = minigrad.arange(8.0)[::2].detach()
    gaps.as_strided((4,), (1,))[0] = 5.0                          # no history: that is only a write to memory
    with pytest.raises(RuntimeError, match="its base does not hold"):
        gaps.as_strided((4,), (1,)).mul_(minigrad.ones(4, requires_grad=True))


def test_a_view_of_an_array_begins_with_the_array() -> None:
    for engine in minigrad, torch:
        t = engine.from_numpy(np.arange(8.0)[2:6])
        assert t.storage_offset() == 0 and t.untyped_storage().nbytes() == 32
        assert t.as_strided((2, 2), (1, 2), 0).tolist() == [[2.0, 4.0], [3.0, 5.0]]
        with pytest.raises(RuntimeError, match="out of bounds"):
            t.as_strided((5,), (1,))
        columns = engine.from_numpy(np.arange(12.0).reshape(3, 4)[:, 1:3])
        assert columns.untyped_storage().nbytes() == 80 and columns.as_strided((10,), (1,))[3] == 4
