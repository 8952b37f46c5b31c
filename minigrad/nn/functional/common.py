"""What the functions of nn.functional share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps

import numpy as np

from ...composed.inplace import inplace as inplace_form
from ...graph import Tensor, Variable
from ...names import composite, named
from ...ops.logic import check_tensors
from ...ops.promotion import cast
from ...ops.reduce import mean_over, sum_over

_HALF, _SINGLE = np.dtype(np.float16), np.dtype(np.float32)


def kernel(name: str) -> Callable:
    """A function that torch computes in one piece: one node of that name; float16 is computed in float32, and rounded
    once."""
    def decorate(f: Callable) -> Callable:
        @composite(name)
        @wraps(f)
        def in_single(input, *args):
            out = f(*(cast(x, _SINGLE) if isinstance(x, Variable) and x.array.dtype == _HALF else x
                      for x in (input, *args)))
            return cast(out, _HALF)

        shown = f if hasattr(f, "node_class") else composite(name)(f)           # an op of its own is one node already
        if shown is f:
            f.node_class.__name__ = f.node_class.__qualname__ = f"{name}Backward0"

        @wraps(f)
        def computed(input, *args):
            return (in_single if input.array.dtype is _HALF else shown)(input, *args)
        computed.in_place = inplace_form(computed)
        return computed
    return decorate


def require_floating(function: str, kernel_name: str, input: Tensor) -> None:
    """torch's errors for what is no tensor, and for dtypes without a kernel."""
    if not isinstance(input, Variable):
        check_tensors(function, input=input)
    if input.array.dtype.kind != "f":
        raise NotImplementedError(f'"{kernel_name}" not implemented for {input.dtype.tensor_type!r}')


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """A loss per element as it is, its mean or its sum."""
    if reduction == "none":
        return loss
    dims = tuple(range(loss.array.ndim))
    if reduction == "sum":
        return named(sum_over(loss, dims, False), "SumBackward0")
    return named(mean_over(loss, dims, False), "MeanBackward0")


def named_reduction(reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The reduction by its name, where it is asked for by the two flags that came before names."""
    if size_average is None and reduce is None:
        return reduction
    reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
    warnings.warn("size_average and reduce args will be deprecated, please use "
                  f"reduction='{reduction}' instead.", stacklevel=4)
    return reduction


def check_reduction(reduction: str, size_average: bool | None = None, reduce: bool | None = None,
                    also: str = "") -> str:
    reduction = named_reduction(reduction, size_average, reduce)
    if reduction not in ("none", "mean", "sum", also):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction
