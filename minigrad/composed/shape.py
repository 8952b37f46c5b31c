"""Ops that rearrange elements: views where torch has views, copies where it copies."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from operator import index

import numpy as np

from .. import dtypes
from ..creation import (
    Ints,
    as_int,
    channels_last,
    channels_last_3d,
    contiguous_format,
    int_tuple,
    ints,
    memory_order,
    preserve_format,
)
from ..graph import Tensor, Variable, new_tensor
from ..kernels.layout import flat, owner
from ..names import composite, named
from ..ops import shape as ops
from ..ops.elementwise import _where
from ..ops.index import index_at
from ..ops.memory import places, strided_view
from ..ops.reduce import dim_of, dims_of
from ..ops.shape import (
    alias,
    basic_index,
    contiguous_copy,
    diagonal_view,
    expand_to,
    flip_dims,
    permute_dims,
    reshape_to,
    swap_dims,
    windows,
    write,
)
from ..ops.shape import clone as copied
from ..refusals import check_inplace, is_dense
from ..size import Size
from .arguments import only, require_tensor, several, spread, tuple_of_ints
from .inplace import inplace

# ---- sizes ------------------------------------------------------------------------------------------------------

def _sizes_of(count: int, name: str, argument: str, given: tuple) -> tuple[int, ...]:
    """The sizes given, that must hold `count` elements: mostly they are plain numbers, and do."""
    known = 1
    for n in given:
        if type(n) is not int or n < 1:
            break
        known *= n
    else:
        if known == count:
            return given
    return infer_size(int_tuple(name, argument, given), count)


def infer_size(sizes: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The sizes with a -1 replaced by what makes them hold `count` elements."""
    known = 1
    for i, n in enumerate(sizes):
        if n >= 0:
            known *= n
        elif n != -1:
            raise RuntimeError(f"invalid shape dimension {n} at index {i} of shape {list(sizes)}")
    unknown = sizes.count(-1)
    if unknown > 1:
        raise RuntimeError("only one dimension can be inferred")
    if unknown and not known and not count:
        raise RuntimeError(f"cannot reshape tensor of 0 elements into shape {list(sizes)} because the unspecified "
                           "dimension size -1 can be any value and is ambiguous")
    if (known != count) if not unknown else (not known or count % known):
        raise RuntimeError(f"shape '{list(sizes)}' is invalid for input of size {count}")
    return tuple(count // known if n == -1 else n for n in sizes) if unknown else sizes


# ---- the same elements, another shape ---------------------------------------------------------------------------

def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """A view if the layout allows it, else a copy."""
    require_tensor("reshape", input)
    if type(shape) is not tuple:
        shape = tuple_of_ints("reshape", "shape", shape)
    array = input.array
    out = reshape_to(input, _sizes_of(array.size, "reshape", "shape", shape))
    if out._view is None:
        return named(out, "UnsafeView")
    return out if out._node is None or array.flags.c_contiguous else named(out, "ReshapeAlias")


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    require_tensor("reshape_as", other, "other")
    return reshape(input, other.array.shape)


def view(input: Tensor, *size, **by_name) -> Tensor:
    """The same memory in another shape, or as another dtype."""
    if by_name or len(size) < 2:
        if "dtype" in by_name or size and isinstance(size[0], dtypes.dtype):
            return _view_as_dtype(input, by_name["dtype"] if by_name else size[0])
        if not size and not by_name:
            raise TypeError("view() received an invalid combination of arguments: it takes sizes, or a dtype")
        size = ints("view", "size", size, **only(by_name, "size", "view"))
    out = reshape_to(input, _sizes_of(input.array.size, "view", "size", size))
    if out._view is None:
        raise RuntimeError("view size is not compatible with input tensor's size and stride (at least one dimension "
                           "spans across two contiguous subspaces). Use .reshape(...) instead.")
    return out


def _view_as_dtype(input: Tensor, dtype: dtypes.dtype) -> Tensor:
    new, old = dtypes.to_numpy(dtype), input.array.dtype
    if new.itemsize == old.itemsize:
        return ops.view_as_dtype(input, new)
    names = f"{dtypes.of(old).tensor_type} as {dtype.tensor_type} (different element sizes)"
    if input.array.ndim == 0:
        raise RuntimeError(f"self.dim() cannot be 0 to view {names}")
    if input.array.strides[-1] != old.itemsize:
        raise RuntimeError(f"self.stride(-1) must be 1 to view {names}, but got "
                           f"{input.array.strides[-1] // old.itemsize}")
    if input.array.shape[-1] * old.itemsize % new.itemsize:
        raise RuntimeError(f"self.size(-1) must be divisible by {new.itemsize // old.itemsize} to view {names}, but "
                           f"got {input.array.shape[-1]}")
    return ops.view_as_dtype(input, new)


def view_as(input: Tensor, other: Tensor) -> Tensor:
    require_tensor("view_as", other, "other")
    return view(input, other.array.shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from start to end as one."""
    require_tensor("flatten", input)
    shape = input.array.shape
    start, end = dim_of(start_dim, len(shape)), dim_of(end_dim, len(shape))
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return reshape(input, (1,))
    if start == end:
        return input
    return reshape(input, (*shape[:start], math.prod(shape[start:end + 1]), *shape[end + 1:]))


def ravel(input: Tensor) -> Tensor:
    require_tensor("ravel", input)
    return view(contiguous(input), -1)


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension as several."""
    shape = input.array.shape
    dim, sizes = dim_of(dim, len(shape)), tuple_of_ints("unflatten", "sizes", sizes)
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    length = shape[dim] if shape else 1
    try:
        sizes = infer_size(sizes, length)
    except RuntimeError as error:
        if "shape '" not in str(error):
            raise
        raise RuntimeError(f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} "
                           f"({length}) in the input tensor") from None
    return view(input, (*shape[:dim], *sizes, *shape[dim + 1:]))


def squeeze(input: Tensor, dim: Ints | None = None, *, axis: Ints | None = None) -> Tensor:
    """Without the dimensions of size 1: all, or those named."""
    require_tensor("squeeze", input)
    dim, shape = axis if dim is None else dim, input.array.shape
    chosen = dims_of(dim, len(shape), empty_means_all=False)
    out = basic_index(input, tuple(0 if n == 1 and d in chosen else slice(None) for d, n in enumerate(shape)))
    return named(out, f"SqueezeBackward{0 if dim is None else 2 if isinstance(dim, Sequence) else 1}")


def _squeeze(self: Tensor, dim: Ints | None = None, *rest: int, axis: Ints | None = None) -> Tensor:
    return squeeze(self, (dim, *rest) if rest else dim, axis=axis)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new dimension of size 1."""
    require_tensor("unsqueeze", input)
    dim = dim_of(dim, len(input.array.shape) + 1)
    return named(basic_index(input, (slice(None),) * dim + (None,)), "Unsqueeze")


# ---- the order of dimensions ------------------------------------------------------------------------------------

def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged."""
    require_tensor("transpose", input)
    n = input.array.ndim
    dim0, dim1 = dim_of(dim0, n), dim_of(dim1, n)
    return swap_dims(input, dim0, dim1) if n else named(permute_dims(input, ()), "Transpose")


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    return transpose(input, axis0, axis1)


def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    return transpose(input, dim0, dim1)


def t(input: Tensor) -> Tensor:
    """A matrix transposed."""
    require_tensor("t", input)
    if input.array.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.array.ndim}D")
    return named(permute_dims(input, tuple(range(input.array.ndim))[::-1]), "TBackward0")


def adjoint(input: Tensor) -> Tensor:
    """Matrices transposed: of real numbers there is no conjugate to take."""
    if input.array.ndim < 2:
        raise RuntimeError("tensor.adjoint() is only supported on matrices or batches of matrices. "
                           f"Got {input.array.ndim}-D tensor.")
    return transpose(input, -2, -1)


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """The dimensions in the given order."""
    require_tensor("permute", input)
    dims, n = tuple_of_ints("permute", "dims", dims), input.array.ndim
    if len(dims) != n:
        raise RuntimeError("permute(sparse_coo): number of dimensions in the tensor input does not match the length of "
                           f"the desired ordering of dimensions i.e. input.dim() = {n} is not equal to len(dims) = "
                           f"{len(dims)}")
    dims = tuple([dim_of(d, n) for d in dims])
    if len(set(dims)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return permute_dims(input, dims)


def movedim(input: Tensor, source: Ints, destination: Ints) -> Tensor:
    """Dimensions moved to other places; the rest keep their order."""
    require_tensor("movedim", input)
    if isinstance(source, Sequence) != isinstance(destination, Sequence):
        raise TypeError("movedim(): source and destination must both be ints, or both be tuples of ints")
    pair, n = {"source": source, "destination": destination}, input.array.ndim
    pair = {k: tuple(v) if isinstance(v, Sequence) else (v,) for k, v in pair.items()}
    if len(pair["source"]) != len(pair["destination"]):
        raise RuntimeError(f"movedim: Invalid source or destination dims: source ({list(pair['source'])} dims) should "
                           f"contain the same number of dims as destination ({list(pair['destination'])} dims)")
    pair = {k: tuple(dim_of(d, n) for d in v) for k, v in pair.items()}
    for k, dims in pair.items():
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{k}` ({list(dims)})")
    if n == 0:
        return alias(input)
    rest = iter([d for d in range(n) if d not in pair["source"]])
    moved = dict(zip(pair["destination"], pair["source"], strict=True))
    return permute_dims(input, tuple(moved[d] if d in moved else next(rest) for d in range(n)))


def moveaxis(input: Tensor, source: Ints, destination: Ints) -> Tensor:
    return movedim(input, source, destination)


# ---- repetition -------------------------------------------------------------------------------------------------

def expand(input: Tensor, *size, implicit: bool = False, **by_name) -> Tensor:
    """Dimensions of size 1 repeated, without copies; -1 keeps a dimension."""
    return _expand(input, ints("expand", "size", size, **only(by_name, "size", "expand")))


def _expand(input: Tensor, size: tuple[int, ...]) -> Tensor:
    require_tensor("expand", input)
    shape = input.array.shape
    lead = len(size) - len(shape)
    if lead < 0:
        raise RuntimeError(f"expand(torch.{input.dtype.tensor_type}Tensor{{{list(shape)}}}, size={list(size)}): the "
                           f"number of sizes provided ({len(size)}) must be greater or equal to the number of "
                           f"dimensions in the tensor ({len(shape)})")
    out = list(size)
    for d, n in enumerate(size):
        old = shape[d - lead] if d >= lead else 1
        if n == -1 and d >= lead:
            out[d] = old
        elif n < 0:
            raise RuntimeError(f"The expanded size of the tensor ({n}) isn't allowed in a leading, non-existing "
                               f"dimension {d}"
                               if d < lead else f"The expanded size of the tensor ({n}) must not be negative at "
                                                f"dimension {d}")
        elif n != old and old != 1:
            raise RuntimeError(f"The expanded size of the tensor ({n}) must match the existing size ({old}) at "
                               f"non-singleton dimension {d}.  Target sizes: {list(size)}.  Tensor sizes: "
                               f"{list(shape)}")
    return expand_to(input, tuple(out))


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    require_tensor("expand_as", other, "other")
    return expand(input, other.array.shape)


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    return _expand(input, tuple_of_ints("broadcast_to", "size", size))


def broadcast_shapes(*shapes: Ints) -> Size:
    """The shape that tensors of these shapes have together."""
    out: list[int] = []
    for i, shape in enumerate(shapes):
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        out = [1] * (len(shape) - len(out)) + out
        for d in range(-1, -len(shape) - 1, -1):
            if shape[d] < 0:
                raise RuntimeError(f"Trying to create tensor with negative dimension ({shape[d]}): ({shape[d]})")
            if shape[d] != 1 and out[d] not in (1, shape[d]):
                raise RuntimeError(f"Attempting to broadcast a dimension of length {shape[d]} at {d}! Mismatching "
                                   f"argument at index {i} had {shape}; but expected shape should be broadcastable to "
                                   f"{out}")
            out[d] = max(out[d], shape[d]) if shape[d] and out[d] else 0
    return Size(out)


def common_shape(*tensors: Tensor) -> tuple[int, ...]:
    """The shape of tensors broadcast together, refused as the elementwise ops refuse."""
    from ..ops.promotion import check_same_size
    check_same_size(tensors)
    return tuple(broadcast_shapes(*[x.array.shape for x in tensors]))


def broadcast_tensors(*tensors: Tensor) -> list[Tensor]:
    tensors = several("broadcast_tensors", tensors)
    shape = common_shape(*tensors) if tensors else ()
    return [expand_to(x, shape) for x in tensors]


@composite("Repeat")
def repeat(input: Tensor, *repeats, **by_name) -> Tensor:
    """Copies of a tensor side by side, so many in each dimension."""
    repeats = ints("repeat", "repeats", repeats, **only(by_name, "repeats", "repeat"))
    shape = input.array.shape
    lead = len(repeats) - len(shape)
    if lead < 0:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    shape = (1,) * lead + shape
    sizes = [r * n for r, n in zip(repeats, shape, strict=True)]
    if any(r < 0 for r in repeats):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(sizes)}: {sizes}")
    once = reshape_to(input, tuple(m for n in shape for m in (1, n)))
    many = expand_to(once, tuple(m for r, n in zip(repeats, shape, strict=True) for m in (r, n)))
    return _base(reshape_to(contiguous_copy(many), tuple(sizes)))


def _base(view: Tensor) -> Tensor:
    """A view of memory that nobody else has is no view."""
    view._view = None
    return view


def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """repeat, with dimensions that are not named repeated once."""
    dims = tuple_of_ints("tile", "dims", dims)
    return repeat(input, (1,) * (input.array.ndim - len(dims)) + dims)


def repeat_interleave(input: Tensor | None = None, repeats: int | Tensor | None = None, dim: int | None = None, *,
                      output_size: int | None = None) -> Tensor:
    """Each element so many times in succession; of repeats alone, the indices that do this."""
    if input is not None and repeats is not None:
        return _repeat_interleave(input, repeats, dim, output_size=output_size)
    repeats = input if repeats is None else repeats
    require_tensor("repeat_interleave", repeats, "repeats")
    if repeats.array.ndim != 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    return new_tensor(_places(repeats.array, output_size).astype(repeats.array.dtype))


def _repeat_interleave(self: Tensor, repeats: int | Tensor, dim: int | None = None, *,
                       output_size: int | None = None) -> Tensor:
    """Each element so many times in succession."""
    require_tensor("repeat_interleave", self)
    if dim is None:
        input, dim = flatten(self), 0
    elif not self.array.ndim:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    else:
        input, dim = self, dim_of(dim, self.array.ndim)
    n = input.array.shape[dim]
    if isinstance(repeats, Variable):
        counts = repeats.array
        if counts.ndim > 1:
            raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
        if counts.size not in (1, n):
            raise RuntimeError("repeats must have the same size as input along dim, but got repeats.size(0) = "
                               f"{counts.size} and input.size({dim}) = {n}")
        places = _places(np.broadcast_to(counts, n), output_size)
        return named(index_at(input, (slice(None),) * dim + (places,)), "IndexSelect")
    repeats = index(repeats)
    if repeats < 0:
        raise RuntimeError("Repeats must be non-negative")
    if output_size is not None and output_size != n * repeats:
        raise RuntimeError(f"repeat_interleave: Invalid output_size, expected {n * repeats} but got {output_size}")
    shape = input.array.shape
    many = expand_to(unsqueeze(input, dim + 1), (*shape[:dim + 1], repeats, *shape[dim + 1:]))
    return _base(reshape_to(contiguous_copy(many), (*shape[:dim], n * repeats, *shape[dim + 1:])))


def _places(counts: np.ndarray, output_size: int | None) -> np.ndarray:
    """Each index so many times in succession."""
    if counts.dtype not in (np.int32, np.int64):
        raise NotImplementedError(f"\"repeat_interleave_cpu\" not implemented for "
                                  f"'{dtypes.of(counts.dtype).tensor_type}'")
    if (counts < 0).any():
        raise RuntimeError("repeats can not be negative")
    places = np.repeat(np.arange(counts.size), counts)
    if output_size is not None and output_size != places.size:
        raise RuntimeError("allocated size does not match required size")
    return places


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All windows of a size along a dimension, a step apart, as a last dimension: a view."""
    require_tensor("unfold", input)
    dim = dim_of(dimension, input.array.ndim)
    n = input.array.shape[dim] if input.array.ndim else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {dim} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if not input.array.ndim:
        return named(basic_index(unsqueeze(input, 0), (slice(0, size),)), "Unfold")
    return windows(input, dim, index(size), index(step))


def as_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """Any window onto the memory that the input lies in: a view."""
    require_tensor("as_strided", input)
    size, stride = tuple_of_ints("as_strided", "size", size), tuple_of_ints("as_strided", "stride", stride)
    own = input.storage_offset()
    offset = own if storage_offset is None else as_int("as_strided", "storage_offset", storage_offset)
    if len(size) != len(stride):
        raise RuntimeError(f"mismatch in length of strides and shape: {list(stride)} and {list(size)}")
    if min(stride, default=0) < 0:
        raise RuntimeError("as_strided: Negative strides are not supported at the moment, got strides: "
                           f"{list(stride)}")
    if min(size, default=0) < 0:
        raise RuntimeError(f"as_strided: sizes must not be negative, got {list(size)}")
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    memory, item = flat(owner(input.array)).nbytes, input.array.itemsize
    needed = (offset + sum((n - 1) * step for n, step in zip(size, stride)) + 1) * item
    if 0 not in size and needed > memory:
        raise RuntimeError(f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and "
                           f"itemsize {item} requiring a storage size of {needed} are out of bounds for storage of "
                           f"size {memory}")
    out = strided_view(input, size, stride, offset - own, input.stride())
    view = out._view
    if view is not None and out.array.size:
        # Of the input, the gradient goes to what the input holds. A write in place is part of the base's history, and
        # reaches all that the base holds: so to write, the window is taken from the base itself.
        base, skip = view.base, offset - view.base.storage_offset()
        view.steps = (), strided_view, (size, stride, skip, base.stride())
        if not is_dense(base.array) or skip < 0 or needed // item - offset + skip > base.array.size:
            view.kind = "outside"
        elif view.kind in (None, "no_grad", "overlapping", "window"):
            shown = places(size, stride)
            if np.unique(shown).size < shown.size:
                view.kind = "overlapping"
            elif view.kind != "no_grad":
                view.kind = "window"
    return out


# ---- windows, mirrored, rotated ---------------------------------------------------------------------------------

def flip(input: Tensor, dims: Sequence[int]) -> Tensor:
    """The dimensions backwards, as a copy."""
    require_tensor("flip", input)
    return flip_dims(input, dims_of(tuple_of_ints("flip", "dims", dims), input.array.ndim, empty_means_all=False))


def fliplr(input: Tensor) -> Tensor:
    if input.array.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, (1,))


def flipud(input: Tensor) -> Tensor:
    if input.array.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, (0,))


@composite("Rot90Backward0")
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """A quarter turn in the plane of two dimensions, k times."""
    n, dims = input.array.ndim, tuple(dims)
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if n < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {n}")
    if dims[0] == dims[1] or abs(dims[0] - dims[1]) == n:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    a, b = (dim_of(d, n) for d in dims)
    k %= 4
    if k == 2:
        return flip_dims(input, (a, b))
    return contiguous_copy(input) if k == 0 else swap_dims(flip_dims(input, (b if k == 1 else a,)), a, b)


# ---- diagonals and triangles ------------------------------------------------------------------------------------

def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A diagonal of the matrices in two dimensions, as a last dimension: a view."""
    require_tensor("diagonal", input)
    return diagonal_view(input, index(offset), *_plane(dim1, dim2, input.array.ndim))


def _plane(dim1: int, dim2: int, n: int) -> tuple[int, int]:
    a, b = dim_of(dim1, n), dim_of(dim2, n)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return a, b


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix with a diagonal, or the diagonal of a matrix."""
    require_tensor("diag", input)
    if input.array.ndim == 1:
        return diag_embed(input, diagonal)
    if input.array.ndim != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.array.ndim}D")
    return _diagonal_copy(input, diagonal)


def _diagonal_copy(input: Tensor, offset: int) -> Tensor:
    return named(contiguous_copy(diagonal_view(input, offset, 0, 1)), "DiagonalBackward0_copy")


@composite
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Zeros but for a diagonal of the matrices in two dimensions."""
    require_tensor("diag_embed", input)
    if not input.array.ndim:
        raise IndexError("diag_embed(): input must have at least one dimension")
    *lead, n = input.array.shape
    a, b = _plane(dim1, dim2, len(lead) + 2)
    shape = list(lead)
    for d in sorted((a, b)):
        shape.insert(d, n + abs(offset))
    return write(np.zeros(shape, input.array.dtype), input, ((), diagonal_view, (index(offset), a, b)))


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    return diag_embed(flatten(input), offset)


def _triangle(name: str, keep):
    def f(input: Tensor, diagonal: int = 0) -> Tensor:
        require_tensor(name, input)
        if input.array.ndim < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        rows, columns = input.array.shape[-2:]
        mask = keep(np.arange(columns) - np.arange(rows)[:, None], index(diagonal))
        return named(_where(mask, contiguous(input), input.array.dtype.type(0)), name.title())
    f.__name__ = f.__qualname__ = name
    return f


tril = _triangle("tril", np.less_equal)
triu = _triangle("triu", np.greater_equal)


# ---- layout -----------------------------------------------------------------------------------------------------

def is_contiguous(input: Tensor, memory_format=None) -> bool:
    """Whether the elements lie in memory in their order."""
    if input.array.ndim != {channels_last: 4, channels_last_3d: 5}.get(memory_format, input.array.ndim):
        return False
    order = memory_order(input.array.ndim, memory_format)
    return (input.array if order is None else input.array.transpose(order)).flags.c_contiguous


def contiguous(input: Tensor, memory_format=None) -> Tensor:
    """The tensor itself if its elements lie in order, else a copy in which they do."""
    if memory_format is None and input.array.flags.c_contiguous:
        return input
    return input if is_contiguous(input, memory_format) else clone(input, memory_format=memory_format or
                                                                  contiguous_format)


def clone(input: Tensor, *, memory_format=None) -> Tensor:
    """A copy, in the same layout unless another is asked for."""
    require_tensor("clone", input)
    if memory_format is None or memory_format is preserve_format:
        return copied(input)
    order = memory_order(input.array.ndim, memory_format)
    if order is None:
        return contiguous_copy(input)
    back = tuple(order.index(d) for d in range(len(order)))
    return named(permute_dims(contiguous_copy(permute_dims(input, order)), back), "Clone")


# ---- in-place changes of shape ----------------------------------------------------------------------------------

def _reshaped(op):
    """The in-place form of an op that makes a view: the tensor becomes that view of its memory."""
    def op_(input: Tensor, *args, **kwargs) -> Tensor:
        check_inplace(input)
        out = op(input, *args, **kwargs)
        input.array, input._node = out.array, out._node
        if input._view is not None:
            input._view = out._view
        return input
    name = op.__name__.strip("_")
    op_.__name__ = op_.__qualname__ = name + "_"
    op_.__doc__ = f"{name}, in place: the memory stays, the shape changes."
    return op_


class Methods:
    __slots__ = ()

    reshape, reshape_as, view, view_as = spread(reshape, "shape"), reshape_as, view, view_as
    flatten, ravel, unflatten, squeeze, unsqueeze = flatten, ravel, unflatten, _squeeze, unsqueeze
    transpose, swapaxes, swapdims, t, adjoint = transpose, swapaxes, swapdims, t, adjoint
    permute, movedim, moveaxis = spread(permute, "dims"), movedim, moveaxis
    expand, expand_as, broadcast_to = expand, expand_as, spread(broadcast_to, "size")
    repeat, tile, repeat_interleave = repeat, spread(tile, "dims"), _repeat_interleave
    as_strided, as_strided_ = as_strided, _reshaped(as_strided)
    unfold, flip, fliplr, flipud, rot90 = unfold, spread(flip, "dims"), fliplr, flipud, rot90
    diagonal, diag, diag_embed, diagflat, tril, triu = diagonal, diag, diag_embed, diagflat, tril, triu
    is_contiguous, contiguous, clone = is_contiguous, contiguous, clone
    squeeze_, unsqueeze_, t_, transpose_ = _reshaped(_squeeze), _reshaped(unsqueeze), _reshaped(t), _reshaped(transpose)
    swapaxes_, swapdims_ = _reshaped(swapaxes), _reshaped(swapdims)
    tril_, triu_ = inplace(tril), inplace(triu)

    @property
    def T(self) -> Tensor:
        """The dimensions in reverse order."""
        if self.array.ndim not in (0, 2):
            warnings.warn("The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated. "
                          "Consider `x.mT` to transpose batches of matrices or `x.permute(*torch.arange(x.ndim - 1, "
                          "-1, -1))` to reverse the dimensions of a tensor.", stacklevel=2)
        return permute_dims(self, tuple(range(self.array.ndim))[::-1])

    @property
    def mT(self) -> Tensor:
        """The matrices in the last two dimensions, transposed."""
        if not self.array.ndim:
            warnings.warn("Tensor.mT is deprecated on 0-D tensors. This function is the identity in these cases.",
                          stacklevel=2)
            return self
        if self.array.ndim < 2:
            raise RuntimeError("tensor.mT is only supported on matrices or batches of matrices. "
                               f"Got {self.array.ndim}-D tensor.")
        return transpose(self, -2, -1)

    @property
    def H(self) -> Tensor:
        """A matrix transposed; the numbers are real."""
        if self.array.ndim not in (0, 2):
            raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {self.array.ndim}-D tensor. "
                               "For batches of matrices, consider using tensor.mH")
        return t(self) if self.array.ndim else self

    @property
    def mH(self) -> Tensor:
        if not self.array.ndim:
            warnings.warn("Tensor.mH is deprecated on 0-D tensors. Consider using x.conj().", stacklevel=2)
            return self
        return self.mT
