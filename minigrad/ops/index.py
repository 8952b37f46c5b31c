"""Primitives that gather by index, and their adjoints that scatter.

An index here is a tuple of slices (each a whole dimension) and arrays, of integers or, alone, of booleans."""

from __future__ import annotations

from ..graph import Variable, primitive
from ..kernels import memory
from ..kernels.late import rows_at
from ..kernels.layout import copied, gathered
from ..kernels.scatter import write_at
from ..modes import mode
from .shape import zeros_for


def index_at(input, index):
    """input[index]: a copy."""
    return _index(input, _kept(index, input))


def index_write(input, value, index, accumulate):
    """A copy of input with the elements at the index replaced, or added to, as often as the index names them."""
    return _index_put(input, value, _kept(index, input, value), accumulate)


def _kept(index: tuple, *tensors) -> tuple:
    """The index as backward may rely on it: what is recorded gets its own copy, as the caller's may change."""
    if mode.grad and any(isinstance(t, Variable) and t.requires_grad for t in tensors):
        return tuple(i if isinstance(i, slice) else i.copy(order="K") for i in index)
    return index


def index_back(g, index, shape):
    """The adjoint of input[index]: what an element was read for, it gets back. Bare arrays are added in place; a few
    rows of many are left as such."""
    if isinstance(g, Variable):
        return index_write(zeros_for(g, shape), g, index, True)
    rows = rows_at(index, g, shape)
    if rows is not None:
        return rows
    back = memory.zeros(shape, g.dtype)
    write_at(back, g, index, True)
    return back


@primitive("Index", input=index_back)
def _index(input, index):
    last = index[-1]
    if (all(x.flags.c_contiguous for x in (input, last)) and last.dtype.kind != "b"
            and all(isinstance(i, slice) for i in index[:-1])):
        return input.take(last, len(index) - 1)          # several times as fast as NumPy's general case
    return gathered(input[index], input, index)


@primitive("IndexPut",
           input=lambda g, index, accumulate: g if accumulate else _index_put(g, 0.0, index, False),
           value=lambda g, index: _index(g, index))
def _index_put(input, value, index, accumulate):
    out = copied(input)
    write_at(out, value, index, accumulate)
    return out
