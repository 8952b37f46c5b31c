"""The operands of an op: in which dtype they meet, and what cannot meet."""

from __future__ import annotations

import math
import warnings

import numpy as np

from .. import dtypes
from ..graph import Variable, elementwise, new_tensor
from ..refusals import is_torchs, tensor_not


def to_floating(x, name: str | None = None):
    """Integers and booleans enter a function of the reals (called by that name) in the default dtype."""
    if isinstance(x, Variable):
        return x if x.array.dtype.kind == "f" else cast(x, dtypes.get_default_dtype().numpy)
    if name is not None and not isinstance(x, ARRAYS):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be {tensor_not(x)}")
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
    common = dtypes.result_numpy([x.array if isinstance(x, Variable) else number(x) for x in operands])
    if floating and common.kind != "f":
        common = dtypes.get_default_dtype().numpy
    check_same_size(tensors)
    return tuple((x if x.array.dtype == common else cast(x, common)) if isinstance(x, Variable)
                 else x if isinstance(x, np.ndarray) else _scalar(x, common) for x in operands)


def scale_first(name: str, alpha: int | float, other=None, *more) -> tuple:
    """The older order of arguments, add(input, alpha, other)."""
    if more or not isinstance(other, Variable) or isinstance(alpha, Variable):
        raise TypeError(f"{name}() takes 2 positional arguments, input and other; alpha is given by name")
    warnings.warn(f"This overload of {name} is deprecated: {name}(Number alpha, Tensor other). Consider using "
                  f"{name}(Tensor other, *, Number alpha = 1) instead.", UserWarning, stacklevel=4)
    return other, alpha


def pair(input, other) -> tuple:
    """promoted(input, other), without ado where the two agree already, or one is a number that changes nothing."""
    if isinstance(input, Variable):
        if isinstance(other, Variable):
            a, b = input.array, other.array
            if a.dtype == b.dtype:
                if a.shape != b.shape:
                    check_same_size((input, other))
                return input, other
            other = as_number(input, other)
        elif input.array.dtype.kind == "f":
            if type(other) is float and input.array.dtype.char != "e":
                return input, other
            if type(other) is int:
                return input, float(number(other))
    return promoted(one_tensor(input, other), other)


def as_number(input, other):
    """Next to float16, a longer tensor without dimensions is a number: it would lose digits, or be out of range."""
    if (input.array.dtype == np.float16 and input.array.ndim and other.array.ndim == 0 and not other.requires_grad
            and other.array.dtype in (np.float32, np.float64)):
        return other.array.item()
    return other


ARRAYS, NUMBERS = (np.ndarray, np.generic), {bool, int, float}


def number(x):
    """A number among the operands: integers of 64 bits, signed or not."""
    if not isinstance(x, int | float | np.ndarray | np.generic):
        raise TypeError(f"expected a {tensor_not(x)}" if is_torchs(x) else
                        f"expected a Tensor or a number, got {type(x).__name__}")
    if isinstance(x, int) and not -2**63 <= x < 2**64:
        raise OverflowError("int too big to convert")
    return x


def one_tensor(input, other):
    """The first operand, as a tensor if both are Python numbers: add, sub, mul and div take such, too."""
    if type(input) not in NUMBERS or type(other) not in NUMBERS:
        return input
    if any(type(number(x)) is int and x >= 2**63 for x in (input, other)):
        raise RuntimeError("Promotion for uint16, uint32, uint64 types is not supported")
    return new_tensor(np.asarray(input, dtypes.python_scalar(input)))


def _scalar(x, dtype: np.dtype):
    """A Python number for NumPy. An integer is cut to the width of its dtype, as torch does."""
    if dtype.kind == "f":
        return float(dtypes.towards(float(x), dtype))
    return wrap(x, dtype) if isinstance(x, int) and dtype.kind != "b" else np.asarray(x).astype(dtype)


def as_scalar(x, dtype: np.dtype) -> np.ndarray:
    """A number in a dtype that must be able to hold it. A fraction is cut off; and negative integers wrap where there
    are none."""
    if not isinstance(x, complex):
        number(x)
        limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype) if dtype.kind in "iu" else None
        high = limits and (limits.max if dtype.kind != "f" else float(limits.max))        # else x is rounded to compare
        low = limits and (-high if dtype.kind == "f" or dtype.kind == "u" and type(x) is not float else limits.min)
        if limits is None or low <= x <= high or dtype.kind == "f" and not math.isfinite(x):
            return wrap(int(x), dtype) if dtype.kind in "iu" else np.asarray(dtypes.towards(x, dtype), dtype)
    raise RuntimeError(f"value cannot be converted to type {dtypes.of(dtype).c_name} without overflow")


def wrap(x: int, dtype: np.dtype) -> np.ndarray:
    """The integer x in two's complement of the dtype's width."""
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


def kinds(*operands) -> str:
    """The dtypes' kinds of all operands, Python numbers included: "b" boolean, "i" and "u" integer, "f" floating."""
    return "".join((x.array if isinstance(x, Variable) else np.asarray(x)).dtype.kind for x in operands)


def refuse(name: str, forbidden: str, *operands) -> None:
    """torch's error for dtypes that an op has no kernel for: those whose kind is among `forbidden`, for all operands
    have met in them."""
    if any(isinstance(x, Variable) for x in operands):
        common = dtypes.result_numpy([x.array if isinstance(x, Variable) else number(x) for x in operands])
        if common.kind in forbidden:
            raise NotImplementedError(f'"{name}" not implemented for {dtypes.of(common).tensor_type!r}')


def check_alpha(alpha, input, other):
    """The factor of input + alpha * other, as the operands' dtypes allow it."""
    met = kinds(input, other)
    if isinstance(number(alpha), int) and alpha >= 2**63 and "f" not in met:
        raise RuntimeError("value cannot be converted to type int64_t without overflow")
    if isinstance(alpha, bool) and met != "bb":
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float) and "f" not in met:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    return bool(alpha) if met == "bb" else alpha             # among booleans the product is `and`


def check_difference(input, other) -> None:
    """Booleans are not subtracted."""
    first, second = is_bool(input), is_bool(other)
    if first or second:
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
                           "`logical_xor()` operator instead." if first and second else
                           "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to "
                           "invert a mask, use the `~` or `logical_not()` operator instead.")


def is_bool(x) -> bool:
    return x.array.dtype.kind == "b" if isinstance(x, Variable) else isinstance(x, bool)


def check_choice(condition, input, other) -> None:
    """The arguments of where."""
    if isinstance(condition, Variable):
        if condition.array.dtype.name not in ("bool", "uint8"):
            raise RuntimeError("where expected condition to be a boolean tensor, but got a tensor with dtype "
                               f"{condition.dtype.tensor_type}")
        for x, y in ((input, other), (other, input)):
            if isinstance(y, Variable) and type(x) is int and y.array.dtype.kind in "iu":
                as_scalar(x, y.array.dtype)
    elif not isinstance(condition, bool | np.ndarray | np.bool_) or {type(input), type(other)} <= NUMBERS:
        raise TypeError(f"where(): argument 'condition' (position 1) must be {tensor_not(condition)}")


@elementwise("ToCopy", input=lambda g: g)                     # the walk casts g back to the input's dtype
def cast(input, dtype):
    return dtypes.towards(input, dtype).astype(dtype)
