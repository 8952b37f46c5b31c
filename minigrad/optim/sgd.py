"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..graph import Tensor, new_tensor
from .optimizer import Optimizer, check_range, number


class SGD(Optimizer):
    """v <- momentum v + (1 - dampening)(g + weight_decay p);  p <- p - lr v, or with Nesterov p - lr (g + momentum v)."""

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-3, momentum: float = 0, dampening: float = 0,
                 weight_decay: float | Tensor = 0, nesterov: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None):
        check_range("learning rate", lr, number(lr) >= 0.0)
        check_range("momentum value", momentum, momentum >= 0.0)
        check_range("weight_decay value", weight_decay, number(weight_decay) >= 0.0)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
                                      nesterov=nesterov, maximize=maximize, foreach=foreach, differentiable=differentiable,
                                      fused=fused))

    def update(self, p: Tensor, g: np.ndarray, state: dict, group: dict) -> None:
        momentum, decay = group["momentum"], number(group["weight_decay"])
        if group["maximize"]:
            g = -g
        if decay != 0:
            g = g + decay * p.array
        if momentum != 0:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                state["momentum_buffer"] = buffer = new_tensor(g.copy())
            else:
                v = buffer.array
                v *= momentum
                v += (1 - group["dampening"]) * g
            g = g + momentum * buffer.array if group["nesterov"] else buffer.array
        p.array -= number(group["lr"]) * g
