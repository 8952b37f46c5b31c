"""Module: parameters, buffers and submodules by name, and everything that walks over them."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ... import dtypes
from ...autograd import Function
from ...creation import parse_to
from ...graph import Tensor, Variable
from ...leaves import forget_gradient
from ...modes import mode, no_grad
from ...refusals import is_torchs, tensor_not
from ...utils.hooks import RemovableHandle, add_hook
from ..parameter import Buffer, Parameter

EXTRA_STATE = "_extra_state"


class _IncompatibleKeys(namedtuple("_IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What load_state_dict did not find, and what it did not want."""

    __slots__ = ()

    def __repr__(self) -> str:
        return super().__repr__() if self.missing_keys or self.unexpected_keys else "<All keys matched successfully>"

    __str__ = __repr__


def _typename(x) -> str:
    """A type's name as torch's messages give it."""
    if isinstance(x, Variable):
        return x.type()
    cls = type(x)
    return cls.__qualname__ if cls.__module__ in ("builtins", None) else f"{cls.__module__}.{cls.__qualname__}"


def _indented(text: str, spaces: int) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * spaces + line for line in rest)])


# Where a module keeps what belongs to the tree, with torch's words for it in errors.
_REGISTERS = {"_parameters": ("parameters", "parameter", "torch.nn.Parameter"),
              "_modules": ("module", "child module", "torch.nn.Module"),
              "_buffers": ("buffer", "buffer", "torch.nn.Buffer, torch.Tensor")}


class Module:
    """The base of all layers and models."""

    training: bool
    _version: int = 1
    call_super_init: bool = False
    dump_patches: bool = False

    _HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
              "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")

    def __init__(self, *args, **kwargs) -> None:
        if not self.call_super_init and kwargs:
            raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                            f"'{next(iter(kwargs))}'")
        if not self.call_super_init and args:
            raise TypeError(f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were "
                            "given")
        put = super().__setattr__
        put("training", True)
        for name in _REGISTERS:
            put(name, {})
        for name in self._HOOKS:
            put(name, OrderedDict())
        put("_non_persistent_buffers_set", set())
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # ---- calling ------------------------------------------------------------------------------------------------

    def forward(self, *input):
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def _call_impl(self, *args, **kwargs):
        own = self.__dict__
        try:
            hooked = (own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"]
                      or own["_backward_pre_hooks"])
        except KeyError:
            hooked = self._backward_hooks            # not there either: Module.__init__() was never called
        return self.__call_hooked(args, kwargs) if hooked else self.forward(*args, **kwargs)

    __call__ = _call_impl

    def __call_hooked(self, args: tuple, kwargs: dict):
        done, result = set(), None

        def run(args: tuple):
            nonlocal result
            result = self.forward(*args, **kwargs)
            for key, hook in tuple(self._forward_hooks.items()):
                done.add(key)
                result = self.__run_forward_hook(hook, args, kwargs, result)
            return result

        try:
            args, kwargs = self.__run_pre_hooks(args, kwargs)
            if mode.grad and (self._backward_hooks or self._backward_pre_hooks):
                return _with_backward_hooks(self, args, run)
            return run(args)
        except Exception:
            for key, hook in tuple(self._forward_hooks.items()):
                if hook.always_call and key not in done:
                    try:
                        result = self.__run_forward_hook(hook, args, kwargs, result)
                    except Exception as error:
                        warnings.warn("module forward hook with ``always_call=True`` raised an exception that was "
                                      f"silenced as another error was raised in forward: {error}", stacklevel=2)
            raise

    def __run_pre_hooks(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        for hook in tuple(self._forward_pre_hooks.values()):
            if hook.with_kwargs:
                result = hook(self, args, kwargs)
                if result is not None:
                    if not isinstance(result, tuple) or len(result) != 2:
                        raise RuntimeError("forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                                           f"but got {result}.")
                    args, kwargs = result
            else:
                result = hook(self, args)
                if result is not None:
                    args = result if isinstance(result, tuple) else (result,)
        return args, kwargs

    def __run_forward_hook(self, hook: _Hook, args: tuple, kwargs: dict, result):
        new = hook(self, args, kwargs, result) if hook.with_kwargs else hook(self, args, result)
        return result if new is None else new

    def register_forward_pre_hook(self, hook: Callable, *, prepend: bool = False,
                                  with_kwargs: bool = False) -> RemovableHandle:
        """Call hook(module, args) before forward; what it returns replaces the arguments."""
        return _put(self._forward_pre_hooks, _Hook(hook, with_kwargs), prepend)

    def register_forward_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False,
                              always_call: bool = False) -> RemovableHandle:
        """Call hook(module, args, output) after forward; what it returns replaces the output."""
        return _put(self._forward_hooks, _Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call hook(module, grad_output) before backward goes through the module."""
        return _put(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call hook(module, grad_input, grad_output) after backward went through; what it returns replaces
        grad_input."""
        return _put(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """Call hook(module, grad_input, grad_output) when backward reaches the op that made the module's output: the
        older form, whose grad_input is that op's."""
        def watch(module: Module, args: tuple, output) -> None:
            while not isinstance(output, Variable):
                output = next(iter(output.values())) if isinstance(output, dict) else output[0]
            if output.grad_fn is not None:
                output.grad_fn.register_hook(lambda grad_input, grad_output: hook(module, grad_input, grad_output))
        return self.register_forward_hook(watch)

    # ---- attributes ---------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value) -> None:
        """Parameters, modules and buffers go to their registers. What is in one of them may only be replaced by its
        like, by None, or by something of a register that comes before."""
        own = self.__dict__
        for kind, cls in (("_parameters", Parameter), ("_modules", Module), ("_buffers", Buffer)):
            entries = own.get(kind)
            if isinstance(value, cls) or (entries is not None and name in entries):
                break
        else:
            super().__setattr__(name, value)
            return
        several, one, cls_name = _REGISTERS[kind]
        if entries is None:
            raise AttributeError(f"cannot assign {several} before Module.__init__() call")
        if not (value is None or isinstance(value, Variable if cls is Buffer else cls)):
            raise TypeError(f"cannot assign '{_typename(value)}' as {one} '{name}' ({cls_name} or None expected)")
        persistent = getattr(value, "persistent", name not in self._non_persistent_buffers_set)
        if value is not None and kind != "_buffers":
            own.pop(name, None)
            for register in _REGISTERS:
                if register != kind:
                    own[register].pop(name, None)
            self._non_persistent_buffers_set.discard(name)
        if kind == "_modules":
            entries[name] = value
        elif kind == "_parameters":
            self.register_parameter(name, value)
        else:
            self.register_buffer(name, value, persistent)

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        for kind in _REGISTERS:
            if kind in state and name in state[kind]:
                return state[kind][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for kind in _REGISTERS:
            if name in self.__dict__.get(kind, ()):
                del self.__dict__[kind][name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers}
        return sorted(n for n in names if not n[0].isdigit())

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)

    def _check_name(self, what: str, name: str, entries: dict) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {_typename(name)}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain "."' + (f", got: {name}" if what == "module" else ""))
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if hasattr(self, name) and name not in entries:
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        self._check_name("parameter", name, self.__dict__.get("_parameters", ()))
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(f"cannot assign '{_typename(param)}' object to parameter '{name}' (torch.nn.Parameter "
                                "or None required)")
            if param.grad_fn is not None:
                raise ValueError(f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                                 f"created explicitly. To express '{name}' as a function of another Tensor, compute "
                                 "the value in the forward() method.")
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        self._check_name("buffer", name, self.__dict__.get("_buffers", ()))
        if tensor is not None and not isinstance(tensor, Variable):
            raise TypeError(f"cannot assign '{_typename(tensor)}' object to buffer '{name}' (torch Tensor or None "
                            "required)")
        self._buffers[name] = tensor
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(name)

    def register_module(self, name: str, module: Module | None) -> None:
        self.add_module(name, module)

    def add_module(self, name: str, module: Module | None) -> None:
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{_typename(module)} is not a Module subclass")
        self._check_name("module", name, self.__dict__.get("_modules", ()))
        self._modules[name] = module

    # ---- the tree -----------------------------------------------------------------------------------------------

    def named_modules(self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True
                      ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, each before its children, with dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def _named_members(self, members: Callable, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple]:
        seen = set()
        modules = self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in members(module).items():
                if value is None or value in seen:
                    continue
                if remove_duplicate:
                    seen.add(value)
                yield f"{path}.{name}" if path else name, value

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
                         ) -> Iterator[tuple[str, Parameter]]:
        return self._named_members(lambda m: m._parameters, prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
                      ) -> Iterator[tuple[str, Tensor]]:
        return self._named_members(lambda m: m._buffers, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path."""
        module = self
        for item in target.split(".") if target else ():
            if not hasattr(module, item):
                raise AttributeError(f"{module._get_name()} has no attribute `{item}`")
            module = getattr(module, item)
            if not isinstance(module, Module):
                raise AttributeError(f"`{item}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module at a dotted path."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if not hasattr(parent, name):
            if strict:
                raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        elif not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def _get_member(self, target: str, kind: type, ours: Callable, what: str):
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if not isinstance(getattr(module, name), kind) or name not in ours(module):
            raise AttributeError(f"`{name}` is not {what}")
        return getattr(module, name)

    def get_parameter(self, target: str) -> Parameter:
        return self._get_member(target, Parameter, lambda m: m._parameters, "an nn.Parameter")

    def get_buffer(self, target: str) -> Tensor:
        return self._get_member(target, Variable, lambda m: m._buffers, "a buffer")

    def apply(self, fn: Callable[[Module], None]) -> Module:
        """Call fn on every module, children first."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # ---- state of the whole tree --------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Module:
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Module:
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        for p in self.parameters():
            if p._grad is not None:
                if set_to_none:
                    forget_gradient(p)
                else:
                    p._grad = p.grad.detach()
                    p._grad.zero_()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Module:
        """Replace the data of parameters, gradients and buffers by what fn makes of it; parameters stay the same
        objects."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        with no_grad():
            for p in self._parameters.values():
                if p is not None:
                    p.data = fn(p)
                    if p._grad is not None:
                        p._grad = fn(p.grad)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self, *args, **kwargs) -> Module:
        """Cast floating-point parameters and buffers."""
        dtype, _ = parse_to(args, kwargs)
        if dtype is None:
            return self
        if not dtype.is_floating_point:
            raise TypeError("nn.Module.to only accepts floating point or complex dtypes, but got desired "
                            f"dtype={dtype}")
        return self._cast(dtype)

    def _cast(self, dtype: dtypes.dtype) -> Module:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def type(self, dst_type: dtypes.dtype | str) -> Module:
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Module:
        return self._cast(dtypes.float32)

    def double(self) -> Module:
        return self._cast(dtypes.float64)

    def half(self) -> Module:
        return self._cast(dtypes.float16)

    def bfloat16(self) -> Module:
        return self._cast(dtypes.bfloat16)

    def cpu(self) -> Module:
        return self

    def cuda(self, device=None) -> Module:
        return self.to("cuda" if device is None else device)

    def to_empty(self, *, device=None, recurse: bool = True) -> Module:
        """Other memory, with nothing in it yet."""
        from ...creation import check_device, empty_like
        check_device(device)
        return self._apply(empty_like)

    def share_memory(self) -> Module:
        return self

    def compile(self, *args, **kwargs) -> None:
        """There is nothing to compile."""

    # ---- state dicts --------------------------------------------------------------------------------------------

    def get_extra_state(self) -> Any:
        raise RuntimeError("Reached a code path in Module.get_extra_state() that should never be called. Please file "
                           "an issue to report this bug.")

    def set_extra_state(self, state: Any) -> None:
        raise RuntimeError("Reached a code path in Module.set_extra_state() that should never be called. Please file "
                           "an issue to report this bug.")

    def _persistent(self) -> dict[str, Tensor]:
        buffers = {k: b for k, b in self._buffers.items() if k not in self._non_persistent_buffers_set}
        return {k: t for k, t in {**self._parameters, **buffers}.items() if t is not None}

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        for name, t in self._persistent().items():
            destination[prefix + name] = t if keep_vars else t.detach()
        if type(self).get_extra_state is not Module.get_extra_state:
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def state_dict(self, *args, destination: dict | None = None, prefix: str = "",
                   keep_vars: bool = False) -> dict[str, Any]:
        """All parameters and persistent buffers, by dotted name; they share the module's memory."""
        if args:
            warnings.warn("Positional args are being deprecated, use kwargs instead.", FutureWarning, stacklevel=2)
            destination, prefix, keep_vars = (*args, destination, prefix, keep_vars)[:1] + (
                *args[1:3], *(prefix, keep_vars)[len(args) - 1:])
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            result = hook(self, destination, prefix, metadata)
            if result is not None:
                if getattr(hook, "_from_public_api", False):
                    raise RuntimeError("state_dict post-hook must return None")
                destination = result
        return destination

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict, strict: bool,
                              missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str]) -> None:
        """Copy this module's own entries (not its children's) from a state dict, noting what does not fit."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        for name, own in self._persistent().items():
            key = prefix + name
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            given = state_dict[key]
            if not isinstance(given, Variable):
                error_msgs.append(f'While copying the parameter named "{key}", expected ' + (
                    tensor_not(given) if is_torchs(given) else
                    f"torch.Tensor or Tensor-like object from checkpoint but received {type(given)}"))
                continue
            if own.dim() == 0 and given.dim() == 1 and given.shape[0] == 1:
                given = given[0]
            if given.shape != own.shape:
                error_msgs.append(f"size mismatch for {key}: copying a param with shape {given.shape} from "
                                  f"checkpoint, the shape in current model is {own.shape}.")
                continue
            with no_grad():
                if not local_metadata.get("assign_to_params_buffers", False):
                    own.copy_(given)
                    continue
                if isinstance(own, Parameter):
                    if isinstance(given, Parameter):
                        given.requires_grad_(own.requires_grad)
                    else:
                        given = Parameter(given, own.requires_grad)
                setattr(self, name, given)
        extra = prefix + EXTRA_STATE
        if type(self).set_extra_state is not Module.set_extra_state:
            if extra in state_dict:
                self.set_extra_state(state_dict[extra])
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if strict:
            known = self._persistent()
            for key in state_dict:
                if key.startswith(prefix) and key != extra:
                    name, dot, _ = key[len(prefix):].partition(".")
                    if not (name in self._modules if dot else name in known):
                        unexpected_keys.append(key)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True,
                        assign: bool = False) -> _IncompatibleKeys:
        """Copy parameters and buffers from a state dict (with assign=True, take over its tensors themselves). With
        strict the keys must match exactly. One error lists everything that does not fit."""
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        missing, unexpected, errors = [], [], []
        metadata = getattr(state_dict, "_metadata", None)
        state_dict = OrderedDict(state_dict)
        if metadata is not None:
            state_dict._metadata = metadata

        def load(module: Module, entries: dict, prefix: str) -> None:
            local = {} if metadata is None else metadata.get(prefix[:-1], {})
            if assign:
                local["assign_to_params_buffers"] = assign
            module._load_from_state_dict(entries, prefix, local, True, missing, unexpected, errors)
            for name, child in module._modules.items():
                if child is not None:
                    below = f"{prefix}{name}."
                    load(child, {k: v for k, v in entries.items() if k.startswith(below)}, below)
            found = _IncompatibleKeys(missing, unexpected)
            for hook in module._load_state_dict_post_hooks.values():
                if hook(module, found) is not None:
                    raise AssertionError("Hooks registered with ``register_load_state_dict_post_hook`` are not "
                                         "expected to return new values, if incompatible_keys need to be modified, it "
                                         "should be done inplace.")

        load(self, state_dict, "")
        if strict:
            for what, keys in (("Unexpected", unexpected), ("Missing", missing)):
                if keys:
                    quoted = ", ".join(f'"{k}"' for k in keys)
                    errors.insert(0, f"{what} key(s) in state_dict: {quoted}. ")
        if errors:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(errors))
        return _IncompatibleKeys(missing, unexpected)

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        return add_hook(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        hook._from_public_api = True
        return add_hook(self._state_dict_hooks, hook)

    def _register_state_dict_hook(self, hook: Callable) -> RemovableHandle:
        """The older form: what the root's hook returns is the state dict."""
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError("Cannot register the same function as the state dict post hook that was previously "
                               "registered via register_state_dict_post_hook")
        return add_hook(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        return add_hook(self._load_state_dict_pre_hooks, functools.partial(hook, self))

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False) -> RemovableHandle:
        return add_hook(self._load_state_dict_pre_hooks, functools.partial(hook, self) if with_module else hook)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        return add_hook(self._load_state_dict_post_hooks, hook)

    # ---- printing -----------------------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What the module's line shows between the parentheses."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indented(repr(child), 2)}" for name, child in self._modules.items()]
        if len(extra_lines) == 1 and not children:
            return f"{self._get_name()}({extra_lines[0]})"
        lines = extra_lines + children
        return f"{self._get_name()}(" + ("\n  " + "\n  ".join(lines) + "\n" if lines else "") + ")"


# ---- hooks ------------------------------------------------------------------------------------------------------

class _Hook:
    """A forward hook, and what it wants to be given."""

    __slots__ = ("always_call", "hook", "with_kwargs")

    def __init__(self, hook: Callable, with_kwargs: bool, always_call: bool = False):
        self.hook, self.with_kwargs, self.always_call = hook, with_kwargs, always_call

    def __call__(self, *args):
        return self.hook(*args)


def _put(hooks: OrderedDict, hook: Callable, prepend: bool) -> RemovableHandle:
    handle = add_hook(hooks, hook)
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


class _Gate(Function):
    """Hands tensors through unchanged, and lets `seen` look at (and replace) their gradients, all at once."""

    @staticmethod
    def forward(ctx, seen, materialize, *tensors):
        ctx.seen = seen
        ctx.set_materialize_grads(materialize)
        through = tuple(t.detach() for t in tensors)
        ctx.mark_non_differentiable(*(out for out, t in zip(through, tensors, strict=True) if not t.requires_grad))
        return through

    @staticmethod
    def backward(ctx, *grads):
        return None, None, *ctx.seen(grads)


def _through_gate(seen: Callable, values: tuple, materialize: bool = True) -> tuple:
    """Send the tensors among the values through a gate, if one of them wants a gradient. `seen` gets a gradient for
    every value, None for what is no tensor."""
    places = [i for i, v in enumerate(values) if isinstance(v, Variable)]
    if not any(values[i].requires_grad for i in places):
        return values

    def seen_by_place(grads: tuple) -> tuple:
        spread = [None] * len(values)
        for i, g in zip(places, grads, strict=True):
            spread[i] = g
        changed = seen(tuple(spread))
        return tuple(changed[i] for i in places)

    result = list(values)
    for i, t in zip(places, _Gate.apply(seen_by_place, materialize, *(values[i] for i in places)), strict=True):
        result[i] = t
    return tuple(result)


def _replaced(grads: tuple, hooks: list, what: str) -> tuple:
    """Gradients as a chain of hooks leaves them."""
    for hook in hooks:
        new = hook(grads)
        if new is not None:
            new = new if isinstance(new, tuple | list) else (new,)
            if len(new) != len(grads):
                raise RuntimeError(f"{what}, got {len(new)}, but expected {len(grads)}")
            grads = tuple(new)
    return grads


def _with_backward_hooks(module: Module, args: tuple, run: Callable):
    """run(args) between two gates. Backward enters the module through the second: there the pre-hooks run. It leaves
    through the first: there the full hooks run, at the second if no input wants a gradient."""
    hooks, pre_hooks = tuple(module._backward_hooks.values()), tuple(module._backward_pre_hooks.values())
    outside: list[tuple] = []                               # the gradients of the outputs

    def leave(grads: tuple) -> tuple:
        if not outside:
            return grads
        grad_output = outside.pop()
        return _replaced(grads, [lambda g, h=h: h(module, g, grad_output) for h in hooks],
                         "Backward hook returned an invalid number of grad_input")

    def enter(grads: tuple) -> tuple:
        grads = _replaced(grads, [lambda g, h=h: h(module, g) for h in pre_hooks],
                          "Backward pre hook returned an invalid number of grad_output")
        if gated:
            outside[:] = [grads]
            return grads
        warnings.warn("Full backward hook is firing when gradients are computed with respect to module outputs since "
                      "no inputs require gradients.", stacklevel=2)
        for hook in hooks:
            result = hook(module, (None,) * len(args), grads)
            if result is not None and not (isinstance(result, tuple) and all(g is None for g in result)):
                raise RuntimeError("Backward hook for Modules where no input requires gradient should always return "
                                   "None or None for all gradients.")
        return grads

    passed = _through_gate(leave, args)
    gated = passed is not args
    result = run(passed)
    if isinstance(result, Variable):
        return _through_gate(enter, (result,), materialize=False)[0]
    if isinstance(result, tuple):
        return _through_gate(enter, result, materialize=False)
    warnings.warn("For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but "
                  f"received {type(result)}", stacklevel=4)
    return result
