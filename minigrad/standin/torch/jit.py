"""TorchScript, which compiles nothing here: functions and modules are what they were."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Final, TypeVar

from ...nn import Module

__all__ = ["Final", "annotate", "export", "ignore", "is_scripting", "is_tracing", "isinstance", "script",
           "script_if_tracing", "script_method", "unused"]

_isinstance = isinstance
T = TypeVar("T")


class ScriptModule(Module):
    """What torch.jit.script makes of a module. Nothing is one here."""


class ScriptFunction:
    """What torch.jit.script makes of a function. Nothing is one here."""


def script(obj: T, *args, **kwargs) -> T:
    """The function, class or module itself."""
    return obj


def script_method(fn: Callable) -> Callable:
    return fn


script_if_tracing = export = script_method


def _marked(drop=False, **kwargs) -> Callable:
    """A function that a compiler would leave alone; or a decorator, which was called first."""
    return drop if callable(drop) else lambda fn: fn


ignore = unused = _marked


def is_scripting() -> bool:
    return False


def is_tracing() -> bool:
    return False


def isinstance(obj, target_type) -> bool:
    return _isinstance(obj, target_type)


def annotate(the_type: type, the_value: T) -> T:
    return the_value


@contextmanager
def optimized_execution(should_optimize: bool):
    yield


@contextmanager
def fuser(name: str):
    yield


def trace(*args, **kwargs):
    raise NotImplementedError("torch.jit.trace records a graph to be run by torch; minigrad has no such graph")


def save(*args, **kwargs):
    raise NotImplementedError("torch.jit.save writes programs for torch; save the state_dict by torch.save")


def load(*args, **kwargs):
    raise NotImplementedError("torch.jit.load reads programs for torch; minigrad loads state_dicts, by torch.load")
