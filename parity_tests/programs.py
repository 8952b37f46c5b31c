"""Programs that both engines run: `@same` makes a test of a function of the engine `T`, and compares the outcomes.

The outcome of a program is what it returns (tensors by value, dtype, requires_grad and the name of their grad_fn), and
the class of the error that ends it. Within a program, `attempt` turns an error into an outcome.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch

import minigrad


def leaf(T: Any, *shape: int, start: float = 1) -> Any:
    """1, 2, 3, ... in float64, with gradients."""
    return (T.arange(math.prod(shape), dtype=T.float64).reshape(shape) + start).requires_grad_()


def attempt(f: Callable, *args: Any, **kwargs: Any) -> Any:
    """f's result, or the error it raised."""
    try:
        return f(*args, **kwargs)
    except Exception as error:
        return error


class Close:
    """A float that equals its neighbours."""

    def __init__(self, value: float):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Close) and (
            math.isclose(self.value, other.value, rel_tol=1e-6, abs_tol=1e-9)
            or (math.isnan(self.value) and math.isnan(other.value)))

    def __repr__(self) -> str:
        return repr(self.value)


def plain(x: Any) -> Any:
    """What a program returned, as Python values that compare."""
    if isinstance(x, minigrad.Tensor | torch.Tensor):
        node = x.grad_fn and x.grad_fn.name().rpartition("::")[2]
        return tuple(x.shape), str(x.dtype), x.requires_grad, node, plain(x.detach().reshape(-1).tolist())
    if isinstance(x, BaseException):
        return "error", type(x).__name__
    if isinstance(x, float):
        return Close(x)
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return [plain(v) for v in x] if isinstance(x, Iterable) and not isinstance(x, str) else x


def outcome(program: Callable, engine: Any) -> Any:
    try:
        return plain(program(engine))
    except Exception as error:
        return "raised", type(error).__name__, str(error)
    finally:
        engine.set_grad_enabled(True)


def same(program: Callable) -> Callable[[], None]:
    """A test that runs the program on both engines."""
    def test() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours, theirs = outcome(program, minigrad), outcome(program, torch)
        assert not (isinstance(theirs, tuple) and theirs[0] == "raised"), f"the program does not run on torch: {theirs}"
        assert ours == theirs, f"\nminigrad: {ours}\n   torch: {theirs}"
    test.__name__, test.__doc__ = program.__name__, program.__doc__
    return test
