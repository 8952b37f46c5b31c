"""The matrix product, from which every product of linear algebra is composed."""

from __future__ import annotations

import numpy as np

from ..graph import primitive
from .shape import swap_dims


# C = A B: dA = G B^T, dB = A^T G. Over batches that were broadcast, the walk sums.
@primitive("Bmm",
           input=lambda g, other: matrix_product(g, swap_dims(other, -2, -1)),
           other=lambda g, input: matrix_product(swap_dims(input, -2, -1), g))
def matrix_product(input, other):
    """The product of two (batches of) matrices, at least 2-D."""
    if input.dtype == np.float16:
        return np.matmul(input, other, dtype=np.float32).astype(np.float16)
    return np.matmul(input, other)
