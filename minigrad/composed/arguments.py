"""What ops make of their arguments: sequences of integers, lists of tensors, out=."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps

import numpy as np

from ..creation import int_tuple, ints
from ..graph import Tensor, Variable
from ..modes import mode
from ..refusals import check_inplace, is_torchs, tensor_not


def tuple_of_ints(name: str, argument: str, value) -> tuple[int, ...]:
    """The integers of an argument that must be a sequence, as in torch.reshape(x, (2, 3))."""
    if not isinstance(value, tuple | list) and (not isinstance(value, Sequence) or isinstance(value, str)):
        raise TypeError(f"{name}(): argument '{argument}' must be tuple of ints, not {type(value).__name__}")
    return int_tuple(name, argument, value)


def spread(op: Callable, argument: str) -> Callable:
    """The method of an op that takes a sequence of integers, as torch.reshape(x, (2, 3)): the method takes them one by
    one, too, as x.reshape(2, 3)."""
    name = op.__name__

    def method(self, *given, **by_name):
        if by_name or len(given) < 2:
            given = ints(name, argument, given, **only(by_name, argument, name))
        return op(self, given)
    method.__name__ = method.__qualname__ = name
    method.__doc__ = op.__doc__
    return method


def only(by_name: dict, argument: str, name: str) -> dict:
    for key in by_name:
        if key != argument:
            raise TypeError(f"{name}() got an unexpected keyword argument '{key}'")
    return {"by_name": by_name[argument]} if by_name else {}


def require_tensor(name: str, x, argument: str = "input", position: int = 1) -> None:
    if not isinstance(x, Variable):
        raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be {tensor_not(x)}")


def tensor_list(name: str, tensors) -> list:
    """A list of tensors, given as such."""
    if isinstance(tensors, Variable) or not isinstance(tensors, Sequence):
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not "
                        f"{type(tensors).__name__}")
    for i, t in enumerate(tensors):
        if not isinstance(t, Variable):
            raise TypeError(f"expected {tensor_not(t)}" if is_torchs(t) else
                            f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
    return list(tensors)


def several(name: str, tensors: tuple) -> list:
    """The tensors of f(a, b) or f([a, b])."""
    return tensor_list(name, tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], Variable) else tensors)


def takes_out(op: Callable) -> Callable:
    """Let an op take out=, a tensor that is given the result's shape and values."""
    @wraps(op)
    def with_out(*args, out: Tensor | None = None, **kwargs):
        result = op(*args, **kwargs)
        return result if out is None else _put_out(op.__name__, out, result, args)
    return with_out


def _put_out(name: str, out: Tensor, result: Tensor, args: tuple) -> Tensor:
    if not isinstance(out, Variable):
        raise TypeError(f"{name}(): argument 'out' must be {tensor_not(out)}")
    inputs = [x for a in args for x in (a if isinstance(a, list | tuple) else (a,)) if isinstance(x, Variable)]
    if mode.grad and any(x.requires_grad for x in (*inputs, out)):
        raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic differentiation, but "
                           "one of the arguments requires grad.")
    if out.array.dtype != result.array.dtype:
        raise RuntimeError(f"Expected out tensor to have dtype {result.dtype.alias}, but got {out.dtype.alias} instead")
    check_inplace(out)
    resized = out.array.shape != result.array.shape            # within its memory, in torch, all of which counts then
    overlaps = (lambda a, b: _owner(a) is _owner(b)) if resized else np.may_share_memory
    if any(overlaps(out.array, x.array) for x in inputs):
        raise RuntimeError("unsupported operation: the input tensors and the written-to tensor refer to a single "
                           "memory location. Please clone() the tensor before performing the operation.")
    if resized:
        out.array = np.empty(result.array.shape, out.array.dtype)
    return out._write(result.array)


def _owner(array) -> object:
    """What holds the memory that an array views."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array
