"""Gradients that nobody has looked at yet, in forms that take less of the memory's time than an array.

A leaf's gradient is made, clipped, taken by the optimizer and dropped; mostly nobody else ever sees it. Until somebody
does (`looked_at` in leaves.py), it may be a few rows of an array of zeros, or an array that is still to be multiplied
by a number. What is computed from them is the same either way, to the bit.

Their values never change: who adds to one, or scales it, makes another. So a thread may look at any moment, and an
interrupt leaves nothing half done.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from . import memory
from .blocks import in_blocks
from .scatter import summed_by_place

if TYPE_CHECKING:
    from ..graph import Tensor

LARGE = 1 << 16            # elements: with fewer, there is nothing to be gained


class Late:
    """`version` says how often the gradient has been written to; `seen`, by the one name "tensor", holds what somebody
    who looked was given."""

    __slots__ = ("seen", "version")

    def __init__(self, version: int):
        self.version, self.seen = version, {}

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        out = self._array()
        return out if dtype is None else out.astype(dtype, copy=False)

    def show(self, tensor: Tensor) -> Tensor:
        """The tensor that all are given who look: the first one that somebody has made."""
        return self.seen.setdefault("tensor", tensor)


class Rows(Late):
    """An array of zeros but for a few rows, as is the gradient of an embedding, of whose rows a batch names a few."""

    __slots__ = ("dtype", "places", "rows", "shape", "size")

    def __init__(self, shape: tuple, places: np.ndarray, rows: np.ndarray, version: int = 0):
        """The places ascend, and none is there twice."""
        super().__init__(version)
        self.shape, self.size, self.dtype = shape, math.prod(shape), rows.dtype
        self.places, self.rows = places, rows

    def __len__(self) -> int:
        return self.shape[0]

    def within(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows from start to stop that are not zeros, and their places, counted from start."""
        first, last = self.places.searchsorted((start, stop))
        return self.rows[first:last], self.places[first:last] - start

    def part(self, start: int, stop: int) -> np.ndarray:
        """Those that are zeros, too."""
        out, (rows, places) = np.zeros((stop - start, *self.shape[1:]), self.dtype), self.within(start, stop)
        out[places] = rows
        return out

    def _array(self) -> np.ndarray:
        out = memory.zeros(self.shape, self.dtype)
        out[self.places] = self.rows
        return out

    def __add__(self, other: Rows | np.ndarray) -> Rows | np.ndarray:
        if not isinstance(other, Rows):
            out = np.asarray(self)
            out += other
            return out
        places = np.union1d(self.places, other.places)
        rows = np.zeros((len(places), *self.shape[1:]), self.dtype)
        for one in (self, other):
            rows[places.searchsorted(one.places)] += one.rows
        return Rows(self.shape, places, rows, self.version + 1)

    def add_to(self, array: np.ndarray) -> np.ndarray:
        array[self.places] += self.rows
        return array

    def times(self, factor: np.ndarray) -> Rows:
        return Rows(self.shape, self.places, self.rows * factor.astype(self.dtype), self.version + 1)


def rows_at(index: tuple, values: np.ndarray, shape: tuple) -> Rows | None:
    """Zeros of that shape, to which values[i] is added at index[i], for every i; None if that is no matter of a few
    rows of a large array."""
    place, *others = index
    few = isinstance(place, np.ndarray) and place.dtype.kind != "b" and 0 < place.size <= shape[0] // 4
    if others or not few or len(shape) < 2 or values.dtype.char not in "fd":
        return None
    if not LARGE < math.prod(shape) <= LARGE * shape[0]:
        return None
    place = place.reshape(-1)
    place = np.where(place < 0, place + shape[0], place)
    places, sums = summed_by_place(place, values.reshape(1, place.size, -1), values.dtype)
    return Rows(shape, places, sums.reshape(-1, *shape[1:]) + 0)              # 0, where a sum is -0: as 0 + -0 is


class Scaled(Late):
    """An array that is still to be multiplied by a number of its dtype; once somebody has looked, the product and 1."""

    __slots__ = ("shape", "source")

    def __init__(self, array: np.ndarray, factor: np.floating, version: int):
        super().__init__(version)
        self.shape, self.source = array.shape, (array, factor)

    def show(self, tensor: Tensor) -> Tensor:
        tensor = super().show(tensor)
        self.source = tensor.array, tensor.array.dtype.type(1)               # the memory of the other may go
        return tensor

    def _array(self) -> np.ndarray:
        array, factor = self.source
        out = np.empty_like(array)
        scale(array, factor, out)
        return out


def scale(x: np.ndarray, factor: np.floating, out: np.ndarray) -> None:
    """out = x * factor; out, which may be x itself, lies in memory as x does"""
    if x.flags.c_contiguous and out.flags.c_contiguous:
        x, out = x.reshape(-1), out.reshape(-1)
        in_blocks(lambda start, stop: _scale(x[start:stop], factor, out[start:stop]), x.size, passes=1)
    else:
        _scale(x, factor, out)


def _scale(x: np.ndarray, factor: np.floating, out: np.ndarray) -> None:
    np.multiply(x, factor, out=out, casting="same_kind")
