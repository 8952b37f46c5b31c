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

A block above that size would leave a gap in the heap that others then divide among themselves. Such are the gradients
of a vocabulary's weights: the memory of one that has been dropped is kept here as a room, for the next gradient of the
same shape. Until then what needs much memory for a moment may use it. It lives no longer than the weights themselves.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 1 << 27          # bytes that the heap keeps in one block


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


def keep_room(room: np.ndarray, weights: np.ndarray) -> None:
    """Nobody else uses this memory, which was a gradient of these weights."""
    if room.flags.c_contiguous and not _is_left_to_the_system():
        key = id(weights)
        _rooms[key] = weakref.ref(weights, lambda _: _rooms.pop(key, None)), room


def taken_room(shape: tuple, dtype: np.dtype) -> np.ndarray | None:
    """A room of that kind, for whoever asks first; it holds what it held."""
    for key, (_, room) in list(_rooms.items()) if _rooms else ():
        if room.shape == shape and room.dtype == dtype and _rooms.pop(key, None):
            return room
    return None


def empty_like(x: np.ndarray) -> np.ndarray:
    room = taken_room(x.shape, x.dtype) if x.flags.c_contiguous else None
    return np.empty_like(x) if room is None else room


def zeros(shape: tuple, dtype: np.dtype) -> np.ndarray:
    room = taken_room(shape, dtype)
    if room is None:
        return np.zeros(shape, dtype)
    room.fill(0)
    return room


@contextmanager
def borrowed(shape: tuple, dtype: np.dtype) -> Iterator[np.ndarray]:
    """An array for a while: in a room, if there is one large enough."""
    size = math.prod(shape)
    for key, (weights, room) in list(_rooms.items()):
        if room.dtype == dtype and room.size >= size and _rooms.pop(key, None):
            try:
                yield room.reshape(-1)[:size].reshape(shape)
            finally:
                if weights() is not None:
                    keep_room(room, weights())
            return
    yield np.empty(shape, dtype)
