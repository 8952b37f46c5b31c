"""The threads of the BLAS that NumPy was built with.

NumPy has no function for them, but the library has. NumPy's wheels bring OpenBLAS along, which is asked for by its
name; with another BLAS nothing is found here, nothing is set, and its own environment variables count.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np


@cache
def _functions() -> tuple[Callable, Callable] | None:
    """OpenBLAS's functions that get and set the number of its threads."""
    folders = Path(np.__file__).parent.with_name("numpy.libs"), Path(np.__file__).parent / ".dylibs"
    for path in (p for folder in folders if folder.is_dir() for p in sorted(folder.glob("*openblas*"))):
        try:
            library = ctypes.CDLL(str(path))                 # it is loaded already: this finds it
        except OSError:
            continue
        for prefix in ("scipy_openblas", "openblas"):
            for suffix in ("64_", "_64", ""):
                get, set_ = (getattr(library, f"{prefix}_{verb}_num_threads{suffix}", None) for verb in ("get", "set"))
                if get and set_:
                    get.restype, set_.argtypes, set_.restype = ctypes.c_int, [ctypes.c_int], None
                    return get, set_
    return None


def set_threads(number: int) -> None:
    functions = _functions()
    if functions is not None:
        functions[1](number)


_lock, _inside, _former = threading.Lock(), 0, 1


@contextmanager
def single_threaded() -> Iterator[None]:
    """Inside, every thread that multiplies matrices does so alone."""
    global _inside, _former
    functions = _functions()
    if functions is None:
        yield
        return
    get, set_ = functions
    with _lock:
        if not _inside:
            _former = get()
            set_(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                set_(_former)
