"""Modules without their initial draws."""

from __future__ import annotations

import inspect

from ...random import fork_rng
from ..modules.module import Module


def skip_init(module_cls: type[Module], *args, **kwargs) -> Module:
    """A module whose weights are still to be set. The generator stays where it is."""
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    with fork_rng():
        return module_cls(*args, **kwargs)
