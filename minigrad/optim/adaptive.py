"""Optimizers that scale each step by running statistics of the gradients."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

import numpy as np

from ..graph import Tensor, new_tensor
from ..ops.elementwise import sign
from .optimizer import (
    Optimizer,
    check_one_element,
    check_range,
    in_float32,
    refuse_capturable,
    scalar,
    step_count,
    zeros,
)

_COMMON = MappingProxyType({"maximize": False, "foreach": None, "differentiable": False, "capturable": False})


def _checked(lr: float | Tensor, weight_decay: float, eps: float = 0.0) -> None:
    check_one_element("lr", lr)
    check_range("learning rate", lr, lr >= 0)
    check_range("epsilon value", eps, eps >= 0)
    check_range("weight_decay value", weight_decay, weight_decay >= 0)


def _check_betas(betas: tuple[float, float]) -> None:
    for i in (0, 1):
        check_range(f"beta parameter at index {i}", betas[i], 0.0 <= betas[i] < 1.0)


def _signed(g: np.ndarray, group: dict[str, Any]) -> np.ndarray:
    return -g if group["maximize"] else g


class RMSprop(Optimizer):
    """v <- alpha v + (1 - alpha) g^2,  p <- p - lr g / (sqrt(v) + eps)

    centered: v without the square of the gradients' mean. With momentum the steps accumulate."""

    _settings_since = MappingProxyType({**_COMMON, "momentum": 0, "centered": False})

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0, momentum: float = 0, centered: bool = False, capturable: bool = False,
                 foreach: bool | None = None, maximize: bool = False, differentiable: bool = False):
        _checked(lr, weight_decay, eps)
        check_range("momentum value", momentum, momentum >= 0)
        check_range("alpha value", alpha, alpha >= 0)
        super().__init__(params, {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                                  "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
                                  "maximize": maximize, "differentiable": differentiable})

    def update(self, p: Tensor, g: np.ndarray, group: dict[str, Any]) -> None:
        state, momentum, centered = self.state[p], group["momentum"], group["centered"]
        if not state:
            state.update(step=step_count(group), square_avg=zeros(p))
            if momentum > 0:
                state["momentum_buffer"] = zeros(p)
            if centered:
                state["grad_avg"] = zeros(p)
        refuse_capturable(group)
        state["step"].array += 1
        _rmsprop(_signed(g, group), p.array, state["square_avg"].array,
                 state["momentum_buffer"].array if momentum > 0 else None,
                 state["grad_avg"].array if centered else None,
                 lr=float(scalar(group["lr"])), alpha=group["alpha"], eps=group["eps"], momentum=momentum,
                 weight_decay=group["weight_decay"])


@in_float32
def _rmsprop(g, p, v, buffer, mean, *, lr, alpha, eps, momentum, weight_decay) -> None:
    if weight_decay != 0:
        g = g + weight_decay * p
    v *= alpha
    v += (1 - alpha) * g * g
    size = v
    if mean is not None:
        mean += (1 - alpha) * (g - mean)
        size = v - mean * mean
    step = g / (np.sqrt(size) + eps)
    if buffer is not None:
        buffer *= momentum
        buffer += step
        step = buffer
    p -= lr * step


class Adagrad(Optimizer):
    """s <- s + g^2,  p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)"""

    _settings_since = _COMMON

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
                 maximize: bool = False, differentiable: bool = False, fused: bool | None = None):
        _checked(lr, weight_decay, eps)
        check_range("lr_decay value", lr_decay, lr_decay >= 0)
        check_range("initial_accumulator_value value", initial_accumulator_value, initial_accumulator_value >= 0)
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                                  "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
                                  "maximize": maximize, "differentiable": differentiable, "fused": fused})
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p] = {"step": step_count(group), "sum": new_tensor(
                    np.full_like(p.array, group["initial_accumulator_value"]))}

    def share_memory(self) -> None:
        """Nothing to do: threads share it."""

    def update(self, p: Tensor, g: np.ndarray, group: dict[str, Any]) -> None:
        state = self.state[p]
        state["step"].array += 1
        lr = float(scalar(group["lr"])) / (1 + (state["step"].item() - 1) * group["lr_decay"])
        _adagrad(_signed(g, group), p.array, state["sum"].array, lr=lr, eps=group["eps"],
                 weight_decay=group["weight_decay"])


@in_float32
def _adagrad(g, p, s, *, lr, eps, weight_decay) -> None:
    if weight_decay != 0:
        g = g + weight_decay * p
    s += g * g
    p -= lr * (g / (np.sqrt(s) + eps))


class Adadelta(Optimizer):
    """v <- rho v + (1 - rho) g^2,  d = g sqrt(u + eps) / sqrt(v + eps),  u <- rho u + (1 - rho) d^2,  p <- p - lr d"""

    _settings_since = _COMMON

    def __init__(self, params: Iterable, lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0, foreach: bool | None = None, *, capturable: bool = False,
                 maximize: bool = False, differentiable: bool = False):
        _checked(lr, weight_decay, eps)
        check_range("rho value", rho, 0 <= rho <= 1)
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
                                  "capturable": capturable, "foreach": foreach, "differentiable": differentiable})

    def update(self, p: Tensor, g: np.ndarray, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state.update(step=step_count(group), square_avg=zeros(p), acc_delta=zeros(p))
        refuse_capturable(group)
        state["step"].array += 1
        _adadelta(_signed(g, group), p.array, state["square_avg"].array, state["acc_delta"].array,
                  lr=float(scalar(group["lr"])), rho=group["rho"], eps=group["eps"], weight_decay=group["weight_decay"])


@in_float32
def _adadelta(g, p, v, u, *, lr, rho, eps, weight_decay) -> None:
    if weight_decay != 0:
        g = g + weight_decay * p
    v *= rho
    v += (1 - rho) * g * g
    d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
    u *= rho
    u += (1 - rho) * d * d
    p -= lr * d


class Adamax(Optimizer):
    """m <- b1 m + (1 - b1) g,  u <- max(b2 u, |g| + eps),  p <- p - lr / (1 - b1^t) m / u"""

    _settings_since = _COMMON

    def __init__(self, params: Iterable, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False):
        _checked(lr, weight_decay, eps)
        _check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
                                  "capturable": capturable})

    def update(self, p: Tensor, g: np.ndarray, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state.update(step=step_count(group), exp_avg=zeros(p), exp_inf=zeros(p))
        refuse_capturable(group)
        state["step"].array += 1
        b1, b2 = group["betas"]
        _adamax(_signed(g, group), p.array, state["exp_avg"].array, state["exp_inf"].array,
                lr=float(scalar(group["lr"])) / (1 - b1 ** state["step"].item()), b1=b1, b2=b2, eps=group["eps"],
                weight_decay=group["weight_decay"])


@in_float32
def _adamax(g, p, m, u, *, lr, b1, b2, eps, weight_decay) -> None:
    if weight_decay != 0:
        g = g + weight_decay * p
    m += (1 - b1) * (g - m)
    np.maximum(b2 * u, np.abs(g) + eps, out=u)
    p -= lr * (m / u)


class _Decoupled(Optimizer):
    _settings_since = MappingProxyType({**_COMMON, "decoupled_weight_decay": False})


class NAdam(_Decoupled):
    """Adam with Nesterov's momentum, which grows by a schedule: mu_t = b1 (1 - 0.96^(t momentum_decay) / 2)"""

    def __init__(self, params: Iterable, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, momentum_decay: float = 4e-3,
                 decoupled_weight_decay: bool = False, *, foreach: bool | None = None, maximize: bool = False,
                 capturable: bool = False, differentiable: bool = False):
        _checked(lr, weight_decay, eps)
        _check_betas(betas)
        check_range("momentum_decay value", momentum_decay, momentum_decay >= 0)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
                                  "maximize": maximize, "foreach": foreach, "capturable": capturable,
                                  "differentiable": differentiable})

    def update(self, p: Tensor, g: np.ndarray, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state.update(step=step_count(group), mu_product=step_count(group, 1.0), exp_avg=zeros(p),
                         exp_avg_sq=zeros(p))
        refuse_capturable(group)
        state["step"].array += 1
        t, (b1, b2), decay = state["step"].item(), group["betas"], group["momentum_decay"]
        mu, following = (b1 * (1.0 - 0.5 * 0.96 ** (k * decay)) for k in (t, t + 1))
        state["mu_product"].array *= mu
        product = state["mu_product"].item()
        lr = float(scalar(group["lr"]))
        _nadam(_signed(g, group), p.array, state["exp_avg"].array, state["exp_avg_sq"].array, b1=b1, b2=b2,
               here=lr * (1 - mu) / (1 - product), ahead=lr * following / (1 - product * following),
               correction=1 - b2**t, eps=group["eps"], lr=lr, weight_decay=group["weight_decay"],
               decoupled=group["decoupled_weight_decay"])


def _decay_and_average(g, p, m, v, b1, b2, lr, weight_decay, decoupled) -> np.ndarray:
    """What Adam's relatives begin a step with: weight decay, and the moving averages of g and of its square. Returns g
    with the decay that is part of it."""
    if weight_decay != 0:
        if decoupled:
            p *= 1 - lr * weight_decay
        else:
            g = g + weight_decay * p
    m += (1 - b1) * (g - m)
    v *= b2
    v += (1 - b2) * g * g
    return g


@in_float32
def _nadam(g, p, m, v, *, b1, b2, here, ahead, correction, eps, lr, weight_decay, decoupled) -> None:
    g = _decay_and_average(g, p, m, v, b1, b2, lr, weight_decay, decoupled)
    size = np.sqrt(v / correction) + eps
    p -= here * (g / size)
    p -= ahead * (m / size)


class RAdam(_Decoupled):
    """Adam that waits with scaling until the variance of its scale is under control."""

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, decoupled_weight_decay: bool = False, *,
                 foreach: bool | None = None, maximize: bool = False, capturable: bool = False,
                 differentiable: bool = False):
        _checked(lr, weight_decay, eps)
        _check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "maximize": maximize, "foreach": foreach, "capturable": capturable,
                                  "decoupled_weight_decay": decoupled_weight_decay, "differentiable": differentiable})

    def update(self, p: Tensor, g: np.ndarray, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state.update(step=step_count(group), exp_avg=zeros(p), exp_avg_sq=zeros(p))
        refuse_capturable(group)
        state["step"].array += 1
        t, (b1, b2) = state["step"].item(), group["betas"]
        longest = 2 / (1 - b2) - 1                                   # of the averages that b2 can make
        length = longest - 2 * t * b2**t / (1 - b2**t)
        rectified = ((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) ** 0.5 \
            if length > 5 else None
        _radam(_signed(g, group), p.array, state["exp_avg"].array, state["exp_avg_sq"].array, b1=b1, b2=b2, t=t,
               rectified=rectified, eps=group["eps"], lr=float(scalar(group["lr"])),
               weight_decay=group["weight_decay"], decoupled=group["decoupled_weight_decay"])


@in_float32
def _radam(g, p, m, v, *, b1, b2, t, rectified, eps, lr, weight_decay, decoupled) -> None:
    _decay_and_average(g, p, m, v, b1, b2, lr, weight_decay, decoupled)
    step = m / (1 - b1**t)
    if rectified is not None:
        step = step * (rectified * (1 - b2**t) ** 0.5 / (np.sqrt(v) + eps))
    p -= lr * step


class Rprop(Optimizer):
    """Each weight has its own step, which grows while its gradient keeps its sign, and shrinks when it turns."""

    _settings_since = _COMMON

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
                 step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False,
                 foreach: bool | None = None, maximize: bool = False, differentiable: bool = False):
        _checked(lr, 0)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach,
                                  "maximize": maximize, "differentiable": differentiable, "capturable": capturable})

    def update(self, p: Tensor, g: np.ndarray, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state.update(step=step_count(group), prev=zeros(p), step_size=new_tensor(
                np.full_like(p.array, float(scalar(group["lr"])))))
        refuse_capturable(group)
        state["step"].array += 1
        _rprop(_signed(g, group), p.array, state["prev"].array, state["step_size"].array, etas=group["etas"],
               bounds=group["step_sizes"])


@in_float32
def _rprop(g, p, last, size, *, etas, bounds) -> None:
    turn = sign(g * last)
    size *= np.where(turn > 0, etas[1], np.where(turn < 0, etas[0], 1)).astype(size.dtype)
    np.clip(size, *bounds, out=size)
    g = np.where(turn < 0, 0, g).astype(p.dtype)
    p -= sign(g) * size
    last[...] = g
