"""Argument orders from before keyword arguments: addcmul(input, value, t1, t2), addmm(beta, input, alpha, m1, m2)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps

from ..graph import Variable


def numbers_first(*keywords: str) -> Callable:
    """Let an op of tensors alone take numbers among its positional arguments: what these keywords mean."""
    def decorate(op: Callable) -> Callable:
        @wraps(op)
        def either(*args, **kwargs):
            for a in args:
                if not isinstance(a, Variable):
                    args, kwargs = sort_out(op.__name__, args, kwargs, keywords)
                    break
            return op(*args, **kwargs)
        return either
    return decorate


def sort_out(name: str, args: tuple, kwargs: dict, keywords: tuple[str, ...]) -> tuple[tuple, dict]:
    numbers = [a for a in args if isinstance(a, int | float)]
    if not numbers or len(numbers) > len(keywords) or any(k in kwargs for k in keywords):
        return args, kwargs                                  # the op says what is wrong
    given = dict(zip(keywords, numbers))
    warnings.warn(f"This overload of {name} is deprecated: give {' and '.join(given)} by name, after the tensors",
                  UserWarning, stacklevel=4)
    return tuple(a for a in args if not isinstance(a, int | float)), {**kwargs, **given}
