"""Ops that put tensors together, or take them apart."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from operator import index

import numpy as np

from .. import dtypes
from ..creation import Ints, as_int, ints
from ..graph import Tensor, Variable, new_tensor
from ..names import composite, named
from ..ops import shape as ops
from ..ops.index import index_at
from ..ops.promotion import cast
from ..ops.reduce import dim_of
from ..ops.shape import basic_index, contiguous_copy, expand_to, reshape_to
from ..views import mark_multiple
from .arguments import require_tensor, several, takes_out, tensor_list, tuple_of_ints
from .shape import flatten, reshape, unsqueeze

# ---- joining ----------------------------------------------------------------------------------------------------

@takes_out
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after another along a dimension. Empty 1-D tensors are left out, whatever the others' shape."""
    tensors = tensor_list("cat", tensors)
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    tensors = _of_one_dtype(tensors)
    for i, x in enumerate(tensors):
        if x.array.ndim == 0:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    first = next((x.array.shape for x in tensors if x.array.shape != (0,)), (0,))
    dim = dim_of(dim, len(first))
    start, starts = 0, []
    for i, x in enumerate(tensors):
        if x.array.shape == (0,):
            tensors[i] = x = reshape_to(x, (*first[:dim], 0, *first[dim + 1:]))
        shape = x.array.shape
        if len(shape) != len(first):
            raise RuntimeError(f"Tensors must have same number of dimensions: got {len(first)} and {len(shape)}")
        if shape[:dim] != first[:dim] or shape[dim + 1:] != first[dim + 1:]:
            d = next(d for d in range(len(first)) if d != dim and shape[d] != first[d])
            raise RuntimeError(f"Sizes of tensors must match except in dimension {dim}. Expected size {first[d]} but "
                               f"got size {shape[d]} for tensor number {i} in the list.")
        starts.append(start)
        start += shape[dim]
    return ops.concatenate(dim, tuple(starts), *tensors)


def _of_one_dtype(tensors: list[Tensor]) -> list[Tensor]:
    if len({x.array.dtype for x in tensors}) == 1:
        return tensors
    common = dtypes.result_numpy([x.array for x in tensors])
    return [x if x.array.dtype == common else cast(x, common) for x in tensors]


def concat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    return cat(tensors, dim)


def concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    return cat(tensors, dim)


@takes_out
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension."""
    tensors = tensor_list("stack", tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    shape = tensors[0].array.shape
    dim = dim_of(dim, len(shape) + 1)
    for i, x in enumerate(tensors):
        if x.array.shape != shape:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                               f"{list(x.array.shape)} at entry {i}")
    return ops.stack(dim, *_of_one_dtype(tensors))


def atleast_1d(*tensors):
    return _each("atleast_1d", tensors, lambda x: x if x.array.ndim else reshape(x, (1,)))


def atleast_2d(*tensors):
    return _each("atleast_2d", tensors, lambda x: (reshape(x, (1, 1)) if x.array.ndim == 0 else
                                                   unsqueeze(x, 0) if x.array.ndim == 1 else x))


def atleast_3d(*tensors):
    return _each("atleast_3d", tensors, lambda x: (reshape(x, (1, 1, 1)) if x.array.ndim == 0 else
                                                   unsqueeze(unsqueeze(x, 0), -1) if x.array.ndim == 1 else
                                                   unsqueeze(x, -1) if x.array.ndim == 2 else x))


def _each(name: str, tensors: tuple, f):
    """f of the one tensor, or a tuple of f of each."""
    if len(tensors) == 1 and isinstance(tensors[0], Variable):
        return f(tensors[0])
    return tuple(f(x) for x in several(name, tensors))


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Side by side: along the second dimension, or the first of 1-D tensors."""
    return _joined("hstack", tensors, atleast_1d, lambda x: 0 if x.array.ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """On top of each other: along the first dimension."""
    return _joined("vstack", tensors, atleast_2d, lambda x: 0)


def row_stack(tensors: Sequence[Tensor]) -> Tensor:
    return vstack(tensors)


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Along the third dimension."""
    return _joined("dstack", tensors, atleast_3d, lambda x: 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """1-D tensors as the columns of a matrix."""
    return _joined("column_stack", tensors, lambda x: x if x.array.ndim > 1 else reshape(x, (-1, 1)), lambda x: 1)


def _joined(name: str, tensors: Sequence[Tensor], shaped, dim_for) -> Tensor:
    tensors = [shaped(x) for x in tensor_list(name, tensors)]
    if not tensors:
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    return cat(tensors, dim_for(tensors[0]))


@composite("BlockDiag")
def block_diag(*tensors: Tensor) -> Tensor:
    """The matrices along the diagonal of one matrix."""
    blocks = [atleast_2d(x) for x in tensors]
    if not blocks:
        return new_tensor(np.zeros((1, 0), dtypes.get_default_dtype().numpy))
    for i, x in enumerate(blocks):
        if x.array.ndim > 2:
            raise RuntimeError(f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has "
                               f"{x.array.ndim} dimensions")
    dtype = dtypes.result_numpy([x.array for x in tensors])
    widths, rows, left = [x.array.shape[1] for x in blocks], [], 0
    for x, width in zip(blocks, widths, strict=True):
        height = x.array.shape[0]
        side = [new_tensor(np.zeros((height, n), dtype)) for n in (left, sum(widths) - left - width)]
        rows.append(cat([side[0], x, side[1]], 1))
        left += width
    return cat(rows, 0)


# ---- cutting ----------------------------------------------------------------------------------------------------

def _part(input: Tensor, dim: int, start: int, stop: int) -> Tensor:
    return basic_index(input, (slice(None),) * dim + (slice(start, stop),))


def _parts(input: Tensor, dim: int, sizes: Sequence[int], name: str) -> tuple[Tensor, ...]:
    ends = np.cumsum([0, *sizes]).tolist()
    parts = [named(_part(input, dim, a, b), name) for a, b in itertools.pairwise(ends)]
    return mark_multiple(parts, name + "Backward0")


def split(tensor: Tensor, split_size_or_sections: Ints, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of parts of one length (the last may be shorter), or of the given lengths."""
    if isinstance(split_size_or_sections, Sequence):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    require_tensor("split", tensor, "tensor")
    if not tensor.array.ndim:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    size, dim = index(split_size_or_sections), dim_of(dim, tensor.array.ndim)
    n = tensor.array.shape[dim]
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    if size == 0 and n:
        raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
    return _parts(tensor, dim, [min(size, n - a) for a in range(0, n, size)] if n else [0], "Split")


def _split(self: Tensor, split_size: Ints, dim: int = 0) -> tuple[Tensor, ...]:
    return split(self, split_size, dim)


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    require_tensor("split_with_sizes", input)
    if not input.array.ndim:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    sizes, dim = tuple_of_ints("split_with_sizes", "split_sizes", split_sizes), dim_of(dim, input.array.ndim)
    n = input.array.shape[dim]
    if any(s < 0 for s in sizes):
        raise RuntimeError(f"split_with_sizes expects split_sizes have only non-negative entries, but got "
                           f"split_sizes={list(sizes)}")
    if sum(sizes) != n:
        raise RuntimeError(f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at "
                           f"dimension {dim}), but got split_sizes={list(sizes)}")
    return _parts(input, dim, sizes, "SplitWithSizes")


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most so many parts, of one length but for the last."""
    require_tensor("chunk", input)
    if not input.array.ndim:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input.array.shape[dim_of(dim, input.array.ndim)]
    if not n:
        return split_with_sizes(input, [0] * chunks, dim)
    return split(input, -(-n // chunks), dim)


def tensor_split(input: Tensor, indices_or_sections: Ints | Tensor | None = None, dim: int = 0, *,
                 indices: Sequence[int] | None = None, sections: int | None = None,
                 tensor_indices_or_sections: Tensor | None = None) -> tuple[Tensor, ...]:
    """So many parts of lengths that differ by one at most, or parts cut at the given places. Each kind of argument may
    also be given by a name of its own."""
    require_tensor("tensor_split", input)
    kinds = (indices_or_sections, indices, sections, tensor_indices_or_sections)
    if sum(x is not None for x in kinds) != 1:
        raise TypeError("tensor_split() takes one of indices, sections and tensor_indices_or_sections")
    given = next(x for x in kinds if x is not None)
    if not input.array.ndim:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    dim = dim_of(dim, input.array.ndim)
    n = input.array.shape[dim]
    if isinstance(given, Variable):
        if given.array.dtype != np.int64 or given.array.ndim > 1:
            raise RuntimeError("tensor_split expected tensor_indices_or_sections to be a zero-dimensional or "
                               f"one-dimensional tensor of dtype long, but got a {given.array.ndim}-D tensor of dtype "
                               f"{given.dtype}")
        given = given.array.tolist()
    if isinstance(given, Sequence):
        cuts = list(given)
    else:
        if given <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {given}")
        cuts = np.cumsum([n // given + (i < n % given) for i in range(given - 1)]).tolist()
    return tuple(_part(input, dim, a, b) for a, b in zip([0, *cuts], [*cuts, n], strict=True))


def _split_along(name: str, dim_for, least: int):
    def f(input: Tensor, indices_or_sections: Ints) -> tuple[Tensor, ...]:
        n = input.array.ndim
        if n < least:
            raise RuntimeError(f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with "
                               f"{n} dimensions!")
        dim = dim_for(n)
        if not isinstance(indices_or_sections, Sequence):
            size = input.array.shape[dim]
            if indices_or_sections == 0 or size % indices_or_sections:
                raise RuntimeError(f"torch.{name} attempted to split along dimension {dim}, but the size of the "
                                   f"dimension {size} is not divisible by the split_size {indices_or_sections}!")
        return tensor_split(input, indices_or_sections, dim)
    f.__name__ = f.__qualname__ = name
    return f


hsplit = _split_along("hsplit", lambda n: 0 if n == 1 else 1, 1)
vsplit = _split_along("vsplit", lambda n: 0, 2)
dsplit = _split_along("dsplit", lambda n: 2, 3)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of all slices along a dimension."""
    require_tensor("unbind", input)
    if not input.array.ndim:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    dim = dim_of(dim, input.array.ndim)
    lead = (slice(None),) * dim
    return mark_multiple([named(basic_index(input, (*lead, i)), "Unbind") for i in range(input.array.shape[dim])],
                         "UnbindBackward0")


def narrow(input: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """The part of a dimension that begins at `start`."""
    require_tensor("narrow", input)
    if not input.array.ndim:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    dim, start, length = dim_of(dim, input.array.ndim), _start("narrow", start), index(length)
    n = input.array.shape[dim]
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= start <= n:
        raise IndexError(f"start out of range (expected to be in range of [{-n}, {n}], but got {start})")
    start += n if start < 0 else 0
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return _part(input, dim, start, start + length)


def _start(name: str, start) -> int:
    if isinstance(start, Variable) and (start.array.ndim or start.array.dtype.kind not in "iu"):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    return index(start)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """One slice along a dimension."""
    require_tensor("select", input)
    if not input.array.ndim:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim, i = dim_of(dim, input.array.ndim), as_int("select", "index", index)
    n = input.array.shape[dim]
    if not -n <= i < n:
        raise IndexError(f"select(): index {i} out of range for tensor of size {list(input.array.shape)} at dimension "
                         f"{dim}")
    return named(basic_index(input, (slice(None),) * dim + (i,)), "Select")


# ---- both -------------------------------------------------------------------------------------------------------

@composite("Roll")
def roll(input: Tensor, shifts: Ints, dims: Ints | None = None) -> Tensor:
    """Elements pushed out at one end come in at the other."""
    shifts = ints("roll", "", (shifts,))
    dims = () if dims is None else ints("roll", "", (dims,))
    if not shifts:
        raise RuntimeError("`shifts` required")
    if not dims and len(shifts) == 1:
        return reshape(roll(flatten(input), shifts, (0,)), input.array.shape)
    if len(shifts) != len(dims):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    if not input.array.ndim and dims:
        raise IndexError(f"Dimension specified as {dims[0]} but tensor has no dimensions")
    out = input
    for shift, d in zip(shifts, dims, strict=True):
        d = dim_of(d, input.array.ndim)
        n = input.array.shape[d]
        if n:
            out = cat([_part(out, d, n - shift % n, n), _part(out, d, 0, n - shift % n)], d)
    return contiguous_copy(out) if out is input else out


def meshgrid(*tensors, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Grids of coordinates: the k-th varies along dimension k alone. "xy" exchanges the first two dimensions."""
    tensors = several("meshgrid", tensors)
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if indexing is None:
        indexing = "ij"
        warnings.warn("torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.",
                      stacklevel=2)
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for x in tensors:
        if x.array.ndim > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {x}")
        if x.array.dtype != tensors[0].array.dtype:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    axes = list(range(len(tensors)))
    if indexing == "xy":
        axes[:2] = axes[:2][::-1]
    shape = tuple(tensors[axis].array.size for axis in axes)
    return tuple(expand_to(reshape(x, (1,) * axis + (-1,) + (1,) * (len(shape) - axis - 1)), shape)
                 for axis, x in zip(axes, tensors, strict=True))


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All tuples with one element of each of the 1-D tensors."""
    tensors = several("cartesian_prod", tensors)
    for x in tensors:
        if x.array.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(x.array.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([flatten(g) for g in meshgrid(tensors, indexing="ij")], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All r-tuples of elements in their order, without (or with) one element occurring again."""
    if input.array.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.array.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return new_tensor(np.empty(0, input.array.dtype))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.array.size), r)), np.int64).reshape(-1, r)
    return named(index_at(input, (rows,)), "Stack")


class Methods:
    __slots__ = ()

    split, split_with_sizes, chunk, tensor_split = _split, split_with_sizes, chunk, tensor_split
    hsplit, vsplit, dsplit, unbind, narrow, select = hsplit, vsplit, dsplit, unbind, narrow, select
    roll = roll
