"""torch.autograd's further modules."""

import warnings

from ....graph import Variable as _Anything
from ....tensor import Tensor
from . import functional as functional
from . import profiler as profiler


class _IsTensor(type):
    def __instancecheck__(cls, instance) -> bool:
        return isinstance(instance, _Anything)


class Variable(metaclass=_IsTensor):
    """What a tensor had to be wrapped in before it could have a gradient; now it is the tensor again."""

    def __new__(cls, data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Tensor:
        if volatile:
            warnings.warn("volatile was removed and now has no effect. Use `with torch.no_grad():` instead.",
                          UserWarning, stacklevel=2)
        return data.detach().requires_grad_(requires_grad)
