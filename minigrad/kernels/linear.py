"""A linear layer as one op: y = x W^T + b, over however many leading dimensions x has.

Composed, it is a transpose, a matrix product, an addition and two reshapes; most of a small model's calls are this one.
"""

from __future__ import annotations

import math

import numpy as np

from ..graph import Variable, primitive
from ..ops.matmul import matrix_product
from ..ops.shape import reshape_to, swap_dims
from . import blas, memory
from .products import aside, multiply


# With the batch folded into rows, Y = X W^T + b, and so dW = G^T X, db = the sum of G's rows, dX = G W. The last is
# this op again, and only for it does the walk wait: so dW, which is done on the side, comes first. What db leaves
# broadcast, the walk sums.
@primitive("Addmm",
           weight=lambda g, input: _by_weight(_rows(g), _rows(input)),
           bias=lambda g, shape: g if isinstance(g, Variable) else _column_sums(g, shape),
           input=lambda g, weight: affine(g, swap_dims(weight, 0, 1), None))
def affine(input, weight, bias):
    """input (..., n), weight (m, n), bias (m,) or None -> (..., m)"""
    if input.dtype.char == "e":                                     # rounded once, after the bias
        wide = [a if a is None else a.astype(np.float32) for a in (input, weight, bias)]
        return affine(*wide).astype(np.float16)
    shape = input.shape
    # One row, as in generating a token: a matrix times a vector, for which BLAS has a kernel, and threads.
    one = input.size == shape[-1] and weight.size
    by_column = bias is not None and bias.shape == (len(weight),)
    if one:
        out = blas.dot(weight, input.reshape(-1))
        if by_column:
            np.add(out, bias, out)
    else:
        out = multiply(_rows(input), weight.T, bias=bias if by_column else None)
    if out.ndim != len(shape):
        out = out.reshape(*shape[:-1], len(weight))
    return out if by_column or bias is None else out + bias


def _by_weight(g, input):
    """g (rows, m), input (rows, n) -> (m, n); of a large weight, where its last gradient lay"""
    if isinstance(g, Variable) or g.dtype.char not in "fd":
        return matrix_product(swap_dims(g, 0, 1), input)
    out = memory.empty((g.shape[1], input.shape[1]), g.dtype)
    return aside(g.T, input, out)


def _rows(x):
    """All leading dimensions as one."""
    shape = x.shape
    return x if len(shape) == 2 else reshape_to(x, (math.prod(shape[:-1]), shape[-1]))


def _column_sums(g, shape: tuple):
    """The gradient of a bias. Single precision adds up to 64 rows, and double the sums of these."""
    if shape != g.shape[-1:] or not g.flags.c_contiguous or g.size < 1 << 12:
        return g
    rows = g.reshape(-1, g.shape[-1])
    blocks = len(rows) // 64
    with blas.SingleThreaded():                  # 64 rows are not worth two of its threads
        sums = np.matmul(np.ones(64, g.dtype), rows[:64 * blocks].reshape(blocks, 64, rows.shape[1]))
    total = np.add.reduce(sums, 0, np.float64) + np.add.reduce(rows[64 * blocks:], 0)
    return total.astype(g.dtype)
