"""From ops to in-place ops: x.op_(...) computes op(x, ...), and puts it in the place of x (see views.assign)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import wraps

import numpy as np

from .. import dtypes
from ..graph import Tensor, Variable, new_tensor, primitive, tensor_with_edge
from ..modes import Quiet, mode
from ..ops.fused import zeros_like
from ..ops.promotion import as_scalar, number
from ..ops.shape import write
from ..refusals import check_inplace, check_overlap, tensor_not
from ..views import assign


def inplace(op: Callable) -> Callable:
    """The in-place form of an op: op_(x, ...) has the value and the derivative of op(x, ...)."""
    @wraps(op)
    def op_(input, *args, **kwargs):
        known_as = input
        for a in itertools.chain(args, kwargs.values()) if kwargs else args:
            if isinstance(a, Variable):
                check_overlap(input, a)
                if mode.grad and a._counter is input._counter is not None:       # x.mul_(x)
                    known_as = tensor_with_edge(input.array, input._edge())
        return assign(input, lambda: op(known_as, *args, **kwargs), write, known_as=known_as)
    op_.__name__ = op_.__qualname__ = op.__name__ + "_"
    return op_


def is_recorded(t: Tensor, source: object = None) -> bool:
    """Whether a write to t in place, of values from the source, belongs into a history."""
    return mode.grad and (t.requires_grad or isinstance(source, Variable) and source.requires_grad)


def write_unrecorded(t: Tensor, values, constant: bool = False) -> Tensor:
    """t[...] = values, where that belongs into no history: what is left of `assign` then."""
    check_inplace(t, constant)
    array = t.array
    if isinstance(values, np.ndarray) and values.dtype == array.dtype:
        array[...] = values
    else:
        with Quiet():
            np.copyto(array, dtypes.towards(values, array.dtype), casting="unsafe")
    if t._counter is not None:
        t._counter[0] += 1
    return t


@primitive("CopyBackwards", input=lambda g: zeros_like(g), source=lambda g: g)
def _copied(input, source):
    out = np.empty_like(input)
    out[...] = dtypes.towards(source, out.dtype)
    return out


@primitive("Fill", input=lambda g: zeros_like(g))
def _filled(input, value):
    out = np.empty_like(input)
    np.copyto(out, dtypes.towards(value, out.dtype), casting="unsafe")
    return out


@primitive("Zero", input=lambda g: zeros_like(g))
def _zeroed(input):
    return np.zeros_like(input)


def copy_(self, other: Tensor | float, non_blocking: bool = False) -> Tensor:
    """Take over the values of another tensor, broadcast and cast."""
    if isinstance(other, int | float):
        other = new_tensor(np.asarray(number(other)))
    if not isinstance(other, Variable):
        raise TypeError(f"copy_(): argument 'other' (position 1) must be {tensor_not(other)}")
    check_overlap(self, other)
    try:
        if self.array.shape != other.array.shape:
            np.broadcast_to(other.array, self.array.shape)
    except ValueError:
        raise RuntimeError(f"The size of tensor a {tuple(self.shape)} must match the size of tensor b "
                           f"{tuple(other.shape)}: copy_ broadcasts its source to the tensor's shape, not the other "
                           "way round") from None
    if not is_recorded(self, other):
        return write_unrecorded(self, other.array)
    return assign(self, lambda: _copied(self, other), write)


def fill_(self, value: Tensor | float) -> Tensor:
    if isinstance(value, Variable):
        if value.array.ndim:
            raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {value.array.ndim} "
                               "dimensions.")
        return copy_(self, value)
    value = as_scalar(value, self.array.dtype)
    if not is_recorded(self):
        return write_unrecorded(self, value, constant=True)
    return assign(self, lambda: _filled(self, value), write, constant=True)


def zero_(self) -> Tensor:
    if not is_recorded(self):
        return write_unrecorded(self, 0, constant=True)
    return assign(self, lambda: _zeroed(self), write, constant=True)


def overwrite(t: Tensor, values) -> Tensor:
    """Put new values, which depend on nothing, in the place of a tensor's own."""
    return assign(t, lambda: _filled(t, values), write)


class Methods:
    __slots__ = ()
    copy_, fill_, zero_ = copy_, fill_, zero_
