"""What is asked of the host: threads, forks, compilation."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

_count: int | None = None


def get_num_threads() -> int:
    """How many threads work on one op: what set_num_threads said, else OMP_NUM_THREADS, else one for each core."""
    return _count or _default()


@cache
def _default() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_num_threads(num: int) -> None:
    """So many threads, in minigrad's own loops and in NumPy's products of matrices (where its BLAS can be told)."""
    global _count
    if not isinstance(num, int):
        raise TypeError(f"set_num_threads expects an int, but got {type(num).__name__}")
    if num <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    _count = num
    from .kernels import blas
    blas.set_threads(num)


def in_each_child(renew: Callable[[], None]) -> Callable[[], None]:
    """A decorator of what is to be done in a forked child, where of all threads only the one that forked lives on."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)
    return renew


def compile(model: Callable | None = None, *, fullgraph: bool = False, dynamic: bool | None = None,
            backend: object = None, mode: str | None = None, options: dict | None = None, name: str | None = None,
            disable: bool = False, recompile_limit: int | None = None, isolate_recompiles: bool = False,
            shapes_spec: object = None) -> Callable:
    """The model itself: there is nothing to compile. Without a model, a decorator."""
    return model if model is not None else lambda model: model
