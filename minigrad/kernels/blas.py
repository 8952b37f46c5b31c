"""What the BLAS that NumPy was built with can do, and NumPy does not ask it for: its threads, sums in one pass, and
products that are added.

NumPy has no functions for them, but the library has. NumPy's wheels bring OpenBLAS along, which is asked for by its
name. With another BLAS nothing is found here: then no threads are set, its own environment variables count, and sums
are NumPy's.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from ..host import in_each_child


@cache
def _library() -> ctypes.CDLL | None:
    folders = Path(np.__file__).parent.with_name("numpy.libs"), Path(np.__file__).parent / ".dylibs"
    for path in (p for folder in folders if folder.is_dir() for p in sorted(folder.glob("*openblas*"))):
        try:
            return ctypes.CDLL(str(path))                    # it is loaded already: this finds it
        except OSError:
            continue
    return None


def _function(name: str, result, *arguments) -> Callable | None:
    """A function of OpenBLAS, whose builds differ in what they put before and after the names."""
    library = _library()
    for prefix in ("scipy_", ""):
        for suffix in ("64_", "_64", ""):
            found = getattr(library, f"{prefix}{name}{suffix}", None)
            if found:
                integer = ctypes.c_int64 if suffix else ctypes.c_int
                found.restype, found.argtypes = result, [integer if a is int else a for a in arguments]
                return found
    return None


@cache
def _functions() -> tuple[Callable, Callable] | None:
    """Those that get and set the number of OpenBLAS's threads."""
    get = _function("openblas_get_num_threads", ctypes.c_int)
    set_ = _function("openblas_set_num_threads", None, ctypes.c_int)
    return (get, set_) if get and set_ else None


def can_be_told() -> bool:
    return _functions() is not None


_lock, _inside, _former = threading.RLock(), set(), 1


def set_threads(number: int) -> None:
    """So many threads, or as soon as nobody multiplies with a single one any more."""
    global _former
    if (functions := _functions()) is not None:
        with _lock:
            if _inside:
                _former = number
            else:
                functions[1](number)


class SingleThreaded:
    """From its start to its end, every thread that multiplies matrices does so alone. It may be ended more than once,
    and ends with this object at the latest: an interrupt may come before whoever was about to end it has."""

    def start(self) -> None:
        global _former
        if (functions := _functions()) is not None:
            get, set_ = functions
            with _lock:
                first = not _inside
                if first:
                    _former = get()
                _inside.add(id(self))            # before it is so: an interrupt may come in between
                if first:
                    set_(1)

    def end(self) -> None:
        if id(self) in _inside:
            with _lock:
                if len(_inside) == 1:
                    _functions()[1](_former)
                _inside.discard(id(self))

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *exc) -> None:
        self.end()

    def __del__(self) -> None:
        self.end()


@in_each_child
def _forget_others() -> None:
    """The parent's other threads may have been inside."""
    global _lock
    _lock = threading.RLock()
    if _inside:
        _inside.clear()
        _functions()[1](_former)


TIMEOUT, TICKS = "OPENBLAS_THREAD_TIMEOUT", "12"           # the variable; a power of two
OURS = "minigrad", "minigrad-awake"                        # threads that do not multiply of their own accord
restless = False                                           # whether its threads get in the way of those of our pool


def let_threads_sleep() -> None:
    """From now on, OpenBLAS's threads sleep as soon as there is nothing to multiply; or it is `restless`, and the pool
    multiplies (products.py).

    As it comes, they ask for work over and over for 2^26 ticks of the processor, some 30 ms, before they sleep. Where
    products follow one another, as in generating a token, that is right; in a training step they keep the processors
    busy that the threads of our pool want, which then take as long as one thread would. With 2^12 ticks, a step takes
    a sixth less.

    OpenBLAS looks at that setting when it starts its threads. So they are stopped, as they are before a fork, and the
    next product starts them again. That is not done where the user has set the variable, nor while there are threads
    that may be multiplying; and since 0.3.34 OpenBLAS's builds do not show the functions for it any more."""
    global restless
    if TIMEOUT in os.environ or not can_be_told():
        return
    read, stop = _function("openblas_read_env", None), _function("blas_thread_shutdown_", ctypes.c_int)
    others = [t for t in threading.enumerate() if t is not threading.current_thread() and t.name not in OURS]
    restless = bool(others) or not read or not stop
    if not restless:
        os.environ[TIMEOUT] = TICKS
        read()
        stop()


# ---- sums in one pass -------------------------------------------------------------------------------------------

@cache
def _of_numbers(name: str, dtype: np.dtype, arguments: str) -> Callable | None:
    """A function of OpenBLAS for single or for double precision: it takes enumerators (e), integers (i), numbers (x)
    and addresses (p)."""
    if dtype.char not in "fd":
        return None
    letter, number = ("s", ctypes.c_float) if dtype.char == "f" else ("d", ctypes.c_double)
    kinds = {"e": ctypes.c_int, "i": int, "x": number, "p": ctypes.c_void_p}
    return _function(f"cblas_{letter}{name}", None, *(kinds[a] for a in arguments))


def address_of(array: np.ndarray) -> int:
    """array.ctypes.data, in a third of the time where the array is contiguous and may be written to."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError):
        return array.ctypes.data


FEW = 1 << 12               # elements: of fewer, NumPy's three passes take no longer than to find out where they lie


class Vector:
    """A contiguous array in one dimension, and where it lies in memory, which BLAS wants to know."""

    __slots__ = ("address", "array", "axpby_at")

    def __init__(self, array: np.ndarray, address: int | None = None, axpby_at: Callable | None = None):
        self.array, self.address, self.axpby_at = array, address, axpby_at
        if not address and array.size >= FEW:
            self.address, self.axpby_at = address_of(array), _of_numbers("axpby", array.dtype, "ixpixpi")

    def part(self, start: int, stop: int) -> Vector:
        if stop - start == self.array.size:
            return self
        part = self.array[start:stop]
        return Vector(part, self.address and self.address + start * part.itemsize, self.axpby_at)

    def empty_like(self) -> Vector:
        array = np.empty_like(self.array)
        return Vector(array, self.address and address_of(array), self.axpby_at)

    def axpby(self, a: float, x: Vector, b: float) -> None:
        """self <- a x + b self: one pass over memory, where NumPy needs three. (Of a factor of 0, BLAS does not look
        at what it multiplies, which may be infinite.)"""
        if self.axpby_at is not None and a and b:
            self.axpby_at(self.array.size, a, x.address, 1, b, self.address, 1)
        else:
            self.array *= b
            self.array += a * x.array


# ---- products -----------------------------------------------------------------------------------------------------

def dot(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """a b, of matrices or vectors: np.dot lets go of the interpreter's lock, which np.matmul does not where the result
    has less than 500 elements. But np.dot does not look at what it multiplies by a single 0, which may be infinite."""
    return (np.dot if len(b) > 1 else np.matmul)(a, b, out=out)


ROW_MAJOR, AS_IS, TRANSPOSED = 101, 111, 112


def add_product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """out += a b, of matrices of one dtype."""
    gemm, sides = _of_numbers("gemm", out.dtype, "eeeiiixpipixpi"), [_side(x) for x in (a, b)]
    if gemm is None or None in sides or not out.size or not out.flags.c_contiguous:
        out += np.matmul(a, b)
        return
    (how_a, step_a), (how_b, step_b) = sides
    gemm(ROW_MAJOR, how_a, how_b, *out.shape, a.shape[1], 1, address_of(a), step_a, address_of(b), step_b, 1,
         address_of(out), out.shape[1])


def _side(x: np.ndarray) -> tuple[int, int] | None:
    """How BLAS is to read a matrix, and how far apart its rows are (or columns); None if it cannot."""
    for how, y in ((AS_IS, x), (TRANSPOSED, x.T)):
        step, rest = divmod(y.strides[0], x.itemsize)
        if y.strides[1] == x.itemsize and not rest and step >= max(y.shape[1], 1):
            return how, step
    return None
