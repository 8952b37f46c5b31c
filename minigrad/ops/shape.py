"""Primitives that rearrange: views of the same memory, and copies in another order."""

from __future__ import annotations

import numpy as np

from ..graph import Variable, primitive
from ..kernels.layout import copied, flat, owner
from ..names import composite
from ..views import take_view, view_primitive


def zeros_for(g, shape: tuple) -> np.ndarray:
    return np.zeros(shape, g.array.dtype if isinstance(g, Variable) else g.dtype)


# ---- a view's adjoint: its gradient goes back into zeros, at the same place ------------------------------------

@primitive("CopySlices",
           base=lambda g, steps: write(g, 0.0, steps),
           value=lambda g, steps: take_view(g, steps))
def write(base, value, steps):
    """A copy of the base with the view that `steps` lead to replaced. It is the history of a base after a write in
    place through a view; and written into zeros, the vjp of taking that view."""
    out = copied(base) if isinstance(base, np.ndarray) else np.array(base)
    view = take_view(out, steps)
    if view is out or np.may_share_memory(view, out):
        view[...] = value
    elif view.size:                              # the copy's layout lets NumPy take this view only by copying again
        flat, places = np.ascontiguousarray(out).reshape(-1), np.arange(out.size).reshape(out.shape)
        flat[take_view(places, steps)] = value
        out = flat.reshape(out.shape)
    return out


def _back(g, shape, op, *args):
    return write(zeros_for(g, shape), g, ((), op, args))


# NumPy's as_strided takes longer than most of the ops that use it; and where the memory's owner is at hand, the
# constructor checks that the view stays inside.
def strided(array: np.ndarray, shape, strides) -> np.ndarray:
    """A view with its own shape and strides (in bytes), starting where the array starts."""
    memory = array
    while not memory.flags.c_contiguous:
        memory = memory.base
        if not isinstance(memory, np.ndarray):
            memory = flat(owner(array))
    skip = address(array) - address(memory) if memory is not array else 0
    return np.ndarray(shape, array.dtype, memory, skip, strides)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@view_primitive("Slice", input=lambda g, index, shape: _back(g, shape, basic_index, index))
def basic_index(input, index):
    """input[index] for integers, slices and None: always a view."""
    out = input[(*index, ...)]                   # the Ellipsis keeps a single element an array, not a NumPy scalar
    return _unit_strides(input, index, out) if None in index else out


def _unit_strides(input, index: tuple, out):
    """For None, NumPy makes a dimension with stride 0; in torch it steps over the dimension that comes next."""
    strides, place, d = list(out.strides), 0, 0
    for item in index:
        if item is None:
            strides[place] = input.shape[d] * input.strides[d] if d < input.ndim else input.itemsize
        place += not isinstance(item, int)
        d += item is not None
    return strided(out, out.shape, strides)


@view_primitive("Diagonal", input=lambda g, offset, dim1, dim2, shape: _back(
    g, shape, diagonal_view, offset, dim1, dim2))
def diagonal_view(input, offset, dim1, dim2):
    skip = (dim1, -offset) if offset < 0 else (dim2, offset)
    n, m = input.shape[dim1] + min(offset, 0), input.shape[dim2] - max(offset, 0)
    rest = [d for d in range(input.ndim) if d not in (dim1, dim2)]
    length = max(min(n, m), 0)
    start = input[tuple(slice(skip[1], None) if d == skip[0] and length else slice(None) for d in range(input.ndim))]
    return strided(start, [*(input.shape[d] for d in rest), length],
                   [*(input.strides[d] for d in rest), input.strides[dim1] + input.strides[dim2]])


@view_primitive("View", input=lambda g, shape: reshape_to(g, shape))
def reshape_to(input, sizes):
    """The same elements in another shape: a view where the layout allows it, else a copy."""
    return input.reshape(sizes)


@view_primitive("Permute", input=lambda g, dims: permute_dims(g, tuple(sorted(range(len(dims)), key=dims.__getitem__))))
def permute_dims(input, dims):
    return input.transpose(dims)


@view_primitive("Transpose", input=lambda g, dim0, dim1: swap_dims(g, dim0, dim1))
def swap_dims(input, dim0, dim1):
    return input.swapaxes(dim0, dim1)


@view_primitive("Expand", input=lambda g: g)                # the walk sums over what was repeated
def expand_to(input, sizes):
    if isinstance(input, np.generic):
        input = np.asarray(input)
    lead, strides = len(sizes) - input.ndim, list(input.strides)
    for d, n in enumerate(input.shape):
        if n != sizes[lead + d]:
            strides[d] = 0
    for n in reversed(sizes[:lead]):
        inner = len(sizes) - len(strides)
        strides.insert(0, 0 if n != 1 else sizes[inner] * strides[0] if strides else input.itemsize)
    return strided(input, sizes, strides)


@view_primitive("Alias", input=lambda g: g)
def alias(input):
    return input[...]


# ---- sliding windows --------------------------------------------------------------------------------------------

@view_primitive("Unfold", input=lambda g, dim, size, step, shape: _fold(g, dim, size, step, shape))
def windows(input, dim, size, step):
    """All windows of a length along a dimension, as a last dimension: they overlap in memory."""
    count = (input.shape[dim] - size) // step + 1
    shape, strides = [*input.shape, size], [*input.strides, input.strides[dim]]
    shape[dim], strides[dim] = count, strides[dim] * step
    return strided(input, shape, strides)


@primitive("UnfoldBackward", input=lambda g, dim, size, step: windows(g, dim, size, step))
def _fold(input, dim, size, step, sizes):
    """The adjoint of windows: each element is the sum over the windows that hold it."""
    out, count = np.zeros(sizes, input.dtype), input.shape[dim]
    for k in range(size):
        place = [slice(None)] * len(sizes)
        place[dim] = slice(k, k + (count - 1) * step + 1, step)
        out[tuple(place)] += input[..., k]
    return out


# ---- copies in another order ------------------------------------------------------------------------------------

@primitive("Clone", input=lambda g: g)
def clone(input):
    return copied(input)


@primitive("Clone", input=lambda g: g)
def contiguous_copy(input):
    return input.copy()


@composite("Flip")
def flip_dims(input, dims):
    """A copy with these dimensions in reverse."""
    return clone(basic_index(input, tuple(slice(None, None, -1 if d in dims else 1) for d in range(len(input.shape)))))


@primitive("Cat", tensors=lambda g, dim, starts, position, shape: narrow_to(g, dim, starts[position - 2], shape[dim]))
def concatenate(dim, starts, *tensors):
    """Tensors one after another along a dimension; `starts` says where each begins."""
    return np.asarray(np.concatenate(tensors, dim), order="C")


@primitive("Stack", tensors=lambda g, dim, position: basic_index(g, (slice(None),) * dim + (position - 1,)))
def stack(dim, *tensors):
    """Tensors of one shape along a new dimension."""
    place = (slice(None),) * dim + (None,)
    return np.asarray(np.concatenate([x[place] for x in tensors], dim), order="C")


def narrow_to(input, dim: int, start: int, length: int):
    return basic_index(input, (slice(None),) * dim + (slice(start, start + length),))


@view_primitive("View")
def view_as_dtype(input, dtype):
    """The same bytes, read as another dtype."""
    return input.view(dtype)
