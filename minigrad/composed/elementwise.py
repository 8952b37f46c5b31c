"""Elementwise ops composed of primitives, Python's operators, and what of both is a Tensor method."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps

import numpy as np

from .. import dtypes
from ..graph import Tensor, Variable, elementwise, new_tensor
from ..names import composite, named
from ..ops.elementwise import (
    _add,
    _maximum,
    _sub,
    _where,
    abs,
    cos,
    exp,
    log,
    mul,
    neg,
    pow,
    sigmoid,
    sign,
    sin,
    sqrt,
    tanh,
    true_divide,
    where,
)
from ..ops.elementwise import relu as _relu
from ..ops.logic import (
    bitwise_and,
    bitwise_left_shift,
    bitwise_not,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    check_tensors,
    eq,
    ge,
    gt,
    isfinite,
    isinf,
    isnan,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    ne,
)
from ..ops.promotion import (
    as_number,
    as_scalar,
    cast,
    check_alpha,
    check_difference,
    check_same_size,
    kinds,
    one_tensor,
    pair,
    promoted,
    refuse,
    scale_first,
    to_floating,
)
from ..ops.special import (
    _addcdiv,
    _atan2,
    _clamp,
    _div_floor,
    _div_trunc,
    _floor_divide,
    _fmax,
    _fmin,
    _fmod,
    _hypot,
    _logaddexp,
    _logaddexp2,
    _logit,
    _masked_fill,
    _minimum,
    _remainder,
    _xlogy,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    ceil,
    cosh,
    erf,
    erfc,
    erfinv,
    exp2,
    expm1,
    floor,
    frac,
    log1p,
    log2,
    log10,
    reciprocal,
    round,
    rsqrt,
    sgn,
    sinc,
    sinh,
    tan,
    trunc,
)
from ..refusals import unknown
from .deprecated import numbers_first
from .inplace import inplace

Number = int | float

# ---- one operand ------------------------------------------------------------------------------------------------

def relu(input: Tensor) -> Tensor:
    """The greater of the number and 0."""
    check_tensors("relu", input=input)
    if input.array.dtype.kind == "b":
        raise RuntimeError("Boolean inputs not supported for relu")
    return _relu(input)


def positive(input: Tensor) -> Tensor:
    if kinds(input) == "b":
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


def square(input: Tensor) -> Tensor:
    return pow(input, 2)


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """ln(p / (1 - p)), of p clamped to [eps, 1 - eps] if there is an eps."""
    return _clamped_logit(input, eps) if eps is not None else _logit(input)


@composite("Logit")
def _clamped_logit(input, eps):
    return _logit(clamp(to_floating(input), eps, 1 - eps))


@composite("NanToNum")
def nan_to_num(input: Tensor, nan: float | None = None, posinf: float | None = None,
               neginf: float | None = None) -> Tensor:
    """Numbers in the place of NaN and the infinities: 0 and the dtype's limits, if nothing else is said."""
    if input.array.dtype.kind != "f":
        return input.clone()
    limits = np.finfo(input.array.dtype)
    top, bottom = (float(limits.max) if posinf is None else posinf), (float(limits.min) if neginf is None else neginf)
    finite = _where(isnan(input), 0.0 if nan is None else float(nan), input)
    return _where(input == math.inf, top, _where(input == -math.inf, bottom, finite))


def isposinf(input: Tensor) -> Tensor:
    return eq(input, math.inf)


def isneginf(input: Tensor) -> Tensor:
    return eq(input, -math.inf)


@composite("Deg2Rad")
def deg2rad(input: Tensor) -> Tensor:
    return mul(to_floating(input), math.pi / 180)


@composite("Rad2Deg")
def rad2deg(input: Tensor) -> Tensor:
    return mul(to_floating(input), 180 / math.pi)


# ---- arithmetic -------------------------------------------------------------------------------------------------

@composite("RsubBackward0")
def _rsub_tensor(input, other, alpha):
    return sub(other, input, alpha=alpha)


@composite("RsubBackward1")
def _rsub_number(input, other, alpha):
    return sub(other, input, alpha=alpha)


@elementwise("Add", input=lambda g, alpha: g, other=lambda g, alpha: g * alpha)
def _add_scaled(input, other, alpha):
    """In float16, rounded once. (torch rounds the product, too, of those last elements that fill no vector.)"""
    return (input.astype(np.float32) + other.astype(np.float32) * np.float32(alpha)).astype(np.float16)


@elementwise("Sub", input=lambda g, alpha: g, other=lambda g, alpha: g * -alpha)
def _sub_scaled(input, other, alpha):
    return _add_scaled(input, other, -alpha)


def add(input, other, *last, alpha: int | float = 1):
    """input + alpha * other."""
    if last:
        other, alpha = scale_first("add", other, *last)
    return _sum(_add, _add_scaled, input, other, alpha)


def sub(input, other, *last, alpha: int | float = 1):
    """input - alpha * other."""
    if last:
        other, alpha = scale_first("sub", other, *last)
    check_difference(input, other)
    return _sum(_sub, _sub_scaled, input, other, alpha)


def _sum(plain: Callable, of_halves: Callable, input, other, alpha):
    if type(alpha) is int and alpha == 1:
        return plain(*pair(input, other))
    if isinstance(alpha, Variable) and alpha.array.ndim == 0:        # a number, as torch takes it
        alpha = alpha.array.item()
    factor = check_alpha(alpha, input, other)
    if alpha == 1 and alpha is not True:
        return plain(*pair(input, other))
    if all(isinstance(x, Variable) and x.array.dtype.char == "e" for x in (input, other)):
        return of_halves(*pair(input, other), float(as_scalar(factor, np.dtype(np.float16))))
    return plain(*pair(input, mul(pair(input, other)[1], factor) if isinstance(other, Variable) else other * alpha))


def rsub(input: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """other - alpha * input."""
    check_tensors("rsub", input=input)
    return (_rsub_tensor if isinstance(other, Variable) else _rsub_number)(input, other, alpha)


_NOT_GIVEN = "not given"                        # torch names the node differently if None is


def div(input: Tensor | Number, other: Tensor | Number, *, rounding_mode: str | None = _NOT_GIVEN) -> Tensor:
    """input / other, rounded towards zero ("trunc") or down ("floor") if asked to."""
    if rounding_mode is _NOT_GIVEN:
        return true_divide(input, other)
    if rounding_mode is None:
        return named(true_divide(input, other), "DivBackward2")
    if rounding_mode not in ("trunc", "floor"):
        raise RuntimeError("div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
                           f"'{rounding_mode}'")
    input = one_tensor(input, other)
    refuse(f"div_{rounding_mode}_cpu", "b", input, other)
    return (_div_floor if rounding_mode == "floor" else _div_trunc)(*_divisible(input, other))


def floor_divide(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """input / other, rounded down. It has no derivative, not even 0: div(..., rounding_mode="floor") has."""
    input = one_tensor(input, other)
    refuse("div_floor_cpu", "b", input, other)
    return _floor_divide(*_divisible(input, other))


def _divisible(input, other) -> tuple:
    """Operands in their common dtype. Integers have no quotient by zero."""
    if isinstance(input, Variable) and isinstance(other, Variable):
        other = as_number(input, other)
    input, other = promoted(input, other)
    divisor = other.array if isinstance(other, Variable) else np.asarray(other)
    if divisor.dtype.kind in "iu" and not divisor.all() and 0 not in input.shape:
        raise RuntimeError("ZeroDivisionError")
    return input, other


def remainder(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """The remainder of division rounded down: it has the sign of `other`, as Python's %."""
    refuse("remainder_cpu", "b", input, other)
    return named(_remainder(*_divisible(input, other)), "RemainderBackward1" if isinstance(other, Variable) else
                 "RemainderBackward0")


def fmod(input: Tensor, other: Tensor | Number) -> Tensor:
    """The remainder of division rounded towards zero: it has the sign of `input`, as C's fmod."""
    check_tensors("fmod", input=input)
    refuse("fmod_cpu", "b", input, other)
    return named(_fmod(*_divisible(input, other)), "FmodBackward1" if isinstance(other, Variable) else "FmodBackward0")


def float_power(input: Tensor | Number, exponent: Tensor | Number) -> Tensor:
    """input ** exponent, in float64."""
    return pow(*(x.to(dtypes.float64) if isinstance(x, Variable) else float(x) for x in (input, exponent)))


def lerp(input: Tensor, end: Tensor, weight: Tensor | Number) -> Tensor:
    """input + weight * (end - input)."""
    check_tensors("lerp", input=input, end=end)
    for name, x in (("end", end), ("weight", weight)):
        if isinstance(x, Variable) and x.array.dtype != input.array.dtype and (name == "end" or x.array.ndim):
            raise RuntimeError(f"expected dtype {input.dtype} for `{name}` but got dtype {x.dtype}")
    if input.array.dtype.kind != "f":
        raise NotImplementedError(f"\"lerp_kernel_scalar\" not implemented for '{input.dtype.tensor_type}'")
    if isinstance(weight, Variable):
        input, end, weight = promoted(input, end, weight)
    check_same_size([x for x in (input, end, weight) if isinstance(x, Variable)])
    return named(_lerp(input, end, weight), "LerpBackward1" if isinstance(weight, Variable) else "LerpBackward0")


@elementwise(input=lambda g, weight: g * (1 - weight), end=lambda g, weight: g * weight,
             weight=lambda g, input, end: g * (end - input))
def _lerp(input, end, weight):
    """From the nearer end, so that weight 1 gives the end exactly; in float16, rounded once."""
    wide = np.float32 if input.dtype == np.float16 else input.dtype
    a, b, w = (np.asarray(x, wide) for x in (input, end, weight))
    near = np.abs(w) < 0.5
    return (np.where(near, a, b) + np.where(near, w, w - 1) * (b - a)).astype(input.dtype, copy=False)


@numbers_first("value")
@composite
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    check_tensors("addcmul", input=input, tensor1=tensor1, tensor2=tensor2)
    refuse("addcmul_cpu_out", "b", input, tensor1, tensor2)
    input, tensor1, tensor2 = promoted(input, tensor1, tensor2)
    value = value.array.item() if isinstance(value, Variable) else value
    value = value if input.array.dtype.kind == "f" else int(value)
    return input + (tensor1 * tensor2 if value == 1 else value * tensor1 * tensor2)


@numbers_first("value")
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    check_tensors("addcdiv", input=input, tensor1=tensor1, tensor2=tensor2)
    if "f" not in kinds(tensor1, tensor2):
        raise RuntimeError("Integer division with addcdiv is not supported: use (input + value * torch.trunc(tensor1 / "
                           "tensor2)).to(input.dtype), or (input + value * tensor1 / tensor2) for a true division")
    return _addcdiv(*promoted(input, tensor1, tensor2), value.array.item() if isinstance(value, Variable) else value)


def _of_two_tensors(name: str, op: Callable, forbidden: str = "", floating: bool = False) -> Callable:
    """A function of two tensors; a Python number will not do."""
    def binary(input: Tensor, other: Tensor) -> Tensor:
        check_tensors(name, input=input, other=other)
        refuse(f"{name}_cpu", forbidden, input, other)
        return op(*promoted(input, other, floating=floating))
    binary.__name__ = binary.__qualname__ = name
    return binary


maximum, minimum = _of_two_tensors("maximum", _maximum), _of_two_tensors("minimum", _minimum)
fmax, fmin = _of_two_tensors("fmax", _fmax), _of_two_tensors("fmin", _fmin)
atan2 = _of_two_tensors("atan2", _atan2, floating=True)
hypot = _of_two_tensors("hypot", _hypot, forbidden="biu")
logaddexp = _of_two_tensors("logaddexp", _logaddexp, forbidden="biu")
logaddexp2 = _of_two_tensors("logaddexp2", _logaddexp2, forbidden="biu")


def xlogy(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """input * ln(other), and 0 where the input is 0."""
    which = 2 if not isinstance(other, Variable) else 1 if not isinstance(input, Variable) else 0
    input, other = promoted(input, other, floating=True)
    dtype = (input if which == 2 else other).array.dtype
    return named(_xlogy(*(x if isinstance(x, Variable) else np.asarray(x, dtype) for x in (input, other))),
                 f"XlogyBackward{which}")


# ---- choice -----------------------------------------------------------------------------------------------------

def where_method(self: Tensor, condition: Tensor, other: Tensor | Number) -> Tensor:
    return where(condition, self, other)


def masked_fill(input: Tensor, mask: Tensor, value: Tensor | Number) -> Tensor:
    """value where the mask holds."""
    check_tensors("masked_fill", input=input, mask=mask)
    if mask.array.dtype.kind != "b":
        raise RuntimeError(f"masked_fill_ only supports boolean masks, but got mask with dtype {mask.dtype}")
    if isinstance(value, Variable) and value.array.ndim:
        raise RuntimeError("masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                           f"{value.array.ndim} dimension(s).")
    check_same_size((input, mask))
    if isinstance(value, Variable):
        value = value if value.array.dtype == input.array.dtype else cast(value, input.array.dtype)
        return named(_masked_fill(input, mask, value), "MaskedFillBackward1")
    return named(_masked_fill(input, mask, as_scalar(value, input.array.dtype)), "MaskedFillBackward0")


def clamp(input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None) -> Tensor:
    """No less than min, and no more than max."""
    check_tensors("clamp", input=input)
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    tensors = isinstance(min, Variable) or isinstance(max, Variable)
    if tensors and any(isinstance(x, Number) for x in (min, max)):
        raise TypeError("clamp(): min and max must both be Tensors, or both numbers")
    given = [x for x in (min, max) if x is not None]
    if not tensors:
        one = "" if len(given) == 2 else "min_" if max is None else "max_"
        refuse(f"clamp_{one}scalar_cpu", "b", input, *given)
        given = _bounds(input, given)
    input, *given = promoted(input, *given)
    low, high = (given[0] if min is not None else None), (given[-1] if max is not None else None)
    return named(_clamp(input, low, high), "ClampBackward0" if tensors else "ClampBackward1")


def _bounds(input: Tensor, given: list) -> list:
    """Bounds that are numbers must fit into the dtype in which all meet."""
    dtype = input.array.dtype
    if dtype.kind != "f" and any(isinstance(x, float) for x in given):
        dtype = dtypes.get_default_dtype().numpy
    if dtype.kind == "b":
        return given
    return [x if isinstance(x, Variable) else as_scalar(x, dtype).item() for x in given]


def clamp_min(input: Tensor, min: Tensor | Number) -> Tensor:
    check_tensors("clamp_min", input=input)
    if not isinstance(min, Variable):
        refuse("clamp_min_scalar_cpu", "b", input, min)
    input, bound = promoted(input, *_bounds(input, [min]))
    return named(_clamp(input, bound, None), f"ClampMinBackward{isinstance(min, Variable):d}")


def clamp_max(input: Tensor, max: Tensor | Number) -> Tensor:
    check_tensors("clamp_max", input=input)
    if not isinstance(max, Variable):
        refuse("clamp_max_scalar_cpu", "b", input, max)
    input, bound = promoted(input, *_bounds(input, [max]))
    return named(_clamp(input, None, bound), f"ClampMaxBackward{isinstance(max, Variable):d}")


# ---- comparison -------------------------------------------------------------------------------------------------

def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """|input - other| <= atol + rtol * |other|."""
    check_tensors("isclose", input=input, other=other)
    if input.array.dtype != other.array.dtype:
        raise RuntimeError(f"{input.dtype.tensor_type} did not match {other.dtype.tensor_type}")
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if not tolerance >= 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {tolerance}")
    check_same_size((input, other))
    a, b = input.array, other.array
    with np.errstate(all="ignore"):
        close = a == b
        if equal_nan and a.dtype.kind == "f":
            close |= np.isnan(a) & np.isnan(b)
        if rtol or atol:
            x, y = (a, b) if a.dtype.kind == "f" else (a.astype(np.float64), b.astype(np.float64))
            distance = np.abs(x - y)
            close = close | np.isfinite(distance) & (distance <= atol + np.abs(rtol * y))
    return new_tensor(close)


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are close (see isclose)."""
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether the two have the same shape and the same elements."""
    check_tensors("equal", input=input, other=other)
    return input.array.shape == other.array.shape and bool(eq(input, other).array.all())


# ---- operators --------------------------------------------------------------------------------------------------

def _operator(op: Callable) -> Callable:
    """An op behind a sign: NotImplemented for what is neither a tensor, an array nor a number, so that Python asks the
    other operand, and raises the TypeError if it cannot either."""
    @wraps(op)
    def operator(self, other):
        if isinstance(other, np.ndarray):
            other = new_tensor(other)
        return op(self, other) if isinstance(other, _OPERANDS) and isinstance(self, Variable) else unknown(other)
    return operator


def _reflected(op: Callable) -> Callable:
    """The operator with the tensor on the right."""
    @wraps(op)
    def operator(self, other):
        return op(other, self) if isinstance(other, _OPERANDS) and isinstance(self, Variable) else unknown(other)
    return operator


_OPERANDS = (Variable, int, float, np.number, np.bool_)


def _rdiv(self, other):
    return mul(reciprocal(self), other)


def _power(self, exponent):
    return pow(self, exponent)


def _invert(self):
    if kinds(self) == "f":
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return bitwise_not(self)


# ---- NumPy's and C's names for the same ops ---------------------------------------------------------------------

absolute, negative, divide, multiply, subtract, clip, fix = abs, neg, div, mul, sub, clamp, trunc
arcsin, arccos, arctan, arcsinh, arccosh, arctanh, arctan2 = asin, acos, atan, asinh, acosh, atanh, atan2
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


class Methods:
    __slots__ = ()

    relu, relu_ = relu, inplace(relu)
    __neg__, __pos__, __abs__, __invert__ = neg, positive, abs, _invert
    __add__, __radd__, __iadd__ = _operator(add), _operator(add), _operator(inplace(add))
    __sub__, __rsub__, __isub__ = _operator(sub), _operator(rsub), _operator(inplace(sub))
    __mul__, __rmul__, __imul__ = _operator(mul), _operator(mul), _operator(inplace(mul))
    __truediv__, __rtruediv__, __itruediv__ = _operator(div), _operator(_rdiv), _operator(inplace(div))
    __div__, __rdiv__, __idiv__ = __truediv__, __rtruediv__, __itruediv__
    __floordiv__, __rfloordiv__ = _operator(floor_divide), _reflected(floor_divide)
    __ifloordiv__ = _operator(inplace(floor_divide))
    __mod__, __rmod__, __imod__ = _operator(remainder), _reflected(remainder), _operator(inplace(remainder))
    __pow__, __rpow__, __ipow__ = _operator(_power), _reflected(pow), _operator(inplace(pow))
    __and__, __rand__, __iand__ = _operator(bitwise_and), _operator(bitwise_and), _operator(inplace(bitwise_and))
    __or__, __ror__, __ior__ = _operator(bitwise_or), _operator(bitwise_or), _operator(inplace(bitwise_or))
    __xor__, __rxor__, __ixor__ = _operator(bitwise_xor), _operator(bitwise_xor), _operator(inplace(bitwise_xor))
    __lshift__, __rlshift__ = _operator(bitwise_left_shift), _reflected(bitwise_left_shift)
    __rshift__, __rrshift__ = _operator(bitwise_right_shift), _reflected(bitwise_right_shift)
    __ilshift__, __irshift__ = _operator(inplace(bitwise_left_shift)), _operator(inplace(bitwise_right_shift))
    __eq__, __ne__ = _operator(eq), _operator(ne)
    __lt__, __le__, __gt__, __ge__ = _operator(lt), _operator(le), _operator(gt), _operator(ge)

    positive, isposinf, isneginf, isnan, isinf, isfinite = positive, isposinf, isneginf, isnan, isinf, isfinite
    isclose, allclose, equal, where = isclose, allclose, equal, where_method
    maximum, minimum, fmax, fmin, rsub = maximum, minimum, fmax, fmin, rsub
    logaddexp, logaddexp2 = logaddexp, logaddexp2

    abs, abs_ = abs, inplace(abs)
    absolute, absolute_ = abs, abs_
    neg, neg_ = neg, inplace(neg)
    negative, negative_ = neg, neg_
    exp, exp_ = exp, inplace(exp)
    exp2, exp2_ = exp2, inplace(exp2)
    expm1, expm1_ = expm1, inplace(expm1)
    log, log_ = log, inplace(log)
    log2, log2_ = log2, inplace(log2)
    log10, log10_ = log10, inplace(log10)
    log1p, log1p_ = log1p, inplace(log1p)
    sqrt, sqrt_ = sqrt, inplace(sqrt)
    rsqrt, rsqrt_ = rsqrt, inplace(rsqrt)
    square, square_ = square, inplace(square)
    reciprocal, reciprocal_ = reciprocal, inplace(reciprocal)
    sin, sin_ = sin, inplace(sin)
    cos, cos_ = cos, inplace(cos)
    tan, tan_ = tan, inplace(tan)
    asin, asin_ = asin, inplace(asin)
    acos, acos_ = acos, inplace(acos)
    atan, atan_ = atan, inplace(atan)
    sinh, sinh_ = sinh, inplace(sinh)
    cosh, cosh_ = cosh, inplace(cosh)
    tanh, tanh_ = tanh, inplace(tanh)
    asinh, asinh_ = asinh, inplace(asinh)
    acosh, acosh_ = acosh, inplace(acosh)
    atanh, atanh_ = atanh, inplace(atanh)
    arcsin, arcsin_, arccos, arccos_, arctan, arctan_ = asin, asin_, acos, acos_, atan, atan_
    arcsinh, arcsinh_, arccosh, arccosh_, arctanh, arctanh_ = asinh, asinh_, acosh, acosh_, atanh, atanh_
    erf, erf_ = erf, inplace(erf)
    erfc, erfc_ = erfc, inplace(erfc)
    erfinv, erfinv_ = erfinv, inplace(erfinv)
    sigmoid, sigmoid_ = sigmoid, inplace(sigmoid)
    logit, logit_ = logit, inplace(logit)
    sinc, sinc_ = sinc, inplace(sinc)
    sign, sign_ = sign, inplace(sign)
    sgn, sgn_ = sgn, inplace(sgn)
    floor, floor_ = floor, inplace(floor)
    ceil, ceil_ = ceil, inplace(ceil)
    trunc, trunc_ = trunc, inplace(trunc)
    fix, fix_ = trunc, trunc_
    frac, frac_ = frac, inplace(frac)
    round, round_ = round, inplace(round)
    nan_to_num, nan_to_num_ = nan_to_num, inplace(nan_to_num)
    deg2rad, deg2rad_ = deg2rad, inplace(deg2rad)
    rad2deg, rad2deg_ = rad2deg, inplace(rad2deg)

    add, add_ = add, inplace(add)
    sub, sub_ = sub, inplace(sub)
    subtract, subtract_ = sub, sub_
    mul, mul_ = mul, inplace(mul)
    multiply, multiply_ = mul, mul_
    div, div_ = div, inplace(div)
    divide, divide_ = div, div_
    true_divide, true_divide_ = true_divide, inplace(true_divide)
    floor_divide, floor_divide_ = floor_divide, inplace(floor_divide)
    remainder, remainder_ = remainder, inplace(remainder)
    fmod, fmod_ = fmod, inplace(fmod)
    pow, pow_ = pow, inplace(pow)
    float_power, float_power_ = float_power, inplace(float_power)
    atan2, atan2_ = atan2, inplace(atan2)
    arctan2, arctan2_ = atan2, atan2_
    hypot, hypot_ = hypot, inplace(hypot)
    xlogy, xlogy_ = xlogy, inplace(xlogy)
    lerp, lerp_ = lerp, inplace(lerp)
    addcmul, addcmul_ = addcmul, inplace(addcmul)
    addcdiv, addcdiv_ = addcdiv, inplace(addcdiv)
    masked_fill, masked_fill_ = masked_fill, inplace(masked_fill)
    clamp, clamp_ = clamp, inplace(clamp)
    clip, clip_ = clamp, clamp_
    clamp_min, clamp_min_ = clamp_min, inplace(clamp_min)
    clamp_max, clamp_max_ = clamp_max, inplace(clamp_max)

    eq, eq_ = eq, inplace(eq)
    ne, ne_ = ne, inplace(ne)
    not_equal, not_equal_ = ne, ne_
    lt, lt_ = lt, inplace(lt)
    less, less_ = lt, lt_
    le, le_ = le, inplace(le)
    less_equal, less_equal_ = le, le_
    gt, gt_ = gt, inplace(gt)
    greater, greater_ = gt, gt_
    ge, ge_ = ge, inplace(ge)
    greater_equal, greater_equal_ = ge, ge_
    logical_and, logical_and_ = logical_and, inplace(logical_and)
    logical_or, logical_or_ = logical_or, inplace(logical_or)
    logical_xor, logical_xor_ = logical_xor, inplace(logical_xor)
    logical_not, logical_not_ = logical_not, inplace(logical_not)
    bitwise_and, bitwise_and_ = bitwise_and, inplace(bitwise_and)
    bitwise_or, bitwise_or_ = bitwise_or, inplace(bitwise_or)
    bitwise_xor, bitwise_xor_ = bitwise_xor, inplace(bitwise_xor)
    bitwise_not, bitwise_not_ = bitwise_not, inplace(bitwise_not)
    bitwise_left_shift, bitwise_left_shift_ = bitwise_left_shift, inplace(bitwise_left_shift)
    bitwise_right_shift, bitwise_right_shift_ = bitwise_right_shift, inplace(bitwise_right_shift)
