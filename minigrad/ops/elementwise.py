"""Elementwise primitives.

In every rule g is the gradient of the result, `out` the result, `input` and `other` the operands. What was broadcast
in the forward pass is summed by the walk, so no rule here mentions shapes.
"""

from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..graph import Variable, composite, new_tensor, primitive
from ..kernels import special

# ---- operands ---------------------------------------------------------------------------------------------------


def to_floating(x):
    """Integers and booleans enter a function of the reals in the default dtype."""
    if isinstance(x, Variable) and x.array.dtype.kind != "f":
        return cast(x, dtypes.get_default_dtype().numpy)
    return x


def promoted(*operands, floating: bool = False) -> tuple:
    """The operands of one op in their common dtype, by torch's rules (dtypes.result_numpy). Python numbers stay as
    they are where NumPy treats them alike: next to a tensor whose dtype they do not change."""
    tensors = [x for x in operands if isinstance(x, Variable)]
    if not tensors:
        return operands                                      # bare arrays, in a rule
    first = tensors[0].array.dtype
    if len(tensors) == len(operands) and all(t.array.dtype == first for t in tensors):
        common = first
    else:
        raws = [x.array if isinstance(x, Variable) else x for x in operands]
        common = dtypes.result_numpy([raw if isinstance(raw, np.ndarray) else _number(raw) for raw in raws])
    if floating and common.kind != "f":
        common = dtypes.get_default_dtype().numpy
    check_same_size(tensors)
    return tuple((x if x.array.dtype == common else cast(x, common)) if isinstance(x, Variable)
                 else x if isinstance(x, np.ndarray) else _scalar(x, common) for x in operands)


def _number(x):
    if not isinstance(x, int | float | np.number | np.bool_):
        raise TypeError(f"expected a Tensor or a number, got {type(x).__name__}")
    return x


def _scalar(x, dtype: np.dtype):
    """A Python number for NumPy. An integer is cut to the width of its dtype, as torch does."""
    if dtype.kind == "f":
        return x if type(x) is float else float(x)
    return np.asarray(x).astype(dtype) if not isinstance(x, int) or dtype.kind == "b" else wrap(x, dtype)


def wrap(x: int, dtype: np.dtype) -> np.ndarray:
    """The integer x in two's complement of the dtype's width."""
    if not -2**63 <= x < 2**64:
        raise RuntimeError("Overflow when unpacking long")
    return np.asarray(x & (1 << 64) - 1, np.uint64).astype(dtype)


def check_same_size(tensors) -> None:
    """Shapes must broadcast; torch's message where they do not."""
    shape = tensors[0].array.shape
    for t in tensors[1:]:
        other = t.array.shape
        if other == shape:
            continue
        n = max(len(shape), len(other))
        a, b = (1,) * (n - len(shape)) + shape, (1,) * (n - len(other)) + other
        for d in range(n - 1, -1, -1):
            if a[d] != b[d] and a[d] != 1 and b[d] != 1:
                raise RuntimeError(f"The size of tensor a ({a[d]}) must match the size of tensor b ({b[d]}) at "
                                   f"non-singleton dimension {d}")
        shape = tuple(q if p == 1 else p for p, q in zip(a, b, strict=True))


# ---- one operand ------------------------------------------------------------------------------------------------

@primitive("ToCopy", input=lambda g: g)                     # the walk casts g back to the input's dtype
def cast(input, dtype):
    return input.astype(dtype)


@primitive("Clone", input=lambda g: g)
def clone(input):
    return input.copy(order="K")


@primitive("Neg", input=lambda g: -g)
def _neg(input):
    return np.negative(input)


def neg(input):
    if isinstance(input, Variable) and input.array.dtype.kind == "b":
        raise RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a "
                           "mask, use the `~` or `logical_not()` operator instead.")
    return _neg(input)


@primitive("Abs", input=lambda g, input: g * sign(input))
def _abs(input):
    return np.abs(input)


def abs(input):
    if isinstance(input, Variable) and input.array.dtype.kind == "b":
        raise RuntimeError('"abs" is not implemented for bool tensors')
    return _abs(input)


def _of_reals(name: str, f, rule):
    """A function of the reals: computed in floating point, whatever comes in."""
    def function(input):
        return f(input) if input.dtype != np.float16 else f(input.astype(np.float32)).astype(np.float16)
    op = primitive(name, input=rule)(function)

    def public(input):
        return op(to_floating(input))
    public.__name__ = public.__qualname__ = name.lower()
    return public


LN2, LN10 = math.log(2), math.log(10)

exp = _of_reals("Exp", np.exp, lambda g, out: g * out)
exp2 = _of_reals("Exp2", np.exp2, lambda g, out: g * out * LN2)
expm1 = _of_reals("Expm1", np.expm1, lambda g, out: g * (out + 1))
log = _of_reals("Log", np.log, lambda g, input: g / input)
log2 = _of_reals("Log2", np.log2, lambda g, input: g / (input * LN2))
log10 = _of_reals("Log10", np.log10, lambda g, input: g / (input * LN10))
log1p = _of_reals("Log1P", np.log1p, lambda g, input: g / (input + 1))
sqrt = _of_reals("Sqrt", np.sqrt, lambda g, out: g / (2 * out))
rsqrt = _of_reals("Rsqrt", lambda x: 1 / np.sqrt(x), lambda g, out: -0.5 * g * (out * out * out))
reciprocal = _of_reals("Reciprocal", np.reciprocal, lambda g, out: -g * (out * out))
sin = _of_reals("Sin", np.sin, lambda g, input: g * cos(input))
cos = _of_reals("Cos", np.cos, lambda g, input: g * -sin(input))
tan = _of_reals("Tan", np.tan, lambda g, out: g * (1 + out * out))
sinh = _of_reals("Sinh", np.sinh, lambda g, input: g * cosh(input))
cosh = _of_reals("Cosh", np.cosh, lambda g, input: g * sinh(input))
tanh = _of_reals("Tanh", np.tanh, lambda g, out: g * (1 - out * out))
erf = _of_reals("Erf", special.erf, lambda g, input: g * (2 / math.sqrt(math.pi)) * exp(-(input * input)))
erfc = _of_reals("Erfc", special.erfc, lambda g, input: g * (-2 / math.sqrt(math.pi)) * exp(-(input * input)))
sigmoid = _of_reals("Sigmoid", lambda x: 1 / (1 + np.exp(-x)), lambda g, out: g * ((1 - out) * out))


@primitive("Sqrt", input=lambda g, out: where(out == 0, 0.0, g / (2 * where(out == 0, 1.0, out))))
def sqrt_flat_at_zero(input):
    """sqrt with the subgradient 0 at 0, for norms and standard deviations."""
    return np.sqrt(input)


def _flat(name: str, f):
    """A function that is constant almost everywhere: its gradient is zero. Integers pass unchanged."""
    def function(input):
        return f(input) if input.dtype.kind == "f" else input.copy()
    return primitive(name, input=lambda g: g * 0.0)(function)


floor, ceil, trunc = _flat("Floor", np.floor), _flat("Ceil", np.ceil), _flat("Trunc", np.trunc)


@primitive("Sign", input=lambda g: g * 0.0)
def sign(input):
    if input.dtype.kind == "b":
        return input.copy()
    return np.where(np.isnan(input), input.dtype.type(0), np.sign(input)) if input.dtype.kind == "f" else np.sign(input)


@primitive("Round", input=lambda g: g * 0.0)
def _round(input, decimals):
    if input.dtype.kind != "f":
        return input.copy()
    scale = 10.0 ** abs(np.asarray(decimals)).item()
    return np.rint(input) if decimals == 0 else np.rint(input * scale) / scale if decimals > 0 else np.rint(input / scale) * scale


def round(input, *, decimals: int = 0):
    return _round(input, decimals)


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


def _scaled(other, alpha, integral: bool):
    if alpha == 1:
        return other
    if integral and isinstance(alpha, float):
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    return mul(other, alpha) if isinstance(other, Variable) else other * alpha


def _is_float(*operands) -> bool:
    return any(x.array.dtype.kind == "f" if isinstance(x, Variable) else isinstance(x, float) for x in operands)


def add(input, other, *, alpha=1):
    return _add(*promoted(input, _scaled(other, alpha, not _is_float(input, other))))


def sub(input, other, *, alpha=1):
    for x in (input, other):
        if isinstance(x, bool) or isinstance(x, Variable) and x.array.dtype.kind == "b":
            if all(isinstance(y, bool) or isinstance(y, Variable) and y.array.dtype.kind == "b" for y in (input, other)):
                raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
                                   "`logical_xor()` operator instead.")
            raise RuntimeError("Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to "
                               "invert a mask, use the `~` or `logical_not()` operator instead.")
    return _sub(*promoted(input, _scaled(other, alpha, not _is_float(input, other))))


def mul(input, other):
    return _mul(*promoted(input, other))


def true_divide(input, other):
    return _div(*promoted(input, other, floating=True))


# x^y: d/dx = y x^(y-1), but 0 where y = 0; d/dy = x^y ln x, but 0 where x = 0 and y >= 0.
@primitive("Pow",
           input=lambda g, input, other: g * where(other == 0, 0.0, other * _pow(input, other - 1)),
           other=lambda g, input, other, out: g * where((input == 0) & (other >= 0), 0.0, out * log(input)))
def _pow(input, other):
    if not isinstance(other, np.ndarray) and (short := _POWERS.get(other)) and input.dtype.kind == "f":
        return short(input)
    return np.power(input, other)


_POWERS = {2: lambda x: x * x, 3: lambda x: x * x * x, 0.5: np.sqrt, 1: np.copy,       # np.power is slow, and so is x**3
           -0.5: lambda x: 1 / np.sqrt(x), -1: lambda x: 1 / x, -2: lambda x: 1 / (x * x)}


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


@primitive("Fmod", input=lambda g: g, other=lambda g, input, other: -g * trunc(input / other))
def _fmod(input, other):
    return np.fmod(input, other)


@primitive("Remainder", input=lambda g: g, other=lambda g, input, other: -g * floor(input / other))
def _remainder(input, other):
    return np.remainder(input, other)


@primitive("Atan2",
           input=lambda g, input, other: g * (other / (input * input + other * other)),
           other=lambda g, input, other: -g * (input / (input * input + other * other)))
def _atan2(input, other):
    return np.arctan2(input, other)


@primitive("Logaddexp",
           input=lambda g, input, other: g / (1 + exp(other - input)),
           other=lambda g, input, other: g / (1 + exp(input - other)))
def _logaddexp(input, other):
    return np.logaddexp(input, other)


@primitive("Xlogy",
           input=lambda g, input, other: xlogy(g, other) * where((input == 0) & (other <= 0), 0.0, 1.0),
           other=lambda g, input, other: g * input / other)
def xlogy(input, other):
    return np.where(np.isnan(other), other, np.where(input == 0, np.zeros_like(input), input * np.log(other)))


# ---- choice -----------------------------------------------------------------------------------------------------

@primitive("Where", input=lambda g, condition: _where(condition, g, 0.0), other=lambda g, condition: _where(condition, 0.0, g))
def _where(condition, input, other):
    value = np.where(condition, input, other)
    kinds = [x.dtype for x in (input, other) if isinstance(x, np.ndarray | np.generic)]
    return value if not kinds or value.dtype == kinds[0] else value.astype(kinds[0])


def where(condition, input=None, other=None):
    """input where the condition holds, other elsewhere; of the condition alone, the places where it holds."""
    return _where(condition, *promoted(input, other))


@primitive("Relu", input=lambda g, out: where(out > 0, g, 0.0))
def relu(input):
    return np.maximum(input, 0)
