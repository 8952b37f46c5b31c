"""A view of any elements of the memory that a tensor lies in, and its adjoint."""

from __future__ import annotations

import numpy as np

from ..kernels.layout import flat, owner
from ..views import view_primitive
from .index import _index, _index_put
from .shape import address, zeros_for


@view_primitive("AsStrided", input=lambda g, size, stride, skip, layout, shape: _lay_back(
    g, size, stride, skip, layout, shape))
def strided_view(input, size, stride, skip, layout):
    """The elements that lie `skip` elements from the input's first one on, a `stride` apart; the input's own strides
    are the `layout`, all in elements. Of an array that lies otherwise (a gradient), what the window shows of it once
    it is laid out like that."""
    if any(n > 1 and s != step * input.itemsize for n, s, step in zip(input.shape, input.strides, layout)):
        read, held, length = _places(size, stride, skip, input.shape, layout)
        memory = np.zeros(length, input.dtype)
        memory[held] = input
        return memory[read]
    memory = flat(owner(input))
    start = address(input) - address(memory) + skip * input.itemsize
    return np.ndarray(size, input.dtype, memory, start if 0 not in size else 0, [s * input.itemsize for s in stride])


def _lay_back(g, size, stride, skip, layout, shape):
    """The adjoint: what is shown twice gets the sum, and what the input itself holds twice (an expanded dimension,
    windows) shares it: the rules of the views before add up again."""
    read, held, length = _places(size, stride, skip, shape, layout)
    back = _index(_index_put(zeros_for(g, (length,)), g, (read,), True), (held,))
    times = np.bincount(held.reshape(-1), minlength=length)[held]
    return back / times.astype(back.dtype if isinstance(back, np.ndarray) else back.array.dtype) \
        if times.max(initial=1) > 1 else back


def _places(size, stride, skip, shape, layout) -> tuple[np.ndarray, np.ndarray, int]:
    """Where in memory the elements of the window lie, and those of the input, and how much memory that spans."""
    read, held = places(size, stride) + skip, places(shape, layout)
    low = min(read.min(initial=0), held.min(initial=0))
    return read - low, held - low, max(read.max(initial=-1), held.max(initial=-1)) - low + 1


def places(size, stride) -> np.ndarray:
    """How far from the first element each element lies."""
    out = np.zeros((), np.int64)
    for n, step in zip(size, stride):
        out = np.add.outer(out, np.arange(n) * step)
    return out
