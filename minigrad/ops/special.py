"""More elementwise primitives, for completeness: nothing here is needed to understand the others."""

from __future__ import annotations

import math

import numpy as np

from ..graph import primitive
from ..kernels import special
from .elementwise import PI, _of_reals, cos, exp, exp2, isnan, rsqrt, sin, where, zero
from .promotion import refuse

asin = _of_reals("asin", np.arcsin, lambda g, input: g * rsqrt(1 - input * input))
acos = _of_reals("acos", np.arccos, lambda g, input: g * -rsqrt(1 - input * input))
atan = _of_reals("atan", np.arctan, lambda g, input: g / (input * input + 1))
asinh = _of_reals("asinh", np.arcsinh, lambda g, input: g * rsqrt(input * input + 1))
acosh = _of_reals("acosh", np.arccosh, lambda g, input: g * rsqrt(input * input - 1))
atanh = _of_reals("atanh", np.arctanh, lambda g, input: g / (1 - input * input))
erfinv = _of_reals("erfinv", special.erfinv, lambda g, out: g * (math.sqrt(PI) / 2) * exp(out * out))
_logit = _of_reals("logit", lambda x: np.log(x / (1 - x)),
                   lambda g, input: where((input < 0) | (input > 1), math.nan, g / (input * (1 - input))))
# The derivative of sin(pi x)/(pi x) is (pi x cos(pi x) - sin(pi x)) / (pi x^2), and 0 at 0.
sinc = _of_reals("sinc", np.sinc, lambda g, input: where(input == 0, 0.0, g * _sinc_slope(input)))


def _sinc_slope(x):
    return (PI * x * cos(PI * x) - sin(PI * x)) / (PI * x * x)


@primitive("Frac", input=lambda g: g)
def _frac(input):
    return input - np.trunc(input)


def frac(input):
    refuse("frac_cpu", "biu", input)
    return _frac(input)


@primitive("Addcdiv",
           tensor1=lambda g, tensor2, value: g * (value / tensor2),
           tensor2=lambda g, tensor1, tensor2, value: -g * (value * tensor1 / (tensor2 * tensor2)),
           input=lambda g: g)
def _addcdiv(input, tensor1, tensor2, value):
    return input + value * (tensor1 / tensor2)


# fmax and fmin prefer a number to a NaN; the first operand takes the gradient of a tie.
@primitive("Fmax",
           input=lambda g, input, other: where((input >= other) | isnan(other), g, 0.0),
           other=lambda g, input, other: where((input >= other) | isnan(other), 0.0, g))
def _fmax(input, other):
    return np.fmax(input, other)


@primitive("Fmin",
           input=lambda g, input, other: where((input <= other) | isnan(other), g, 0.0),
           other=lambda g, input, other: where((input <= other) | isnan(other), 0.0, g))
def _fmin(input, other):
    return np.fmin(input, other)


@primitive("DivBackward2", input=lambda g: zero(g), other=lambda g, other: zero(other))
def _div_floor(input, other):
    return np.floor_divide(input, other)


@primitive("DivBackward2", input=lambda g: zero(g), other=lambda g, other: zero(other))
def _div_trunc(input, other):
    if input.dtype.kind == "f":
        return np.trunc(input / other)
    quotient = np.floor_divide(input, other)                 # rounded down: one too low where a negative one has a rest
    return quotient + ((quotient < 0) & (quotient * other != input))


def _no_derivative(g):
    raise RuntimeError("derivative for aten::floor_divide is not implemented")


@primitive(input=_no_derivative, other=_no_derivative)
def _floor_divide(input, other):
    return np.floor_divide(input, other)


_floor_divide.node_class.__name__ = "NotImplemented"          # what torch shows as its grad_fn


@primitive("Fmod", input=lambda g: g, other=lambda g, input, other: -g * _div_trunc(input, other))
def _fmod(input, other):
    return np.fmod(input, other)


@primitive("Remainder", input=lambda g: g, other=lambda g, input, other: -g * _div_floor(input, other))
def _remainder(input, other):
    return np.remainder(input, other)


@primitive("Atan2Backward0",
           input=lambda g, input, other: g * (other * _inverse_square(input, other)),
           other=lambda g, input, other: -g * (input * _inverse_square(input, other)))
def _atan2(input, other):
    return np.arctan2(input, other)


def _inverse_square(x, y):
    """1 / (x^2 + y^2), and 0 at the origin."""
    square = x * x + y * y
    return where(square == 0, 0.0, 1 / square)


@primitive("Hypot", input=lambda g, input, out: g * (input / out), other=lambda g, other, out: g * (other / out))
def _hypot(input, other):
    return np.hypot(input, other)


@primitive("Logaddexp",
           input=lambda g, input, other: g / (1 + exp(other - input)),
           other=lambda g, input, other: g / (1 + exp(input - other)))
def _logaddexp(input, other):
    return np.logaddexp(input, other)


@primitive("Logaddexp2Backward0",
           input=lambda g, input, other: g / (1 + exp2(other - input)),
           other=lambda g, input, other: g / (1 + exp2(input - other)))
def _logaddexp2(input, other):
    return np.logaddexp2(input, other)


@primitive("Xlogy",
           input=lambda g, input, other: where((input == 0) & (other <= 0), 0.0, _xlogy(g, other)),
           other=lambda g, input, other: g * input / other)
def _xlogy(input, other):
    return np.where(np.isnan(other), other, np.where(input == 0, input.dtype.type(0), input * np.log(other)))
