"""torch.overrides: no function here asks its arguments what to do."""

from __future__ import annotations

from collections.abc import Iterable


def has_torch_function(relevant_args: Iterable) -> bool:
    return False


def has_torch_function_unary(x) -> bool:
    return False


def has_torch_function_variadic(*args) -> bool:
    return False


def handle_torch_function(public_api, relevant_args: Iterable, *args, **kwargs):
    raise TypeError("no implementation found: minigrad does not call __torch_function__")


def is_tensor_like(inp) -> bool:
    from ...graph import Variable
    return isinstance(inp, Variable)
