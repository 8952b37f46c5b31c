"""Reductions: sums and moments, extremes, norms, running results, and what comes out of sorting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps

import numpy as np

from .. import dtypes
from ..graph import Tensor, Variable, new_tensor, primitive
from ..kernels import selection
from ..kernels.layout import arranged
from ..modes import mode as modes
from ..names import composite, named
from ..ops.elementwise import _where
from ..ops.fused import fused
from ..ops.index import index_at
from ..ops.logic import check_tensors, isnan, logical_not
from ..ops.norm import norm_over
from ..ops.promotion import cast, refuse, to_floating
from ..ops.reduce import (
    dim_of,
    dims_of,
    element_at,
    length,
    log_softmax_along,
    logsumexp_over,
    max_over,
    mean_over,
    min_over,
    softmax_along,
    sum_all,
    sum_over,
    take_along,
    var_over,
)
from ..ops.scan import cumprod_along, cumsum_along, logcumsumexp_along, prod_along
from ..ops.shape import reshape_to
from ..ops.special import sqrt_flat_at_zero
from . import return_types
from .elementwise import maximum, minimum
from .inplace import inplace

Dims = int | Sequence[int] | None

# ---- arguments --------------------------------------------------------------------------------------------------


def reduction(f: Callable) -> Callable:
    """What reductions have in common: a tensor comes first, axis= and keepdims= are understood, and out= is written."""
    @wraps(f)
    def op(input, *args, **kwargs):
        if not isinstance(input, Variable):
            check_tensors(f.__name__, input=input)
        if not kwargs:
            return f(input, *args)
        kwargs = {_NUMPY_NAMES.get(k, k): v for k, v in kwargs.items()}
        out = kwargs.pop("out", None)
        result = f(input, *args, **kwargs)
        return result if out is None else _written(result, out, input)
    return op


def _written(result, out, input: Tensor):
    """Put results into the tensors given as out=, which take their shapes."""
    several = isinstance(result, tuple)
    for t, r in zip(out if several else (out,), result if several else (result,)):
        if t.array.dtype != r.array.dtype:
            raise RuntimeError(f"Expected out tensor to have dtype {r.dtype}, but got {t.dtype} instead")
        if np.may_share_memory(t.array, input.array):
            raise RuntimeError("unsupported operation: some elements of the input tensor and the written-to tensor "
                               "refer to a single memory location. Please clone() the tensor first.")
        if t.array.shape != r.array.shape:
            t.array = np.empty(r.array.shape, t.array.dtype)
        t._write(r.array)
    return type(result)(out) if several else out


_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def _as(dtype: dtypes.dtype | None, x: Tensor, integers: bool = False) -> Tensor:
    """x in the dtype that was asked for; for sums and products, integers otherwise become int64."""
    if dtype is None:
        return cast(x, np.dtype(np.int64)) if integers and x.array.dtype.kind in "bui" else x
    wanted = dtypes.to_numpy(dtype)
    if integers and wanted.kind != "f" and modes.grad and x.requires_grad:
        raise RuntimeError(f"Autograd not support dtype: {dtype.tensor_type}")
    return x if x.array.dtype == wanted else cast(x, wanted)


def _one_dim(name: str, dim, x: Tensor) -> int:
    """A dimension that an index into it is wanted of: it must not be empty."""
    dim = dim_of(dim, x.array.ndim)
    if x.array.ndim and x.array.shape[dim] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")
    return dim


def _nonempty_dims(name: str, dim: Dims, x: Tensor) -> tuple[int, ...]:
    dims = dims_of(dim, x.array.ndim)
    if x.array.size == 0:
        if dim is None or dim == () or dim == []:
            raise RuntimeError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
                               "reduction dim with the 'dim' argument.")
        for d in dims:
            _one_dim(name, d, x)
    return dims


def check_keepdim(name: str, keepdim) -> None:
    if not isinstance(keepdim, bool):
        raise TypeError(f"{name}(): argument 'keepdim' must be bool, not {type(keepdim).__name__}")


# ---- sums and products ------------------------------------------------------------------------------------------

@reduction
def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    x = _as(dtype, input, integers=True)
    if dim is None and keepdim is False:
        return sum_all(x)
    check_keepdim("sum", keepdim)
    return sum_over(x, dims_of(dim, x.array.ndim), keepdim)


@reduction
def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    x = _as(dtype, input)
    if x.array.dtype.kind != "f":
        raise RuntimeError("mean(): could not infer output dtype. Input dtype must be either a floating point or "
                           f"complex dtype. Got: {x.dtype.tensor_type}")
    check_keepdim("mean", keepdim)
    out = mean_over(x, dims_of(dim, x.array.ndim), keepdim)
    return named(out, "MeanBackward0") if dim is None and not keepdim else out


@reduction
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    x = _as(dtype, input, integers=True)
    if dim is None:
        return named(prod_along(reshape_to(x, (x.array.size,)), 0, False), "ProdBackward0")
    return prod_along(x, dim_of(dim, x.array.ndim), keepdim)


@reduction
@composite("Nansum")
def nansum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """The sum of what is a number."""
    x = _where(isnan(input), 0.0, input) if input.array.dtype.kind == "f" else input
    return sum_over(_as(dtype, x, integers=True), dims_of(dim, x.array.ndim), keepdim)


@reduction
def nanmean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """The mean of what is a number."""
    if input.array.dtype.kind != "f":
        raise RuntimeError("nanmean(): expected input to have floating point or complex dtype but got "
                           f"{input.dtype.tensor_type}")
    count = sum(logical_not(isnan(input)), dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / count


@reduction
def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    return new_tensor(np.asarray(np.count_nonzero(input.array, axis=dims_of(dim, input.array.ndim)), order="C"))


# ---- moments ----------------------------------------------------------------------------------------------------

def _variance(input, dim, unbiased, correction, keepdim) -> tuple:
    """The arguments of var_over. var(x, False) means unbiased=False."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if input.array.dtype.kind != "f":
        raise RuntimeError("std and var only support floating point and complex dtypes")
    if unbiased is not None and correction is not None:
        raise TypeError("var() and std() take either unbiased or correction, not both")
    if correction is None:
        correction = 0 if unbiased is False else 1
    return input, dims_of(dim, input.array.ndim), correction, keepdim, dim is None or not input.array.ndim


@reduction
def var(input: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *,
        correction: float | None = None) -> Tensor:
    return var_over(*_variance(input, dim, unbiased, correction, keepdim))


@reduction
@composite
def std(input: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *,
        correction: float | None = None) -> Tensor:
    return sqrt_flat_at_zero(var_over(*_variance(input, dim, unbiased, correction, keepdim)))


@reduction
@composite
def var_mean(input: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *,
             correction: float | None = None) -> tuple[Tensor, Tensor]:
    x, dims, *settings = _variance(input, dim, unbiased, correction, keepdim)
    return var_over(x, dims, *settings), mean_over(x, dims, keepdim)


@reduction
@composite
def std_mean(input: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *,
             correction: float | None = None) -> tuple[Tensor, Tensor]:
    x, dims, *settings = _variance(input, dim, unbiased, correction, keepdim)
    return sqrt_flat_at_zero(var_over(x, dims, *settings)), mean_over(x, dims, keepdim)


# ---- norms ------------------------------------------------------------------------------------------------------

@reduction
def linalg_vector_norm(input: Tensor, ord: float = 2, dim: Dims = None, keepdim: bool = False, *,
                       dtype: dtypes.dtype | None = None) -> Tensor:
    """(sum |x|^ord)^(1/ord), whatever the number of dimensions."""
    if input.array.dtype.kind != "f":
        raise RuntimeError("linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
                           f"{input.dtype.tensor_type}")
    if dtype is not None:
        if not dtype.is_floating_point:
            raise RuntimeError("linalg.vector_norm: dtype should be floating point or complex, but got "
                               f"{dtype.tensor_type}")
        if dtypes.promote_types(dtype, input.dtype) is not dtype:
            raise RuntimeError(f"linalg.vector_norm: the dtype of the input ({input.dtype.tensor_type}) should be "
                               f"convertible without narrowing to the specified dtype ({dtype.tensor_type})")
    x, dims = _as(dtype, input), dims_of(dim, input.array.ndim)
    if (ord < 0 or ord == math.inf) and length(x.array.shape, dims) == 0:
        raise RuntimeError(f"linalg.vector_norm cannot compute the {ord} norm of an empty tensor, or along an empty "
                           "dimension, because the operation does not have an identity")
    return norm_over(x, float(ord), dims, keepdim)


@composite
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The norm of the difference."""
    return linalg_vector_norm(input - other, p)


# ---- extremes ---------------------------------------------------------------------------------------------------

@reduction
def amax(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The largest values. Those that tie share the gradient."""
    return max_over(input, _nonempty_dims("amax", dim, input), keepdim)


@reduction
def amin(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    return min_over(input, _nonempty_dims("amin", dim, input), keepdim)


@reduction
@composite
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> return_types.aminmax:
    if dim is None and input.array.size == 0:
        raise RuntimeError("aminmax(): cannot compute aminmax over an empty dimension as the operation has no "
                           "identity.")
    dims = dims_of(dim if dim is None else _one_dim("aminmax", dim, input), input.array.ndim)
    return return_types.aminmax((min_over(input, dims, keepdim), max_over(input, dims, keepdim)))


def _at(x: Tensor, index: np.ndarray, dim: int, keepdim: bool, result: type):
    """The values at one index per group, and the index."""
    values = take_along(x, index, dim)
    if not keepdim and x.array.ndim:
        shape = index.shape[:dim] + index.shape[dim + 1:]
        return result((reshape_to(values, shape), new_tensor(index.reshape(shape))))
    return result((values, new_tensor(index)))


def _arg(f: Callable, x: np.ndarray, dim: int) -> np.ndarray:
    """The index of the extreme: the first one, and the first NaN before all numbers, as NumPy has it too."""
    return f(x, dim, keepdims=True) if x.ndim else np.zeros((), np.int64)


def _extreme(name: str, binary: Callable, arg: Callable, result: type) -> Callable:
    @composite("MaxBackward0" if name == "max" else "MinBackward0")
    def along(input, dim, keepdim):
        dim = _one_dim(name, dim, input)
        return _at(input, _arg(arg, input.array, dim), dim, keepdim, result)

    @reduction
    def extreme(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, *, other: Tensor | None = None):
        """Of all elements; of those along a dimension, with their indices; or of the pairs of two tensors."""
        if isinstance(dim, Variable) or other is not None:
            return binary(input, dim if other is None else other)
        if dim is not None:
            check_keepdim(name, keepdim)
            return along(input, dim, keepdim)
        _nonempty_dims(name, None, input)
        return named(element_at(input, arg(input.array).item()), f"{name.title()}Backward1")
    extreme.__name__ = extreme.__qualname__ = name
    return extreme


max = _extreme("max", maximum, np.argmax, return_types.max)
min = _extreme("min", minimum, np.argmin, return_types.min)


def _arg_extreme(name: str, arg: Callable) -> Callable:
    @reduction
    def index(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
        if input.array.dtype.kind == "b":
            raise RuntimeError(f"{name}(): does not support bool input")
        if dim is not None:
            dim = _one_dim(name, dim, input)
        elif input.array.size == 0:
            raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
        if not input.array.ndim:
            return new_tensor(np.zeros((), np.int64))
        return new_tensor(arg(input.array, dim, keepdims=keepdim))
    index.__name__ = index.__qualname__ = name
    return index


argmax, argmin = _arg_extreme("argmax", np.argmax), _arg_extreme("argmin", np.argmin)


def _quantified(name: str, f: Callable) -> Callable:
    @reduction
    def op(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
        result = f(input.array, axis=dims_of(dim, input.array.ndim, empty_means_all=False), keepdims=keepdim)
        return new_tensor(np.asarray(result, np.uint8 if input.array.dtype == np.uint8 else np.bool_, order="C"))
    op.__name__ = op.__qualname__ = name
    return op


all, any = _quantified("all", np.all), _quantified("any", np.any)


# ---- running along a dimension ----------------------------------------------------------------------------------

def _running(name: str, dtype: dtypes.dtype | None, x: Tensor) -> Tensor:
    if dtype is dtypes.bool:
        raise NotImplementedError(f'"{name}_out_cpu" not implemented for \'Bool\'')
    return _as(dtype, x, integers=True)


@reduction
def cumsum(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None) -> Tensor:
    return cumsum_along(_running("cumsum", dtype, input), dim_of(dim, input.array.ndim))


@reduction
def cumprod(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None) -> Tensor:
    return cumprod_along(_running("cumprod", dtype, input), dim_of(dim, input.array.ndim))


@reduction
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    refuse("logcumsumexp_out_cpu", "biu", input)
    return logcumsumexp_along(input, dim_of(dim, input.array.ndim))


def _running_extreme(name: str, running: np.ufunc, result: type) -> Callable:
    @reduction
    @composite(name.title())
    def op(input: Tensor, dim: int):
        dim, x = dim_of(dim, input.array.ndim), input.array
        if not x.ndim or not x.size:
            index = np.zeros(x.shape, np.int64)
            return result((take_along(input, index, dim), new_tensor(index)))
        # An element that equals the running extreme is where it was last met; the index is the last of those so far.
        extreme = running.accumulate(x, dim)
        place = np.arange(x.shape[dim]).reshape([-1 if d == dim else 1 for d in range(x.ndim)])
        with np.errstate(invalid="ignore"):
            met = (x == extreme) | (x != x)
        index = np.ascontiguousarray(np.maximum.accumulate(np.where(met, place, 0), dim))
        return result((index_at(input, _along(index, dim)), new_tensor(index)))
    op.__name__ = op.__qualname__ = name
    return op


def _along(index: np.ndarray, dim: int) -> tuple:
    """The index tuple that gathers along a dimension."""
    grid = np.ogrid[tuple(slice(n) for n in index.shape)]
    return (*grid[:dim], index, *grid[dim + 1:])


cummax = _running_extreme("cummax", np.maximum, return_types.cummax)
cummin = _running_extreme("cummin", np.minimum, return_types.cummin)


@reduction
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """ln sum e^x, without overflow."""
    return logsumexp_over(to_floating(input), dims_of(dim, input.array.ndim), keepdim)


def _softmax(name: str, along: Callable) -> Callable:
    @reduction
    def op(input: Tensor, dim: int, dtype: dtypes.dtype | None = None) -> Tensor:
        x = _as(dtype, input)
        dim = dim_of(dim, x.array.ndim)
        if x.array.dtype.kind != "f":
            if not x.array.size:
                return x.clone()
            refuse(f"{name}_lastdim_kernel_impl", "biu", x)
        return along(x, dim)
    op.__name__ = op.__qualname__ = name
    return op


softmax, log_softmax = _softmax("softmax", softmax_along), _softmax("log_softmax", log_softmax_along)


# ---- sorting ----------------------------------------------------------------------------------------------------

def _order(x: np.ndarray, dim: int, descending: bool = False) -> np.ndarray:
    """The indices that sort, stably; NaNs count as the largest."""
    if not x.ndim:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(x, dim, kind="stable")
    last = x.shape[dim] - 1                                    # the sort from behind, seen from behind, is stable again
    return np.flip(last - np.argsort(np.flip(x, dim), dim, kind="stable"), dim)


def _unstable_order(x: np.ndarray, dim: int, descending: bool = False) -> np.ndarray:
    """The indices that sort, with equals in the order in which torch's quicksort leaves them."""
    order = _order(x, dim, descending)
    if not x.ndim or x.shape[dim] <= selection.SHORT:
        return order
    return selection.settle(x, order, dim, 0, x.shape[dim], selection.sorted_places)


@reduction
def sort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool | None = None) -> return_types.sort:
    """Sorted values and where they were."""
    dim = dim_of(dim, input.array.ndim)
    order = arranged((_order if stable else _unstable_order)(input.array, dim, descending), (input.array,))
    values = named(take_along(input, order, dim), f"SortBackward{stable is not None:d}")
    return return_types.sort((values, new_tensor(order)))


@reduction
def argsort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    order = (_order if stable else _unstable_order)(input.array, dim_of(dim, input.array.ndim), descending)
    return new_tensor(arranged(order, (input.array,)))


def msort(input: Tensor) -> Tensor:
    return sort(input, 0)[0]


@reduction
@composite
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> return_types.topk:
    """The k largest (or smallest) elements, the extreme one first unless sorted=False."""
    dim = dim_of(dim, input.array.ndim)
    if not 0 <= k <= (input.array.shape[dim] if input.array.ndim else 1):
        raise RuntimeError("selected index k out of range")
    if input.array.dtype.kind == "b":
        raise RuntimeError("topk does not support bool dtypes on CPU")
    index = _order(input.array, dim, largest)
    if input.array.ndim:
        index = selection.settle(input.array, index, dim, 0, k, lambda ranks: selection.first_places(ranks, k, sorted),
                                 always=not sorted)
        index = index[(slice(None),) * dim + (slice(k),)].copy()
    return return_types.topk((take_along(input, index, dim), new_tensor(index)))


def _kth(x: np.ndarray, k: np.ndarray | int, dim: int) -> np.ndarray:
    """The index of the k-th smallest element (from 0) of each group."""
    if not x.ndim:
        return np.zeros((), np.int64)
    k = np.broadcast_to(k, (*x.shape[:dim], 1, *x.shape[dim + 1:]))
    return np.take_along_axis(_order(x, dim), k, dim)


@reduction
@composite
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> return_types.kthvalue:
    """The k-th smallest element (from 1) and its index."""
    dim = _one_dim("kthvalue", dim, input)
    if not 1 <= k <= (input.array.shape[dim] if input.array.ndim else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim}")
    refuse("kthvalue_cpu", "b", input)
    index = _order(input.array, dim)
    if input.array.ndim:
        index = selection.settle(input.array, index, dim, k - 1, k, lambda ranks: selection.place_of_kth(ranks, k - 1))
        index = index[(slice(None),) * dim + (slice(k - 1, k),)].copy()
    return _at(input, index, dim, keepdim, return_types.kthvalue)


def _median_index(x: np.ndarray, dim: int, skip_nan: bool) -> np.ndarray:
    """The lower of the two in the middle. A NaN is the median, or (skip_nan) does not count."""
    n = x.shape[dim] if x.ndim else 1
    nan = np.isnan(x)
    if not x.ndim or not nan.any():
        return _kth(x, (n - 1) // 2, dim)
    numbers = n - np.count_nonzero(nan, axis=dim, keepdims=True)
    index = _kth(x, np.maximum(numbers - 1, 0) // 2, dim)
    return index if skip_nan else np.where(numbers < n, np.argmax(nan, dim, keepdims=True), index)


@fused(sum_all)                                              # for the sake of its derivative, which is empty, too
def _median_of_nothing(input):
    return np.asarray(math.nan).astype(input.dtype)          # as an integer, what the processor makes of NaN


def _median(name: str, result: type, skip_nan: bool) -> Callable:
    @composite(f"{name.title()}Backward1")
    def along(input, dim, keepdim):
        dim = _one_dim(name, dim, input)
        return _at(input, _median_index(input.array, dim, skip_nan), dim, keepdim, result)

    @reduction
    def median(input: Tensor, dim: int | None = None, keepdim: bool = False):
        """The middle element, the lower one of two; along a dimension with its index."""
        if dim is None and not input.array.size:
            return named(_median_of_nothing(input), f"{name.title()}Backward0")
        refuse("median_cpu", "b", input)
        if dim is not None:
            return along(input, dim, keepdim)
        place = _median_index(input.array.reshape(-1), 0, skip_nan)
        return named(element_at(input, place.item()), f"{name.title()}Backward0")
    median.__name__ = median.__qualname__ = name
    return median


median, nanmedian = _median("median", return_types.median, False), _median("nanmedian", return_types.nanmedian, True)


def _changes(x: np.ndarray, dim: int) -> np.ndarray:
    """Where along a dimension an element is not equal to the one before."""
    inner, new = (slice(None),) * dim, np.ones(x.shape, bool)
    new[*inner, 1:] = x[*inner, 1:] != x[*inner, :-1]
    return new


@reduction
@composite
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> return_types.mode:
    """The value that occurs most often, the smallest of several, and the index of the one that sorting puts last."""
    dim, x = _one_dim("mode", dim, input), input.array
    index = np.zeros((), np.int64)
    if x.ndim:
        order = _unstable_order(x, dim)
        ranked = np.take_along_axis(x, order, dim)
        place = np.arange(x.shape[dim]).reshape([-1 if d == dim else 1 for d in range(x.ndim)])
        run = place - np.maximum.accumulate(np.where(_changes(ranked, dim), place, 0), dim)
        index = np.take_along_axis(order, np.argmax(run, dim, keepdims=True), dim)
    return _at(input, index, dim, keepdim, return_types.mode)


# ---- counting and searching -------------------------------------------------------------------------------------

def _no_derivative(g):
    raise RuntimeError("the derivative for unique is not implemented")


@primitive("Unique2Backward0", input=_no_derivative)
def _unique_of_all(input, values):
    return values


@primitive("UniqueDim", input=_no_derivative)
def _unique_along(input, values):
    return values


@primitive("UniqueConsecutive", input=_no_derivative)
def _unique_runs(input, values):
    return values


@primitive("UniqueDimConsecutive", input=_no_derivative)
def _unique_runs_along(input, values):
    return values


def _with(values: Tensor, inverse, counts, return_inverse: bool, return_counts: bool):
    extra = [new_tensor(np.asarray(x, np.int64)) for x, wanted in ((inverse, return_inverse), (counts, return_counts))
             if wanted]
    return (values, *extra) if extra else values


def unique(input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
           dim: int | None = None) -> Tensor | tuple[Tensor, ...]:
    """The distinct elements (or slices along a dimension), sorted; where each element is among them; how many are."""
    check_tensors("unique", input=input)
    if dim is not None:
        values, inverse, counts = np.unique(input.array, return_inverse=True, return_counts=True, equal_nan=False,
                                            axis=dim_of(dim, input.array.ndim))
        return _with(_unique_along(input, values), inverse.reshape(-1), counts, return_inverse, return_counts)
    x = input.array.reshape(-1)
    order = (_unstable_order if x.dtype.kind == "f" else _order)(x, 0)       # which of 0.0 and -0.0 comes first is seen
    ranked = x[order]
    new, inverse = _changes(ranked, 0), np.empty(x.shape, np.int64)
    inverse[order] = np.cumsum(new) - 1
    return _with(_unique_of_all(input, ranked[new]), inverse.reshape(input.array.shape),
                 np.diff(np.flatnonzero(new), append=x.size), return_inverse, return_counts)


def unique_consecutive(input: Tensor, return_inverse: bool = False, return_counts: bool = False,
                       dim: int | None = None) -> Tensor | tuple[Tensor, ...]:
    """One of each run of equal elements (or slices)."""
    check_tensors("unique_consecutive", input=input)
    x = input.array.reshape(-1) if dim is None else np.moveaxis(input.array, dim_of(dim, input.array.ndim), 0)
    new = _changes(x, 0).any(tuple(range(1, x.ndim)))
    starts, inverse = np.flatnonzero(new), np.cumsum(new) - 1
    values = x[starts] if dim is None else np.moveaxis(x[starts], 0, dim)
    if dim is None:
        inverse = inverse.reshape(input.array.shape)
    return _with((_unique_runs if dim is None else _unique_runs_along)(input, np.ascontiguousarray(values)), inverse,
                 np.diff(starts, append=len(x)), return_inverse, return_counts)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number occurs, or the sum of its weights."""
    check_tensors("bincount", input=input)
    refuse("bincount_cpu", "fb", input)
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    x = input.array
    if x.ndim != 1 or (x.size and x.min() < 0):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is None:
        return new_tensor(np.bincount(x.astype(np.int64), minlength=minlength))
    if weights.array.shape != x.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    sums = np.bincount(x.astype(np.int64), weights.array, minlength)
    return new_tensor(sums.astype(np.float32) if weights.array.dtype == np.float32 else sums)


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """The number of elements in equal bins from min to max (of the smallest to the largest element if both are 0)."""
    if bins <= 0:
        raise RuntimeError("bins must be > 0")
    x, low, high = input.array, min, max
    if low == high and x.size:
        low, high = x.min(), x.max()
    if low == high:
        low, high = low - 1, high + 1
    if low > high:
        raise RuntimeError("max must be larger than min")
    return new_tensor(np.histogram(x, bins, (low, high))[0].astype(x.dtype))


def searchsorted(sorted_sequence: Tensor, input: Tensor | float, *, out_int32: bool = False, right: bool = False,
                 side: str | None = None, sorter: Tensor | None = None) -> Tensor:
    """Where in the (last dimension of the) sorted sequence each value would be put in: before its equals, or behind."""
    check_tensors("searchsorted", sorted_sequence=sorted_sequence)
    a, x = sorted_sequence.array, input.array if isinstance(input, Variable) else np.asarray(input)
    if problem := _search_problem(a, x, isinstance(input, Variable), right, side, sorter):
        raise RuntimeError(f"torch.searchsorted(): {problem}")
    if x.size:                                                # torch finds the places of nothing in any dtype
        refuse("searchsorted_out_cpu", "b", sorted_sequence)
    if sorter is not None:
        a = np.take_along_axis(a, sorter.array, -1)
    where = "right" if right or side == "right" else "left"
    if a.ndim == 1:
        found = np.searchsorted(a, x, where)
    else:
        found = np.zeros(x.shape, np.int64)
        for row in np.ndindex(x.shape[:-1]):
            found[row] = np.searchsorted(a[row], x[row], where)
    return new_tensor(np.asarray(found, np.int32 if out_int32 else np.int64))


def _search_problem(a: np.ndarray, x: np.ndarray, x_is_tensor: bool, right: bool, side: str | None,
                    sorter: Tensor | None) -> str | None:
    """What is wrong with the arguments of searchsorted."""
    if side not in (None, "left", "right"):
        return f"side can only be 'left' or 'right' but got {side}"
    if right and side == "left":
        return "side and right can't be set to opposites, got side of left while right was True"
    if a.ndim == 0 or (not x_is_tensor and a.ndim != 1):
        return "the sorted sequence must have at least 1 dimension, and just 1 if the value is a number"
    if a.ndim != 1 and (a.ndim != x.ndim or a.shape[:-1] != x.shape[:-1]):
        return ("boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input "
                f"value tensor must match, but we got boundaries tensor {list(a.shape)} and input value tensor "
                f"{list(x.shape)}")
    if sorter is None:
        return None
    order = sorter.array
    if order.shape != a.shape:
        return (f"boundary and sorter must have the same size, but got boundary tensor {list(a.shape)} and got sorter "
                f"tensor {list(order.shape)}")
    if order.dtype != np.int64:
        return f"sorter must be a tensor of long dtype but got dtype {sorter.dtype}"
    if order.size and (order.min() < 0 or order.max() >= a.shape[-1]):
        return "sorter index out of range"
    return None


def bucketize(input: Tensor | float, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Which of the intervals between the boundaries each value lies in."""
    check_tensors("bucketize", boundaries=boundaries)
    if boundaries.array.ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.array.ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


class Methods:
    __slots__ = ()

    sum, nansum, mean, nanmean, prod, count_nonzero = sum, nansum, mean, nanmean, prod, count_nonzero
    var, std, dist = var, std, dist
    amax, amin, aminmax, max, min, argmax, argmin, all, any = amax, amin, aminmax, max, min, argmax, argmin, all, any
    cumsum, cumsum_ = cumsum, inplace(cumsum)
    cumprod, cumprod_ = cumprod, inplace(cumprod)
    cummax, cummin, logcumsumexp, logsumexp = cummax, cummin, logcumsumexp, logsumexp
    softmax, log_softmax = softmax, log_softmax
    sort, argsort, msort, topk, kthvalue, median, nanmedian, mode = (
        sort, argsort, msort, topk, kthvalue, median, nanmedian, mode)
    unique, unique_consecutive, bincount, histc = unique, unique_consecutive, bincount, histc
