"""The matrix product, from which every product of linear algebra is composed."""

from __future__ import annotations

import math

import numpy as np

from ..graph import primitive
from ..kernels.products import multiply
from .shape import reshape_to, swap_dims


def _of_other(g, input, shape):
    """A^T G. One matrix that a whole batch was multiplied by gets the sum over the batch, in one product."""
    if len(shape) == 2 and len(g.shape) > 2:
        input, g = (reshape_to(x, (math.prod(x.shape[:-1]), x.shape[-1])) for x in (input, g))
    return matrix_product(swap_dims(input, -2, -1), g)


# C = A B: dA = G B^T, dB = A^T G. Over batches that were broadcast, the walk sums.
@primitive("Bmm", input=lambda g, other: matrix_product(g, swap_dims(other, -2, -1)), other=_of_other)
def matrix_product(input, other):
    """The product of two (batches of) matrices, at least 2-D."""
    dtype = input.dtype
    if dtype == np.float16:
        input, other = input.astype(np.float32), other.astype(np.float32)
    if other.ndim == 2 and input.ndim > 2:               # one large product is faster than many small ones
        out = multiply(input.reshape(math.prod(input.shape[:-1]), input.shape[-1]), other)
        out = out.reshape(*input.shape[:-1], other.shape[-1])
    else:
        out = multiply(input, other)
    return out if out.dtype == dtype else out.astype(dtype)
