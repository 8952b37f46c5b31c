"""Parametrizations: a module's weight computed, each time it is asked for, from what is trained in its place.

A module that has one gets a class of its own, a subclass of what it was, where the weight's name is a property; the
modules that compute it, and the tensors that they start from, live in `module.parametrizations`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ...graph import Variable
from ...modes import no_grad
from ...tensor import Tensor
from ..modules.container import ModuleDict, ModuleList
from ..modules.module import Module
from ..parameter import Parameter

__all__ = ["ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations",
           "transfer_parametrizations_and_params", "type_before_parametrizations"]

_cache: dict[tuple[int, str], Tensor] | None = None          # within cached(): what was computed already


@contextmanager
def cached() -> Iterator[None]:
    """Within it, every parametrized weight is computed once."""
    global _cache
    before = _cache
    _cache = {} if before is None else before
    try:
        yield
    finally:
        _cache = before


class ParametrizationList(ModuleList):
    """What one weight is computed by, in a row, and `original`, what it is computed from (`original0`, `original1`, ...
    if the first of them takes several tensors)."""

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False):
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            new = original
            for module in reversed(self):
                if hasattr(module, "right_inverse"):
                    new = module.right_inverse(new)
        self.is_tensor = isinstance(new, Variable)
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            if not unsafe and original.dtype is not new.dtype:
                raise ValueError("When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                                 f"original.dtype: {original.dtype}\nright_inverse(original).dtype: {new.dtype}")
            if isinstance(original, Parameter):              # it stays the parameter that an optimizer may hold
                original.data = new.data
                self.register_parameter("original", original)
            else:
                self.register_buffer("original", new)
            return
        for i, part in enumerate(new):
            if not isinstance(part, Variable):
                raise ValueError("`right_inverse` must return a Tensor or a Sequence of tensors (list, tuple...). "
                                 f"Got element {i} of the sequence with type {type(part).__name__}.")
            if isinstance(original, Parameter):
                part = Parameter(part.clone() if part is original else part, original.requires_grad)
                self.register_parameter(f"original{i}", part)
            else:
                self.register_buffer(f"original{i}", part)

    def _originals(self) -> list[Tensor]:
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Set what is trained so that the weight is `value`."""
        with no_grad():
            for module in reversed(self):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                value = module.right_inverse(value)
            for original, new in zip(self._originals(), (value,) if self.is_tensor else value, strict=True):
                original.data = new.to(original.dtype)

    def forward(self) -> Tensor:
        first, *rest = self
        x = first(*self._originals())
        for module in rest:
            x = module(x)
        return x


def _property(name: str) -> property:
    def get(self: Module) -> Tensor:
        if _cache is None:
            return self.parametrizations[name]()
        key = id(self), name
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]

    def assign(self: Module, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(get, assign)


def _give_own_class(module: Module) -> None:
    """Let the module be the only one of its class."""
    cls = type(module)

    def deepcopy(self, memo: dict):
        new = memo[id(self)] = self.__new__(type(self))
        new.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return new

    def getstate(self):
        raise RuntimeError("Serialization of parametrized modules is only supported through state_dict(). See:\n"
                           "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
                           "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training")

    members = {"__getstate__": getstate, "__module__": cls.__module__}
    if not hasattr(cls, "__deepcopy__"):
        members["__deepcopy__"] = deepcopy
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), members)


def register_parametrization(module: Module, tensor_name: str, parametrization: Module, *,
                             unsafe: bool = False) -> Module:
    """Compute the module's parameter or buffer `tensor_name` by `parametrization` (after others that it has)."""
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        before = getattr(module, tensor_name)
        if not unsafe:
            _check_kept(before, parametrization(before))
        entries = module.parametrizations[tensor_name]
        if hasattr(parametrization, "right_inverse"):
            entries.append(parametrization)
            value = before.detach()
            entries.right_inverse(value)
        else:
            entries.append(parametrization)
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise ValueError(f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
                         f"'{tensor_name}'")
    original = getattr(module, tensor_name)
    entries = ParametrizationList([parametrization], original, unsafe=unsafe)
    if not unsafe:
        _check_kept(original, entries())
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _give_own_class(module)
        module.parametrizations = ModuleDict()
    setattr(type(module), tensor_name, _property(tensor_name))
    module.parametrizations[tensor_name] = entries
    return module


def _check_kept(before: Tensor, after: Tensor) -> None:
    if not isinstance(after, Variable):
        raise ValueError(f"A parametrization must return a tensor. Got {type(after).__name__}.")
    for what in ("dtype", "shape"):
        if getattr(before, what) != getattr(after, what):
            raise ValueError(f"Registering a parametrization may not change the {what} of the tensor, unless `unsafe` "
                             f"flag is enabled.\nunparametrized {what}: {getattr(before, what)}\n"
                             f"parametrized {what}: {getattr(after, what)}")


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    entries = getattr(module, "parametrizations", None)
    if not isinstance(entries, ModuleDict):
        return False
    return len(entries) > 0 if tensor_name is None else tensor_name in entries


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make the weight an ordinary one again: with its value, or with leave_parametrized=False, its original."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    entries = module.parametrizations[tensor_name]
    if not leave_parametrized and not entries.is_tensor:
        raise ValueError("Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in "
                         "terms of a sequence of tensors.")
    result = entries._originals()[0]
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name).detach()
        if entries.is_tensor:                                # the same parameter, which an optimizer may hold
            result.data = value
        else:
            result = Parameter(value) if isinstance(result, Parameter) else value
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    (module.register_parameter if isinstance(result, Parameter) else module.register_buffer)(tensor_name, result)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type_before_parametrizations(module)
    return module


def type_before_parametrizations(module: Module) -> type:
    return type(module).__bases__[0] if type(module).__name__.startswith("Parametrized") else type(module)


def transfer_parametrizations_and_params(from_module: Module, to_module: Module,
                                         tensor_name: str | None = None) -> Module:
    """Give another module of the same kind copies of the parametrizations, and of the tensors they start from."""
    for name in [tensor_name] if tensor_name else list(from_module.parametrizations):
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach().clone()))
        for parametrization in from_module.parametrizations[name]:
            register_parametrization(to_module, name, copy.deepcopy(parametrization), unsafe=True)
        theirs, ours = from_module.parametrizations[name], to_module.parametrizations[name]
        for old, new in zip(theirs._originals(), ours._originals(), strict=True):
            new.data = old.detach().clone()
    return to_module
