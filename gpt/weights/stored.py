"""A tensor that lies in a file, unread: its shape and dtype are known, its values come when they are asked for."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import EllipsisType
from typing import IO

import numpy as np

LINES = 128                             # read at once
FLOATS = ("float32", "float16", "bfloat16", "float64")


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or does not fit."""


@dataclass(frozen=True)
class Stored:
    shape: tuple[int, ...]
    dtype: str                          # NumPy's name, or "bfloat16", which NumPy has not
    raw: Callable[[], np.ndarray]       # as it lies in the file; bfloat16 as uint16

    @classmethod
    def of(cls, array: np.ndarray) -> Stored:
        return cls(array.shape, array.dtype.name, lambda: array)

    def array(self) -> np.ndarray:
        """The values. bfloat16 and float16 come as float32, which holds them exactly."""
        return self._wide(self.raw())

    def pieces(self) -> Iterator[tuple[tuple[slice, ...] | EllipsisType, np.ndarray]]:
        """The values in pieces, each with its place. A piece is some lines as they lie in the file, so that it stays
        in the cache while it is widened and transposed: four times as fast as the whole at once."""
        raw = self.raw()
        if raw.ndim == 0:
            yield ..., self._wide(raw)
            return
        outer = max(range(raw.ndim), key=lambda axis: raw.strides[axis])
        for i in range(0, raw.shape[outer], LINES):
            place = (slice(None),) * outer + (slice(i, i + LINES),)
            yield place, self._wide(raw[place])

    def _wide(self, raw: np.ndarray) -> np.ndarray:
        if self.dtype == "bfloat16":                            # the upper half of a float32
            wide = raw.astype(np.uint32)
            wide <<= 16
            return wide.view(np.float32)
        return raw.astype(np.float32) if raw.dtype == np.float16 else raw

    def viewed(self, view: Callable[[np.ndarray], np.ndarray]) -> Stored:
        """The tensor seen through `view`, which transposes or slices. Nothing is read for it."""
        shape = view(np.broadcast_to(np.uint8(0), self.shape)).shape
        return Stored(shape, self.dtype, lambda: view(self.raw()))


def mapped(file: IO[bytes], offset: int, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor at `offset`, through a mapping of its part of the file alone: when the array is dropped, so are the
    pages that it brought into memory."""
    dtype = np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder("<")
    count = int(np.prod(shape, dtype=np.int64))
    if count == 0:
        return np.empty(shape, dtype)
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    window = mmap.mmap(file.fileno(), offset - start + count * dtype.itemsize, offset=start, access=mmap.ACCESS_COPY)
    array = np.frombuffer(window, np.uint8, count * dtype.itemsize, offset - start)
    if array.ctypes.data % dtype.itemsize:                # NumPy is slow on such memory, and torch refuses it
        array = array.copy()
    return array.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
