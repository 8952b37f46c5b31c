"""out=: results written into a tensor that is there already. The front door's functions take it; methods do not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps

import numpy as np

from .. import dtypes
from ..graph import Tensor, Variable
from ..modes import mode
from ..refusals import check_overlap, tensor_not


def into(op: Callable) -> Callable:
    """An op that takes out=, too."""
    @wraps(op)
    def with_out(*args, out: Tensor | None = None, **kwargs):
        if out is None:
            return op(*args, **kwargs)
        _check(op.__name__, out, [*args, *kwargs.values()])
        return _put(op(*args, **kwargs), out)
    with_out.__module__ = __name__.partition(".")[0]         # pickles look for it where it is public
    return with_out


def _check(name: str, out: Tensor, args: list) -> None:
    if not isinstance(out, Variable):
        raise TypeError(f"{name}(): argument 'out' must be {tensor_not(out)}")
    operands = [x for x in args if isinstance(x, Variable)]
    if mode.grad and any(x.requires_grad for x in (*operands, out)):
        raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic differentiation, but "
                           "one of the arguments requires grad.")
    for x in operands:
        check_overlap(out, x)


def _put(result: Tensor, out: Tensor) -> Tensor:
    """The result's values, cast to the dtype of `out`, which takes the result's shape."""
    if not dtypes.can_cast(result.dtype, out.dtype):
        raise RuntimeError(f"result type {result.dtype.tensor_type} can't be cast to the desired output type "
                           f"{out.dtype.tensor_type}")
    if out.array.shape != result.array.shape:
        if out.array.size:
            warnings.warn(f"An output with one or more elements was resized since it had shape {list(out.shape)}, "
                          f"which does not match the required output shape {list(result.shape)}. This behavior is "
                          "deprecated, and in a future PyTorch release outputs will not be resized unless they have "
                          "zero elements. You can explicitly reuse an out tensor t by resizing it, inplace, to zero "
                          "elements with t.resize_(0).", stacklevel=3)
        out.array = np.empty(result.array.shape, out.array.dtype)
    return out._write(result.array)
