"""More elementwise ops, for completeness: nothing here is needed to understand the others."""

from __future__ import annotations

import math

import numpy as np

from ..graph import elementwise
from ..kernels import special
from .elementwise import (
    _maximum,
    _of_reals,
    _pow_number,
    _where,
    by_number,
    cos,
    exp,
    log,
    sign,
    sin,
    where,
)
from .fused import fused, pointwise, zeros_like
from .logic import isnan
from .promotion import kinds, refuse

# ---- functions of the reals -------------------------------------------------------------------------------------

LN2, LN10, PI = math.log(2), math.log(10), math.pi

exp2 = _of_reals("exp2", np.exp2, of=lambda input: exp(input * LN2))
expm1 = _of_reals("expm1", np.expm1, of=lambda input: exp(input) - 1)
log2 = _of_reals("log2", np.log2, of=lambda input: log(input) / LN2)
log10 = _of_reals("log10", np.log10, of=lambda input: log(input) / LN10)
log1p = _of_reals("log1p", np.log1p, of=lambda input: log(input + 1))
rsqrt = _of_reals("rsqrt", lambda x: 1 / np.sqrt(x), of=lambda input: _pow_number(input, -0.5))
reciprocal = _of_reals("reciprocal", np.reciprocal, of=lambda input: _pow_number(input, -1.0))
tan = _of_reals("tan", np.tan, of=lambda input: sin(input) / cos(input))
sinh = _of_reals("sinh", np.sinh, of=lambda input: exp(input - LN2) - exp(-input - LN2))
cosh = _of_reals("cosh", np.cosh, of=lambda input: exp(input - LN2) + exp(-input - LN2))
asin = _of_reals("asin", np.arcsin, lambda g, input: g * rsqrt(1 - input * input))
acos = _of_reals("acos", np.arccos, of=lambda input: PI / 2 - asin(input))
atan = _of_reals("atan", np.arctan, lambda g, input: g / (input * input + 1))
asinh = _of_reals("asinh", np.arcsinh, lambda g, input: g * rsqrt(input * input + 1))
acosh = _of_reals("acosh", np.arccosh, lambda g, input: g * rsqrt(input * input - 1))
atanh = _of_reals("atanh", np.arctanh, lambda g, input: g / (1 - input * input))
erf = _of_reals("erf", special.erf, lambda g, input: g * (2 / math.sqrt(PI)) * exp(-(input * input)))
erfc = _of_reals("erfc", special.erfc, of=lambda input: 1 - erf(input))
erfinv = _of_reals("erfinv", special.erfinv, lambda g, out: g * (math.sqrt(PI) / 2) * exp(out * out))
_logit = _of_reals("logit", lambda x: np.log(x / (1 - x)),
                   lambda g, input: where((input < 0) | (input > 1), math.nan, g / (input * (1 - input))))


def _sinc_slope(g, input):
    """0 at 0, and there, as in torch, without a derivative of its own: that one is NaN."""
    x = input * PI
    return where(input == 0, 0.0, g * ((x * cos(x) - sin(x)) / (x * input)))


sinc = _of_reals("sinc", np.sinc, _sinc_slope)


@pointwise(lambda input: where(input == 0, 0.0, _pow_number(where(input == 0, 1.0, input), 0.5)), name="Sqrt")
def sqrt_flat_at_zero(input):
    """sqrt with the subgradient 0 at 0, for norms and standard deviations."""
    return np.sqrt(input)


# ---- steps ------------------------------------------------------------------------------------------------------

def _flat(name: str, f):
    """A function that is constant almost everywhere: its gradient is zero. Integers pass unchanged."""
    def function(input):
        return f(input) if input.dtype.kind == "f" else input.copy()
    function.__name__ = function.__qualname__ = name
    op = pointwise(zeros_like)(function)

    def public(input):
        refuse(f"{name}_vml_cpu", "b", input)
        return op(input)
    public.__name__ = public.__qualname__ = name
    return public


floor, ceil, trunc = _flat("floor", np.floor), _flat("ceil", np.ceil), _flat("trunc", np.trunc)


@pointwise(zeros_like)
def sgn(input):
    return sign(input)


def frac(input):
    refuse("frac_cpu", "biu", input)
    return _frac(input)


@pointwise(lambda input: input - trunc(input))
def _frac(input):
    return input - np.trunc(input)


@pointwise(zeros_like, name="RoundBackward0")
def _round(input):
    return np.rint(input) if input.dtype.kind == "f" else input.copy()


@pointwise(lambda input, decimals: zeros_like(input), name="RoundBackward1")
def _round_decimals(input, decimals):
    if decimals == 0:
        return np.rint(input)
    scale = input.dtype.type(10.0 ** np.abs(decimals))
    return np.rint(input * scale) / scale if decimals > 0 else np.rint(input / scale) * scale


def round(input, *, decimals: int | None = None):
    """To the nearest integer, or to so many decimals; what lies half-way goes to the even neighbour."""
    refuse("round_cpu" if decimals else "round_vml_cpu", "b" if decimals is None else "biu", input)
    return _round(input) if decimals is None else _round_decimals(input, decimals)


# ---- two operands, and more -------------------------------------------------------------------------------------

@pointwise(lambda input, other: -_maximum(-input, -other), "input", "other", name="Minimum")
def _minimum(input, other):
    return np.minimum(input, other)


@fused(lambda input, mask, value: _where(mask, value, input), "input", "value", name="MaskedFill")
def _masked_fill(input, mask, value):
    return np.asarray(np.where(mask, value, input), order="C")


# Inside the bounds the gradient passes, on them too; where the bounds cross, the upper one is the value.
@elementwise("Clamp",
           input=lambda g, input, min, max: where(_within(input, min, max), g, 0.0),
           min=lambda g, input, min, max: where((input < min) if max is None else (input < min) & (min < max), g, 0.0),
           max=lambda g, input, min, max: where((input > max) if min is None else (input > max) | (max < min), g, 0.0))
def _clamp(input, min, max):
    value = input if min is None else np.maximum(input, min)
    return value if max is None else np.minimum(value, max)


def _within(x, min, max):
    return x <= max if min is None else x >= min if max is None else (x >= min) & (x <= max)


# fmax and fmin prefer a number to a NaN; the first operand takes the gradient of a tie.
@pointwise(lambda input, other: _where((input >= other) | isnan(other), input, other), "input", "other", name="Fmax")
def _fmax(input, other):
    return np.fmax(input, other)


@pointwise(lambda input, other: _where((input <= other) | isnan(other), input, other), "input", "other", name="Fmin")
def _fmin(input, other):
    return np.fmin(input, other)


@pointwise(lambda input, tensor1, tensor2, value: input + tensor1 * value / tensor2, "input", "tensor1", "tensor2",
       name="Addcdiv")
def _addcdiv(input, tensor1, tensor2, value):
    return input + value * (tensor1 / tensor2)


@pointwise(lambda input, other: zeros_like(input), "input", "other", name="DivBackward2")
def _div_floor(input, other):
    return _quotient(np.floor_divide, input, other)


@pointwise(lambda input, other: zeros_like(input), "input", "other", name="DivBackward2")
def _div_trunc(input, other):
    if kinds(input) == "f":
        return _quotient(lambda x, y: np.trunc(x / y), input, other)
    quotient = np.floor_divide(input, other)                 # rounded down: one too low where a negative one has a rest
    return quotient + ((quotient < 0) & (quotient * other != input))


def _quotient(f, input, other):
    return f(input, other) if type(other) is not float else by_number(f, input, other)


def _no_derivative(g):
    raise RuntimeError("derivative for aten::floor_divide is not implemented")


@elementwise(input=_no_derivative, other=_no_derivative)
def _floor_divide(input, other):
    return _quotient(np.floor_divide, input, other)


_floor_divide.node_class.__name__ = "NotImplemented"          # what torch shows as its grad_fn


@elementwise(input=lambda g: g, other=lambda g, input, other: -g * _div_trunc(input, other))
def _fmod(input, other):
    return np.fmod(input, other)


@elementwise(input=lambda g: g, other=lambda g, input, other: -g * _div_floor(input, other))
def _remainder(input, other):
    rest = np.fmod(input, other)                             # np.remainder would give a zero the divisor's sign
    return np.where((rest != 0) & ((rest < 0) != (other < 0)), rest + other, rest)


@elementwise("Atan2Backward0",
           input=lambda g, input, other: g * (other * _inverse_square(input, other)),
           other=lambda g, input, other: -g * (input * _inverse_square(input, other)))
def _atan2(input, other):
    return np.arctan2(input, other)


def _inverse_square(x, y):
    """1 / (x^2 + y^2), and 0 at the origin."""
    square = x * x + y * y
    return where(square == 0, 0.0, 1 / square)


@elementwise("Hypot", input=lambda g, input, out: g * (input / out), other=lambda g, other, out: g * (other / out))
def _hypot(input, other):
    return np.hypot(input, other)


@elementwise("Logaddexp",
           input=lambda g, input, other: g / (1 + exp(other - input)),
           other=lambda g, input, other: g / (1 + exp(input - other)))
def _logaddexp(input, other):
    return np.logaddexp(input, other)


@pointwise(lambda input, other: _logaddexp(input * LN2, other * LN2) / LN2, "input", "other",
           name="Logaddexp2Backward0")
def _logaddexp2(input, other):
    return np.logaddexp2(input, other)


@elementwise("Xlogy",
           input=lambda g, input, other: where((input == 0) & (other <= 0), 0.0, _xlogy(g, other)),
           other=lambda g, input, other: g * input / other)
def _xlogy(input, other):
    return np.where(np.isnan(other), other, np.where(input == 0, input.dtype.type(0), input * np.log(other)))
