"""Memory that is used again instead of being given back.

A training step frees all that it allocated, and the next one allocates the same again. The C library of Linux (glibc)
hands large blocks back to the kernel as soon as they are freed, and the kernel fills each page with zeros when it is
next touched: in a small model's step that is more than a tenth of the time. Two settings of malloc keep freed memory
in the process:

    M_MMAP_THRESHOLD    blocks below this size come from the heap, instead of having a mapping each
    M_TRIM_THRESHOLD    the heap shrinks only when more than this is free at its end

They hold for the whole process, which then keeps the memory of its largest step. Making an
optimizer sets them, for that is when steps are about to be repeated; with MINIGRAD_MALLOC=system in the environment
nothing is set. Other C libraries are left alone.

A block above that size would leave a gap in the heap that others then divide among themselves. Such is the gradient of
a vocabulary's weights: when it is dropped its memory is kept here as a room for the next one, if whoever makes these
gradients has asked for one before. Until then it may be borrowed. A room lives no longer than the array of the weights.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 1 << 27          # bytes that the heap keeps in one block; larger ones may become rooms


@cache
def keep_freed_memory() -> bool:
    """Set both, once; whether that could be done."""
    if not sys.platform.startswith("linux") or _is_left_to_the_system():
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    mapped = any(libc.mallopt(M_MMAP_THRESHOLD, size) for size in (LARGEST, 1 << 25))    # some take 32 MiB at most
    return bool(mapped and libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))


def _is_left_to_the_system() -> bool:
    return os.environ.get("MINIGRAD_MALLOC") == "system"


# ---- rooms ------------------------------------------------------------------------------------------------------

_rooms: dict[int, tuple[weakref.ref, np.ndarray]] = {}         # by the weights' identity: the weights, and a room
_wanted: set[tuple] = set()                                    # the shapes and dtypes that somebody asked for


def keep_room(room: np.ndarray, weights: np.ndarray) -> None:
    """Nobody else uses this memory, which was a gradient of these weights."""
    if (room.shape, room.dtype) in _wanted and room.flags.c_contiguous and not _is_left_to_the_system():
        key = id(weights)
        _rooms[key] = weakref.ref(weights, lambda _: _rooms.pop(key, None)), room


def taken_room(shape: tuple, dtype: np.dtype) -> np.ndarray | None:
    """A room of that kind, for whoever asks first; it holds what it held."""
    if math.prod(shape) * dtype.itemsize <= LARGEST:
        return None
    _wanted.add((shape, dtype))
    kept = _removed(lambda room: room.shape == shape and room.dtype == dtype)
    return kept and kept[1]


def _removed(fits: Callable[[np.ndarray], bool]) -> tuple[weakref.ref, np.ndarray] | None:
    """The first room that fits, and its weights. Other threads may take rooms and bring them at any moment, and weights
    may end: what fits is asked of what is ours already."""
    for key in list(_rooms):
        kept = _rooms.pop(key, None)
        if kept is not None:
            if fits(kept[1]):
                return kept
            _bring_back(*kept)
    return None


def _bring_back(weights: weakref.ref, room: np.ndarray) -> None:
    if (alive := weights()) is not None:
        keep_room(room, alive)


def empty(shape: tuple, dtype: np.dtype) -> np.ndarray:
    room = taken_room(shape, dtype)
    return np.empty(shape, dtype) if room is None else room


def zeros(shape: tuple, dtype: np.dtype) -> np.ndarray:
    room = taken_room(shape, dtype)
    if room is None:
        return np.zeros(shape, dtype)
    room.fill(0)
    return room


@contextmanager
def borrowed(shape: tuple, dtype: np.dtype) -> Iterator[np.ndarray]:
    """An array for a while: in a room, if there is one large enough. After an error, threads may be still at work in
    it: then it is not brought back."""
    size = math.prod(shape)
    kept = _removed(lambda room: room.dtype == dtype and room.size >= size)
    yield np.empty(shape, dtype) if kept is None else kept[1].reshape(-1)[:size].reshape(shape)
    if kept is not None:
        _bring_back(*kept)
