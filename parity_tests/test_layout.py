"""Memory layout: what an op returns lies in memory as torch's result does, whatever the layout of what it was given.

`view` accepts or refuses by the strides, and random numbers (dropout's among them) are drawn in the memory's order, so
the layout is seen. Compared are the dimensions that have a stride to speak of: of tensors that are not empty, those of
size 2 and more."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from .opinfo import TORCH
from .optable import ROWS, Row
from .strategies import DTYPES, Draw, Shape, broadcastable, shapes
from .test_ops import ENGINE, outcome

few = settings(max_examples=max(settings().max_examples // 5, 1))

# What differs, and why that is left: torch's select_scatter keeps even the gaps of a tensor that was cut out of a
# larger one, and its conv1d picks among back ends that lay their results out differently.
DIFFERENT = {"select_scatter", "nn.functional.conv1d"}


def strides(t: Any) -> list[int]:
    return [step for step, n in zip(t.stride(), t.shape, strict=True) if n > 1]


def differences(row: Row, call: tuple) -> list[str]:
    mine, theirs = outcome(ENGINE, row.name, call)[0], outcome(TORCH, row.name, call)[0]
    if isinstance(theirs, Exception) or isinstance(mine, Exception):
        return []                                           # test_ops.py judges the values and the refusals
    pairs = zip(ENGINE.leaves([mine]), TORCH.leaves([theirs]), strict=True)
    return [f"strides {strides(a)}, torch {strides(e)} of {tuple(e.shape)}" for a, e in pairs
            if e.numel() and strides(a) != strides(e)]


class Solid(Draw):
    """Draws that leave a layout something to say: most sides are 2 or more, and the dimensions lie in any order."""

    def tensor(self, shape: Shape | None = None, *args: Any, **kwargs: Any) -> torch.Tensor:
        shape = self.shape() if shape is None else shape
        order = self.draw(st.permutations(range(len(shape))))
        back = [order.index(d) for d in range(len(shape))]
        return super().tensor(tuple(shape[d] for d in order), *args, **kwargs).permute(back)

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 0) -> Shape:
        return self.draw(shapes(max(min_dims, min(2, max_dims)), max_dims, 2))

    def broadcast(self, count: int = 2) -> tuple[Shape, ...]:
        return self.draw(broadcastable(count, min_side=2))


@st.composite
def solid_calls(draw: Any, row: Row) -> tuple:
    dtype = draw(st.sampled_from([torch.float32, torch.float64, *DTYPES]))
    return row.call(Solid(draw, dtype, distinct=not row.ordered))


@pytest.mark.parametrize("row", [row for row in ROWS if row.name not in DIFFERENT], ids=lambda row: row.name)
@few
@given(st.data())
def test_strides(row: Row, data: st.DataObject) -> None:
    call = data.draw(solid_calls(row))
    if row.name == "kron" and any(n == 1 for x in call[0] for n in x.shape):
        return                                # torch lets the strides of sides of 1 have a say, which NumPy forgets
    assert not differences(row, call)


@pytest.mark.parametrize(("name", "call"), [
    ("eq", ((torch.ones(2, 1).T, torch.ones(1, 1, 2).permute(2, 1, 0)), {})),            # C's order, but for sides of 1
    ("nn.functional.nll_loss", ((torch.ones(2, 3, 2), torch.zeros(2, 2).long().T), {"reduction": "none"})),
    ("nn.functional.huber_loss", ((torch.ones(1, 2, 2).expand(2, 2, 2), torch.ones(2, 2, 2).transpose(0, 1)),
                                  {"reduction": "none"})),
], ids=lambda x: x if isinstance(x, str) else "")
def test_strides_of_corners(name: str, call: tuple) -> None:
    assert not differences(next(row for row in ROWS if row.name == name), call)


@pytest.mark.parametrize("dim", [0, 1])
def test_rms_norm_of_what_is_expanded(dim: int) -> None:
    """It ends in a copy where the product lies in another order than C's; what was expanded has no say in that."""
    x = torch.ones(2, 2).narrow(dim, 0, 1).expand(2, 2)
    names = [type(engine.find("nn.functional.rms_norm")(engine.convert(x.requires_grad_(), {}), (2,)).grad_fn).__name__
             for engine in (ENGINE, TORCH)]
    assert names[0] == names[1]
