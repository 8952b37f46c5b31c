"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

import numpy as np

from ..graph import Tensor, Variable
from ..kernels.adam import adam_step
from ..kernels.late import Rows, Scaled
from .optimizer import (
    Elementwise,
    Optimizer,
    check_fused,
    check_one_element,
    check_range,
    in_float32,
    refuse_capturable,
    scalar,
    step_count,
    zeros,
)


class Adam(Optimizer):
    """m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2:  running means of the gradient and of its square
    p <- p - lr M / (sqrt(V) + eps),  where M = m / (1 - b1^t) and V = v / (1 - b2^t) make up for their start at zero

    Weight decay is a part of the gradient, g = gradient + weight_decay p; if decoupled, p <- (1 - lr weight_decay) p
    comes first instead. With amsgrad, V is made from the largest v so far.
    """

    _settings_since = MappingProxyType({
        "amsgrad": False, "maximize": False, "foreach": None, "capturable": False, "differentiable": False,
        "decoupled_weight_decay": False, "fused": None})

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-3,
                 betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None, maximize: bool = False,
                 capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
                 decoupled_weight_decay: bool = False):
        in_lists = foreach and not capturable          # torch's code for lists of tensors takes numbers only
        if in_lists and isinstance(lr, Variable):
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        check_one_element("lr", lr)
        check_range("learning rate", lr, lr >= 0)
        check_range("epsilon value", eps, eps >= 0)
        for i in (0, 1):
            check_range(f"beta parameter at index {i}", betas[i], 0 <= betas[i] < 1)
        check_range("weight_decay value", weight_decay, weight_decay >= 0)
        if not any(isinstance(betas[0], kind) and isinstance(betas[1], kind) for kind in (float, Variable)):
            raise ValueError("betas must be either both floats or both Tensors")
        for i in (0, 1):
            if in_lists and isinstance(betas[i], Variable):
                raise ValueError(f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True")
            check_one_element(f"betas[{i}]", betas[i])
        betas = tuple(b.squeeze() if isinstance(b, Variable) else b for b in betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
                                  "capturable": capturable, "differentiable": differentiable, "fused": fused,
                                  "decoupled_weight_decay": decoupled_weight_decay})
        check_fused(fused, foreach, differentiable)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for p in group["params"]:
                kept = self.state.get(p)
                if kept and not isinstance(kept["step"], Variable):      # older checkpoints hold a plain number
                    kept["step"] = step_count(group, float(kept["step"]))

    @property
    def _takes_late(self) -> bool:
        return type(self).update is Adam.update              # another one may expect an array

    def update(self, p: Tensor, g: np.ndarray | Rows | Scaled, group: dict[str, Any]) -> Callable[[], None]:
        state, amsgrad = self.state[p], group["amsgrad"]
        if not state:
            state.update(step=step_count(group), exp_avg=zeros(p), exp_avg_sq=zeros(p))
            if amsgrad:
                state["max_exp_avg_sq"] = zeros(p)
        refuse_capturable(group)
        state["step"].array += 1
        lr, beta1, beta2 = map(scalar, (group["lr"], *group["betas"]))
        if group["fused"]:                       # torch's fused steps compute with settings in float64
            lr, beta1, beta2 = float(lr), float(beta1), float(beta2)
        arrays = (g, p.array, state["exp_avg"].array, state["exp_avg_sq"].array,
                  state["max_exp_avg_sq"].array if amsgrad else None)
        return Elementwise(_step, arrays, {
            "step": state["step"].item(), "lr": lr, "beta1": beta1, "beta2": beta2, "eps": group["eps"],
            "weight_decay": group["weight_decay"], "decoupled": group["decoupled_weight_decay"],
            "maximize": group["maximize"]})


_step = in_float32(adam_step)


class AdamW(Adam):
    """Adam whose weight decay acts on the weights themselves, not through the moments."""

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-3,
                 betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
                         capturable=capturable, differentiable=differentiable, fused=fused, decoupled_weight_decay=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
