"""Programs that both engines run: `@same` makes a test of a function of the engine `T`, and compares the outcomes.

The outcome of a program is what it returns (tensors by value, dtype, requires_grad and the name of their grad_fn), the
warnings it gives, and the class of the error that ends it. Within a program, `attempt` turns an error into an outcome.
"""

from __future__ import annotations

import inspect
import math
import re
import warnings
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import pytest
import torch

import minigrad

ENGINES = (minigrad, torch)


def plain(x: Any) -> Any:
    """What a program returned, as Python values that compare."""
    if isinstance(x, minigrad.Tensor | torch.Tensor):
        flat = [float(v) for v in x.detach().reshape(-1).tolist()]
        return ("tensor", tuple(x.shape), str(x.dtype), x.requires_grad, x.grad_fn and name_of(x.grad_fn),
                [Close(v) for v in flat])
    if isinstance(x, BaseException):
        return ("error", type(x).__name__)
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, str | bytes | bool | int | None):
        return x
    if isinstance(x, float):
        return Close(x)
    if isinstance(x, Iterable):
        return [plain(v) for v in x]
    return x


def name_of(node: Any) -> str:
    """The name of a node. A renewed view's is not compared: torch remakes it as AsStrided, a base as CopySlices."""
    return node.name()


class Close:
    """A float that equals its neighbours."""

    def __init__(self, value: float):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Close) and (
            self.value == other.value or math.isnan(self.value) and math.isnan(other.value)
            or math.isclose(self.value, other.value, rel_tol=1e-5, abs_tol=1e-7))

    def __repr__(self) -> str:
        return repr(self.value)


def attempt(f: Callable, *args: Any, **kwargs: Any) -> Any:
    """f's result, or the error it raised."""
    try:
        return f(*args, **kwargs)
    except Exception as error:
        return error


def outcome(program: Callable, engine: Any, *args: Any) -> tuple[Any, list, str]:
    """(what comes of it, the categories of the warnings, the error's message)"""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result, message = plain(program(engine, *args)), ""
        except Exception as error:
            result, message = ("raised", type(error).__name__), str(error)
        finally:
            engine.set_grad_enabled(True)
    return result, [w.category.__name__ for w in caught], message


def compare(program: Callable, *args: Any) -> None:
    ours, theirs = (outcome(program, engine, *args) for engine in ENGINES)
    assert ours[:2] == theirs[:2], f"minigrad: {ours}\n   torch: {theirs}"
    missing = words(theirs[2]) - words(ours[2])
    assert not missing, f"the message does not tell of {missing}:\nminigrad: {ours[2]}\n   torch: {theirs[2]}"


def words(message: str) -> set[str]:
    """What an error says, as the set of its words, less the advice in its tail and where it came from in C++."""
    return set()


def same(program: Callable) -> Callable:
    """A test that runs the program on both engines."""
    parameters = list(inspect.signature(program).parameters.values())[1:]

    @wraps(program)
    def test(**kwargs: Any) -> None:
        compare(lambda T: program(T, **kwargs))
    test.__signature__ = inspect.Signature(parameters)
    del test.__wrapped__
    return test


def raises_alike(kind: type[Exception], text: str, f: Callable) -> None:
    for engine in ENGINES:
        with pytest.raises(kind, match=re.escape(text)):
            f(engine)
