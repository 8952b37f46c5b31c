"""Primitives that reduce dimensions, or run along one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph import primitive
from .elementwise import exp
from .shape import expand_to, flip_dims, reshape_to


def dims_of(dim: int | Sequence[int] | None, ndim: int, empty_means_all: bool = True) -> tuple[int, ...]:
    """Dimensions counted from the front, checked; all of them for None (and, mostly, for an empty list)."""
    if dim is None or (empty_means_all and isinstance(dim, Sequence) and not len(dim)):
        return tuple(range(ndim))
    dims = tuple(dim_of(d, ndim) for d in (dim if isinstance(dim, Sequence) else (dim,)))
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


def _spread(g, dims: tuple, keepdim: bool, shape: tuple):
    """A value per reduced group, repeated over the group."""
    return expand_to(kept(g, dims, keepdim, shape), shape)


def kept(g, dims: tuple, keepdim: bool, shape: tuple):
    """A reduced value with its reduced dimensions as 1s, as keepdim=True would have left it."""
    return g if keepdim else reshape_to(g, tuple(1 if d in dims else n for d, n in enumerate(shape)))


@primitive("Sum", input=lambda g, dims, keepdim, shape: _spread(g, dims, keepdim, shape))
def sum_over(input, dims, keepdim):
    if input.dtype == np.float16:
        return np.add.reduce(input, axis=dims, keepdims=keepdim, dtype=np.float32).astype(np.float16)
    return np.add.reduce(input, axis=dims, keepdims=keepdim)


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


@primitive("Cumsum", input=lambda g, dim: flip_dims(cumsum_along(flip_dims(g, (dim,)), dim), (dim,)))
def cumsum_along(input, dim):
    if input.dtype == np.float16:
        return np.cumsum(input, dim, np.float32).astype(np.float16)
    return np.cumsum(input, dim)


# y = e^x / sum e^x: dy_i/dx_j = y_i (d_ij - y_j), so the vjp is y (g - sum g y).
@primitive("Softmax", input=lambda g, out, dim: out * (g - sum_over(g * out, (dim,), True)))
def softmax_along(input, dim):
    e = np.exp(input - np.maximum.reduce(input, axis=dim, keepdims=True, initial=-np.inf))
    e /= np.add.reduce(e, axis=dim, keepdims=True)
    return e


# y = x - log sum e^x: dy_i/dx_j = d_ij - softmax_j, so the vjp is g - softmax * sum g.
@primitive("LogSoftmax", input=lambda g, out, dim: g - exp(out) * sum_over(g, (dim,), True))
def log_softmax_along(input, dim):
    y = input - np.maximum.reduce(input, axis=dim, keepdims=True, initial=-np.inf)
    y -= np.log(np.add.reduce(np.exp(y), axis=dim, keepdims=True))
    return y


