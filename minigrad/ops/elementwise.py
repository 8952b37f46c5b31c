"""Elementwise primitives.

In every rule g is the gradient of the result, `out` the result, `input` and `other` the operands. What was broadcast
in the forward pass is summed by the walk, so no rule here mentions shapes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph import Variable, elementwise, primitive
from .fused import pointwise, zeros_like
from .promotion import (
    as_scalar,
    check_choice,
    check_difference,
    check_same_size,
    kinds,
    one_tensor,
    pair,
    promoted,
    refuse,
    to_floating,
)

# ---- one operand ------------------------------------------------------------------------------------------------


@elementwise("Neg", input=lambda g: -g)
def _neg(input):
    return np.negative(input)


def neg(input):
    if kinds(input) == "b":
        raise RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert "
                           "a mask, use the `~` or `logical_not()` operator instead.")
    return _neg(input)


@elementwise("Abs", input=lambda g, input: g * sign(input))
def _abs(input):
    return np.abs(input)


def abs(input):
    refuse("abs_cpu", "b", input)
    return _abs(input)


def _of_reals(name: str, f: Callable, rule: Callable | None = None, of: Callable | None = None) -> Callable:
    """A function of the reals, computed in floating point, whatever comes in; with its vjp, or with the composition
    `of` which it is differentiated as."""
    def function(input):
        return f(input) if input.dtype != np.float16 else f(input.astype(np.float32)).astype(np.float16)
    function.__name__ = function.__qualname__ = name
    shown = f"{name.title()}Backward0"
    op = elementwise(shown, input=rule)(function) if of is None else pointwise(of, name=shown)(function)

    def public(input):
        return op(to_floating(input, name))
    public.__name__ = public.__qualname__ = name
    return public


exp = _of_reals("exp", np.exp, lambda g, out: g * out)
log = _of_reals("log", np.log, lambda g, input: g / input)
sqrt = _of_reals("sqrt", np.sqrt, lambda g, out: g / (2 * out))
sin = _of_reals("sin", np.sin, lambda g, input: g * cos(input))
cos = _of_reals("cos", np.cos, lambda g, input: g * -sin(input))
tanh = _of_reals("tanh", np.tanh, lambda g, out: g * (1 - out * out))
sigmoid = _of_reals("sigmoid", lambda x: 1 / (1 + np.exp(-x)), lambda g, out: g * ((1 - out) * out))


@pointwise(zeros_like)
def sign(input):
    if input.dtype.kind != "f":
        return input.copy() if input.dtype.kind == "b" else np.sign(input)
    return np.where(np.isnan(input), input.dtype.type(0), np.sign(input))        # torch's sign of a NaN is 0


# ---- two operands -----------------------------------------------------------------------------------------------

def by_number(f: Callable, input, other: float):
    """A product or quotient of a tensor and a number. Next to float16, which many a number is too small or too large
    for, that one is kept in float32; torch does not do so in sums."""
    if input.dtype != np.float16:
        return f(input, other)
    return f(input.astype(np.float32), np.float32(other)).astype(np.float16)


@elementwise("Add", input=lambda g: g, other=lambda g: g)
def _add(input, other):
    return np.add(input, other)


@elementwise("Sub", input=lambda g: g, other=lambda g: -g)
def _sub(input, other):
    return np.subtract(input, other)


@elementwise("Mul", input=lambda g, other: g * other if type(other) is not float else _mul(g, other),
             other=lambda g, input: g * input)
def _mul(input, other):
    return np.multiply(input, other) if type(other) is not float else by_number(np.multiply, input, other)


@elementwise("Div", input=lambda g, other: g / other if type(other) is not float else _div(g, other),
             other=lambda g, input, other: -g * ((input / other) / other))
def _div(input, other):
    return np.true_divide(input, other) if type(other) is not float else by_number(np.true_divide, input, other)


def add(input, other):
    return _add(*pair(input, other))


def sub(input, other):
    check_difference(input, other)
    return _sub(*pair(input, other))


def mul(input, other):
    return _mul(*pair(input, other))


def true_divide(input, other):
    if isinstance(input, Variable) and input.array.dtype.kind == "f":
        return _div(*pair(input, other))
    return _div(*promoted(one_tensor(input, other), other, floating=True))


# The rules of powers are torch's, corners and all: x^y has d/dx = y x^(y-1), but 0 where y = 0, and
# d/dy = x^y ln x, but 0 where x = 0 and y >= 0.
def _power_slope(g, input, other):
    return where(other == 0, 0.0, g * (other * _pow(input, other - 1)))


def _exponent_slope(g, input, other, out):
    return g * where((input == 0) & (other >= 0), 0.0, out * log(input))


@elementwise("PowBackward1", input=_power_slope, other=_exponent_slope)
def _pow(input, other):
    if input.dtype.kind == "i":
        return _negative_powers(input, other)
    if input.dtype == np.float32:                            # NumPy's single-precision power is off by some units
        return np.power(input, other, dtype=np.float64).astype(np.float32)
    return np.power(input, other)


def _negative_powers(input, other):
    """Integers to negative powers are 0, but for the units 1 and -1."""
    units = np.where(input == 1, 1, np.where(input == -1, 1 - 2 * (other & 1), 0)).astype(input.dtype)
    return np.where(other < 0, units, np.power(input, np.maximum(other, 0)))


@elementwise("PowBackward0", input=lambda g, input, exponent: g * 0.0 if exponent == 0 else
           g * (exponent * _pow_number(input, exponent - 1)))
def _pow_number(input, exponent):
    if input.dtype.kind == "b":
        return input | (not exponent)
    short = _POWERS.get(exponent) if input.dtype.kind == "f" else None        # np.power is slow
    return short(input) if short else np.power(input, exponent)


_POWERS = {2: lambda x: x * x, 3: lambda x: x * x * x, 0.5: np.sqrt, 1: np.copy,
           -0.5: lambda x: 1 / np.sqrt(x), -1: lambda x: 1 / x, -2: lambda x: 1 / (x * x)}


@primitive("PowBackward2", exponent=lambda g, base, exponent, out: _exponent_slope(g, base, exponent, out))
def _number_pow(base, exponent):
    value = _negative_powers(base, exponent) if base.dtype.kind == "i" else np.power(base, exponent)
    return np.asarray(value, order="C")                                # in order, as torch's


def pow(input, exponent):
    """input ** exponent; one of the two may be a number."""
    if isinstance(exponent, Variable):
        base, exponent = promoted(input, exponent)
        refuse("pow", "b", base, exponent)
        if isinstance(base, Variable):
            return _pow(base, exponent)
        return _number_pow(np.asarray(base, exponent.array.dtype), exponent)
    base, exponent = promoted(input, exponent)
    if base.array.dtype.kind in "iu" and exponent < 0:
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    if base.array.dtype == np.float16:
        as_scalar(exponent, base.array.dtype)                # which refuses what is too large
    return _pow_number(base, exponent if isinstance(exponent, float) else exponent.item())


@elementwise("Maximum",
           input=lambda g, input, other: where(input == other, g / 2, where(input < other, 0.0, g)),
           other=lambda g, input, other: where(input == other, g / 2, where(input > other, 0.0, g)))
def _maximum(input, other):
    return np.maximum(input, other)


# ---- choice -----------------------------------------------------------------------------------------------------

@elementwise("Where",
           input=lambda g, condition: _where(condition, g, 0.0),
           other=lambda g, condition: _where(condition, 0.0, g))
def _where(condition, input, other):
    return np.where(condition, input, other)


def where(condition, input, other):
    """input where the condition holds, other elsewhere."""
    check_choice(condition, input, other)
    input, other = pair(input, other)
    check_same_size([x for x in (condition, input, other) if isinstance(x, Variable)])
    return _where(condition, input, other)


@elementwise("Relu", input=lambda g, out: where(out <= 0, 0.0, g))          # a NaN passes its gradient
def relu(input):
    first, second = (input, 0) if input.dtype == np.float16 else (0, input)
    return np.maximum(first, second)                                      # of two zeros, this takes the input's
