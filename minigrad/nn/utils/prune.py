"""Pruning: a weight with a mask on it. The module keeps `weight_orig`, which is trained, and `weight_mask`, and
computes `weight`, their product, before each forward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from numbers import Real

from ...composed.joining import cat
from ...composed.reduce import kthvalue, topk
from ...creation import ones_like, zeros_like
from ...random import rand, rand_like
from ...tensor import Tensor
from ..modules.module import Module


def _checked(amount: int | float) -> int | float:
    if not isinstance(amount, Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    if isinstance(amount, int) and amount < 0 or not isinstance(amount, int) and not 0.0 <= amount <= 1.0:
        raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")
    return amount


def _count(amount: int | float, size: int) -> int:
    """How many of `size` things an amount (a number, or a share) is."""
    if isinstance(amount, int) and amount > size:
        raise ValueError(f"amount={amount} should be smaller than the number of parameters to prune={size}")
    return amount if isinstance(amount, int) else round(amount * size)


def _channels(t: Tensor, dim: int) -> int:
    if t.dim() <= 1:
        raise ValueError("Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
                         f"{t.shape} with {t.dim()} dims")
    if dim >= t.dim():
        raise IndexError(f"Invalid index {dim} for tensor of size {t.shape}")
    return t.shape[dim]


class BasePruningMethod(ABC):
    """How to choose a mask, and the hook that puts it on. A subclass says what it chooses among in PRUNING_TYPE: single
    elements that are left ("unstructured"), channels that are ("structured"), or everything ("global")."""

    PRUNING_TYPE: str
    _tensor_name: str

    def __call__(self, module: Module, inputs: tuple) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """A mask for t, which has default_mask on it."""

    def apply_mask(self, module: Module) -> Tensor:
        name = self._tensor_name
        mask, orig = getattr(module, f"{name}_mask"), getattr(module, f"{name}_orig")
        return mask.to(dtype=orig.dtype) * orig

    @classmethod
    def apply(cls, module: Module, name: str, *args, importance_scores: Tensor | None = None,
              **kwargs) -> BasePruningMethod:
        """Put a mask on the module's tensor, besides those that are on it."""
        method = cls(*args, **kwargs)
        method._tensor_name = name
        key, old = _hook_of(module, name)
        if old is not None:
            container = old if isinstance(old, PruningContainer) else PruningContainer(old)
            container.add_pruning_method(method)
            method = container
        orig = getattr(module, name)
        if importance_scores is None:
            importance_scores = orig
        elif importance_scores.shape != orig.shape:
            raise ValueError("importance_scores should have the same shape as parameter")
        default = ones_like(orig) if old is None else getattr(module, f"{name}_mask").detach().clone()
        mask = method.compute_mask(importance_scores.detach(), default)        # nothing is changed if this fails
        if old is None:
            del module._parameters[name]
            module.register_parameter(f"{name}_orig", orig)
        else:
            del module._forward_pre_hooks[key]
        module.register_buffer(f"{name}_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """The pruned t, on its own."""
        default = ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(t if importance_scores is None else importance_scores, default)

    def remove(self, module: Module) -> None:
        """Make the pruning permanent: what is masked is zero, and trained like the rest."""
        name = self._tensor_name
        weight, orig = self.apply_mask(module), module._parameters.pop(f"{name}_orig")
        orig.data = weight.data
        del module._buffers[f"{name}_mask"]
        delattr(module, name)
        setattr(module, name, orig)


def _hook_of(module: Module, name: str) -> tuple[int | None, BasePruningMethod | None]:
    for key, entry in module._forward_pre_hooks.items():
        if isinstance(entry.hook, BasePruningMethod) and entry.hook._tensor_name == name:
            return key, entry.hook
    return None, None


class PruningContainer(BasePruningMethod):
    """Several methods in a row; each chooses among what those before it left."""

    def __init__(self, *args: BasePruningMethod | Iterable[BasePruningMethod]):
        methods = args if not args or isinstance(args[0], BasePruningMethod) else args[0]
        self._pruning_methods: tuple = ()
        if args:
            self._tensor_name = next(iter(methods))._tensor_name
        for method in methods:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod | None) -> None:
        if method is not None and not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None and self._pruning_methods and self._tensor_name != method._tensor_name:
            raise ValueError("Can only add pruning methods acting on the parameter named "
                             f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'")
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self):
        return iter(self._pruning_methods)

    def __getitem__(self, idx: int) -> BasePruningMethod:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        method, mask = self._pruning_methods[-1], default_mask.to(dtype=t.dtype)
        if method.PRUNING_TYPE == "unstructured":
            left = mask == 1
        elif method.PRUNING_TYPE == "structured":
            dim = method.dim % t.dim()
            kept = mask.sum(dim=[d for d in range(t.dim()) if d != dim]) != 0
            left = (slice(None),) * dim + (kept,)
        elif method.PRUNING_TYPE == "global":
            left = (slice(None),) * t.dim()
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        new = mask.clone()
        new[left] = method.compute_mask(t[left], mask[left]).to(dtype=mask.dtype)
        return new


# ---- methods ------------------------------------------------------------------------------------------------------

class Identity(BasePruningMethod):
    """Masks nothing."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class _Unstructured(BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: int | float):
        self.amount = _checked(amount)

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        count, mask = _count(self.amount, t.nelement()), default_mask.clone()
        if count:
            mask.view(-1)[self._chosen(t, count)] = 0
        return mask


class RandomUnstructured(_Unstructured):
    """Any elements."""

    def _chosen(self, t: Tensor, count: int) -> Tensor:
        return topk(rand_like(t).view(-1), count).indices


class L1Unstructured(_Unstructured):
    """The smallest elements."""

    def _chosen(self, t: Tensor, count: int) -> Tensor:
        return topk(t.abs().view(-1), count, largest=False).indices


class _Structured(BasePruningMethod):
    PRUNING_TYPE = "structured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        size = _channels(t, self.dim)
        count = _count(self.amount, size)
        if not count:
            return default_mask
        mask = zeros_like(t)
        mask[(slice(None),) * (self.dim % t.dim()) + (self._kept(t, count, size),)] = 1
        return mask * default_mask.to(dtype=mask.dtype)


class RandomStructured(_Structured):
    """Any channels."""

    def __init__(self, amount: int | float, dim: int = -1):
        self.amount, self.dim = _checked(amount), dim

    def _kept(self, t: Tensor, count: int, size: int) -> Tensor:
        draws = rand(size)
        return draws > kthvalue(draws, count).values


class LnStructured(_Structured):
    """The channels of the smallest norms."""

    def __init__(self, amount: int | float, n: int | float | str, dim: int = -1):
        self.amount, self.n, self.dim = _checked(amount), n, dim

    def _kept(self, t: Tensor, count: int, size: int) -> Tensor:
        norms = t.norm(self.n, [d for d in range(t.dim()) if d != self.dim % t.dim()])
        return topk(norms, size - count).indices


class CustomFromMask(BasePruningMethod):
    """A mask that is given."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor):
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask * self.mask.to(dtype=default_mask.dtype)


# ---- as functions -------------------------------------------------------------------------------------------------

def identity(module: Module, name: str) -> Module:
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: int | float) -> Module:
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Module, name: str, amount: int | float,
                    importance_scores: Tensor | None = None) -> Module:
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: int | float, dim: int) -> Module:
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module: Module, name: str, amount: int | float, n: int | float | str, dim: int,
                  importance_scores: Tensor | None = None) -> Module:
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(parameters: Iterable[tuple[Module, str]], pruning_method: type[BasePruningMethod],
                        importance_scores: dict | None = None, **kwargs) -> None:
    """Prune tensors of several modules as if they were one."""
    parameters = list(parameters)
    if importance_scores is not None and not isinstance(importance_scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    scores, tensors = importance_scores or {}, [getattr(module, name) for module, name in parameters]
    relevant = cat([scores.get(key, t).detach().reshape(-1) for key, t in zip(parameters, tensors)])
    masks = cat([getattr(module, f"{name}_mask", ones_like(t)).detach().reshape(-1)
                 for (module, name), t in zip(parameters, tensors)])
    method, container = pruning_method(**kwargs), PruningContainer()
    container._tensor_name = method._tensor_name = "temp"
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError("Only \"unstructured\" PRUNING_TYPE supported for the `pruning_method`. Found method "
                        f"{pruning_method} of type {method.PRUNING_TYPE}")
    container.add_pruning_method(method)
    mask = container.compute_mask(relevant, masks)
    for (module, name), t, part in zip(parameters, tensors, mask.split([t.numel() for t in tensors])):
        custom_from_mask(module, name, part.view_as(t))


def remove(module: Module, name: str) -> Module:
    """Make the pruning of this tensor permanent."""
    key, hook = _hook_of(module, name)
    if hook is None:
        raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")
    hook.remove(module)
    del module._forward_pre_hooks[key]
    return module


def is_pruned(module: Module) -> bool:
    """Whether the module, or a module within it, is pruned."""
    return any(isinstance(entry.hook, BasePruningMethod) for m in module.modules()
               for entry in m._forward_pre_hooks.values())
