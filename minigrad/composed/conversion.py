"""Tensors as other things: of another dtype, Python numbers, lists, NumPy arrays, containers, copies, pickles."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .. import creation, dtypes
from ..graph import Variable
from ..kernels.layout import owner
from ..modes import mode
from ..ops.promotion import cast
from ..ops.shape import address, clone

if TYPE_CHECKING:
    from ..tensor import Tensor


class Methods:
    __slots__ = ()

    # ---- to other types -----------------------------------------------------------------------------------------

    def to(self, *args, **kwargs) -> Tensor:
        """to(dtype), to(device, dtype) or to(other): this tensor itself where nothing changes."""
        dtype, copy_ = creation.parse_to(args, kwargs)
        dtype = dtypes.to_numpy(dtype) or self.array.dtype
        if dtype != self.array.dtype:
            return cast(self, dtype)
        return clone(self) if copy_ else self

    def type(self, dtype: dtypes.dtype | str | None = None, non_blocking: bool = False) -> Tensor | str:
        if dtype is None:
            return f"torch.{self.dtype.tensor_type}Tensor"
        if isinstance(dtype, str):
            dtype = creation.dtype_of_type_name(dtype)
        elif not isinstance(dtype, dtypes.dtype):            # torch.FloatTensor and its kin
            dtype = creation.dtype_of_type_name(f"torch.{dtype.__name__}" if hasattr(dtype, "dtype") else repr(dtype))
        return self.to(dtype)

    def type_as(self, other: Tensor) -> Tensor:
        return self.to(other.dtype)

    def double(self, memory_format=None) -> Tensor:
        return self.to(dtypes.float64)

    def float(self, memory_format=None) -> Tensor:
        return self.to(dtypes.float32)

    def half(self, memory_format=None) -> Tensor:
        return self.to(dtypes.float16)

    def bfloat16(self, memory_format=None) -> Tensor:
        return self.to(dtypes.bfloat16)

    def long(self, memory_format=None) -> Tensor:
        return self.to(dtypes.int64)

    def int(self, memory_format=None) -> Tensor:
        return self.to(dtypes.int32)

    def short(self, memory_format=None) -> Tensor:
        return self.to(dtypes.int16)

    def char(self, memory_format=None) -> Tensor:
        return self.to(dtypes.int8)

    def byte(self, memory_format=None) -> Tensor:
        return self.to(dtypes.uint8)

    def bool(self, memory_format=None) -> Tensor:
        return self.to(dtypes.bool)

    def cpu(self, memory_format=None) -> Tensor:
        return self

    def cuda(self, device=None, non_blocking: bool = False, memory_format=None) -> Tensor:
        return self.to("cuda")

    def pin_memory(self, device=None) -> Tensor:
        return self

    def is_pinned(self) -> bool:
        return False

    def item(self):
        if self.array.size != 1:
            raise RuntimeError(f"a Tensor with {self.array.size} elements cannot be converted to Scalar")
        return self.array.item()

    def tolist(self):
        return self.array.tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The array itself, sharing its memory."""
        if self.requires_grad and mode.grad and not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self.array

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        array = self.numpy()
        if dtype is None or array.dtype == dtype:
            return array.copy() if copy else array
        if copy is False:
            raise ValueError(f"unable to avoid a copy: the tensor holds {array.dtype}, not {np.dtype(dtype)}")
        return array.astype(dtype)

    def __dlpack__(self, **how):
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        return self.array.__dlpack__(**how)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __array_wrap__(self, array: np.ndarray, context=None, return_scalar: bool = False) -> Tensor:
        """What NumPy's own functions make of tensors is a tensor: np.sin(t), np.add(t, u). Booleans come out as
        uint8, as in torch."""
        return creation.from_numpy(array.astype(np.uint8) if array.dtype == bool else np.asarray(array))

    def _scalar(self, what: str):
        if self.array.size != 1:
            if what == "bool":
                raise RuntimeError("Boolean value of Tensor with " + ("no values" if self.array.size == 0 else
                                   "more than one value") + " is ambiguous")
            raise ValueError("only one element tensors can be converted to Python scalars, and this one has "
                             f"{self.array.size}")
        return self.array.item()

    def __bool__(self) -> bool:
        return self._scalar("bool") != 0

    def __int__(self) -> int:
        return int(self._scalar("int"))

    def __float__(self) -> float:
        value = float(self._scalar("float"))
        _warn_of_a_lost_gradient(self)
        return value

    def __complex__(self) -> complex:
        value = complex(self._scalar("complex"))
        _warn_of_a_lost_gradient(self)
        return value

    def __index__(self) -> int:
        if self.array.dtype.kind == "f" or self.array.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.array.item())

    # ---- Python's protocols -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        if self.array.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self.array.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.array.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __reversed__(self) -> Tensor:
        return self if self.array.ndim == 0 else self.flip(0)

    def __contains__(self, element) -> bool:
        if not isinstance(element, Variable | int | float | bool):
            raise RuntimeError("Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
                               f"{type(element)}.")
        return bool((element == self).any().item())

    def __deepcopy__(self, memo: dict) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                               "protocol at the moment.  If you were attempting to deepcopy a module, this may be "
                               "because of a torch.nn.utils.weight_norm usage, see "
                               "https://github.com/pytorch/pytorch/pull/103001")
        if id(self) in memo:
            return memo[id(self)]
        new = type(self)(_within_copied_memory(self.array, memo), self._leaf)
        memo[id(self)] = new
        if self._grad is not None:
            new._grad = copy.deepcopy(self.grad, memo)
        new.__dict__.update(copy.deepcopy({k: v for k, v in self.__dict__.items() if not k.startswith("_")}, memo))
        return new

    def __copy__(self) -> Tensor:
        """Another tensor of the same memory."""
        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) can be copied by copy.copy: "
                               "use clone() or detach()")
        new = type(self)(self.array, self._leaf)
        new.__dict__.update(self.__dict__)
        return new

    def __reduce_ex__(self, protocol):
        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) can be pickled: detach() it "
                               "first")
        return _rebuild, (type(self), self.array.copy(order="C"), self._leaf)

    def __dir__(self) -> list[str]:
        return sorted(set(dir(type(self))) | set(self.__dict__))


def _within_copied_memory(array: np.ndarray, memo: dict) -> np.ndarray:
    """The same part of a copy of the whole memory, of which there is one: what shared memory goes on sharing it."""
    memory = owner(array)
    in_order = memory.transpose(sorted(range(memory.ndim), key=lambda d: -memory.strides[d]))
    if not array.size or not in_order.flags.c_contiguous:
        return array.copy(order="K")
    key = "memory", id(memory)
    if key not in memo:
        memo[key] = np.array(in_order)
    return np.ndarray(array.shape, array.dtype, memo[key], address(array) - address(memory), array.strides)


def _rebuild(cls: type, array: np.ndarray, requires_grad: bool) -> Tensor:
    return cls(array, requires_grad)


def _warn_of_a_lost_gradient(t: Tensor) -> None:
    if t.requires_grad:
        warnings.warn("Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\n"
                      "Consider using tensor.detach() first.", stacklevel=3)
