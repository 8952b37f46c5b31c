"""torch.compiler: nothing is compiled, so nothing has to be kept from it."""

from __future__ import annotations

from collections.abc import Callable

from ...host import compile as compile


def is_compiling() -> bool:
    return False


is_dynamo_compiling = is_exporting = is_compiling


def disable(fn: Callable | None = None, recursive: bool = True, *, reason: str | None = None) -> Callable:
    """The function itself; or a decorator."""
    return fn if fn is not None else lambda fn: fn


allow_in_graph = assume_constant_result = disable


def reset() -> None:
    """Nothing to forget."""


def cudagraph_mark_step_begin() -> None:
    """No graphs."""
