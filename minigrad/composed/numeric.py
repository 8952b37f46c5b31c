"""Statistics, differences, distances, and other functions that are compositions of the common ones; and what tensors
say about themselves beyond metadata."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from .. import dtypes
from ..graph import Tensor, Variable, new_tensor, primitive
from ..kernels.layout import flat, owner
from ..names import composite
from ..ops.elementwise import abs as absolute
from ..ops.elementwise import where
from ..ops.logic import check_tensors
from ..ops.promotion import promoted, to_floating
from ..ops.reduce import dim_of
from .inplace import inplace
from .joining import cat, narrow, stack
from .shape import expand, flatten, unsqueeze

# ---- order ------------------------------------------------------------------------------------------------------


def quantile(input: Tensor, q: float | Tensor, dim: int | None = None, keepdim: bool = False, *,
             interpolation: str = "linear") -> Tensor:
    """The value below which the fraction q of the elements lies; between two elements, interpolated."""
    return _quantile("quantile", input, q, dim, keepdim, interpolation, skip_nan=False)


def nanquantile(input: Tensor, q: float | Tensor, dim: int | None = None, keepdim: bool = False, *,
                interpolation: str = "linear") -> Tensor:
    """quantile of the elements that are numbers."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, skip_nan=True)


def _quantile(name: str, input, q, dim, keepdim: bool, interpolation: str, skip_nan: bool):
    check_tensors(name, input=input)
    if input.array.size == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if input.array.dtype not in (np.float32, np.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but "
                           f"got {interpolation}")
    qs = q if isinstance(q, Variable) else new_tensor(np.asarray(q, input.array.dtype))
    if qs.array.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if qs.array.dtype != input.array.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    if not ((qs.array >= 0) & (qs.array <= 1)).all():
        raise RuntimeError(f"{name}() q must be in the range [0, 1]" + ("" if isinstance(q, Variable) else
                           f" but got {q}"))
    shape = [1] * input.array.ndim if dim is None else list(input.array.shape)
    x = flatten(input) if dim is None else input.movedim(dim, -1)
    if dim is not None and input.array.ndim:
        shape[dim_of(dim, input.array.ndim)] = 1
    if not x.array.ndim:
        x = x.reshape(1)
    ordered = x.sort(-1)[0]
    n, valid = x.array.shape[-1], ~np.isnan(x.array)
    last = valid.sum(-1, keepdims=True) - 1 if skip_nan else np.full((*x.array.shape[:-1], 1), n - 1)
    rank = qs.array.reshape((-1,) + (1,) * x.array.ndim) * last                       # (Q, ..., 1)
    if not skip_nan:
        rank = np.where(valid.all(-1, keepdims=True), rank, n - 1)     # a NaN, sorted last, is the answer
    rank = np.maximum(rank, 0).astype(input.array.dtype)
    below = {"higher": np.ceil, "nearest": np.rint}.get(interpolation, np.floor)(rank)

    def at(places: np.ndarray):
        places = places.astype(np.int64)
        return expand(ordered.unsqueeze(0), (places.shape[0], *x.shape)).gather(-1, new_tensor(places))

    result = at(below)
    if interpolation in ("linear", "midpoint"):
        weight = np.full_like(rank, 0.5) if interpolation == "midpoint" else rank - below
        result = result.lerp(at(np.ceil(rank)), new_tensor(weight))
    result = result.reshape(-1, *shape) if keepdim else result.squeeze(-1)
    return result if qs.array.ndim else result.squeeze(0)


# ---- statistics -------------------------------------------------------------------------------------------------

def cov(input: Tensor, *, correction: int = 1, fweights: Tensor | None = None,
        aweights: Tensor | None = None) -> Tensor:
    """The covariances of the rows, over the columns."""
    check_tensors("cov", input=input)
    if input.array.ndim > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got an input with "
                           f"{input.array.ndim} dimensions")
    x = to_floating(input)
    x = x if x.array.ndim == 2 else x.reshape(1, -1)
    weight = fweights if aweights is None else aweights if fweights is None else fweights * aweights
    if weight is None:
        total, norm = x.size(1), x.size(1) - correction
        mean = x.sum(1, keepdim=True) / total
        y = scaled = x - mean
    else:
        weight = weight.to(x.dtype)
        total = weight.sum()
        mean = (x * weight).sum(1, keepdim=True) / total
        norm = total - correction * ((weight * (aweights if aweights is not None else 1)).sum() / total)
        y = x - mean
        scaled = y * weight
    if not isinstance(norm, Variable) and norm <= 0:
        warnings.warn("cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of "
                      "observations.", stacklevel=2)
        norm = 0.0
    c = y @ scaled.t() / norm
    return c if input.array.ndim == 2 else c.reshape(())


def corrcoef(input: Tensor) -> Tensor:
    """The correlations of the rows, within [-1, 1]."""
    c = cov(input)
    if not c.array.ndim:
        return c / c
    d = c.diagonal().sqrt()
    return (c / d.unsqueeze(1) / d.unsqueeze(0)).clamp(-1, 1)


def diff(input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None,
         append: Tensor | None = None) -> Tensor:
    """Each element minus the one before it, n times over."""
    check_tensors("diff", input=input)
    if input.array.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    dim = dim_of(dim, input.array.ndim)
    parts = [x for x in (prepend, input, append) if x is not None]
    x = cat(parts, dim) if len(parts) > 1 else input
    for _ in range(n):
        size = x.array.shape[dim]
        if size < 2:
            return narrow(x, dim, 0, 0)
        new, old = narrow(x, dim, 1, size - 1), narrow(x, dim, 0, size - 1)
        x = new.logical_xor(old) if x.array.dtype.kind == "b" else new - old
    return x if n else x.clone()


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integral along a dimension, by trapezoids."""
    return _trapezoids(y, x, dx, dim).sum(dim)


trapz = trapezoid


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integral up to each element."""
    return _trapezoids(y, x, dx, dim).cumsum(dim)


def _trapezoids(y, x, dx, dim: int):
    dim = dim_of(dim, y.array.ndim)
    n = y.array.shape[dim]
    means = (narrow(y, dim, 0, max(n - 1, 0)) + narrow(y, dim, min(1, n), max(n - 1, 0))) / 2
    if x is None:
        return means * dx
    steps = diff(x, dim=dim if x.array.ndim == y.array.ndim else -1)
    if x.array.ndim == 1 != y.array.ndim:
        steps = steps.reshape((-1,) + (1,) * (y.array.ndim - 1 - dim))
    return means * steps


# ---- distances --------------------------------------------------------------------------------------------------

@composite("CdistBackward0")
def _cdist(x1, x2, p: float):
    gap = unsqueeze(x1, -2) - unsqueeze(x2, -3)
    return gap.norm(p, -1)


@composite("EuclideanDistBackward0")
def _euclidean(x1, x2):
    return (unsqueeze(x1, -2) - unsqueeze(x2, -3)).norm(2, -1)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """(..., P, M), (..., R, M) -> (..., P, R): the p-norms of all differences of rows."""
    check_tensors("cdist", x1=x1, x2=x2)
    if x1.array.ndim < 2 or x2.array.ndim < 2:
        raise RuntimeError("cdist only supports at least 2D tensors, X1 got: "
                           f"{x1.array.ndim}D" if x1.array.ndim < 2 else
                           f"cdist only supports at least 2D tensors, X2 got: {x2.array.ndim}D")
    if x1.size(-1) != x2.size(-1):
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.size(-1)} X2: {x2.size(-1)}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    by_products = p == 2 and (max(x1.size(-2), x2.size(-2)) > 25 or compute_mode == "use_mm_for_euclid_dist")
    return _euclidean(x1, x2) if by_products and compute_mode != "donot_use_mm_for_euclid_dist" else _cdist(x1, x2, p)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norms of the differences of each row with those after it."""
    rows, others = np.triu_indices(input.size(0), 1)
    return (input[new_tensor(rows)] - input[new_tensor(others)]).norm(p, -1)


# ---- elementwise ------------------------------------------------------------------------------------------------

def isin(elements: Tensor | float, test_elements: Tensor | float, *, assume_unique: bool = False,
         invert: bool = False) -> Tensor:
    """Where the elements are among the others."""
    a, b = (x.array if isinstance(x, Variable) else np.asarray(x) for x in (elements, test_elements))
    return new_tensor(np.asarray(np.isin(a, b, assume_unique=False, invert=invert)))


def isreal(input: Tensor) -> Tensor:
    return new_tensor(np.ones(input.array.shape, bool))


def signbit(input: Tensor) -> Tensor:
    """Where the sign is minus, that of -0.0 too."""
    array = input.array
    return new_tensor(np.asarray(np.signbit(array) if array.dtype.kind == "f" else array < 0))


@primitive("Copysign", input=lambda g, input, out: g * where(input == 0, 0.0, out / where(input == 0, 1.0, input)),
           other=lambda g: g * 0.0)
def _copysign(input, other):
    return np.copysign(input, other)


def copysign(input: Tensor, other: Tensor | float) -> Tensor:
    """The size of the one with the sign of the other."""
    return _copysign(*promoted(to_floating(input), other, floating=True))


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below zero, 1 above, `values` at zero."""
    if input.dtype != values.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    return new_tensor(np.asarray(np.where(input.array == 0, values.array, input.array > 0)).astype(input.array.dtype))


def gcd(input: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor."""
    a, b = promoted(input, other)
    return new_tensor(np.asarray(np.gcd(a.array, b.array if isinstance(b, Variable) else b)))


def lcm(input: Tensor, other: Tensor) -> Tensor:
    """The least common multiple."""
    a, b = promoted(input, other)
    return new_tensor(np.asarray(np.lcm(a.array, b.array if isinstance(b, Variable) else b)))


def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input 2^other"""
    return input * 2.0**other


def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The next floating point number towards the other."""
    return new_tensor(np.asarray(np.nextafter(input.array, other.array)))


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each element, side by side."""
    n = x.size(0) if N is None else N
    columns = stack([x**k for k in range(n)], -1) if n else x.new_empty(x.size(0), 0)
    return columns if increasing else columns.flip(-1)


def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along a dimension whose p-norm is above maxnorm, scaled down to it."""
    dim = dim_of(dim, input.array.ndim)
    others = tuple(d for d in range(input.array.ndim) if d != dim)
    norm = (absolute(input)**p).sum(others, keepdim=True)**(1 / p) if p != math.inf else input.abs().amax(others, True)
    return input * where(norm > maxnorm, maxnorm / (norm + 1e-7), 1.0)


def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Places in a flattened tensor, as places in its dimensions."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return tuple(new_tensor(np.asarray(i)) for i in np.unravel_index(indices.array, shape))


def _gamma_logarithm(x: np.ndarray) -> np.ndarray:
    values = np.vectorize(_lgamma, otypes=[np.float64])(x) if x.size else x
    return np.asarray(values).astype(x.dtype)


def _lgamma(x: float) -> float:
    return math.inf if x == -math.inf or x <= 0 and x == math.floor(x) else math.lgamma(x)


@primitive("Lgamma", input=lambda g, input: g * digamma(input))
def _lgammas(input):
    return _gamma_logarithm(input)


def lgamma(input: Tensor) -> Tensor:
    """ln |gamma(x)|"""
    return _lgammas(to_floating(input))


@primitive("Digamma")
def _digammas(input):
    """By reflection for negative numbers; by recurrence up to 10, and from there by the asymptotic series."""
    x = input.astype(np.float64)
    pole = (x <= 0) & (x == np.floor(x))
    mirrored = (x < 0) & ~pole
    y = np.where(mirrored, 1 - x, np.where(pole, 1.0, x))
    result = np.zeros_like(y)
    for _ in range(10):
        small = y < 10
        result = np.where(small, result - 1 / y, result)
        y = np.where(small, y + 1, y)
    z = 1 / (y * y)
    series = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132 - z * 691 / 32760)))))
    result = result + np.log(y) - 0.5 / y - series
    result = np.where(mirrored, result - np.pi / np.tan(np.pi * np.where(mirrored, x, 0.5)), result)
    result = np.where(pole, np.where(x == 0, -np.copysign(np.inf, x), np.nan), result)
    return np.asarray(result).astype(input.dtype)


def digamma(input):
    """The derivative of lgamma."""
    return _digammas(input if isinstance(input, np.ndarray) else to_floating(input))


# ---- windows ----------------------------------------------------------------------------------------------------

def _cosine_window(a: float, b: float, c: float = 0.0):
    def window(window_length: int, periodic: bool = True, *, dtype: dtypes.dtype | None = None, layout=None,
               device=None, requires_grad: bool = False) -> Tensor:
        kind = dtypes.to_numpy(dtype or dtypes.get_default_dtype())
        if window_length == 1:
            return new_tensor(np.ones(1, kind), requires_grad)
        t = 2 * np.pi * np.arange(window_length) / (window_length if periodic else window_length - 1)
        return new_tensor((a - b * np.cos(t) + c * np.cos(2 * t)).astype(kind), requires_grad)
    return window


hann_window, hamming_window = _cosine_window(0.5, 0.5), _cosine_window(0.54, 0.46)
blackman_window = _cosine_window(0.42, 0.5, 0.08)


# ---- what tensors say about themselves, and torch's further forms -------------------------------------------------

def is_nonzero(input: Tensor) -> bool:
    if input.array.size != 1:
        raise RuntimeError("Boolean value of Tensor with " + ("more than one value" if input.array.size else
                           "no values") + " is ambiguous")
    return bool(input)


def is_same_size(input: Tensor, other: Tensor) -> bool:
    return input.array.shape == other.array.shape


def fill(input: Tensor, value: Tensor | float) -> Tensor:
    """A tensor like this one, full of the value."""
    return input.clone().fill_(value)


def frombuffer(buffer, *, dtype: dtypes.dtype, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A tensor in the memory of a buffer."""
    return new_tensor(np.frombuffer(buffer, dtypes.to_numpy(dtype), count, offset), requires_grad)


class _Memory:
    """A tensor's memory: as much as its users ask of it."""

    def __init__(self, array: np.ndarray):
        self._array = flat(owner(array))

    def nbytes(self) -> int:
        return self._array.nbytes

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self._array.nbytes

    def data_ptr(self) -> int:
        return self._array.ctypes.data

    def size(self) -> int:
        return self._array.size

    __len__ = size

    def element_size(self) -> int:
        return self._array.itemsize

    def tolist(self) -> list:
        return self._array.reshape(-1).tolist()

    def __getitem__(self, i: int):
        return self._array.reshape(-1)[i].item()


class _Bytes(_Memory):
    """The memory in bytes."""

    def size(self) -> int:
        return self._array.nbytes

    __len__ = size


class Methods:
    __slots__ = ()
    quantile, nanquantile, cov, corrcoef, diff = quantile, nanquantile, cov, corrcoef, diff
    isreal, signbit, copysign, heaviside, gcd, lcm, ldexp = isreal, signbit, copysign, heaviside, gcd, lcm, ldexp
    nextafter, renorm, lgamma, digamma = nextafter, renorm, lgamma, digamma
    copysign_, lgamma_, digamma_, renorm_ = inplace(copysign), inplace(lgamma), inplace(digamma), inplace(renorm)
    is_nonzero, is_same_size = is_nonzero, is_same_size
    is_cpu = True
    is_xla = is_xpu = is_ipu = is_mkldnn = is_vulkan = is_mtia = is_maia = is_sparse_csr = False
    names = property(lambda self: (None,) * self.array.ndim)
    name = None

    def storage(self) -> _Memory:
        return _Memory(self.array)

    def untyped_storage(self) -> _Bytes:
        return _Bytes(self.array)

    def share_memory_(self) -> Tensor:
        """Nothing to do: threads share it, and processes get copies."""
        return self

    def is_shared(self) -> bool:
        return False

    def is_conj(self) -> bool:
        return False

    def is_neg(self) -> bool:
        return False

    def is_set_to(self, tensor: Tensor) -> bool:
        return (self.array.shape == tensor.array.shape and self.array.strides == tensor.array.strides
                and self.data_ptr() == tensor.data_ptr())

    def conj(self) -> Tensor:
        return self

    resolve_conj = resolve_neg = conj

    @property
    def real(self) -> Tensor:
        return self

    def to_dense(self, dtype: dtypes.dtype | None = None, *, masked_grad: bool | None = None) -> Tensor:
        return self if dtype is None else self.to(dtype)

    def new(self, *args) -> Tensor:
        """A tensor of this dtype, as torch.Tensor makes them: of sizes, or of values."""
        if len(args) == 1 and isinstance(args[0], list | tuple | np.ndarray | Variable):
            return self.new_tensor(args[0]) if not isinstance(args[0], Variable) else args[0].to(self.dtype)
        return self.new_empty(args or (0,))

    def fill_diagonal_(self, fill_value: float, wrap: bool = False) -> Tensor:
        """The diagonal, overwritten; with `wrap` again below, where a matrix is tall."""
        if self.array.ndim < 2:
            raise RuntimeError("dimensions must larger than 1")
        if self.array.ndim == 2 and not wrap:
            self.diagonal().fill_(fill_value)
        else:
            mask = np.zeros(self.array.shape, bool)
            np.fill_diagonal(mask, True, wrap)
            self.masked_fill_(new_tensor(mask), fill_value)
        return self

    def sum_to_size(self, *size) -> Tensor:
        """Summed over what was expanded from this size."""
        size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
        lead = self.array.ndim - len(size)
        x = self.sum(tuple(np.arange(lead).tolist())) if lead else self
        dims = tuple(d for d, (n, m) in enumerate(zip(size, x.array.shape)) if n == 1 != m)
        return x.sum(dims, keepdim=True) if dims else x

    def as_subclass(self, cls: type) -> Tensor:
        return cls(self.array) if cls is not type(self) else self

    def apply_(self, callable) -> Tensor:
        """Each element, replaced by what a function of Python makes of it."""
        values = [callable(v) for v in self.array.reshape(-1).tolist()]
        self._write(np.asarray(values, self.array.dtype).reshape(self.array.shape))
        return self

    def map_(self, tensor: Tensor, callable) -> Tensor:
        """Each element, replaced by what a function of Python makes of it and another tensor's."""
        other = np.broadcast_to(tensor.array, self.array.shape)
        values = [callable(a, b) for a, b in zip(self.array.reshape(-1).tolist(), other.reshape(-1).tolist())]
        self._write(np.asarray(values, self.array.dtype).reshape(self.array.shape))
        return self

    def resize_(self, *sizes, memory_format=None) -> Tensor:
        """Other sizes, in place; the elements keep their order, and new ones are zero."""
        sizes = tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
        if self.requires_grad:
            raise RuntimeError("cannot resize variables that require grad")
        flat = np.zeros(math.prod(sizes), self.array.dtype)
        kept = self.array.reshape(-1)[:flat.size]
        flat[:kept.size] = kept
        self.array = flat.reshape(sizes) if self.array.size != flat.size else self.array.reshape(sizes)
        return self

    def resize_as_(self, the_template: Tensor, memory_format=None) -> Tensor:
        return self.resize_(the_template.array.shape)

    def unsafe_chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        return self.chunk(chunks, dim)

    def unsafe_split(self, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
        return self.split(split_size, dim)
