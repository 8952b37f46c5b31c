"""Parameter and Buffer: tensors that a Module knows as its own."""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from ..graph import Variable
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that a Module lists among its parameters when it is set as an attribute. It shares the data's memory."""

    __slots__ = ()

    def __init__(self, data: Tensor | np.ndarray | None = None, requires_grad: bool = True):
        if isinstance(data, Variable):
            Variable.__init__(self, data.array)
            self._version = data._version
        else:
            Variable.__init__(self, np.empty(0, np.float32) if data is None else data)
        self.requires_grad = requires_grad

    def __repr__(self) -> str:
        return "Parameter containing:\n" + Tensor.__repr__(self)

    def __deepcopy__(self, memo: dict) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.array.copy(order="K"), self._leaf)
            memo[id(self)].__dict__.update(deepcopy(self.__dict__, memo))
        return memo[id(self)]


class Buffer(Tensor):
    """A tensor that a Module lists among its buffers when it is set as an attribute."""

    __slots__ = ()

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True):
        Variable.__init__(self, np.empty(0, np.float32) if data is None else data.array)
        self.persistent = persistent
