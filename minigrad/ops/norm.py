"""Vector norms of any order, with torch's subgradients where they have no derivative."""

from __future__ import annotations

import math

import numpy as np

from ..graph import primitive
from ..kernels.norm import sum_of_squares
from .elementwise import _pow as power
from .elementwise import abs, where
from .logic import isnan
from .reduce import add_up, kept, sum_over
from .special import sgn


@primitive("LinalgVectorNorm", input=lambda g, input, out, ord, dims, keepdim, shape: _norm_slope(
    kept(g, dims, keepdim, shape), input, kept(out, dims, keepdim, shape), ord, dims))
def norm_over(input, ord, dims, keepdim):
    """(sum |x|^p)^(1/p), and what it tends to for p = 0 (the number of non-zeros) and p = inf, -inf."""
    if input.dtype.char == "e":                                     # its squares would overflow
        return norm_over(input.astype(np.float32), ord, dims, keepdim).astype(np.float16)
    if ord == 2:
        if len(dims) == input.ndim and input.flags.c_contiguous:
            return np.sqrt(sum_of_squares(input)).reshape((1,) * input.ndim if keepdim else ())
        return np.sqrt(add_up(input * input, dims, keepdim))
    size = np.abs(input)
    if ord in (math.inf, -math.inf):
        return (np.maximum if ord > 0 else np.minimum).reduce(size, axis=dims, keepdims=keepdim)
    if ord == 0:
        return add_up((size != 0).astype(input.dtype), dims, keepdim)
    return add_up(size, dims, keepdim) if ord == 1 else add_up(size ** ord, dims, keepdim) ** (1 / ord)


def _norm_slope(g, x, norm, p, dims):
    """d norm / dx = sign(x) (|x| / norm)^(p-1), taken as 0 where it has no limit."""
    if p == 0:
        return None
    if p == 1:
        return g * sgn(x)
    if p == 2:
        return g * where(norm == 0, 0.0, x / norm)
    if p in (math.inf, -math.inf):
        ties = (abs(x) == norm) | isnan(norm) & isnan(x)
        return sgn(x) * (g / sum_over(ties * 1.0, dims, True) * ties)
    if p < 1:
        return g * power(norm, 1 - p) * (sgn(x) * where(x == 0, 0.0, power(abs(x), p - 1)))
    if p < 2:
        return g * where(norm == 0, 0.0, power(norm, 1 - p)) * (sgn(x) * power(abs(x), p - 1))
    return g * (x * power(abs(x), p - 2) / power(where(norm == 0, 1.0, norm), p - 1))
