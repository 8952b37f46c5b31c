"""torch.FloatStorage and its kin, as far as files need them: pickles name a storage's dtype by them."""

from __future__ import annotations

from ... import dtypes


class _Storage:
    __module__ = "torch"
    dtype: dtypes.dtype


class FloatStorage(_Storage):
    __module__, dtype = "torch", dtypes.float32


class DoubleStorage(_Storage):
    __module__, dtype = "torch", dtypes.float64


class HalfStorage(_Storage):
    __module__, dtype = "torch", dtypes.float16


class BFloat16Storage(_Storage):
    __module__, dtype = "torch", dtypes.bfloat16


class LongStorage(_Storage):
    __module__, dtype = "torch", dtypes.int64


class IntStorage(_Storage):
    __module__, dtype = "torch", dtypes.int32


class ShortStorage(_Storage):
    __module__, dtype = "torch", dtypes.int16


class CharStorage(_Storage):
    __module__, dtype = "torch", dtypes.int8


class ByteStorage(_Storage):
    __module__, dtype = "torch", dtypes.uint8


class BoolStorage(_Storage):
    __module__, dtype = "torch", dtypes.bool


BY_DTYPE = {cls.dtype: cls for cls in _Storage.__subclasses__()}
