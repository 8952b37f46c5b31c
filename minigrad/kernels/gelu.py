"""gelu in its form with a tanh, block by block.

    y = x/2 (1 + t),   t = tanh(u),   u = c x (1 + a x^2)
    dy/dx = (1 + t)/2 + x/2 (1 - t^2) u' = (1 + t) (1/2 + (1 - t) x u'/2),   x u' = c x (1 + 3 a x^2) = 3 u - 2 c x

Backward computes t again: that is cheaper than to keep it in memory. Products of two arrays are written over one of
them: into a third one, which malloc has not put at the start of a line of the cache, NumPy takes twice as long.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from .blas import Vector
from .blocks import in_blocks
from .layout import arranged

C, A = math.sqrt(2 / math.pi), 0.044715
LARGE = 1e12


@cache
def _numbers(dtype: np.dtype) -> list[np.ndarray]:
    """c a, c, 1 and 1/2. In a single row, as in generating a token, each call of NumPy counts, and an array without
    dimensions costs it less than a number of Python's."""
    return [np.asarray(n, dtype) for n in (C * A, C, 1, 0.5)]


def gelu_tanh(input: np.ndarray) -> np.ndarray:
    flat = input.reshape(-1)
    out = np.empty(flat.size, flat.dtype)
    ca, c, one, half = _numbers(flat.dtype)

    def work(start: int, stop: int) -> None:
        x, y = flat[start:stop], out[start:stop]
        _tanh(x, np.square(x, y), y, ca, c)
        y += one
        y *= half                                # first, lest the product of the other two be too large
        y *= x

    in_blocks(work, flat.size)
    return arranged(out.reshape(input.shape), (input,))


def gelu_tanh_backward(g: np.ndarray, input: np.ndarray) -> np.ndarray:
    flat, slope = Vector(np.ascontiguousarray(input).reshape(-1)), np.ascontiguousarray(g).reshape(-1)
    out = np.empty_like(slope)

    def work(start: int, stop: int) -> None:
        part, t = flat.part(start, stop), out[start:stop]
        inner = part.empty_like()
        x, u = part.array, np.square(part.array, out=inner.array)
        np.minimum(u, LARGE, out=u)              # where tanh is 1 or -1, lest u be infinite and 1 - t nothing
        u *= x
        inner.axpby(C, part, C * A)
        np.tanh(u, out=t)
        inner.axpby(-C, part, 1.5)               # x u'/2
        rest = np.subtract(1, t)
        rest *= u
        rest += 0.5
        t += 1
        t *= rest
        t *= slope[start:stop]

    in_blocks(work, slope.size)
    return out.reshape(input.shape)


def _tanh(x: np.ndarray, square: np.ndarray, out: np.ndarray, ca: np.ndarray, c: np.ndarray) -> None:
    """out = tanh(u), of x and x^2."""
    np.multiply(square, ca, out)
    out += c
    out *= x
    np.tanh(out, out)
