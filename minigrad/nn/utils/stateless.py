"""A module's forward with other parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...graph import Tensor
from ..modules.module import Module


def functional_call(module: Module, parameter_and_buffer_dicts: Mapping[str, Tensor] | tuple[Mapping[str, Tensor], ...],
                    args: Any = None, kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True,
                    strict: bool = False) -> Any:
    """module(*args) with these tensors in the place of its parameters and buffers of the same names. Where a module has
    one parameter under two names, both are replaced."""
    given: dict[str, Tensor] = {}
    for part in [parameter_and_buffer_dicts] if isinstance(parameter_and_buffer_dicts, Mapping) else (
            parameter_and_buffer_dicts):
        given.update(part)
    own = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    unknown, missing = sorted(given.keys() - own.keys()), sorted(own.keys() - given.keys())
    if strict and (unknown or missing):
        raise RuntimeError("Error(s) in loading state_dict" + (f"\n\tUnexpected key(s): {', '.join(unknown)}."
                           if unknown else "") + (f"\n\tMissing key(s): {', '.join(missing)}." if missing else ""))
    if tie_weights:
        named = {id(own[name]): value for name, value in given.items() if name in own}
        given = {name: named[id(value)] for name, value in own.items() if id(value) in named}
    places = []
    try:
        for name, value in given.items():
            path, _, last = name.rpartition(".")
            owner = module.get_submodule(path)
            register = owner._parameters if last in owner._parameters else owner._buffers
            places.append((register, last, register[last]))
            register[last] = value
        args = () if args is None else args if isinstance(args, tuple) else (args,)
        return module(*args, **(kwargs or {}))
    finally:
        for register, last, value in reversed(places):
            register[last] = value
