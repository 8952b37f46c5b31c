"""torch.FloatTensor and its kin: constructors from before dtypes, and types that isinstance knows; torch.range."""

from __future__ import annotations

import math
import warnings

import numpy as np

from . import creation, dtypes
from .graph import Tensor, Variable, new_tensor


class _ByDtype(type):
    def __instancecheck__(cls, instance) -> bool:
        return isinstance(instance, Variable) and instance.dtype is cls.dtype

    def __call__(cls, *args):
        """A tensor of these sizes, or of these values."""
        if len(args) == 1 and not isinstance(args[0], int):
            given = args[0]
            return given.to(cls.dtype) if isinstance(given, Variable) else creation.tensor(given, dtype=cls.dtype)
        return creation.empty(args or (0,), dtype=cls.dtype)


class FloatTensor(metaclass=_ByDtype):
    dtype = dtypes.float32


class DoubleTensor(metaclass=_ByDtype):
    dtype = dtypes.float64


class HalfTensor(metaclass=_ByDtype):
    dtype = dtypes.float16


class LongTensor(metaclass=_ByDtype):
    dtype = dtypes.int64


class IntTensor(metaclass=_ByDtype):
    dtype = dtypes.int32


class ShortTensor(metaclass=_ByDtype):
    dtype = dtypes.int16


class CharTensor(metaclass=_ByDtype):
    dtype = dtypes.int8


class ByteTensor(metaclass=_ByDtype):
    dtype = dtypes.uint8


class BoolTensor(metaclass=_ByDtype):
    dtype = dtypes.bool


def range(start: float = 0, end: float | None = None, step: float = 1, *, dtype: dtypes.dtype | None = None,
          layout=None, device=None, requires_grad: bool = False) -> Tensor:
    """From start to end, the end included: arange's older form."""
    warnings.warn("torch.range is deprecated and will be removed in a future release because its behavior is "
                  "inconsistent with Python's range builtin. Instead, use torch.arange, which produces values in "
                  "[start, end).", stacklevel=2)
    start, end = (0, start) if end is None else (start, end)
    count = math.floor((end - start) / step) + 1
    values = start + step * np.arange(count)
    return new_tensor(values.astype(dtypes.to_numpy(dtype or dtypes.get_default_dtype())), requires_grad)
