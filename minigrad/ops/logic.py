"""Ops without a derivative: comparisons, logic, bits."""

from __future__ import annotations

import numpy as np

from ..graph import Variable, elementwise
from ..refusals import tensor_not
from .promotion import pair, promoted, refuse


def _comparison(name: str, f):
    def function(input, other):
        return f(input, other)
    function.__name__ = name
    op = elementwise()(function)

    def compare(input, other):
        if not isinstance(input, Variable):
            check_tensors(name, input=input)
        return op(*pair(input, other))
    compare.__name__ = compare.__qualname__ = name
    return compare


eq, ne = _comparison("eq", np.equal), _comparison("ne", np.not_equal)
lt, le = _comparison("lt", np.less), _comparison("le", np.less_equal)
gt, ge = _comparison("gt", np.greater), _comparison("ge", np.greater_equal)


def check_tensors(name: str, **arguments) -> None:
    """torch's error for arguments that must be tensors, and are not."""
    for position, (key, x) in enumerate(arguments.items(), 1):
        if not isinstance(x, Variable):
            raise TypeError(f"{name}(): argument '{key}' (position {position}) must be {tensor_not(x)}")


def _logical(name: str, f):
    def function(input, other):
        return f(input, other)
    function.__name__ = name
    op = elementwise()(function)

    def logical(input, other):
        check_tensors(name, input=input, other=other)
        return op(*promoted(input, other))
    logical.__name__ = logical.__qualname__ = name
    return logical


logical_and, logical_or = _logical("logical_and", np.logical_and), _logical("logical_or", np.logical_or)
logical_xor = _logical("logical_xor", np.logical_xor)


@elementwise()
def logical_not(input):
    return np.logical_not(input)


def _bitwise(name: str, f, kernel: str | None = None, forbidden: str = "f"):
    def function(input, other):
        return f(input, other)
    function.__name__ = name
    op = elementwise()(function)

    def bitwise(input, other):
        refuse(kernel or f"{name}_cpu", forbidden, input, other)
        return op(*promoted(input, other))
    bitwise.__name__ = bitwise.__qualname__ = name
    return bitwise


def _shift_left(input, other):
    """Shifted by its width or more, or by less than nothing, a number has no bits left."""
    bits = input.dtype.itemsize * 8
    out_of_range = (other < 0) | (other >= bits)
    return np.where(out_of_range, input.dtype.type(0), np.left_shift(input, np.where(out_of_range, 0, other)))


def _shift_right(input, other):
    """Of a shift to the right, the sign is left."""
    last = np.asarray(input.dtype.itemsize * 8 - 1, input.dtype)
    return np.right_shift(input, np.where((other < 0) | (other > last), last, other))


bitwise_and, bitwise_or = _bitwise("bitwise_and", np.bitwise_and), _bitwise("bitwise_or", np.bitwise_or)
bitwise_xor = _bitwise("bitwise_xor", np.bitwise_xor)
bitwise_left_shift = _bitwise("bitwise_left_shift", _shift_left, "lshift_cpu", "bf")
bitwise_right_shift = _bitwise("bitwise_right_shift", _shift_right, "rshift_cpu", "bf")


@elementwise()
def _invert(input):
    return np.invert(input)


def bitwise_not(input):
    refuse("bitwise_not_cpu", "f", input)
    return _invert(input)


# ---- tests of numbers -------------------------------------------------------------------------------------------

@elementwise()
def isnan(input):
    return np.isnan(input)


@elementwise()
def isinf(input):
    return np.isinf(input)


@elementwise()
def isfinite(input):
    return np.isfinite(input)
