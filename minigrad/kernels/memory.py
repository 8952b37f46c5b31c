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
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 1 << 27          # bytes kept in one block; the gaps that larger ones leave in the heap cost too much memory


@cache
def keep_freed_memory() -> bool:
    """Set both, once; whether that could be done."""
    if not sys.platform.startswith("linux") or os.environ.get("MINIGRAD_MALLOC") == "system":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    mapped = any(libc.mallopt(M_MMAP_THRESHOLD, size) for size in (LARGEST, 1 << 25))    # some take 32 MiB at most
    return bool(mapped and libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))
