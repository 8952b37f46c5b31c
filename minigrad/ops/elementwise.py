"""Elementwise primitives.

In every rule g is the gradient of the result, `out` the result, `input` and `other` the operands. What was broadcast
in the forward pass is summed by the walk, so no rule here mentions shapes.
"""

from __future__ import annotations

import math

import numpy as np

from .. import dtypes
from ..graph import Variable, new_tensor, primitive, renamed
from ..kernels import special

# ---- operands ---------------------------------------------------------------------------------------------------


def to_floating(x):
    """Integers and booleans enter a function of the reals in the default dtype."""
    if isinstance(x, Variable) and x.array.dtype.kind != "f":
        return cast(x, dtypes.get_default_dtype().numpy)
    return x


def promoted(*operands, floating: bool = False) -> tuple:
    """The operands of one op in their common dtype, by torch's rules (dtypes.result_numpy). Python numbers stay as
    they are where NumPy treats them alike: next to a tensor whose dtype they do not change. Bare arrays come from a
    rule, and have met before."""
    tensors = [x for x in operands if isinstance(x, Variable)]
    if not tensors:
        if any(isinstance(x, ARRAYS) for x in operands):
            return operands
        raise TypeError(f"expected a Tensor among the operands, got {', '.join(type(x).__name__ for x in operands)}")
    common = dtypes.result_numpy([x.array if isinstance(x, Variable) else _number(x) for x in operands])
    if floating and common.kind != "f":
        common = dtypes.get_default_dtype().numpy
    check_same_size(tensors)
    return tuple((x if x.array.dtype == common else cast(x, common)) if isinstance(x, Variable)
                 else x if isinstance(x, np.ndarray) else _scalar(x, common) for x in operands)


def pair(input, other) -> tuple:
    """promoted(input, other), without ado where the two agree already, or one is a number that changes nothing."""
    if isinstance(input, Variable):
        if isinstance(other, Variable):
            a, b = input.array, other.array
            if a.dtype == b.dtype:
                if a.shape != b.shape:
                    check_same_size((input, other))
                return input, other
        elif type(other) is float and input.array.dtype.kind == "f":
            return input, other
    return promoted(input, other)


ARRAYS = (np.ndarray, np.generic)


def _number(x):
    if not isinstance(x, int | float | np.ndarray | np.generic):
        raise TypeError(f"expected a Tensor or a number, got {type(x).__name__}")
    return x


def _scalar(x, dtype: np.dtype):
    """A Python number for NumPy. An integer is cut to the width of its dtype, as torch does."""
    if dtype.kind == "f":
        return float(x)
    return wrap(x, dtype) if isinstance(x, int) and dtype.kind != "b" else np.asarray(x).astype(dtype)


def wrap(x: int, dtype: np.dtype) -> np.ndarray:
    """The integer x in two's complement of the dtype's width."""
    if not -2**63 <= x < 2**64:
        raise OverflowError("int too big to convert")
    return np.asarray(x & (1 << 64) - 1, np.uint64).astype(dtype)


def check_same_size(tensors) -> None:
    """Shapes must broadcast; torch's message where they do not."""
    shape = tensors[0].array.shape if tensors else ()
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
        shape = tuple(q if p == 1 else p for p, q in zip(a, b))


def named(out, name: str):
    """The result of a primitive, with the name that torch gives its node for these types of operands."""
    if isinstance(out, Variable) and out._node is not None:
        out._node.__class__ = renamed(type(out._node), name)
    return out


def kinds(*operands) -> str:
    """The dtypes' kinds of all operands, Python numbers included: "b" boolean, "i" and "u" integer, "f" floating."""
    return "".join((x.array if isinstance(x, Variable) else np.asarray(x)).dtype.kind for x in operands)


def refuse(name: str, forbidden: str, *operands) -> None:
    """torch's error for dtypes that an op has no kernel for: those whose kind is among `forbidden`, for all operands
    have met in them."""
    if any(isinstance(x, Variable) for x in operands):
        common = dtypes.result_numpy([x.array if isinstance(x, Variable) else _number(x) for x in operands])
        if common.kind in forbidden:
            raise NotImplementedError(f'"{name}" not implemented for {dtypes.of(common).tensor_type!r}')


# ---- one operand ------------------------------------------------------------------------------------------------

@primitive("ToCopy", input=lambda g: g)                     # the walk casts g back to the input's dtype
def cast(input, dtype):
    return input.astype(dtype)


@primitive("Clone", input=lambda g: g)
def clone(input):
    return input.copy(order="K")


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
asin = _of_reals("asin", np.arcsin, lambda g, input: g * rsqrt(1 - input * input))
acos = _of_reals("acos", np.arccos, lambda g, input: g * -rsqrt(1 - input * input))
atan = _of_reals("atan", np.arctan, lambda g, input: g / (input * input + 1))
sinh = _of_reals("sinh", np.sinh, lambda g, input: g * cosh(input))
cosh = _of_reals("cosh", np.cosh, lambda g, input: g * sinh(input))
tanh = _of_reals("tanh", np.tanh, lambda g, out: g * (1 - out * out))
asinh = _of_reals("asinh", np.arcsinh, lambda g, input: g * rsqrt(input * input + 1))
acosh = _of_reals("acosh", np.arccosh, lambda g, input: g * rsqrt(input * input - 1))
atanh = _of_reals("atanh", np.arctanh, lambda g, input: g / (1 - input * input))
erf = _of_reals("erf", special.erf, lambda g, input: g * (2 / math.sqrt(PI)) * exp(-(input * input)))
erfc = _of_reals("erfc", special.erfc, lambda g, input: g * (-2 / math.sqrt(PI)) * exp(-(input * input)))
erfinv = _of_reals("erfinv", special.erfinv, lambda g, out: g * (math.sqrt(PI) / 2) * exp(out * out))
sigmoid = _of_reals("sigmoid", lambda x: 1 / (1 + np.exp(-x)), lambda g, out: g * ((1 - out) * out))
_logit = _of_reals("logit", lambda x: np.log(x / (1 - x)),
                   lambda g, input: where((input < 0) | (input > 1), math.nan, g / (input * (1 - input))))
# The derivative of sin(pi x)/(pi x) is (pi x cos(pi x) - sin(pi x)) / (pi x^2), and 0 at 0.
sinc = _of_reals("sinc", np.sinc, lambda g, input: where(input == 0, 0.0, g * _sinc_slope(input)))


def _sinc_slope(x):
    return (PI * x * cos(PI * x) - sin(PI * x)) / (PI * x * x)


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


@primitive("Frac", input=lambda g: g)
def _frac(input):
    return input - np.trunc(input)


def frac(input):
    refuse("frac_cpu", "biu", input)
    return _frac(input)


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
    return _div(*promoted(input, other, floating=True))


@primitive("Addcdiv",
           tensor1=lambda g, tensor2, value: g * (value / tensor2),
           tensor2=lambda g, tensor1, tensor2, value: -g * (value * tensor1 / (tensor2 * tensor2)),
           input=lambda g: g)
def _addcdiv(input, tensor1, tensor2, value):
    return input + value * (tensor1 / tensor2)


# The rules of powers are torch's, corners and all: x^y has d/dx = y x^(y-1), but 0 where y = 0, and
# d/dy = x^y ln x, but 0 where x = 0 and y >= 0.
def _power_slope(g, input, other):
    return where(other == 0, 0.0, g * (other * _pow(input, other - 1)))


def _exponent_slope(g, input, other, out):
    return g * where((input == 0) & (other >= 0), 0.0, out * log(input))


@primitive("PowBackward1", input=_power_slope, other=_exponent_slope)
def _pow(input, other):
    return _negative_powers(input, other) if input.dtype.kind == "i" else np.power(input, other)


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


# ---- choice -----------------------------------------------------------------------------------------------------

@primitive("Where",
           input=lambda g, condition: _where(condition, g, 0.0),
           other=lambda g, condition: _where(condition, 0.0, g))
def _where(condition, input, other):
    return np.where(condition, input, other)


def where(condition, input=None, other=None):
    """input where the condition holds, other elsewhere; of a condition alone, the places where it holds."""
    if input is None and other is None:
        from ..composed.index import nonzero  # the one name in torch for two functions
        return nonzero(condition, as_tuple=True)
    if isinstance(condition, Variable):
        if condition.array.dtype.name not in ("bool", "uint8"):
            raise RuntimeError("where expected condition to be a boolean tensor, but got a tensor with dtype "
                               f"{condition.dtype.tensor_type}")
        if not isinstance(input, Variable | np.ndarray) and not isinstance(other, Variable | np.ndarray):
            input = new_tensor(np.asarray(input, dtypes.result_numpy((input, other))))
    elif not isinstance(condition, bool | np.ndarray | np.bool_):
        raise TypeError(f"where(): argument 'condition' (position 1) must be Tensor, not {type(condition).__name__}")
    input, other = pair(input, other)
    check_same_size([x for x in (condition, input, other) if isinstance(x, Variable)])
    return _where(condition, input, other)


@primitive("MaskedFill", input=lambda g, mask: where(mask, 0.0, g), value=lambda g, mask: where(mask, g, 0.0))
def _masked_fill(input, mask, value):
    return np.where(mask, value, input)


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


@primitive("Relu", input=lambda g, out: where(out > 0, g, 0.0))
def relu(input):
    return np.maximum(input, 0)


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
