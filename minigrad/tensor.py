"""Tensor: an array, its gradient, how it was made (graph.Variable), and torch's methods.

Here are the methods that belong to no family of ops: those of autograd, conversions, and Python's protocols. The
others stand at the end of the modules that define them, as mixins: each names, in one place, what is a method.
"""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Callable, Iterator

import numpy as np

from . import autograd, creation, dtypes, graph, printing, random
from .composed import elementwise, index, inplace, linalg, reduce, shape
from .graph import Node, Variable, new_tensor
from .modes import mode
from .ops.elementwise import clone
from .ops.promotion import cast
from .size import Size
from .utils.hooks import RemovableHandle, add_hook


class Tensor(elementwise.Methods, reduce.Methods, shape.Methods, index.Methods, linalg.Methods, inplace.Methods,
             creation.Methods, random.Methods, Variable):
    """A multi-dimensional array that remembers how it was computed."""

    __slots__ = ()
    __array_priority__ = 1000            # NumPy's operators let ours go first
    __hash__ = object.__hash__
    __repr__ = printing.tensor_repr
    __format__ = printing.tensor_format

    # ---- what it is ---------------------------------------------------------------------------------------------

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
        memory = self.array
        while isinstance(memory.base, np.ndarray):
            memory = memory.base
        return (self.array.ctypes.data - memory.ctypes.data) // self.array.itemsize

    def get_device(self) -> int:
        return -1

    # ---- autograd -----------------------------------------------------------------------------------------------

    @property
    def grad(self) -> Tensor | None:
        if self._grad is None and self._node is not None and self._node.retain is None:
            warnings.warn("The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
                          "attribute won't be populated during autograd.backward(). If you indeed want the .grad field "
                          "to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. If you "
                          "access the non-leaf Tensor by mistake, make sure you access the leaf Tensor "
                          "instead.", stacklevel=2)
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Variable):
                raise TypeError("assigned grad expected to be a Tensor or None but got grad of type "
                                f"{type(value).__name__}")
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value.array.shape != self.array.shape:
                raise RuntimeError(f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size "
                                   f"'{list(self.shape)}'. Please ensure that the gradient and the tensor are the same "
                                   "size")
            if value.array.dtype != self.array.dtype:
                raise RuntimeError(f"attempting to assign a gradient with dtype '{value.dtype.alias}' to a tensor with "
                                   f"dtype '{self.dtype.alias}'. Please ensure that the gradient and the tensor have "
                                   "the same dtype")
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def backward(self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False,
                 inputs: Tensor | list[Tensor] | None = None) -> None:
        """Accumulate the gradient of this tensor in the leaves it was made from."""
        autograd.backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        self.requires_grad = requires_grad
        return self

    def detach(self) -> Tensor:
        """The same memory, without the history."""
        t = new_tensor(self.array)
        t._counter = self._counter
        return t

    def detach_(self) -> Tensor:
        if self._view is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead. If you are using "
                               "DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as "
                               "True, gradients are views of DDP buckets, and hence detach_() cannot be called on "
                               "these gradients. To fix this error, please refer to the Optimizer.zero_grad() function "
                               "in torch/optim/optimizer.py as a reference.")
        self._node, self._leaf = None, False
        return self

    @property
    def data(self) -> Tensor:
        """The same memory, without history and without being watched: writes to it are not counted."""
        return new_tensor(self.array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Variable):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._leaf and value.array.dtype.kind != "f":
            raise RuntimeError("data set to a tensor that requires gradients must be floating point")
        self.array = value.array

    def retain_grad(self) -> None:
        """Keep the gradient of a tensor that is not a leaf in `.grad`, too."""
        node = self.grad_fn
        if node is not None:
            node.retain = weakref.ref(self)
        elif not self._leaf:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")

    @property
    def retains_grad(self) -> bool:
        return self._node is not None and self._node.retain is not None

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call hook(gradient) when this tensor's gradient is complete; what it returns replaces the gradient."""
        node = self.grad_fn
        if node is None and not self._leaf:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        owner = self if node is None else node
        if owner.hooks is None:
            owner.hooks = {}
        return add_hook(owner.hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call hook(leaf) when its gradient has been accumulated."""
        if self.grad_fn is not None:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        if not self._leaf:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self.post_hooks is None:
            self.post_hooks = {}
        return add_hook(self.post_hooks, hook)

    @property
    def _version(self) -> int:
        """How often this memory has been written to in place."""
        if self._counter is None:
            raise RuntimeError("Inference tensors do not track version counter.")
        return self._counter[0]

    @property
    def _base(self) -> Tensor | None:
        return self._view.base if self._view is not None else None

    def _is_view(self) -> bool:
        return self._view is not None

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
        if self.requires_grad and not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self.array

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        array = self.numpy()
        return array.astype(dtype) if dtype is not None and array.dtype != dtype else array.copy() if copy else array

    def _scalar(self, what: str):
        if self.array.size != 1:
            if what == "bool":
                raise RuntimeError("Boolean value of Tensor with " + ("no values" if self.array.size == 0 else
                                   "more than one value") + " is ambiguous")
            raise RuntimeError(f"a Tensor with {self.array.size} elements cannot be converted to Scalar")
        return self.array.item()

    def __bool__(self) -> bool:
        return self._scalar("bool") != 0

    def __int__(self) -> int:
        return int(self._scalar("int"))

    def __float__(self) -> float:
        return float(self._scalar("float"))

    def __complex__(self) -> complex:
        return complex(self._scalar("complex"))

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
        new = type(self)(self.array.copy(order="K"), self._leaf)
        memo[id(self)] = new
        if self._grad is not None:
            new._grad = copy.deepcopy(self._grad, memo)
        new.__dict__.update(copy.deepcopy({k: v for k, v in self.__dict__.items() if not k.startswith("_")}, memo))
        return new

    def __reduce_ex__(self, protocol):
        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) can be pickled: detach() it "
                               "first")
        return _rebuild, (type(self), np.ascontiguousarray(self.array), self._leaf)

    def __dir__(self) -> list[str]:
        return sorted(set(dir(type(self))) | set(self.__dict__))

    def _write(self, values) -> Tensor:
        """Overwrite the values in place, as random numbers and initialisers do: nothing of it is differentiable."""
        return inplace.overwrite(self, values)


def _rebuild(cls: type, array: np.ndarray, requires_grad: bool) -> Tensor:
    return cls(array, requires_grad)


graph.Tensor = Tensor                    # the class of every op's result


def is_tensor(obj) -> bool:
    return isinstance(obj, Tensor)


__all__ = ["Node", "Tensor", "is_tensor", "mode"]
