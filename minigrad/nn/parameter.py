"""Parameter and Buffer: tensors that a Module knows as its own."""

from __future__ import annotations

import numpy as np

from ..graph import Variable
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that a Module lists among its parameters when it is set as an attribute. It shares the data's memory."""

    __slots__ = ()

    def __init__(self, data: Tensor | np.ndarray | None = None, requires_grad: bool = True):
        if isinstance(data, Variable):
            Variable.__init__(self, data.array)
            self._counter = data._counter
        else:
            Variable.__init__(self, np.empty(0, np.float32) if data is None else data)
        if requires_grad and self.array.dtype.kind != "f":
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        self._leaf = bool(requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + Tensor.__repr__(self)

    def __deepcopy__(self, memo: dict) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.array.copy(order="K"), self._leaf)
        return memo[id(self)]


class _IsBuffer(type):
    def __instancecheck__(cls, instance) -> bool:
        return isinstance(instance, Variable) and hasattr(instance, "persistent")


class Buffer(Tensor, metaclass=_IsBuffer):
    """A tensor that a Module lists among its buffers when it is set as an attribute: an ordinary Tensor with a mark."""

    __slots__ = ()

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Tensor:
        buffer = Tensor(np.empty(0, np.float32)) if data is None else data.detach().requires_grad_(data.requires_grad)
        buffer.persistent = persistent
        return buffer


class _Uninitialized:
    """What a tensor is whose shape is not known yet."""

    __slots__ = ()

    def materialize(self, shape: tuple[int, ...], device=None, dtype=None) -> None:
        """Become an ordinary tensor of this shape."""
        self.array = np.empty(shape, self.array.dtype if dtype is None else dtype.numpy)
        self.__class__ = self.cls_to_become

    @property
    def shape(self):
        raise RuntimeError("Can't access the shape of an uninitialized parameter or buffer. This error usually happens "
                           "in `load_state_dict` when trying to load an uninitialized parameter into an initialized "
                           "one. Call `forward` to initialize the parameters before accessing their attributes.")

    def numel(self):
        raise ValueError("Attempted to use an uninitialized parameter in numel. This error happens when you are using "
                         "a `LazyModule` or explicitly manipulating uninitialized parameters. Call `forward` with a "
                         "dummy batch to initialize the parameters before calling torch functions")

    size = dim = numel

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict):
        return memo.setdefault(id(self), type(self)(requires_grad=self._leaf))


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter of a lazy module, before its first input."""

    __slots__ = ()
    cls_to_become = Parameter

    def __init__(self, requires_grad: bool = True, device=None, dtype=None):
        from ..dtypes import get_default_dtype
        super().__init__(np.empty(0, (dtype or get_default_dtype()).numpy), requires_grad)


class UninitializedBuffer(_Uninitialized, Tensor):
    """A buffer of a lazy module, before its first input."""

    __slots__ = ()
    cls_to_become = Tensor

    def __init__(self, requires_grad: bool = False, device=None, dtype=None, persistent: bool = True):
        from ..dtypes import get_default_dtype
        super().__init__(np.empty(0, (dtype or get_default_dtype()).numpy), requires_grad)
