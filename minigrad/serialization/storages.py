"""Between tensors and the flat blocks of memory, torch's storages, that checkpoints keep.

A tensor is a window on a storage: an offset, a size and a stride, counted in elements. Several tensors may look
at one storage (tied weights, views, slices); a checkpoint keeps it once and so keeps them tied.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from .. import dtypes
from ..kernels.layout import flat, owner

BY_NAME = {f"{d.tensor_type}Storage": d for d in dtypes.ALL}        # torch.FloatStorage, torch.LongStorage, ...


class Storage(NamedTuple):
    dtype: dtypes.dtype
    array: np.ndarray        # flat; float32 for bfloat16, which NumPy has not


class Window(NamedTuple):
    """A tensor's place in a storage. All counts are in elements, as torch counts."""
    storage: int
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


# ---- reading ----------------------------------------------------------------------------------------------------

def empty(d: dtypes.dtype, numel: int) -> Storage:
    return Storage(d, np.empty(numel, d.numpy or np.float32))


def decode(raw: np.ndarray, d: dtypes.dtype, byteorder: str = sys.byteorder) -> np.ndarray:
    """Bytes from a file as elements, without copying where the bytes already are what NumPy wants.

    bfloat16 is the upper half of a float32, so that it widens exactly.
    """
    if raw.ctypes.data % d.itemsize:                     # in a mapped file; NumPy is slow on such memory
        raw = raw.copy()
    array = raw.view(d.numpy or np.uint16)
    if byteorder != sys.byteorder:
        array = array.byteswap()
    if d is dtypes.bfloat16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    if d is dtypes.bool and array.size and raw.max() > 1:
        raise RuntimeError("a bool is stored as something else than 0 or 1: the file is damaged")
    return array


def view(storage: Storage, window: Window) -> np.ndarray:
    """The window as an array that shares the storage's memory. The window comes from a file: nothing is believed."""
    _, offset, size, stride = window
    array = storage.array
    counts = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(n) is not int or not 0 <= n < 2**59 for n in counts):
        raise ValueError(f"size {size}, stride {stride} and offset {offset} do not describe a tensor")
    if 0 in size:
        return np.empty(size, array.dtype)
    if offset + sum((n - 1) * step for n, step in zip(size, stride)) >= array.size:
        raise ValueError(f"size {size}, stride {stride} and offset {offset} reach beyond a storage of {array.size}")
    item = array.itemsize
    return np.ndarray(size, array.dtype, array, offset * item, [step * item for step in stride])


# ---- writing ----------------------------------------------------------------------------------------------------

class Storages:
    """The storages under the arrays that are being saved, in order of appearance, each once."""

    def __init__(self) -> None:
        self.blocks: list[Storage] = []
        self._index: dict[tuple[int, int], int] = {}        # by the memory's first and last address

    def place(self, array: np.ndarray) -> tuple[Window, Storage]:
        """Where `array` lies. As in torch, all the memory that it is a view of will be written, not only its part."""
        item = array.itemsize
        root = owner(array)
        low, high = np.lib.array_utils.byte_bounds(root)
        distances = (array.ctypes.data - low, high - low, *array.strides)
        if array.size == 0 or any(n < 0 or n % item for n in distances):
            # Strides that torch cannot have, as of a reversed array, and empty windows, which share nothing.
            array = root = np.array(array, order="C")
            low, high = np.lib.array_utils.byte_bounds(root)
        d = dtypes.of(array.dtype)
        index = self._index.setdefault((low, high), len(self.blocks))
        if index == len(self.blocks):
            self.blocks.append(Storage(d, flat(root).view(array.dtype)))
        elif self.blocks[index].dtype is not d:
            raise RuntimeError("Cannot save multiple tensors or storages that view the same data as different types: "
                               f"{self.blocks[index].dtype} and {d}. Clone one of them.")
        stride = tuple(step // item for step in array.strides)
        return Window(index, (array.ctypes.data - low) // item, array.shape, stride), self.blocks[index]
