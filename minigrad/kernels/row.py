"""A matrix times one vector: what generating a token is made of, and bound by how fast the matrix can be read.

One core reads nearly as fast as all of them, and BLAS's threads, which wait for each other in a loop after every
product, cost more than they bring: here each product is of one thread, and large matrices are cut into pieces that
the pool's threads take as they come.
"""

from __future__ import annotations

import numpy as np

from . import blas
from .blocks import each

PIECE = 1 << 19                                # elements: 2 MB of float32, some 0.2 ms


def times_vector(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """(m, n) whose rows are contiguous, (n,) -> (m,)"""
    out, m = np.empty(len(matrix), matrix.dtype), len(matrix)
    pieces = max(matrix.size // PIECE, 1)
    step = -(-m // pieces)

    def work(start: int) -> None:
        np.matmul(matrix[start:start + step], vector, out=out[start:start + step])

    with blas.single_threaded():
        each(work, range(0, m, step), matrix.size)
    return out


def is_row(x: np.ndarray, weight: np.ndarray) -> bool:
    """Whether x @ weight.T is one row, and large enough to be worth more than one call of BLAS."""
    return x.size == x.shape[-1] and weight.size >= 1 << 14 and weight.dtype.char in "fd" and (
        weight.strides[1] == weight.itemsize)
