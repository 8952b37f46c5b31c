"""Hypothesis strategies shared by the tests: shapes, dtypes, tensors in every memory layout, pairs for two engines.

A drawn tensor is a torch tensor; `pair` and `opinfo.Engine.convert` give another engine the same values in the same
layout. Shapes, layouts and where the special values go are drawn, so they shrink; the bulk of the values comes from a
drawn seed, which is fast. Values lie on a coarse grid: ties and zeros are common, as in real bugs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from .opinfo import NUMPY, Engine

Shape = tuple[int, ...]

FLOATS = (torch.float64, torch.float32, torch.float16)
INTEGERS = (torch.int64, torch.int32, torch.uint8)
DTYPES = (*FLOATS, *INTEGERS, torch.bool)
ALL_DTYPES = (*FLOATS, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)

LAYOUTS = ("contiguous", "transposed", "strided", "offset", "expanded", "reversed")


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> st.SearchStrategy[Shape]:
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


@st.composite
def broadcastable(draw: Callable, count: int = 2, *, max_dims: int = 3, min_side: int = 0) -> tuple[Shape, ...]:
    """Shapes that broadcast together: a common one, of which each keeps a tail with some sides set to 1."""
    common = draw(shapes(0, max_dims, min_side))
    result = []
    for _ in range(count):
        tail = common[draw(st.integers(0, len(common))) :]
        result.append(tuple(1 if draw(st.integers(0, 3)) == 0 else side for side in tail))
    return tuple(result)


def dtypes(among: Sequence[torch.dtype] = DTYPES) -> st.SearchStrategy[torch.dtype]:
    return st.sampled_from(among)


def special_values(dtype: torch.dtype) -> list:
    """The values at which rules are made."""
    if dtype is torch.bool:
        return [False, True]
    if not dtype.is_floating_point:
        info = torch.iinfo(dtype)
        return sorted({0, 1, 2, 3, info.min, info.min + 1, info.max - 1, info.max, *((-1, -2) if info.min else ())})
    info = torch.finfo(dtype)
    positive = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, info.tiny, info.eps, info.max, math.inf]
    return [math.nan, *positive, *(-x for x in positive)]


@st.composite
def arrays(
    draw: Callable,
    dtype: torch.dtype,
    shape: Shape,
    low: float = -3,
    high: float = 3,
    *,
    special: bool = False,
    distinct: bool = False,
) -> np.ndarray:
    """Multiples of 1/8 in [low, high] (integers for integer dtypes), special values alone, or a permutation."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    if distinct:
        return rng.permutation(math.prod(shape)).reshape(shape).astype(NUMPY[dtype])
    if special:
        return rng.choice(np.array(special_values(dtype), dtype=NUMPY[dtype]), size=shape)
    if dtype is torch.bool:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.is_floating_point:
        return np.asarray(rng.integers(math.ceil(low * 8), math.floor(high * 8) + 1, shape) / 8, dtype=NUMPY[dtype])
    low = max(math.ceil(low), torch.iinfo(dtype).min)
    return np.asarray(rng.integers(low, max(math.floor(high), low) + 1, shape), dtype=NUMPY[dtype])


def laid_out(array: np.ndarray, layout: str, axis: int) -> torch.Tensor:
    """The array's values as a torch tensor that lies in memory as asked; `expanded` repeats one slice of them."""
    t = torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape).copy())
    if t.ndim == 0 or layout == "contiguous":
        return t
    axis %= t.ndim
    match layout:
        case "transposed":
            return t.transpose(0, axis).contiguous().transpose(0, axis)
        case "strided":  # every second element of a larger tensor
            wide = torch.repeat_interleave(t, 2, dim=axis)
            return wide[(slice(None),) * axis + (slice(None, None, 2),)]
        case "offset":  # the tail of a larger tensor
            return torch.cat([t[:1], t])[t[:1].shape[0] :]
        case "expanded":
            return t.narrow(axis, 0, 1).expand(t.shape) if t.shape[axis] else t
        case "reversed":  # columns outermost: strides grow from left to right
            return t.permute(*reversed(range(t.ndim))).contiguous().permute(*reversed(range(t.ndim)))
    raise ValueError(layout)


@st.composite
def tensors(
    draw: Callable,
    dtype: torch.dtype | None = None,
    shape: Shape | None = None,
    low: float = -3,
    high: float = 3,
    *,
    special: bool = False,
    distinct: bool = False,
    requires_grad: bool = False,
) -> torch.Tensor:
    """A torch tensor; whatever is not given is drawn, the memory layout always."""
    dtype = draw(dtypes()) if dtype is None else dtype
    shape = draw(shapes()) if shape is None else shape
    array = draw(arrays(dtype, shape, low, high, special=special, distinct=distinct))
    layouts = [layout for layout in LAYOUTS if layout != "expanded" or not distinct]
    t = laid_out(array, draw(st.sampled_from(layouts)), draw(st.integers(0, 3)))
    return t.requires_grad_(requires_grad and dtype.is_floating_point)


def pair(engine: Any, t: torch.Tensor) -> tuple[Any, torch.Tensor]:
    """The same tensor for both engines, each with memory of its own: (the engine's, torch's)."""
    return Engine(engine).convert(t, {}), Engine(torch).convert(t, {})


@st.composite
def pairs(draw: Callable, engine: Any, *args: Any, **kwargs: Any) -> tuple[Any, torch.Tensor]:
    """`tensors`, as a pair: `@given(pairs(minigrad, requires_grad=True))`."""
    return pair(engine, draw(tensors(*args, **kwargs)))


class Draw:
    """`draw` with the verbs that a row of the op table needs, so that a row stays one line."""

    def __init__(self, draw: Callable, dtype: torch.dtype, **kwargs: bool):
        self.draw, self.dtype, self.kwargs = draw, dtype, kwargs

    def tensor(
        self, shape: Shape | None = None, low: float = -3, high: float = 3, *, dtype: Any = None
    ) -> torch.Tensor:
        shape = self.shape() if shape is None else shape
        return self.draw(tensors(dtype or self.dtype, shape, low, high, **self.kwargs))

    def tensors(self, shapes: Sequence[Shape], low: float = -3, high: float = 3) -> list[torch.Tensor]:
        return [self.tensor(s, low, high) for s in shapes]

    def index(self, shape: Shape, size: int) -> torch.Tensor:
        """int64 indices into a dimension of that size."""
        return laid_out(self.draw(arrays(torch.int64, shape, 0, max(size - 1, 0))), self.pick(LAYOUTS), 1)

    def distinct(self, count: int, size: int) -> torch.Tensor:
        return torch.tensor(self.draw(st.permutations(range(size)))[:count], dtype=torch.int64)

    def mask(self, shape: Shape) -> torch.Tensor:
        return laid_out(self.draw(arrays(torch.bool, shape)), self.pick(LAYOUTS), 0)

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 0) -> Shape:
        return self.draw(shapes(min_dims, max_dims, min_side))

    def broadcast(self, count: int = 2) -> tuple[Shape, ...]:
        return self.draw(broadcastable(count))

    def int(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def pick(self, among: Sequence) -> Any:
        return self.draw(st.sampled_from(among))

    def dim(self, ndim: int) -> int:
        """A dimension, negative ones included; a 0-dim tensor has dimension 0 and -1."""
        n = max(ndim, 1)
        return self.int(-n, n - 1)

    def dims(self, ndim: int, min_size: int = 0) -> tuple[int, ...]:
        """Some dimensions, each at most once."""
        order = self.draw(st.permutations(range(ndim)))
        some = order[: self.int(min(min_size, ndim), ndim)]
        return tuple(k - ndim if self.flag() else k for k in some)

    def number(self) -> bool | int | float:
        return self.pick([0, 1, 2, 3, -1, -2, 0.5, 2.0, -1.5, True])
