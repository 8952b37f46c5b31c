"""torch's data types and the rules by which they meet: promotion, the default dtype, finfo and iinfo."""

from __future__ import annotations

import builtins
from functools import cache

import numpy as np

BOOL, INTEGRAL, FLOATING, COMPLEX = range(4)          # torch's categories: a higher one wins, whatever the widths


class dtype:
    """A data type. `numpy` is NumPy's name for it, or None where there is no arithmetic in it."""

    __slots__ = ("alias", "category", "itemsize", "name", "numpy", "tensor_type")

    def __init__(self, name: str, category: int, itemsize: int, tensor_type: str, alias: str | None = None,
                 arithmetic: builtins.bool = True):
        self.name, self.category, self.itemsize, self.alias = name, category, itemsize, alias
        self.tensor_type = tensor_type        # the word in torch's messages: torch.FloatTensor, "Float"
        self.numpy = np.dtype(name) if arithmetic else None

    @property
    def is_floating_point(self) -> builtins.bool:
        return self.category == FLOATING

    @property
    def is_complex(self) -> builtins.bool:
        return self.category == COMPLEX

    @property
    def is_signed(self) -> builtins.bool:
        return self.name != "bool" and not self.name.startswith("uint")

    @property
    def c_name(self) -> str:
        """What C++ calls it: the word in torch's messages about numbers that do not fit."""
        return {"float16": "c10::Half", "float32": "float", "float64": "double", "int32": "int"}.get(
            self.name, self.name + "_t")

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


float64 = dtype("float64", FLOATING, 8, "Double", "double")
float32 = dtype("float32", FLOATING, 4, "Float", "float")
float16 = dtype("float16", FLOATING, 2, "Half", "half")
bfloat16 = dtype("bfloat16", FLOATING, 2, "BFloat16", arithmetic=False)
int64 = dtype("int64", INTEGRAL, 8, "Long", "long")
int32 = dtype("int32", INTEGRAL, 4, "Int", "int")
int16 = dtype("int16", INTEGRAL, 2, "Short", "short")
int8 = dtype("int8", INTEGRAL, 1, "Char")
uint8 = dtype("uint8", INTEGRAL, 1, "Byte")
bool = dtype("bool", BOOL, 1, "Bool")

# Names alone, which programs compare other dtypes with.
complex64 = dtype("complex64", COMPLEX, 8, "ComplexFloat", "cfloat", arithmetic=False)
complex128 = dtype("complex128", COMPLEX, 16, "ComplexDouble", "cdouble", arithmetic=False)
uint16 = dtype("uint16", INTEGRAL, 2, "UInt16", arithmetic=False)
uint32 = dtype("uint32", INTEGRAL, 4, "UInt32", arithmetic=False)
uint64 = dtype("uint64", INTEGRAL, 8, "UInt64", arithmetic=False)
float8_e4m3fn = dtype("float8_e4m3fn", FLOATING, 1, "Float8_e4m3fn", arithmetic=False)
float8_e5m2 = dtype("float8_e5m2", FLOATING, 1, "Float8_e5m2", arithmetic=False)

ALL = (float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, bool)
_FROM_NUMPY = {d.numpy: d for d in ALL if d.numpy is not None}
_FROM_PYTHON = {builtins.bool: bool, builtins.int: int64, builtins.float: float64}


def of(numpy_dtype: np.dtype) -> dtype:
    """The dtype object of a NumPy dtype."""
    try:
        return _FROM_NUMPY[numpy_dtype]
    except KeyError:
        raise TypeError(f"can't convert np.ndarray of type {numpy_dtype}. The only supported types are: "
                        + ", ".join(d.name for d in ALL if d.numpy is not None) + ".") from None


def to_numpy(d: dtype | type | None) -> np.dtype | None:
    """The NumPy dtype behind a dtype, or behind Python's bool, int and float, as torch accepts them."""
    if d is None:
        return None
    if not isinstance(d, dtype):
        if d not in _FROM_PYTHON:
            raise TypeError(f"expected a dtype such as minigrad.float32, got {d!r}")
        d = _FROM_PYTHON[d]
    if d.numpy is None:
        raise TypeError(f"minigrad has no arithmetic in {d}. Use {'int64' if d.category == INTEGRAL else 'float32'}.")
    return d.numpy


def towards(values, dtype: np.dtype):
    """Values about to be converted to a dtype. Into float16 all go by way of float32, and so a float64 is rounded
    twice, as in C++, where NumPy rounds once."""
    if dtype.char == "e":
        if isinstance(values, np.ndarray | np.generic):
            return values.astype(np.float32) if values.dtype.char == "d" else values
        if type(values) is builtins.float:
            return np.float32(values)
    return values


# ---- the default dtype ------------------------------------------------------------------------------------------

_default = float32


def get_default_dtype() -> dtype:
    return _default


def set_default_dtype(d: dtype) -> None:
    """What Python floats, and the creation functions without a dtype, become."""
    global _default
    if not isinstance(d, dtype):
        raise TypeError(f"invalid dtype object: {d!r}")
    if d not in (float16, float32, float64):
        raise TypeError(f"only floating-point types are supported as the default type, got {d}")
    _default = d


# ---- promotion --------------------------------------------------------------------------------------------------

@cache
def promote_numpy(a: np.dtype, b: np.dtype) -> np.dtype:
    """torch.promote_types: the higher category decides; within one category the wider type does."""
    if of(a).category == of(b).category:
        return np.promote_types(a, b)
    return max(a, b, key=lambda d: of(d).category)


def promote_types(type1: dtype, type2: dtype) -> dtype:
    return of(promote_numpy(type1.numpy, type2.numpy))


def can_cast(from_: dtype, to: dtype) -> builtins.bool:
    """Whether an in-place result of one type may be stored in another: never downwards in category."""
    return from_.category <= to.category


def python_scalar(x) -> np.dtype:
    """What a Python number counts as: bool, int64, or the default dtype."""
    if isinstance(x, (builtins.bool, np.bool_)):
        return bool.numpy
    return int64.numpy if isinstance(x, (builtins.int, np.integer)) else _default.numpy


@cache
def _combine(high: np.dtype | None, low: np.dtype | None) -> np.dtype | None:
    """Dimensioned tensors outrank 0-dim tensors, which outrank Python numbers: the lower rank counts only if its
    category is higher."""
    if high is None or low is None:
        return low if high is None else high
    return promote_numpy(high, low) if of(low).category > of(high).category else high


def result_numpy(operands) -> np.dtype:
    """The dtype in which arrays (of any rank) and Python numbers meet; torch.result_type."""
    ranks: list[np.dtype | None] = [None, None, None]        # dimensioned, 0-dim, Python numbers
    for x in operands:
        if isinstance(x, np.ndarray):
            rank, d = (0 if x.ndim else 1), x.dtype
        else:
            rank, d = 2, python_scalar(x)
        ranks[rank] = d if ranks[rank] is None else promote_numpy(ranks[rank], d)
    return _combine(ranks[0], _combine(ranks[1], ranks[2]))


def result_type(tensor1, tensor2) -> dtype:
    """The dtype of an arithmetic op on two tensors or numbers."""
    return of(result_numpy([getattr(x, "array", x) for x in (tensor1, tensor2)]))


# ---- limits -----------------------------------------------------------------------------------------------------

class finfo:
    """Limits of a floating-point dtype (the default one if none is given)."""

    def __init__(self, type: dtype | None = None):
        type = type or _default
        if not type.is_floating_point:
            raise TypeError(f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{type}'")
        self.dtype, self.bits = type.name, type.itemsize * 8
        if type is bfloat16:
            self.eps, self.tiny, self.max, self.resolution = 2.0**-7, 2.0**-126, (2 - 2.0**-7) * 2.0**127, 0.01
        else:
            info = np.finfo(type.numpy)
            self.eps, self.tiny, self.max = map(builtins.float, (info.eps, info.tiny, info.max))
            self.resolution = builtins.float(info.resolution)
        self.min, self.smallest_normal = -self.max, self.tiny

    def __repr__(self) -> str:
        fields = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return f"finfo({', '.join(f'{f}={getattr(self, f):g}' for f in fields)}, dtype={self.dtype})"


class iinfo:
    """Limits of an integer dtype."""

    def __init__(self, type: dtype):
        if type.category == FLOATING:
            raise TypeError(f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{type}'")
        if type is bool:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        info = np.iinfo(type.numpy)
        self.min, self.max, self.bits, self.dtype = builtins.int(info.min), builtins.int(info.max), info.bits, type.name

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
