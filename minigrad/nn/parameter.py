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
