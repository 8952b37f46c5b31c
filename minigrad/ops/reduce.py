"""Primitives that reduce dimensions, or run along one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..graph import primitive
from ..kernels.layout import arranged
from ..names import composite
from .elementwise import _where, exp
from .fused import fused
from .logic import isnan
from .shape import expand_to, reshape_to

# ---- dimensions -------------------------------------------------------------------------------------------------


def dims_of(dim: int | Sequence[int] | None, ndim: int, empty_means_all: bool = True) -> tuple[int, ...]:
    """Dimensions counted from the front, checked; all of them for None (and, mostly, for an empty list)."""
    if dim is None or (empty_means_all and isinstance(dim, Sequence) and not len(dim)):
        return tuple(range(ndim))
    dims = tuple(dim_of(d, ndim) for d in (dim if isinstance(dim, list | tuple) else (dim,)))
    for d in dims:
        if dims.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return dims if ndim else ()


def dim_of(dim: int, ndim: int) -> int:
    """One dimension counted from the front; a 0-dim tensor counts as having one."""
    n = ndim or 1
    if type(dim) is int and -n <= dim < n:
        return dim % n
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"argument 'dim' must be int, not {type(dim).__name__}")
    dim = dim.__index__()
    if not -2**63 <= dim < 2**63:
        raise ValueError("Overflow when unpacking long long")
    if not -n <= dim < n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
    return dim % n


def length(shape: tuple, dims: tuple) -> int:
    """How many elements each group has that is reduced to one."""
    return math.prod([shape[d] for d in dims])


def kept(g, dims: tuple, keepdim: bool, shape: tuple):
    """A reduced value with its reduced dimensions as 1s, as keepdim=True would have left it."""
    return g if keepdim else reshape_to(g, tuple(1 if d in dims else n for d, n in enumerate(shape)))


def _spread(g, dims: tuple, keepdim: bool, shape: tuple):
    """A value per reduced group, repeated over the group."""
    return expand_to(kept(g, dims, keepdim, shape), shape)


# ---- sums -------------------------------------------------------------------------------------------------------

def add_up(x: np.ndarray, dims: tuple, keepdim: bool = False) -> np.ndarray:
    """NumPy adds pairwise only along the innermost dimension; along others, rounding errors of single precision grow
    with the length, and a double accumulator keeps them away."""
    own = wide = x.dtype
    if own.char == "e":
        wide = np.float32
    elif own.char == "f" and not (x.flags.c_contiguous and (len(dims) == x.ndim or len(dims) + min(dims) == x.ndim)):
        wide = np.float64
    total = np.add.reduce(x, axis=dims if x.ndim else (), dtype=wide, keepdims=keepdim)
    return np.asarray(total, own, order="C")


@primitive("SumBackward0", input=lambda g, shape: expand_to(g, shape))
def sum_all(input):
    return add_up(input, tuple(range(input.ndim)))


@primitive("SumBackward1", input=lambda g, dims, keepdim, shape: _spread(g, dims, keepdim, shape))
def sum_over(input, dims, keepdim):
    return add_up(input, dims, keepdim)


@composite("MeanBackward1")
def mean_over(input, dims, keepdim):
    return sum_over(input, dims, keepdim) / length(input.shape, dims)


# Var x = sum (x - mean)^2 / (n - c): the derivative by x_i is 2 (x_i - mean) / (n - c), for what moves the mean
# adds nothing, as the differences from it sum to zero. So it is for n < c, too; but of a whole tensor with n <= c torch
# says that there is none.
def _variance_slope(g, input, dims, correction, keepdim, whole, shape):
    g, centred, freedom = kept(g, dims, keepdim, shape), _centred(input, dims), length(shape, dims) - correction
    if whole and freedom <= 0:
        return g * _where(centred == 0, math.nan, math.inf)
    return g * _per(2, freedom) * centred


@primitive("Var", input=_variance_slope)
def var_over(input, dims, correction, keepdim, whole=False):
    centred = _centred(input, dims)
    return sum_over(centred * centred, dims, keepdim) / max(length(input.shape, dims) - correction, 0)


def _centred(x, dims: tuple):
    return x - mean_over(x, dims, True)


def _per(a: float, n: float) -> float:
    return a / n if n else math.inf


# ---- extremes ---------------------------------------------------------------------------------------------------

def _shared(g, input, out, dims, keepdim, shape):
    """Extremes that tie share the gradient evenly."""
    ties = input == kept(out, dims, keepdim, shape)
    return kept(g, dims, keepdim, shape) * ties / sum_over(ties * 1.0, dims, True)


@primitive("Amax", input=_shared)
def max_over(input, dims, keepdim):
    return np.asarray(np.maximum.reduce(input, axis=dims, keepdims=keepdim), order="C")


@fused(lambda input, dims, keepdim: -max_over(-input, dims, keepdim), name="Amin")
def min_over(input, dims, keepdim):
    return np.asarray(np.minimum.reduce(input, axis=dims, keepdims=keepdim), order="C")


@primitive("Select", input=lambda g, input, out: _shared_by_equals(g, input, out))
def element_at(input, place):
    """One element of all, chosen for its value: those that equal it share its gradient."""
    return input.reshape(-1)[place]


def _shared_by_equals(g, input, out):
    equals = (input == out) | isnan(input) & isnan(out)
    return g * equals / sum_all(equals * 1.0)


@primitive("Gather", input=lambda g, index, dim, shape: put_along(g, index, dim, shape))
def take_along(input, index, dim):
    """The elements that an array of indices, none of them twice, names along a dimension."""
    return arranged(np.take_along_axis(input, index, dim), (index,)) if input.ndim else input.copy()


@primitive("Scatter", input=lambda g, index, dim: take_along(g, index, dim))
def put_along(input, index, dim, sizes):
    """The elements at those places, among zeros."""
    if not sizes:
        return np.array(input)
    out = np.zeros(sizes, input.dtype)
    np.put_along_axis(out, index, input, dim)
    return out


# ---- running along a dimension ----------------------------------------------------------------------------------


@primitive("Logsumexp", input=lambda g, input, out, dims, keepdim, shape: kept(g, dims, keepdim, shape) * exp(
    input - kept(out, dims, keepdim, shape)))
def logsumexp_over(input, dims, keepdim):
    top = np.maximum.reduce(input, axis=dims, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0).astype(input.dtype)
    return np.log(add_up(np.exp(input - top), dims, keepdim)) + top.reshape(
        top.shape if keepdim else tuple(n for d, n in enumerate(top.shape) if d not in dims))


# y = e^x / sum e^x: dy_i/dx_j = y_i (d_ij - y_j), so the vjp is y (g - sum g y).
@primitive("Softmax", input=lambda g, out, dim: out * (g - sum_over(g * out, (dim,), True)))
def softmax_along(input, dim):
    input = np.asarray(input, order="C")                    # as torch lays out its results
    if input.dtype == np.float16:
        return softmax_along(input.astype(np.float32), dim).astype(np.float16)
    e = np.exp(input - np.maximum.reduce(input, axis=dim, keepdims=True, initial=-np.inf))
    e /= np.add.reduce(e, axis=dim, keepdims=True)
    return e


# y = x - log sum e^x: dy_i/dx_j = d_ij - softmax_j, so the vjp is g - softmax * sum g.
@primitive("LogSoftmax", input=lambda g, out, dim: g - exp(out) * sum_over(g, (dim,), True))
def log_softmax_along(input, dim):
    input = np.asarray(input, order="C")
    if input.dtype == np.float16:
        return log_softmax_along(input.astype(np.float32), dim).astype(np.float16)
    y = input - np.maximum.reduce(input, axis=dim, keepdims=True, initial=-np.inf)
    y -= np.log(np.add.reduce(np.exp(y), axis=dim, keepdims=True))
    return y
