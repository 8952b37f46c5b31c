"""Ops without a derivative: comparisons, logic, bits, tests of numbers."""

from __future__ import annotations

import numpy as np

from ..graph import Variable, primitive
from .elementwise import promoted


def _comparison(name: str, f):
    def function(input, other):
        return f(input, other)
    op = primitive(name)(function)

    def compare(input, other):
        return op(*promoted(input, other))
    compare.__name__ = compare.__qualname__ = name
    return compare


eq, ne = _comparison("eq", np.equal), _comparison("ne", np.not_equal)
lt, le = _comparison("lt", np.less), _comparison("le", np.less_equal)
gt, ge = _comparison("gt", np.greater), _comparison("ge", np.greater_equal)


def _logical(name: str, f):
    def function(input, other):
        return f(input, other)
    op = primitive(name)(function)

    def logical(input, other):
        for position, x in enumerate((input, other), 1):
            if not isinstance(x, Variable):
                raise TypeError(f"{name}(): argument (position {position}) must be Tensor, not {type(x).__name__}")
        return op(input, other)
    logical.__name__ = logical.__qualname__ = name
    return logical


logical_and, logical_or = _logical("logical_and", np.logical_and), _logical("logical_or", np.logical_or)
logical_xor = _logical("logical_xor", np.logical_xor)


@primitive("LogicalNot")
def logical_not(input):
    return np.logical_not(input)


def _bitwise(name: str, f):
    def function(input, other):
        return f(input, other)
    op = primitive(name)(function)

    def bitwise(input, other):
        input, other = promoted(input, other)
        if any(isinstance(x, Variable) and x.array.dtype.kind == "f" for x in (input, other)):
            raise NotImplementedError(f'"{name}_cpu" not implemented for \'Float\': bitwise ops take integers and booleans')
        return op(input, other)
    bitwise.__name__ = bitwise.__qualname__ = name
    return bitwise


bitwise_and, bitwise_or = _bitwise("bitwise_and", np.bitwise_and), _bitwise("bitwise_or", np.bitwise_or)
bitwise_xor = _bitwise("bitwise_xor", np.bitwise_xor)


@primitive("BitwiseNot")
def _invert(input):
    return np.invert(input)


def bitwise_not(input):
    if isinstance(input, Variable) and input.array.dtype.kind == "f":
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return _invert(input)


@primitive("Isnan")
def isnan(input):
    return np.isnan(input)


@primitive("Isinf")
def isinf(input):
    return np.isinf(input)


@primitive("Isfinite")
def isfinite(input):
    return np.isfinite(input)
