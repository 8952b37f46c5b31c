"""Elementwise primitives.

In every rule g is the gradient of the result, `out` the result, `input` and `other` the operands. What was broadcast
in the forward pass is summed by the walk, so no rule here mentions shapes.
"""

from __future__ import annotations

import math

import numpy as np

from ..graph import Variable, primitive
from ..kernels import special
from .promotion import (
    NUMBERS,
    as_scalar,
    check_same_size,
    kinds,
    number,
    one_tensor,
    pair,
    promoted,
    refuse,
    to_floating,
)

# ---- one operand ------------------------------------------------------------------------------------------------


@primitive("Clone", input=lambda g: g)
def clone(input):
    return input.copy(order="C" if 0 in input.strides else "K")       # what was expanded has no layout to keep


@primitive()
def zero(input):
    """The gradient of a function that is constant wherever it has one."""
    return np.zeros_like(input)


@primitive("Neg", input=lambda g: -g)
def _neg(input):
    return np.negative(input)


def neg(input):
    if kinds(input) == "b":
        raise RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert "
                           "a mask, use the `~` or `logical_not()` operator instead.")
    return _neg(input)


@primitive("Abs", input=lambda g, input: g * sign(input))
def _abs(input):
    return np.abs(input)


def abs(input):
    refuse("abs_cpu", "b", input)
    return _abs(input)


def _of_reals(name: str, f, rule):
    """A function of the reals: computed in floating point, whatever comes in."""
    def function(input):
        return f(input) if input.dtype != np.float16 else f(input.astype(np.float32)).astype(np.float16)
    function.__name__ = function.__qualname__ = name
    op = primitive(f"{name.title()}Backward0", input=rule)(function)

    def public(input):
        if not isinstance(input, Variable | np.ndarray | np.generic):
            raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
        return op(to_floating(input))
    public.__name__ = public.__qualname__ = name
    return public


LN2, LN10, PI = math.log(2), math.log(10), math.pi

exp = _of_reals("exp", np.exp, lambda g, out: g * out)
exp2 = _of_reals("exp2", np.exp2, lambda g, out: g * out * LN2)
expm1 = _of_reals("expm1", np.expm1, lambda g, out: g * (out + 1))
log = _of_reals("log", np.log, lambda g, input: g / input)
log2 = _of_reals("log2", np.log2, lambda g, input: g / (input * LN2))
log10 = _of_reals("log10", np.log10, lambda g, input: g / (input * LN10))
log1p = _of_reals("log1p", np.log1p, lambda g, input: g / (input + 1))
sqrt = _of_reals("sqrt", np.sqrt, lambda g, out: g / (2 * out))
rsqrt = _of_reals("rsqrt", lambda x: 1 / np.sqrt(x), lambda g, out: -0.5 * g * (out * out * out))
reciprocal = _of_reals("reciprocal", np.reciprocal, lambda g, out: -g * (out * out))
sin = _of_reals("sin", np.sin, lambda g, input: g * cos(input))
cos = _of_reals("cos", np.cos, lambda g, input: g * -sin(input))
tan = _of_reals("tan", np.tan, lambda g, out: g * (1 + out * out))
sinh = _of_reals("sinh", np.sinh, lambda g, input: g * cosh(input))
cosh = _of_reals("cosh", np.cosh, lambda g, input: g * sinh(input))
tanh = _of_reals("tanh", np.tanh, lambda g, out: g * (1 - out * out))
erf = _of_reals("erf", special.erf, lambda g, input: g * (2 / math.sqrt(PI)) * exp(-(input * input)))
erfc = _of_reals("erfc", special.erfc, lambda g, input: g * (-2 / math.sqrt(PI)) * exp(-(input * input)))
sigmoid = _of_reals("sigmoid", lambda x: 1 / (1 + np.exp(-x)), lambda g, out: g * ((1 - out) * out))


@primitive("Sqrt", input=lambda g, out: where(out == 0, 0.0, g / (2 * where(out == 0, 1.0, out))))
def sqrt_flat_at_zero(input):
    """sqrt with the subgradient 0 at 0, for norms and standard deviations."""
    return np.sqrt(input)


def _flat(name: str, f):
    """A function that is constant almost everywhere: its gradient is zero. Integers pass unchanged."""
    def function(input):
        return f(input) if input.dtype.kind == "f" else input.copy()
    function.__name__ = function.__qualname__ = name
    op = primitive(input=lambda g: zero(g))(function)

    def public(input):
        refuse(f"{name}_vml_cpu", "b", input)
        return op(input)
    public.__name__ = public.__qualname__ = name
    return public


floor, ceil, trunc = _flat("floor", np.floor), _flat("ceil", np.ceil), _flat("trunc", np.trunc)


def _signum(name: str):
    def function(input):
        if input.dtype.kind != "f":
            return input.copy() if input.dtype.kind == "b" else np.sign(input)
        return np.where(np.isnan(input), input.dtype.type(0), np.sign(input))        # torch's sign of a NaN is 0
    function.__name__ = function.__qualname__ = name
    return primitive(input=lambda g: zero(g))(function)


sign, sgn = _signum("sign"), _signum("sgn")


@primitive("RoundBackward0", input=lambda g: zero(g))
def _round(input):
    return np.rint(input) if input.dtype.kind == "f" else input.copy()


@primitive("RoundBackward1", input=lambda g: zero(g))
def _round_decimals(input, decimals):
    if decimals == 0:
        return np.rint(input)
    scale = input.dtype.type(10.0 ** np.abs(decimals))
    return np.rint(input * scale) / scale if decimals > 0 else np.rint(input / scale) * scale


def round(input, *, decimals: int | None = None):
    """To the nearest integer, or to so many decimals; what lies half-way goes to the even neighbour."""
    refuse("round_vml_cpu", "b" if decimals is None or decimals == 0 else "biu", input)
    return _round(input) if decimals is None else _round_decimals(input, decimals)


# ---- two operands -----------------------------------------------------------------------------------------------

@primitive("Add", input=lambda g: g, other=lambda g: g)
def _add(input, other):
    return np.add(input, other)


@primitive("Sub", input=lambda g: g, other=lambda g: -g)
def _sub(input, other):
    return np.subtract(input, other)


@primitive("Mul", input=lambda g, other: g * other, other=lambda g, input: g * input)
def _mul(input, other):
    return np.multiply(input, other)


@primitive("Div", input=lambda g, other: g / other, other=lambda g, input, other: -g * ((input / other) / other))
def _div(input, other):
    return np.true_divide(input, other)


def _scaled(input, other, alpha):
    """alpha * other, for input + alpha * other."""
    if isinstance(number(alpha), int) and alpha >= 2**63 and "f" not in kinds(input, other):
        raise RuntimeError("value cannot be converted to type int64_t without overflow")
    if isinstance(alpha, bool) and kinds(input, other) != "bb":
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float) and "f" not in kinds(input, other):
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    if not isinstance(other, Variable):
        return other * alpha
    return mul(other, bool(alpha) if kinds(input, other) == "bb" else alpha)      # among booleans the product is `and`


def add(input, other, *, alpha: int | float = 1):
    """input + alpha * other."""
    return _add(*pair(input, other if alpha == 1 and alpha is not True else _scaled(input, other, alpha)))


def sub(input, other, *, alpha: int | float = 1):
    """input - alpha * other."""
    if _is_bool(input) or _is_bool(other):
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
                           "`logical_xor()` operator instead." if _is_bool(input) and _is_bool(other) else
                           "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to "
                           "invert a mask, use the `~` or `logical_not()` operator instead.")
    return _sub(*pair(input, other if alpha == 1 and alpha is not True else _scaled(input, other, alpha)))


def _is_bool(x) -> bool:
    return x.array.dtype.kind == "b" if isinstance(x, Variable) else isinstance(x, bool)


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


@primitive("PowBackward1", input=_power_slope, other=_exponent_slope)
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


@primitive("PowBackward0", input=lambda g, input, exponent: zero(g) if exponent == 0 else
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
    return np.power(base, exponent)


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
    return _pow_number(base, exponent if isinstance(exponent, float) else exponent.item())


@primitive("Maximum",
           input=lambda g, input, other: where(input == other, g / 2, where(input < other, 0.0, g)),
           other=lambda g, input, other: where(input == other, g / 2, where(input > other, 0.0, g)))
def _maximum(input, other):
    return np.maximum(input, other)


@primitive("Minimum",
           input=lambda g, input, other: where(input == other, g / 2, where(input > other, 0.0, g)),
           other=lambda g, input, other: where(input == other, g / 2, where(input < other, 0.0, g)))
def _minimum(input, other):
    return np.minimum(input, other)


# ---- choice -----------------------------------------------------------------------------------------------------

@primitive("Where",
           input=lambda g, condition: _where(condition, g, 0.0),
           other=lambda g, condition: _where(condition, 0.0, g))
def _where(condition, input, other):
    return np.where(condition, input, other)


def where(condition, input, other):
    """input where the condition holds, other elsewhere."""
    if isinstance(condition, Variable):
        if condition.array.dtype.name not in ("bool", "uint8"):
            raise RuntimeError("where expected condition to be a boolean tensor, but got a tensor with dtype "
                               f"{condition.dtype.tensor_type}")
        for x, y in ((input, other), (other, input)):
            if isinstance(y, Variable) and type(x) is int and y.array.dtype.kind in "iu":
                as_scalar(x, y.array.dtype)
    elif not isinstance(condition, bool | np.ndarray | np.bool_) or {type(input), type(other)} <= NUMBERS:
        raise TypeError(f"where(): argument 'condition' (position 1) must be Tensor, not {type(condition).__name__}")
    input, other = pair(input, other)
    check_same_size([x for x in (condition, input, other) if isinstance(x, Variable)])
    return _where(condition, input, other)


@primitive("MaskedFill", input=lambda g, mask: where(mask, 0.0, g), value=lambda g, mask: where(mask, g, 0.0))
def _masked_fill(input, mask, value):
    return np.asarray(np.where(mask, value, input), order="C")


# Inside the bounds the gradient passes, on them too; where the bounds cross, the upper one is the value.
@primitive("Clamp",
           input=lambda g, input, min, max: where(_within(input, min, max), g, 0.0),
           min=lambda g, input, min, max: where((input < min) if max is None else (input < min) & (min < max), g, 0.0),
           max=lambda g, input, min, max: where((input > max) if min is None else (input > max) | (max < min), g, 0.0))
def _clamp(input, min, max):
    value = input if min is None else np.maximum(input, min)
    return value if max is None else np.minimum(value, max)


def _within(x, min, max):
    return x <= max if min is None else x >= min if max is None else (x >= min) & (x <= max)


@primitive("Relu", input=lambda g, out: where(out <= 0, 0.0, g))          # a NaN passes its gradient
def relu(input):
    first, second = (input, 0) if input.dtype == np.float16 else (0, input)
    return np.maximum(first, second)                                      # of two zeros, this takes the input's


# ---- tests of numbers -------------------------------------------------------------------------------------------

@primitive()
def isnan(input):
    return np.isnan(input)


@primitive()
def isinf(input):
    return np.isinf(input)


@primitive()
def isfinite(input):
    return np.isfinite(input)
