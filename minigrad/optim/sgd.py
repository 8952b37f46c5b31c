"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

import numpy as np

from ..graph import Tensor
from .optimizer import Optimizer, check_fused, check_one_element, check_range, in_float32, scalar, zeros


class SGD(Optimizer):
    """g <- gradient + weight_decay p
    v <- momentum v + (1 - dampening) g      (at first, v is g)
    p <- p - lr v,  or with Nesterov  p - lr (g + momentum v)
    """

    _settings_since = MappingProxyType({
        "nesterov": False, "maximize": False, "foreach": None, "differentiable": False, "fused": False})

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-3, momentum: float = 0, dampening: float = 0,
                 weight_decay: float | Tensor = 0, nesterov: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None):
        check_one_element("lr", lr)
        check_range("learning rate", lr, not lr < 0)
        check_range("momentum value", momentum, not momentum < 0)
        check_range("weight_decay value", weight_decay, not weight_decay < 0)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                                  "nesterov": nesterov, "maximize": maximize, "foreach": foreach,
                                  "differentiable": differentiable, "fused": fused})
        check_fused(fused, foreach, differentiable)

    def update(self, p: Tensor, g: np.ndarray, group: dict[str, Any]) -> None:
        momentum, dampening, v = group["momentum"], group["dampening"], None
        if momentum != 0:
            state = self.state[p]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"], dampening = zeros(p), 0
            v = state["momentum_buffer"].array
        sgd_step(-g if group["maximize"] else g, p.array, v, lr=float(scalar(group["lr"])), momentum=momentum,
                 dampening=dampening, weight_decay=float(scalar(group["weight_decay"])), nesterov=group["nesterov"])


@in_float32
def sgd_step(g: np.ndarray, p: np.ndarray, v: np.ndarray | None, *, lr: float, momentum: float, dampening: float,
             weight_decay: float, nesterov: bool) -> None:
    """p and v move by one step."""
    if weight_decay != 0:
        g = g + weight_decay * p
    if v is not None:
        v *= momentum
        v += (1 - dampening) * g
        g = g + momentum * v if nesterov else v
    p -= lr * g
