"""Optimizer: parameters in groups, each with its settings, and state by parameter."""

from __future__ import annotations

import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import partial, wraps
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ..dtypes import get_default_dtype
from ..graph import Tensor, Variable, new_tensor
from ..kernels.blas import let_threads_sleep
from ..kernels.blocks import each
from ..kernels.late import Late
from ..kernels.layout import owner
from ..kernels.memory import keep_freed_memory
from ..leaves import forget_gradient, looked_at, unseen
from ..modes import Quiet, enable_grad, mode, set_grad_enabled
from ..ops.promotion import check_same_size
from ..refusals import check_inplace
from ..utils.hooks import RemovableHandle, add_hook


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def _hooked(step: Callable) -> Callable:
    """A class's step with the hooks around it. A step that a subclass calls by super() does not run them again."""
    @wraps(step)
    def hooked(*args, **kwargs):
        optimizer = args[0]
        if type(optimizer).step is not hooked:
            return step(*args, **kwargs)
        for hook in tuple(optimizer._optimizer_step_pre_hooks.values()):
            result = hook(optimizer, args, kwargs)
            if result is not None:
                if not (isinstance(result, tuple) and len(result) == 2):
                    raise RuntimeError(f"{step} must return None or a tuple of (new_args, new_kwargs), but got "
                                       f"{result}.")
                args, kwargs = result
        out = step(*args, **kwargs)
        for hook in tuple(optimizer._optimizer_step_post_hooks.values()):
            hook(optimizer, args, kwargs)
        return out
    return hooked


class Optimizer:
    """The base of optimizers. A subclass says in `update` how one parameter follows its gradient; or it brings a `step`
    of its own, as optimizers written for torch do."""

    _takes_late = False                     # whether `update` takes gradients in the forms of kernels/late.py, too
    _settings_since: Mapping[str, Any] = MappingProxyType({})     # what older checkpoints lack, and its value then

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _hooked(cls.step)

    def __init__(self, params: Iterable, defaults: dict[str, Any]):
        if isinstance(params, Variable):
            raise TypeError("params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                            + params.type())
        keep_freed_memory()                  # steps are about to be repeated
        let_threads_sleep()
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._make_hooks()
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            settings = [f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params"]
            text += f"\nParameter Group {i}\n" + "".join(settings)
        return text + ")"

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters to be optimized, with settings of their own where they are given."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError("optimizer parameters need to be organized in ordered collections, but the ordering of "
                            "tensors in sets will change between runs. Please use a list instead.")
        params = [params] if isinstance(params, Variable) else list(params)
        names = [p[0] for p in params if isinstance(p, tuple)]                       # named_parameters()
        param_group["params"] = params = [p[1] if isinstance(p, tuple) else p for p in params]
        if names:
            if len(names) != len(params):
                raise ValueError("all optimizer params should be with/without names. Some param names are missing")
            param_group["param_names"] = names
        for p in params:
            if not isinstance(p, Variable):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {_typename(p)}")
            if not (self.defaults.get("differentiable") or p.is_leaf or p.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        if len(params) != len(set(params)):
            warnings.warn("optimizer contains a parameter group with duplicate parameters; in future, this will cause "
                          "an error", stacklevel=3)
        named = "param_names" in param_group
        if any(("param_names" in group) != named for group in self.param_groups):
            raise ValueError("all optimizer param groups should be with/without names. cannot add param group "
                             f"{'with' if named else 'without'} names to the optimizer")
        if not set(chain.from_iterable(group["params"] for group in self.param_groups)).isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; or, with set_to_none=False, fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    forget_gradient(p)
                elif (g := looked_at(p)) is not None:
                    if g.grad_fn is not None:
                        g.detach_()
                    else:
                        g.requires_grad_(False)
                    g.zero_()

    @_hooked
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Move every parameter that has a gradient. The closure, if there is one, computes the loss anew."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        moves, size = [], 0
        with set_grad_enabled(self.defaults.get("differentiable", False)), Quiet():
            for group in self.param_groups:
                for p in group["params"]:
                    if p._grad is not None:
                        check_inplace(p)
                        if mode.grad and (p.requires_grad or looked_at(p).requires_grad):
                            raise NotImplementedError("minigrad does not differentiate through an optimizer's step")
                        g = unseen(p) if self._takes_late else looked_at(p)
                        move = self.update(p, _fitting(g.array if isinstance(g, Variable) else g, p.array), group)
                        if move is not None:
                            moves.append(move)
                            size += p.array.size
                        if p._counter is not None:
                            p._counter[0] += 1
            each(lambda move: move(), _joined(moves), size, passes=2)        # many short ones would but wait for a lock
        return loss

    def update(self, p: Tensor, g: np.ndarray, group: dict[str, Any]) -> Callable[[], None] | None:
        """Move p.array in place, given its gradient and its group's settings; or return a function that does, and that
        may run beside those of the other parameters, best an Elementwise. What is to be kept for the next step goes
        into self.state[p]."""
        raise NotImplementedError

    # ---- hooks --------------------------------------------------------------------------------------------------

    def _make_hooks(self) -> None:
        self._optimizer_step_pre_hooks: OrderedDict = OrderedDict()
        self._optimizer_step_post_hooks: OrderedDict = OrderedDict()
        self._optimizer_state_dict_pre_hooks: OrderedDict = OrderedDict()
        self._optimizer_state_dict_post_hooks: OrderedDict = OrderedDict()
        self._optimizer_load_state_dict_pre_hooks: OrderedDict = OrderedDict()
        self._optimizer_load_state_dict_post_hooks: OrderedDict = OrderedDict()

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call hook(optimizer, args, kwargs) before each step; it may return other (args, kwargs) for the step."""
        return add_hook(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call hook(optimizer, args, kwargs) after each step."""
        return add_hook(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call hook(optimizer) before state_dict()."""
        return _add(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call hook(optimizer, state_dict) at the end of state_dict(); it may return another."""
        return _add(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call hook(optimizer, state_dict) before a state_dict is loaded; it may return another."""
        return _add(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call hook(optimizer) after a state_dict is loaded."""
        return _add(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # ---- state --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Settings and state, with the parameters numbered in their order: torch's form."""
        for hook in tuple(self._optimizer_state_dict_pre_hooks.values()):
            hook(self)
        numbers: dict[int, int] = {}
        groups, start = [], 0
        for group in self.param_groups:
            numbers = {id(p): i for i, p in enumerate(group["params"], start)} | numbers
            groups.append({key: value for key, value in group.items() if key != "params"}
                          | {"params": [numbers[id(p)] for p in group["params"]]})
            start += len(group["params"])
        state = {numbers[id(p)] if isinstance(p, Variable) else p: s for p, s in self.state.items()}
        result = {"state": state, "param_groups": groups}
        for hook in tuple(self._optimizer_state_dict_post_hooks.values()):
            other = hook(self, result)
            result = result if other is None else other
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over settings and state. Tensors of state are cast to their parameter's dtype; those that have it
        already are taken as they are."""
        state_dict = state_dict.copy()
        for hook in tuple(self._optimizer_load_state_dict_pre_hooks.values()):
            other = hook(self, state_dict)
            state_dict = state_dict if other is None else other
        saved = deepcopy(state_dict["param_groups"])
        if len(self.param_groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(self.param_groups, saved, strict=True)):
            raise ValueError("loaded state dict contains a parameter group that doesn't match the size of optimizer's "
                             "group")
        owners = {}                                          # of each number, the parameter and the saved group
        for group, theirs in zip(self.param_groups, saved, strict=True):
            owners |= {number: (p, theirs) for number, p in zip(theirs["params"], group["params"], strict=True)}
        state: defaultdict = defaultdict(dict)
        for number, value in state_dict["state"].items():
            if number in owners:
                p, group = owners[number]
                state[p] = _cast(value, p, None, group.get("fused") or group.get("capturable"))
            else:
                state[number] = value
        for group, theirs in zip(self.param_groups, saved, strict=True):
            theirs["params"] = group["params"]
            if "param_names" in group:
                theirs.setdefault("param_names", group["param_names"])
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in tuple(self._optimizer_load_state_dict_post_hooks.values()):
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_optimizer_step_pre_hooks" not in self.__dict__:          # a copy, or unpickled: hooks stay behind
            self._make_hooks()
        self.defaults.setdefault("differentiable", False)
        for group in self.param_groups:
            for name, value in self._settings_since.items():
                group.setdefault(name, value)


def _add(hooks: OrderedDict, hook: Callable, prepend: bool) -> RemovableHandle:
    handle = add_hook(hooks, hook)
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def _typename(x: object) -> str:
    module = type(x).__module__
    return type(x).__qualname__ if module in ("builtins", "__builtin__") else f"{module}.{type(x).__qualname__}"


def _cast(value, p: Tensor, key, float32_step: bool):
    """A piece of p's state in p's dtype, but for the count of steps."""
    if isinstance(value, Variable):
        if key == "step":
            return value.float() if float32_step else value
        return value.to(p.dtype) if p.is_floating_point() else value
    if isinstance(value, dict):
        return {k: _cast(v, p, k, float32_step) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return type(value)(_cast(v, p, None, float32_step) for v in value)
    return value


# ---- what the update rules share ----------------------------------------------------------------------------------

def check_range(name: str, value: float | Tensor, valid: bool) -> None:
    if not valid:
        raise ValueError(f"Invalid {name}: {value}")


def check_fused(fused: bool | None, foreach: bool | None, differentiable: bool) -> None:
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def check_one_element(name: str, value: float | Tensor) -> None:
    if isinstance(value, Variable) and value.numel() != 1:
        raise ValueError(f"Tensor {name} must be 1-element")


def scalar(x: float | Tensor) -> float | np.floating:
    """A setting as a number. Where it was a tensor, the number keeps its dtype, in which torch computes with it."""
    return x.array.reshape(())[()] if isinstance(x, Variable) else x


def zeros(p: Tensor) -> Tensor:
    """State for p. Where nothing is ever written, zeros take no memory: zeros_like writes them, zeros does not."""
    like = p.array
    return new_tensor(np.zeros(like.shape, like.dtype) if like.flags.c_contiguous else np.zeros_like(like))


def step_count(group: dict[str, Any], value: float = 0.0) -> Tensor:
    """The count of steps is a float tensor, in the default dtype."""
    wide = get_default_dtype().itemsize == 8 and not group.get("fused")
    return new_tensor(np.array(value, np.float64 if wide else np.float32))


def refuse_capturable(group: dict[str, Any]) -> None:
    """capturable=True is for CUDA graphs: without the device torch refuses it, but for fused steps."""
    if group["capturable"] and not group.get("fused"):
        raise AssertionError("If capturable=True, params and state_steps must be on supported devices: ['cuda', 'xpu', "
                             "'hpu', 'privateuseone', 'xla'].")


def in_float32(rule: Callable) -> Callable:
    """Let a rule that moves arrays in place, `rule(g, p, ...)`, move those of float16 in float32, as torch does:
    float16 would lose small settings like eps = 1e-8."""
    @wraps(rule)
    def wide(g, *moved, **settings):
        if moved[0].dtype != np.float16:
            return rule(g, *moved, **settings)
        copies = [a if a is None else a.astype(np.float32) for a in moved]
        rule(np.asarray(g, np.float32), *copies, **settings)
        for a, copy in zip(moved, copies, strict=True):
            if a is not None:
                a[...] = copy
    return wide


# ---- many small parameters --------------------------------------------------------------------------------------

SMALL = 1 << 12              # elements: of fewer, the calls of NumPy take longer than the numbers


class Elementwise(NamedTuple):
    """A move that is rule(g, p, ..., **settings), and treats each element by itself. g stays, the others are moved in
    place; one may be None."""

    rule: Callable
    arrays: tuple[np.ndarray | None, ...]
    settings: dict[str, Any]

    def __call__(self) -> None:
        self.rule(*self.arrays, **self.settings)

    def kind(self) -> tuple | None:
        """Moves of one kind may be made together, end to end; None if this one may not: arrays that are not small, or
        not all of one shape, or look at the memory of others, or a gradient that is late."""
        g, p = self.arrays[:2]
        if p.size >= SMALL or not isinstance(g, np.ndarray):
            return None
        if any(a.shape != p.shape or a.base is not None for a in self.arrays if a is not None):
            return None
        if any(isinstance(value, np.ndarray) for value in self.settings.values()):
            return None
        return (self.rule, *(a if a is None else a.dtype.char for a in self.arrays),
                *((type(value), value) for value in self.settings.values()))


def _fitting(g: np.ndarray | Late, p: np.ndarray) -> np.ndarray | Late:
    """The gradient, in the shape of weights that may have been replaced since backward."""
    if g.shape == p.shape:
        return g
    g = np.asarray(g)
    check_same_size([new_tensor(p), new_tensor(g)])
    if np.broadcast_shapes(g.shape, p.shape) != p.shape:
        raise RuntimeError(f"output with shape {list(p.shape)} doesn't match the broadcast shape "
                           f"{list(np.broadcast_shapes(g.shape, p.shape))}")
    return np.broadcast_to(g, p.shape).copy()


def _joined(moves: list[Callable]) -> list[Callable]:
    """The moves, those of one kind as one: unless arrays share memory, for then it matters which is moved first."""
    arrays = [a for move in moves if isinstance(move, Elementwise) for a in move.arrays
              if isinstance(a, np.ndarray)]
    if len({id(owner(a)) for a in arrays}) < len(arrays):
        return moves
    alike, result = defaultdict(list), []
    for move in moves:
        kind = move.kind() if isinstance(move, Elementwise) else None
        (result if kind is None else alike[kind]).append(move)
    return result + [group[0] if len(group) == 1 else partial(_move_together, group) for group in alike.values()]


def _move_together(moves: list[Elementwise]) -> None:
    columns = list(zip(*(move.arrays for move in moves), strict=True))           # all gradients, all parameters, ...
    joined = [None if c[0] is None else np.concatenate([a.reshape(-1) for a in c]) for c in columns]
    moves[0].rule(*joined, **moves[0].settings)
    for column, moved in zip(columns[1:], joined[1:], strict=True):
        start = 0
        for a in column if moved is not None else ():
            a[...] = moved[start:start + a.size].reshape(a.shape)
            start += a.size
