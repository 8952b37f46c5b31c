"""Primitives that reduce dimensions, or run along one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..graph import Variable, primitive
from .elementwise import _pow as power
from .elementwise import abs, exp, isnan, sgn, where
from .shape import concatenate, expand_to, flip_dims, narrow_to, reshape_to

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
    n = max(ndim, 1)
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"argument 'dim' must be int, not {type(dim).__name__}")
    dim = dim.__index__()
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


def _all_dims(x) -> tuple[int, ...]:
    return tuple(range(len(x.shape)))


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
    return total if wide is own else total.astype(own)


@primitive("SumBackward0", input=lambda g, shape: expand_to(g, shape))
def sum_all(input):
    return add_up(input, tuple(range(input.ndim)))


@primitive("SumBackward1", input=lambda g, dims, keepdim, shape: _spread(g, dims, keepdim, shape))
def sum_over(input, dims, keepdim):
    return add_up(input, dims, keepdim)


@primitive("MeanBackward1", input=lambda g, dims, keepdim, shape: _spread(
    g / length(shape, dims), dims, keepdim, shape))
def mean_over(input, dims, keepdim):
    return add_up(input, dims, keepdim) / length(input.shape, dims)


# Var x = sum (x - mean)^2 / (n - c): the derivative by x_i is 2 (x_i - mean) / (n - c), for what moves the mean
# adds nothing, as the differences from it sum to zero.
@primitive("Var", input=lambda g, input, dims, correction, keepdim, shape:
           kept(g, dims, keepdim, shape) * _per(2, length(shape, dims) - correction) * _centred(input, dims))
def var_over(input, dims, correction, keepdim):
    centred = _centred(input, dims)
    total = add_up(centred * centred, dims, keepdim)
    return total / max(length(input.shape, dims) - correction, 0)


def _centred(x, dims: tuple):
    return x - mean_over(x, dims, True)


def _per(a: float, n: float) -> float:
    return a / n if n else math.inf


@primitive("LinalgVectorNorm", input=lambda g, input, out, ord, dims, keepdim, shape: _norm_slope(
    kept(g, dims, keepdim, shape), input, kept(out, dims, keepdim, shape), ord, dims))
def norm_over(input, ord, dims, keepdim):
    """(sum |x|^p)^(1/p), and what it tends to for p = 0 (the number of non-zeros) and p = inf, -inf."""
    if ord == 2:
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


# ---- extremes ---------------------------------------------------------------------------------------------------

def _shared(g, input, out, dims, keepdim, shape):
    """Extremes that tie share the gradient evenly."""
    ties = input == kept(out, dims, keepdim, shape)
    return kept(g, dims, keepdim, shape) * ties / sum_over(ties * 1.0, dims, True)


@primitive("Amax", input=_shared)
def max_over(input, dims, keepdim):
    return np.maximum.reduce(input, axis=dims, keepdims=keepdim)


@primitive("Amin", input=_shared)
def min_over(input, dims, keepdim):
    return np.minimum.reduce(input, axis=dims, keepdims=keepdim)


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
    return np.take_along_axis(input, index, dim) if input.ndim else input.copy()


@primitive("Scatter", input=lambda g, index, dim: take_along(g, index, dim))
def put_along(input, index, dim, sizes):
    """The elements at those places, among zeros."""
    if not sizes:
        return np.array(input)
    out = np.zeros(sizes, input.dtype)
    np.put_along_axis(out, index, input, dim)
    return out


# ---- running along a dimension ----------------------------------------------------------------------------------

def accumulate(f: np.ufunc, x: np.ndarray, dim: int) -> np.ndarray:
    """f.accumulate with the precision of torch's: single precision in double, half in single."""
    if not x.ndim:
        return x.copy()
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
    return np.multiply.reduce(input, axis=dim, keepdims=keepdim, dtype=input.dtype) if input.ndim else input.copy()


# y_j = ln sum_(i<=j) e^(x_i), so dy_j/dx_i = e^(x_i - y_j) = e^(x_i - y_i) e^(y_i - y_(i+1)) ... e^(y_(j-1) - y_j):
# factors of at most 1, so that nothing overflows.
@primitive("Logcumsumexp", input=lambda g, input, out, dim: _difference_exp(input, out) * recurrence(
    g, _difference_exp(shifted(out, dim, 1, -math.inf), out), dim) if input.shape else g)
def logcumsumexp_along(input, dim):
    return accumulate(np.logaddexp, input, dim)


def _difference_exp(x, y):
    """e^(x - y), and 1 where both are the same infinity."""
    return exp(where(x == y, 0.0, x - y))


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
    if input.dtype == np.float16:
        return softmax_along(input.astype(np.float32), dim).astype(np.float16)
    e = np.exp(input - np.maximum.reduce(input, axis=dim, keepdims=True, initial=-np.inf))
    e /= np.add.reduce(e, axis=dim, keepdims=True)
    return e


# y = x - log sum e^x: dy_i/dx_j = d_ij - softmax_j, so the vjp is g - softmax * sum g.
@primitive("LogSoftmax", input=lambda g, out, dim: g - exp(out) * sum_over(g, (dim,), True))
def log_softmax_along(input, dim):
    if input.dtype == np.float16:
        return log_softmax_along(input.astype(np.float32), dim).astype(np.float16)
    y = input - np.maximum.reduce(input, axis=dim, keepdims=True, initial=-np.inf)
    y -= np.log(np.add.reduce(np.exp(y), axis=dim, keepdims=True))
    return y
