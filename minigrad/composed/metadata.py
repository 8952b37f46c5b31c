"""What a tensor is: shape, dtype, device, layout."""

from __future__ import annotations

from .. import creation, dtypes
from ..graph import Variable
from ..kernels.layout import owner
from ..refusals import tensor_not
from ..size import Size
from . import reduce


class Methods:
    __slots__ = ()

    @property
    def shape(self) -> Size:
        return tuple.__new__(Size, self.array.shape)           # its items are known to be ints

    @property
    def dtype(self) -> dtypes.dtype:
        return dtypes.of(self.array.dtype)

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def itemsize(self) -> int:
        return self.array.itemsize

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    @property
    def device(self) -> creation.device:
        return creation.CPU

    @property
    def layout(self) -> creation.layout:
        return creation.strided

    is_cuda = is_mps = is_sparse = is_quantized = is_meta = is_nested = False

    def is_inference(self) -> bool:
        return self._counter is None

    def is_floating_point(self) -> bool:
        return self.array.dtype.kind == "f"

    def is_complex(self) -> bool:
        return False

    def is_signed(self) -> bool:
        return self.dtype.is_signed

    def size(self, dim: int | None = None) -> Size | int:
        return self.shape if dim is None else self.array.shape[reduce.dim_of(dim, self.array.ndim)]

    def dim(self) -> int:
        return self.array.ndim

    ndimension = dim

    def numel(self) -> int:
        return self.array.size

    nelement = numel

    def element_size(self) -> int:
        return self.array.itemsize

    def stride(self, dim: int | None = None) -> tuple[int, ...] | int:
        strides = tuple(s // self.array.itemsize for s in self.array.strides)
        return strides if dim is None else strides[reduce.dim_of(dim, self.array.ndim)]

    def data_ptr(self) -> int:
        return self.array.ctypes.data

    def storage_offset(self) -> int:
        return (self.array.ctypes.data - owner(self.array).ctypes.data) // self.array.itemsize

    def get_device(self) -> int:
        return -1


def numel(input: Variable) -> int:
    """How many elements the tensor has."""
    if not isinstance(input, Variable):
        raise TypeError(f"numel(): argument 'input' (position 1) must be {tensor_not(input)}")
    return input.array.size
