"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..graph import Tensor, new_tensor
from ..kernels.adam import adam_step
from .optimizer import Optimizer, check_range, number


class Adam(Optimizer):
    """Moments m and v of the gradient, corrected for their start at zero: p <- p - lr m / (sqrt(v) + eps)."""

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None,
                 maximize: bool = False, capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
                 decoupled_weight_decay: bool = False):
        check_range("learning rate", lr, number(lr) >= 0.0)
        check_range("epsilon value", eps, eps >= 0.0)
        for i, beta in enumerate(betas):
            check_range(f"beta parameter at index {i}", beta, 0.0 <= number(beta) < 1.0)
        check_range("weight_decay value", weight_decay, weight_decay >= 0.0)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
                                      maximize=maximize, foreach=foreach, capturable=capturable,
                                      differentiable=differentiable, fused=fused,
                                      decoupled_weight_decay=decoupled_weight_decay))

    def update(self, p: Tensor, g: np.ndarray, state: dict, group: dict) -> None:
        if not state:
            state["step"] = new_tensor(np.zeros((), np.float32))
            for name in ("exp_avg", "exp_avg_sq") + (("max_exp_avg_sq",) if group["amsgrad"] else ()):
                state[name] = new_tensor(np.zeros_like(p.array))
        if not hasattr(state["step"], "array"):                 # a file of an old torch: a plain number
            state["step"] = new_tensor(np.asarray(state["step"], np.float32))
        state["step"].array += 1
        beta1, beta2 = map(number, group["betas"])
        largest = state["max_exp_avg_sq"].array if group["amsgrad"] else None
        adam_step(p.array, -g if group["maximize"] else g, state["exp_avg"].array, state["exp_avg_sq"].array, largest,
                  step=state["step"].item(), lr=number(group["lr"]), beta1=beta1, beta2=beta2, eps=group["eps"],
                  weight_decay=group["weight_decay"], decoupled=group["decoupled_weight_decay"])


class AdamW(Adam):
    """Adam whose weight decay acts on the weights themselves, not through the moments."""

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
                         capturable=capturable, differentiable=differentiable, fused=fused, decoupled_weight_decay=True)
