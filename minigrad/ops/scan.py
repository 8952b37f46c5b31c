"""Primitives that run along a dimension: cumulative sums and products."""

from __future__ import annotations

import numpy as np

from ..graph import Variable, primitive
from .elementwise import abs, exp, log, where
from .reduce import kept
from .shape import concatenate, flip_dims, narrow_to


def accumulate(f: np.ufunc, x: np.ndarray, dim: int) -> np.ndarray:
    """f.accumulate with the precision of torch's: single precision in double, half in single."""
    if not x.ndim:
        return x.copy()
    x = np.asarray(x, order="C")
    wide = {2: np.float32, 4: np.float64}.get(x.dtype.itemsize) if x.dtype.kind == "f" else None
    return f.accumulate(x, dim, wide or x.dtype).astype(x.dtype, copy=False)


@primitive("Cumsum", input=lambda g, dim: reversed_cumsum(g, dim))
def cumsum_along(input, dim):
    return accumulate(np.add, input, dim)


def reversed_cumsum(x, dim: int):
    return flip_dims(cumsum_along(flip_dims(x, (dim,)), dim), (dim,)) if x.shape else x


# y_j = x_1 ... x_j, so dy_j/dx_i is, without a division, (x_1 ... x_(i-1)) (x_(i+1) ... x_j). The left factor is a
# running product; the sum over j of g_j times the right one is r_i = g_i + x_(i+1) r_(i+1).
@primitive("Cumprod", input=lambda g, input, dim: _running_products(input, dim) * recurrence(g, input, dim)
           if input.shape else g)
def cumprod_along(input, dim):
    return accumulate(np.multiply, input, dim)


def _running_products(x, dim: int):
    """1, x_1, x_1 x_2, ...: the products of all elements before each."""
    n = x.shape[dim]
    return shifted(cumprod_along(x, dim), dim, 1, 1.0) if n else x


def shifted(x, dim: int, by: int, fill: float):
    """x moved along a dimension (backwards if `by` is negative); `fill` is what comes in."""
    n = x.shape[dim]
    new = min(by if by > 0 else -by, n)
    edge = np.full((*x.shape[:dim], new, *x.shape[dim + 1:]), fill, (x.array if isinstance(x, Variable) else x).dtype)
    if by > 0:
        return concatenate(dim, (0, new), edge, narrow_to(x, dim, 0, n - new))
    return concatenate(dim, (0, n - new), narrow_to(x, dim, new, n - new), edge)


def recurrence(b, a, dim: int):
    """r_i = b_i + a_(i+1) r_(i+1), from the last to the first, in log2(n) steps: after each, r_i covers twice as many
    terms, and a_i is the factor by which what lies behind them counts."""
    n, reach = b.shape[dim], 1
    a = shifted(a, dim, -1, 0.0)
    while reach < n:
        b = b + a * shifted(b, dim, -reach, 0.0)
        a = a * shifted(a, dim, -reach, 0.0)
        reach *= 2
    return b


# The product of all others is that of those before times that of those behind.
@primitive("ProdBackward1", input=lambda g, input, dim, keepdim, shape: kept(g, (dim,), keepdim, shape) * (
    _running_products(input, dim) * flip_dims(_running_products(flip_dims(input, (dim,)), dim), (dim,)))
    if shape else g)
def prod_along(input, dim, keepdim):
    if not input.ndim:
        return input.copy()
    return np.asarray(np.multiply.reduce(input, axis=dim, keepdims=keepdim, dtype=input.dtype), order="C")


# y_j = ln sum_(i<=j) e^(x_i), so dy_j/dx_i = e^(x_i - y_j), and dx_i = e^(x_i) sum_(j>=i) g_j e^(-y_j). The sum would
# overflow, its logarithm does not: it is a running one of ln g_j - y_j from behind, for positive and negative g apart.
@primitive("Logcumsumexp", input=lambda g, input, out, dim: _share(g, input, out, dim) - _share(-g, input, out, dim)
           if input.shape else g)
def logcumsumexp_along(input, dim):
    return accumulate(np.logaddexp, input, dim)


def _share(g, input, out, dim: int):
    """What the positive ones among the gradients contribute."""
    lowest = float(np.finfo((g.array if isinstance(g, Variable) else g).dtype).min)      # not -inf, whose slope is NaN
    sources = where(g > 0, log(abs(g)), lowest) - out
    return exp(flip_dims(logcumsumexp_along(flip_dims(sources, (dim,)), dim), (dim,)) + input)
