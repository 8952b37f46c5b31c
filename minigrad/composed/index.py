"""Indexing: x[...] and x[...] = y in all of torch's forms, and the ops that gather and scatter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from operator import index as as_index

import numpy as np

from ..creation import filled
from ..graph import Tensor, Variable, new_tensor
from ..kernels.scatter import write_at
from ..modes import mode
from ..names import composite, named
from ..ops.elementwise import mul
from ..ops.elementwise import where as choose
from ..ops.index import index_at, index_write
from ..ops.promotion import as_scalar, cast
from ..ops.reduce import dim_of
from ..ops.shape import alias, basic_index, contiguous_copy, diagonal_view, expand_to, reshape_to, write
from ..refusals import check_inplace, check_overlap, is_torchs, tensor_not
from ..views import assign
from .arguments import require_tensor, takes_out
from .inplace import copy_, fill_, inplace, is_recorded, write_unrecorded
from .joining import unbind
from .shape import common_shape, contiguous, flatten

WHOLE = slice(None)

# ---- what stands between the brackets ---------------------------------------------------------------------------
#
# torch takes an index apart in two steps. Integers, slices and None make a view first, from left to right. Then, in
# the dimensions of that view, index tensors gather (or scatter), all at once. NumPy mixes the two, and differs from
# torch where an integer stands beside an index array: there, it counts as one.


def _parse(x: Tensor, key) -> tuple[tuple, tuple, str]:
    """What the key means: the index of a view, the index within that view by arrays (or nothing), and the name of the
    last step that makes the view."""
    items = list(key) if isinstance(key, tuple) or _means_tuple(key) else [key]
    if not x.array.shape and isinstance(key, str):                  # torch counts before it looks at a str
        _refuse_too_many(x, items)
    items = [_index_array(item) if _is_array(item) else item for item in items]
    shape, used = x.array.shape, sum(map(_dims_of, items))
    if used > len(shape):
        _refuse_too_many(x, items)
    rest = [WHOLE] * (len(shape) - used)
    dots = next((k for k, item in enumerate(items) if item is Ellipsis), None)
    if dots is None:
        items += rest
    else:
        items[dots:dots + 1] = rest
    view, arrays, name, dim, mask = [], {}, "Alias", 0, None
    for item in items:
        if item is None:
            view.append(None)
            name = "Unsqueeze"
        elif item is Ellipsis:
            continue
        elif isinstance(item, slice):
            item = _slice(item)
            if item != WHOLE and item.indices(shape[dim]) != (0, shape[dim], 1):
                name = "Slice"
            view.append(item)
            dim += 1
        elif isinstance(item, bool):                      # a new dimension, taken once or not at all
            arrays[_out_dim(view)] = np.zeros(int(item), np.int64)
            view.append(None)
        elif isinstance(item, int):
            n = shape[dim]
            if not -2**63 <= item < 2**63:
                raise ValueError("Overflow when unpacking long long")
            if not -n <= item < n:
                raise IndexError(f"index {item} is out of bounds for dimension {dim} with size {n}")
            view.append(item)
            name = "Select"
            dim += 1
        else:
            if item.dtype.kind == "b":
                _check_mask(item, shape, dim)
                mask = item
                for k, places in enumerate(item.nonzero() if item.ndim > 1 or len(items) > 1 else (None,)):
                    arrays[_out_dim(view) + k] = places
            else:
                _check_range(item, shape[dim], dim, IndexError)
                arrays[_out_dim(view)] = item
            used = _dims_of(item)
            view += [WHOLE] * used
            dim += used
    if not arrays:
        return tuple(view), (), name
    if mask is not None and len(arrays) == mask.ndim:     # a mask alone need not become indices
        return tuple(view), (WHOLE,) * min(arrays) + (mask,), name
    _check_broadcast(arrays.values())
    return tuple(view), tuple(arrays.get(d, WHOLE) for d in range(max(arrays) + 1)), name


def _out_dim(view: list) -> int:
    return sum(not isinstance(item, int) for item in view)


def _means_tuple(key) -> bool:
    """Short lists that hold more than numbers count as tuples; NumPy did so once, and torch still does."""
    return isinstance(key, list) and len(key) < 32 and any(
        isinstance(item, Variable | np.ndarray | Sequence | slice) or item is None or item is Ellipsis for item in key)


def _is_array(item) -> bool:
    if isinstance(item, Variable | np.ndarray):
        return True
    if item is None or item is Ellipsis or isinstance(item, slice | int):
        return False
    if isinstance(item, str | bytes):
        raise TypeError(f"new(): invalid data type '{type(item).__name__}'")
    if isinstance(item, Sequence | np.integer):
        return True
    if is_torchs(item):
        raise TypeError(f"an index must be a {tensor_not(item)}")
    raise IndexError("only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
                     f"(got {type(item).__name__})")


def _index_array(item) -> np.ndarray | int | bool:
    """An index tensor as an array; without dimensions it is an integer, or a boolean."""
    if isinstance(item, Sequence):
        item = np.asarray([x.array if isinstance(x, Variable) else x for x in item])
        if item.dtype.kind not in "bi":
            item = item.astype(np.int64)
    else:
        item = item.array if isinstance(item, Variable) else np.asarray(item)
    if item.dtype == np.uint8:
        item = item.astype(bool)
    elif item.dtype not in (np.int64, np.int32, bool):
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return item if item.ndim else item.item()


def _dims_of(item) -> int:
    """How many dimensions an item indexes."""
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    return item.ndim if isinstance(item, np.ndarray) and item.dtype.kind == "b" else 1


def _slice(s: slice) -> slice:
    if s.step is not None:
        step = as_index(s.step)
        if step == 0:
            raise ValueError("slice step cannot be zero")
        if step < 0:
            raise ValueError("step must be greater than zero")
    return s


def _refuse_too_many(x: Tensor, items: list) -> None:
    if not x.array.ndim and any(type(item) is int for item in items):
        raise IndexError("invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ "
                         "to convert a 0-dim tensor to a number")
    raise IndexError(f"too many indices for tensor of dimension {x.array.ndim}")


def _check_mask(mask: np.ndarray, shape: tuple, dim: int) -> None:
    for k, n in enumerate(mask.shape):
        if shape[dim + k] != n:
            raise IndexError(f"The shape of the mask {list(mask.shape)} at index {k} does not match the shape of the "
                             f"indexed tensor {list(shape)} at index {dim + k}")


def _check_range(index: np.ndarray, n: int, dim: int, error: type[Exception], lowest: int | None = None) -> None:
    if index.size:
        low, high = int(index.min()), int(index.max())
        if high >= n or low < (-n if lowest is None else lowest):
            raise error(f"index {high if high >= n else low} is out of bounds for dimension {dim} with size {n}")


def _check_broadcast(arrays) -> None:
    try:
        np.broadcast_shapes(*(a.shape for a in arrays))
    except ValueError:
        raise IndexError("shape mismatch: indexing tensors could not be broadcast together with shapes "
                         + ", ".join(str(list(a.shape)) for a in arrays)) from None


# ---- x[key] and x[key] = value ----------------------------------------------------------------------------------

def getitem(self: Tensor, key) -> Tensor:
    """self[key]: a view for integers, slices, None and Ellipsis, else a copy."""
    kind, array = type(key), self.array
    if kind is slice:
        return basic_index(self, (_slice(key),)) if array.ndim else _refuse_slice()
    if kind is int and array.ndim and -len(array) <= key < len(array):
        return named(basic_index(self, (key,)), "Select")
    if kind is tuple and not is_recorded(self) and _is_plain(key, array.shape):
        return basic_index(self, key)
    if isinstance(key, Variable) and key.array.dtype == np.int64 and key.array.ndim and array.ndim:
        try:
            return index_at(self, (key.array,))
        except IndexError:
            _check_range(key.array, len(array), 0, IndexError)
            raise
    view, arrays, name = _parse(self, key)
    if name != "Alias" or None in view:
        self = named(basic_index(self, view), name)
    elif not arrays:
        return alias(self)
    return index_at(self, arrays) if arrays else self


def _is_plain(key: tuple, shape: tuple) -> bool:
    """Whether a key is of integers and ordinary slices alone, and so has the same meaning for NumPy."""
    if len(key) > len(shape):
        return False
    for item, n in zip(key, shape):
        kind = type(item)
        if not (item.step is None if kind is slice else kind is int and -n <= item < n):
            return False
    return True


def _refuse_slice():
    raise IndexError("slice() cannot be applied to a 0-dim tensor.")


def setitem(self: Tensor, key, value) -> None:
    """self[key] = value, in place: the value is broadcast and cast."""
    recorded, arrays = is_recorded(self, value), ()
    if not recorded and type(key) is tuple and _is_plain(key, self.array.shape):
        target = _unrecorded(self, self.array[(*key, ...)])
        if isinstance(value, Variable) and value.array.shape == target.array.shape:
            check_overlap(target, value)
            write_unrecorded(target, value.array)
            return
    else:
        view, arrays, name = _parse(self, key)
        target = self
        if name != "Alias" or None in view or not arrays:
            target = basic_index(self, view) if recorded else _unrecorded(self, self.array[(*view, ...)])
    if not isinstance(value, Variable):
        if isinstance(value, np.integer | np.bool_):
            value = value.item()
        if not isinstance(value, bool | int | float):
            if is_torchs(value):
                raise TypeError(f"what is assigned must be a {tensor_not(value)}")
            raise TypeError(f"can't assign a {type(value).__name__} to a torch.{self.dtype.tensor_type}Tensor")
        if isinstance(value, int) and not -2**63 <= value < 2**63:
            raise ValueError("Overflow when unpacking long long")
        if self.array.dtype.char == "e" and isinstance(value, float):
            with np.errstate(over="ignore"):
                value = float(np.float16(np.float32(value)))             # what is too large is infinity, here only
        if not arrays:
            fill_(target, value)
            return
        value = new_tensor(as_scalar(value, self.array.dtype))
    elif not arrays:
        if value.array.shape != target.array.shape:
            value = _without_leading_ones(value, target.array.ndim)
            value = value.expand(target.array.shape)
        copy_(target, value)
        return
    elif arrays[-1].dtype.kind == "b" and value.array.size == 1 and value.array.ndim < 2:
        value = value if value.dtype is self.dtype else cast(value, self.array.dtype)
    _put_(target, arrays, value)


def _unrecorded(self: Tensor, array: np.ndarray) -> Tensor:
    """A part of the tensor's memory for a write that no history is to know of, only the count of writes."""
    part = new_tensor(array)
    part._counter = self._counter
    return part


def _without_leading_ones(value: Tensor, ndim: int) -> Tensor:
    shape = value.array.shape
    while len(shape) > ndim and shape[0] == 1:
        shape = shape[1:]
    return value if shape == value.array.shape else reshape_to(value, shape)


# ---- ops that write by index ------------------------------------------------------------------------------------

def _writer(name: str, of_number: str | None = None, keeps_layout: bool = False) -> Callable:
    """Make an op, and its in-place form, of a plan: a function that says what is written where, as index_write takes
    it.

    `of_number` is the name of the node where a number is written; keeps_layout, whether the copy that is written to
    lies in memory as the input does, and not in order. The in-place form need not copy where nothing is
    recorded. A 0-dim tensor counts as having one dimension."""
    def decorate(plan: Callable) -> Callable:
        @wraps(plan)
        def op(input, *args, **kwargs):
            require_tensor(plan.__name__, input)
            if not input.array.ndim:
                out = op(reshape_to(input, (1,)), *args, **kwargs)
                return named(reshape_to(out, ()), type(out._node).__name__)
            if not keeps_layout:
                input = contiguous(input)
            return recorded(input, *plan(input, *args, **kwargs))

        def recorded(input, value, index, accumulate):
            shown = name if isinstance(value, Variable) else of_number
            return named(_written(index_write, input, value, index, accumulate), shown)

        def op_(input, *args, **kwargs):
            if not input.array.ndim:
                op_(reshape_to(input, (1,)), *args, **kwargs)
                return input
            value, index, accumulate = plan(input, *args, **kwargs)
            if is_recorded(input, value):
                return assign(input, lambda: recorded(input, value, index, accumulate), write)
            check_inplace(input)
            _written(write_at, input.array, value.array if isinstance(value, Variable) else value, index, accumulate)
            if input._counter is not None:
                input._counter[0] += 1
            return input
        op_.__name__ = op_.__qualname__ = plan.__name__ + "_"
        op.in_place = op_
        return op
    return decorate


def _written(write: Callable, input, value, index: tuple, accumulate: bool):
    try:
        return write(input, value, index, accumulate)
    except ValueError:
        array = input.array if isinstance(input, Variable) else input
        raise RuntimeError(f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing "
                           f"result of shape {list(index_at(array, index).shape)}") from None


@_writer("IndexPut", keeps_layout=True)
def _put(input, index, value, accumulate=False):
    require_tensor("index_put", value, "values", 2)
    if value.array.dtype != input.array.dtype:
        raise RuntimeError("Index put requires the source and destination dtypes match, got "
                           f"{input.dtype.tensor_type} for the destination and {value.dtype.tensor_type} for the "
                           "source.")
    if value.array.ndim > 1 and value.array.shape[0] == 1:
        value = _without_leading_ones(value, index_at(np.empty(input.array.shape, np.bool_), index).ndim)
    return value, index, accumulate


_put_ = _put.in_place


def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with the values at the indices replaced, or added to."""
    return _put(*_put_arguments(input, indices), values, accumulate)


def index_put_(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    _put_(*_put_arguments(input, indices), values, accumulate)
    return input


def _put_arguments(input: Tensor, indices: Sequence[Tensor]) -> tuple[Tensor, tuple]:
    require_tensor("index_put", input)
    for k, i in enumerate(indices):
        if not isinstance(i, Variable):
            raise TypeError(f"expected Tensor as element {k} in argument 0, but got {type(i).__name__}")
    if not indices:
        raise RuntimeError("index_put(): at least one index must be given")
    return input, _parse(input, tuple(i.array if i.array.ndim else i.array.reshape(1) for i in indices))[1]


def _along(name: str, input: Tensor, dim: int, index, error: type[Exception] = IndexError) -> tuple[int, np.ndarray]:
    """The dimension and the 1-D index of index_add and its like, checked."""
    require_tensor(name, index, "index", 3)
    dim, index = dim_of(dim, input.array.ndim), index.array
    if index.dtype not in (np.int64, np.int32):
        error = RuntimeError if name == "index_select" else IndexError
        raise error(f"{name}(): Expected dtype int32/int64 for index")
    if index.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector, but got dim: {index.ndim}")
    index = index.reshape(-1)
    _check_range(index, input.array.shape[dim] if input.array.ndim else 1, dim, error, 0)
    return dim, index


def _source_along(name: str, input: Tensor, dim: int, index: np.ndarray, source: Tensor) -> Tensor:
    """The source of index_add and index_copy: the input's shape, but one slice for each index."""
    require_tensor(name, source, "source", 4)
    if source.array.dtype != input.array.dtype:
        raise RuntimeError(f"{name}(): self ({input.dtype.tensor_type}) and source ({source.dtype.tensor_type}) must "
                           "have the same scalar type")
    if not source.array.ndim:
        source = reshape_to(source, (1,) * input.array.ndim)
    shape = input.array.shape
    wanted = (*shape[:dim], index.size, *shape[dim + 1:])
    if source.array.ndim != len(shape):
        error = RuntimeError if name == "index_add" else IndexError
        raise error(f"{name}(): When source and destination are not scalars, their dimensionality must match. Source "
                    f"dimensionality ({source.array.ndim}), destination dimensionality ({len(shape)})")
    if source.array.shape != wanted:
        if source.array.shape[dim] != index.size:
            raise IndexError(f"{name}(): Number of indices ({index.size}) should be equal to source.size(dim) "
                             f"({source.array.shape[dim]})")
        raise RuntimeError(f"{name}(): Source/destination tensor must have same slice shapes. Destination slice shape: "
                           f"{list(shape)} at dimension {dim} and source slice shape: {list(source.array.shape)}")
    return source


@_writer("IndexAdd")
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1):
    """Slices of the source added to the slices of a dimension that the index names."""
    dim, places = _along("index_add", input, dim, index, RuntimeError)
    source = _source_along("index_add", input, dim, places, source)
    return source if alpha == 1 else mul(source, alpha), (WHOLE,) * dim + (places,), True


@_writer("IndexCopy")
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor):
    """Slices of the source in the place of the slices of a dimension that the index names."""
    dim, places = _along("index_copy", input, dim, index)
    return _source_along("index_copy", input, dim, places, source), (WHOLE,) * dim + (places,), False


@_writer("IndexFillBackward1", "IndexFillBackward0", keeps_layout=True)
def index_fill(input: Tensor, dim: int, index: Tensor, value: float | Tensor):
    """One value in all the slices of a dimension that the index names."""
    require_tensor("index_fill", index, "index", 3)
    if isinstance(value, Variable):
        if value.array.ndim:
            raise RuntimeError("index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                               f"{value.array.ndim} dimension(s).")
    else:
        value = filled("index_fill", (), value, input.array.dtype)
    dim, n = dim_of(dim, input.array.ndim), input.array.shape[dim_of(dim, input.array.ndim)]
    if index.array.dtype not in (np.int64, np.int32):
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if index.array.ndim > 1:
        raise IndexError("Index has to be a vector/scalar")
    places = index.array.reshape(-1)
    _check_range(places, n, dim, IndexError)
    places = np.unique(places % n if n else places)          # each once: the value's gradient sums over them
    return value, (WHOLE,) * dim + (places,), False


def _coordinates(name: str, input: Tensor, dim: int, index: Tensor, source: Tensor | None = None) -> tuple:
    """Where gather reads and scatter writes: index[i][j] of dimension `dim`, and i, j, ... of the others."""
    require_tensor(name, index, "index", 3)
    shape, places = input.array.shape, np.asarray(index.array, order="C")
    dim = dim_of(dim, len(shape))
    if places.size:
        if places.dtype not in (np.int64, np.int32):
            raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")
        if not places.ndim:
            places = places.reshape(1)
        if places.ndim != len(shape):
            raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
        if source is not None and max(source.array.ndim, 1) != len(shape):
            raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
        if any(n > m for d, (n, m) in enumerate(zip(places.shape, shape, strict=True)) if d != dim):
            raise RuntimeError(f"Size does not match at dimension {dim} expected index {list(places.shape)} to be no "
                               f"larger than self {list(shape)} apart from dimension {dim}")
        if source is not None and any(n > m for n, m in zip(places.shape, source.array.shape or (1,), strict=True)):
            raise RuntimeError(f"Expected index {list(places.shape)} to be no larger than self {list(shape)} apart "
                               f"from dimension {dim} and to be no larger size than src {list(source.array.shape)}")
        _check_range(places, shape[dim], dim, RuntimeError, 0)
    else:
        places = places.astype(np.int64).reshape(places.shape if places.ndim == len(shape) else (0,) * len(shape))
    mesh = [np.arange(n).reshape((-1,) + (1,) * (places.ndim - d - 1)) for d, n in enumerate(places.shape)]
    mesh[dim] = places
    return tuple(mesh)


@takes_out
@composite
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """out[i][j] = input[index[i][j]][j], for dim 0."""
    require_tensor("gather", input)
    if not input.array.ndim:
        out = index_at(reshape_to(input, (1,)), _coordinates("gather", reshape_to(input, (1,)), dim, index))
        return reshape_to(out, index.array.shape)
    out = index_at(input, _coordinates("gather", input, dim, index))
    return out if out.array.size else reshape_to(out, index.array.shape)


def _source(name: str, input: Tensor, index: Tensor, src: Tensor) -> Tensor:
    """The part of the source that the index covers."""
    require_tensor(name, src, "src", 4)
    if src.array.dtype != input.array.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
    shape = index.array.shape
    if src.array.shape == shape:
        return src
    if not src.array.ndim:
        return reshape_to(src, (1,))
    return basic_index(src, tuple(slice(0, n) for n in shape or (1,)))


@_writer("ScatterAdd")
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor):
    """out[index[i][j]][j] += src[i][j], for dim 0."""
    require_tensor("scatter_add", src, "src", 4)
    places = _coordinates("scatter_add", input, dim, index, src)
    return _source("scatter_add", input, index, src), places, True


@_writer("Scatter", "ScatterBackward1")
def _scatter(input: Tensor, dim: int, index: Tensor, src: Tensor | float):
    if not isinstance(src, Variable):
        return filled("scatter", (), src, input.array.dtype), _coordinates("scatter", input, dim, index), False
    places = _coordinates("scatter", input, dim, index, src)
    return _source("scatter", input, index, src), places, False


def scatter(input: Tensor, dim: int, index: Tensor, src: Tensor | float | None = None, *, value: float | None = None,
            reduce: str | None = None) -> Tensor:
    """out[index[i][j]][j] = src[i][j], for dim 0; or added, or multiplied."""
    src = value if src is None else src
    if reduce is None:
        return _scatter(input, dim, index, src)
    if reduce not in ("add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    if not isinstance(src, Variable):
        src = new_tensor(np.full(index.array.shape, filled("scatter", (), src, input.array.dtype)))
    if reduce == "add":
        return named(scatter_add(input, dim, index, src), "Scatter")
    return scatter_reduce(input, dim, index, src, "prod")


def scatter_(input: Tensor, dim: int, index: Tensor, src: Tensor | float | None = None, *, value: float | None = None,
             reduce: str | None = None) -> Tensor:
    src = value if src is None else src
    if reduce is None:
        return _scatter.in_place(input, dim, index, src)
    return assign(input, lambda: scatter(input, dim, index, src, reduce=reduce), write)


_REDUCTIONS = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


def scatter_reduce(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *,
                   include_self: bool = True) -> Tensor:
    """scatter_add with another reduction: "sum", "mean", "prod", "amax" or "amin". Only sums and means have a
    gradient."""
    if reduce not in ("sum", "mean", *_REDUCTIONS):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    require_tensor("scatter_reduce", src, "src", 4)
    places = _coordinates("scatter_reduce", input, dim, index, src)
    if not include_self:
        start = {"prod": 1, "amax": _lowest(input), "amin": _highest(input)}.get(reduce, 0)
        input = index_write(input, np.asarray(start, input.array.dtype), places, False)
    source = _source("scatter_reduce", input, index, src)
    if reduce in ("sum", "mean"):
        out = scatter_add(input, dim, index, src)
        if reduce == "mean":
            counts = np.full(input.array.shape, int(include_self))
            np.add.at(counts, places, 1)
            counts = new_tensor(np.maximum(counts, 1).astype(input.array.dtype))
            out = out / counts if input.array.dtype.kind == "f" else out // counts
        return out
    if mode.grad and (input.requires_grad or src.requires_grad):
        raise NotImplementedError(f"the derivative of scatter with the reduction {reduce!r} is not implemented")
    out = input.array.copy()
    _REDUCTIONS[reduce].at(out, places, source.array)
    return new_tensor(out)


def _lowest(x: Tensor):
    return -np.inf if x.array.dtype.kind == "f" else False if x.array.dtype.kind == "b" else np.iinfo(x.array.dtype).min


def _highest(x: Tensor):
    return np.inf if x.array.dtype.kind == "f" else True if x.array.dtype.kind == "b" else np.iinfo(x.array.dtype).max


@_writer("MaskedScatter")
def _masked_scatter(input: Tensor, mask: np.ndarray, source: Tensor):
    return source, (mask.reshape(input.array.shape),), False


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The elements of the source, one after another, where the mask holds."""
    mask, source = _masked_arguments(input, mask, source)
    shape = np.broadcast_shapes(input.array.shape, mask.shape)
    input = input if input.array.shape == shape else expand_to(input, shape)
    return named(_masked_scatter(input, np.broadcast_to(mask, shape), source), "MaskedScatter")


def masked_scatter_(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    array, source = _masked_arguments(input, mask, source)
    return _masked_scatter.in_place(input, mask.expand(input.array.shape).array, source)


def _masked_arguments(input: Tensor, mask: Tensor, source: Tensor) -> tuple[np.ndarray, Tensor]:
    require_tensor("masked_scatter", mask, "mask", 2)
    require_tensor("masked_scatter", source, "source", 3)
    if source.array.dtype != input.array.dtype:
        raise RuntimeError("masked_scatter: expected self and source to have same dtypes but got "
                           f"{input.dtype.tensor_type} and {source.dtype.tensor_type}")
    if mask.array.dtype != bool:
        raise RuntimeError("masked_scatter_ only supports boolean masks, but got mask with dtype "
                           f"{mask.dtype.tensor_type}")
    shape = common_shape(input, mask)
    count = int(np.broadcast_to(mask.array, shape).sum())
    if count > source.array.size:
        raise RuntimeError(f"masked_scatter: expected {count} source elements, got {source.array.size}")
    return mask.array, basic_index(flatten(source), (slice(0, count),))


# ---- ops that read by index -------------------------------------------------------------------------------------

@takes_out
@composite
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of a dimension that the index names."""
    require_tensor("index_select", input)
    dim, places = _along("index_select", input, dim, index)
    if not input.array.ndim:
        if places.size != 1:
            raise RuntimeError(f"index_select(): Index to scalar can have only 1 value, got {places.size} value(s)")
        return contiguous_copy(input)
    return index_at(contiguous(input), (WHOLE,) * dim + (places,))


@takes_out
@composite
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, in one dimension."""
    require_tensor("masked_select", mask, "mask", 2)
    if mask.array.dtype != bool:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = common_shape(input, mask)
    if not shape:
        return index_at(reshape_to(input, (1,)), (mask.array.reshape(1),))
    input = input if input.array.shape == shape else expand_to(input, shape)
    return index_at(input, (np.broadcast_to(mask.array, shape),))


@takes_out
@composite
def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements by their number in the order of memory."""
    require_tensor("take", index, "index", 2)
    if index.array.dtype != np.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index.dtype.tensor_type}")
    if index.array.size and not input.array.size:
        raise IndexError("take(): tried to take from an empty tensor")
    _check_range(index.array, input.array.size, 0, IndexError)
    return index_at(reshape_to(input, (input.array.size,)), (np.asarray(index.array, order="C"),))


@composite
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Elements replaced, or added to, by their number in the order of memory."""
    require_tensor("put", index, "index", 2)
    if index.array.dtype != np.int64:
        raise RuntimeError(f"put_(): Expected a long tensor for index, but got {index.dtype.tensor_type}")
    if source.array.dtype != input.array.dtype:
        raise RuntimeError(f"put_(): self and source expected to have the same dtype, but got self.dtype = "
                           f"{input.dtype.tensor_type} and source.dtype = {source.dtype.tensor_type}")
    if index.array.size != source.array.size:
        raise RuntimeError("put_(): Expected source and index to have the same number of elements, but got "
                           f"source.numel() = {source.array.size}, index.numel() = {index.array.size}")
    _check_range(index.array, input.array.size, 0, IndexError)
    flat = index_write(reshape_to(input, (input.array.size,)), flatten(source), (index.array.reshape(-1),), accumulate)
    return reshape_to(flat, input.array.shape)


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather, with the other dimensions broadcast."""
    require_tensor("take_along_dim", indices, "indices", 2)
    if indices.array.dtype != np.int64:
        raise RuntimeError("torch.take_along_dim(): dtype of indices should be Long but got "
                           f"{indices.dtype.tensor_type}")
    if dim is None:
        return gather(input.view(-1), 0, indices.view(-1))           # which refuses what has no such view
    if input.array.ndim != indices.array.ndim:
        raise RuntimeError("torch.take_along_dim(): input and indices should have the same number of dimensions, but "
                           f"got {input.array.ndim} dimensions for input, and {indices.array.ndim} dimensions for "
                           "indices")
    dim = dim_of(dim, input.array.ndim)
    shape, places = list(input.array.shape), list(indices.array.shape)
    shape[dim] = places[dim] = 1
    common = list(common_shape(new_tensor(np.empty(shape, bool)), new_tensor(np.empty(places, bool))))
    n = input.array.shape[dim]
    indices = new_tensor(np.where(indices.array < 0, indices.array + n, indices.array))
    input, indices = (expand_to(x, (*common[:dim], x.array.shape[dim], *common[dim + 1:])) for x in (input, indices))
    return gather(input, dim, indices)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Tensor | tuple[Tensor, ...]:
    """Where the elements are not zero: a row of indices for each, or a tensor for each dimension."""
    require_tensor("nonzero", input)
    if as_tuple:
        return unbind(nonzero(input if input.array.ndim else reshape_to(input, (1,))), 1)
    places = input.array.nonzero() if input.array.ndim else ()
    if not input.array.ndim:
        return new_tensor(np.empty((int(input.array.item() != 0), 0), np.int64))
    return new_tensor(np.array(places).T)


def argwhere(input: Tensor) -> Tensor:
    return nonzero(input)


def where(condition: Tensor, input: Tensor | float | None = None, other: Tensor | float | None = None):
    """input where the condition holds, other elsewhere; of a condition alone, the places where it holds."""
    return nonzero(condition, as_tuple=True) if input is None and other is None else choose(condition, input, other)


# ---- a view replaced --------------------------------------------------------------------------------------------

def _replaced(name: str, input: Tensor, src: Tensor, op: Callable, *args) -> Tensor:
    view = op(input.array, *args)
    if view.shape != src.array.shape:
        raise RuntimeError("expected src to have a size equal to the slice of self. src size = "
                           f"{list(src.array.shape)}, slice size = {list(view.shape)}")
    return named(write(input, src, ((), op, args)), name)


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy with one slice replaced."""
    dim, n = dim_of(dim, input.array.ndim), input.array.shape[dim_of(dim, input.array.ndim)]
    if not -n <= index < n:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(input.array.shape)} at "
                         f"dimension {dim}")
    return _replaced("SelectScatter", input, src, basic_index, (WHOLE,) * dim + (as_index(index),))


def slice_scatter(input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None,
                  step: int = 1) -> Tensor:
    """A copy with a slice of a dimension replaced."""
    dim = dim_of(dim, input.array.ndim)
    return _replaced("SliceScatter", input, src, basic_index, (WHOLE,) * dim + (_slice(slice(start, end, step)),))


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy with a diagonal replaced."""
    n = input.array.ndim
    return _replaced("DiagonalScatter", input, src, diagonal_view, offset, dim_of(dim1, n), dim_of(dim2, n))


class Methods:
    __slots__ = ()

    __getitem__, __setitem__ = getitem, setitem
    index_put, index_put_ = index_put, index_put_
    index_add, index_add_ = index_add, index_add.in_place
    index_copy, index_copy_ = index_copy, index_copy.in_place
    index_fill, index_fill_ = index_fill, index_fill.in_place
    scatter_add, scatter_add_ = scatter_add, scatter_add.in_place
    scatter, scatter_ = scatter, scatter_
    scatter_reduce, scatter_reduce_ = scatter_reduce, inplace(scatter_reduce)
    masked_scatter, masked_scatter_ = masked_scatter, masked_scatter_
    put, put_ = put, inplace(put)
    gather, index_select, masked_select = gather, index_select, masked_select
    take, take_along_dim = take, take_along_dim
    nonzero, argwhere = nonzero, argwhere
    select_scatter, slice_scatter, diagonal_scatter = select_scatter, slice_scatter, diagonal_scatter
