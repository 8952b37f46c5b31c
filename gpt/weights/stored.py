"""A tensor that lies in a file, unread: its shape and dtype are known, its values come when they are asked for."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import numpy as np

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
        """The values; bfloat16, the upper half of a float32, widens exactly."""
        raw = self.raw()
        if self.dtype != "bfloat16":
            return raw
        wide = raw.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)

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
