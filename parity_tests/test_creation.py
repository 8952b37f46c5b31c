"""Tensors from data: of any mixture torch makes the same, or refuses it for the same reason."""

from __future__ import annotations

import warnings
from collections import UserDict, UserList
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import minigrad


class Indexed:
    def __index__(self) -> int:
        return 3


class Sized:
    """A sequence, as far as Python's C interface can see."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> int:
        return [1, 2][i]


# A function of the engine, as some are its tensors.
LEAVES: dict[str, Callable[[Any], Any]] = {
    "int": lambda engine: -7,
    "large int": lambda engine: 2**63,
    "huge int": lambda engine: 10**400,
    "float": lambda engine: 2.5,
    "nan": lambda engine: float("nan"),
    "two roundings": lambda engine: 1 + 2**-11 + 2**-40,
    "bool": lambda engine: True,
    "complex": lambda engine: 1j,
    "str": lambda engine: "ab",
    "no str": lambda engine: "",
    "bytes": lambda engine: b"ab",
    "bytearray": lambda engine: bytearray(b"a"),
    "memoryview": lambda engine: memoryview(b"a"),
    "None": lambda engine: None,
    "object": lambda engine: object(),
    "Decimal": lambda engine: Decimal("1.5"),
    "Fraction": lambda engine: Fraction(1, 2),
    "index": lambda engine: Indexed(),
    "sized": lambda engine: Sized(),
    "dict": lambda engine: {3: 4},
    "mapping": lambda engine: MappingProxyType({3: 4}),
    "UserDict": lambda engine: UserDict({3: 4}),
    "set": lambda engine: {5},
    "range": lambda engine: range(2),
    "UserList": lambda engine: UserList([1.5]),
    "tensor": lambda engine: engine.tensor(1.5),
    "tensor of one": lambda engine: engine.tensor([[2]]),
    "tensor of two": lambda engine: engine.tensor([1, 2]),
    "tensor with a gradient": lambda engine: engine.tensor(1.5, requires_grad=True),
    "int16": lambda engine: np.int16(3),
    "float16": lambda engine: np.float16(1.5),
    "float64": lambda engine: np.float64(1.1),
    "bool_": lambda engine: np.bool_(True),
    "str_": lambda engine: np.str_("a"),
    "date": lambda engine: np.datetime64(0, "s"),
    "array": lambda engine: np.array([1.5, 2.0]),
    "array of int8": lambda engine: np.array([1, 2], np.int8),
    "array of nothing": lambda engine: np.zeros(0, np.int16),
    "array without shape": lambda engine: np.array(4),
    "array of str": lambda engine: np.array(["a"]),
    "array of objects": lambda engine: np.array([1, None]),
}
DTYPES = [None, "float16", "float32", "float64", "bool", "uint8", "int32", "int64"]
nested = st.recursive(
    st.sampled_from(list(LEAVES)),
    lambda parts: st.lists(parts, max_size=3) | st.lists(parts, max_size=3).map(tuple),
    max_leaves=6,
)


def build(plan: Any, engine: Any) -> Any:
    return LEAVES[plan](engine) if isinstance(plan, str) else type(plan)(build(part, engine) for part in plan)


def made(engine: Any, plan: Any, dtype: str | None) -> Any:
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        try:
            t = engine.tensor(build(plan, engine), dtype=dtype and getattr(engine, dtype))
        except Exception as error:
            return type(error)
    return str(t.dtype), tuple(t.shape), np.asarray(t.numpy()).tobytes()


@given(nested, st.sampled_from(DTYPES))
@example(["int", "tensor", "array of str"], None)
@example([["int"], ["str", "int"], []], "float32")
@example([["array", "array"], [["int", "int"], "tensor of two"]], None)
@example(["huge int", "complex"], None)
@example([["complex"], []], None)
def test_of_mixtures(plan: Any, dtype: str | None) -> None:
    ours, theirs = made(minigrad, plan, dtype), made(torch, plan, dtype)
    if isinstance(theirs, tuple) and "complex" in theirs[0]:
        theirs = TypeError                                       # minigrad has no complex numbers
    elif isinstance(theirs, type) and "complex" in str(plan) and ours is TypeError:
        return                                                   # and says so before it looks at anything else
    assert ours == theirs


@given(
    st.lists(st.lists(st.integers(-(2**64), 2**64) | st.integers(-300, 300) | st.floats() | st.booleans(), max_size=3)),
    st.sampled_from(DTYPES),
)
def test_of_numbers(rows: list, dtype: str | None) -> None:
    def outcome(engine: Any) -> Any:
        try:
            return engine.tensor(rows, dtype=dtype and getattr(engine, dtype))
        except Exception as error:
            return error

    mine, theirs = outcome(minigrad), outcome(torch)
    if isinstance(theirs, Exception):
        assert type(mine) is type(theirs) and str(mine) == str(theirs)
    else:
        assert str(mine.dtype) == str(theirs.dtype)
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), strict=True)


@pytest.mark.parametrize("first", [[1], [[1]]], ids=str)
def test_of_a_list_that_holds_itself(first: list) -> None:
    rows = [*first]
    rows.append(rows)
    with pytest.raises(TypeError, match="self-referential lists are incompatible"):
        minigrad.tensor(rows)


near_ties = st.builds(lambda n, sign: n / 2048 + sign * 2**-40, st.integers(2048, 4096), st.integers(-1, 1))
HALVES: dict[str, Callable[[Any, Any, float], Any]] = {
    "to": lambda engine, x, c: x.to(engine.float16),
    "copy_": lambda engine, x, c: engine.zeros(x.shape, dtype=engine.float16).copy_(x),
    "add_": lambda engine, x, c: engine.zeros(x.shape, dtype=engine.float16).add_(x),
    "setitem": lambda engine, x, c: (z := engine.zeros(3, dtype=engine.float16), z.__setitem__(1, c))[0],
    "number": lambda engine, x, c: engine.ones(3, dtype=engine.float16) + c,
    "less number": lambda engine, x, c: engine.ones(3, dtype=engine.float16) - c,
    "times number": lambda engine, x, c: engine.full((3,), 0.7, dtype=engine.float16) * c,
    "maximum": lambda engine, x, c: engine.zeros(3, dtype=engine.float16).clamp(min=c),
    "full": lambda engine, x, c: engine.full((3,), c, dtype=engine.float16),
    "tensor": lambda engine, x, c: engine.tensor([c], dtype=engine.float16),
    "of array": lambda engine, x, c: engine.tensor(x.numpy(), dtype=engine.float16),
    "linspace": lambda engine, x, c: engine.linspace(c, c, 3, dtype=engine.float16),
    "pad": lambda engine, x, c: engine.nn.functional.pad(engine.zeros(3, dtype=engine.float16), (1, 1), value=c),
    "alpha": lambda engine, x, c: engine.ones(64, dtype=engine.float16).add(x.half()[:1].expand(64), alpha=c),
    "alpha of sub": lambda engine, x, c: engine.ones(64, dtype=engine.float16).sub(x.half()[:1].expand(64), alpha=c),
}


@pytest.mark.parametrize("form", HALVES)
@given(st.lists(st.floats(-70000, 70000) | near_ties, min_size=1, max_size=4))
@example([65505.0])
@example([65520.0])
def test_float64_is_rounded_to_float16_as_torch_does(form: str, numbers: list[float]) -> None:
    """By way of float32, and so twice."""
    def outcome(engine: Any) -> Any:
        try:
            return HALVES[form](engine, engine.tensor(numbers, dtype=engine.float64), numbers[0]).numpy()
        except RuntimeError as error:                            # too large
            return np.array(type(error).__name__)
    np.testing.assert_array_equal(outcome(minigrad), outcome(torch), strict=True)


@pytest.mark.parametrize("make", [
    lambda engine: engine.zeros(10**15),
    lambda engine: engine.empty(2**40, 2**40),
    lambda engine: engine.rand(10**15),
    lambda engine: engine.randn(10**15),
    lambda engine: engine.randint(3, (10**15,)),
    lambda engine: engine.arange(10**15),
    lambda engine: engine.linspace(0, 1, 10**15),
    lambda engine: engine.eye(10**8),
    lambda engine: engine.tril_indices(10**9, 10**9),
    lambda engine: engine.zeros(1).repeat(10**15),
    lambda engine: engine.zeros(1).expand(10**15) + 1,
    lambda engine: engine.zeros(2).sum(2**63),
    lambda engine: engine.zeros(2).transpose(2**63, 0),
    lambda engine: engine.zeros(2).to(0),
    lambda engine: engine.relu(engine.tensor([True])),
])
def test_refuses_what_is_too_large_or_elsewhere(make: Callable) -> None:
    refused = []
    for engine in (torch, minigrad):
        with pytest.raises(Exception) as caught:
            make(engine)
        refused.append(caught.type)
    assert refused[0] is refused[1]


@pytest.mark.parametrize("read", [float, complex, np.float64, lambda t: f"{t:.1f}", "%f".__mod__, int, bool,
                                  lambda t: t.item(), lambda t: t.tolist(), lambda t: float(t.detach())])
def test_a_number_has_no_gradient(read: Callable) -> None:
    """torch says so once in a process, Python once for each place."""
    torch.set_warn_always(True)
    try:
        told = []
        for engine in (torch, minigrad):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                read(engine.tensor(2.0, requires_grad=True))
            told.append([(w.category, str(w.message).partition(" (Triggered")[0]) for w in caught])
    finally:
        torch.set_warn_always(False)
    assert told[0] == told[1]
