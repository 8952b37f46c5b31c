"""Averaged SGD, and optimizers that treat a weight as a matrix: Adafactor and Muon."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

import numpy as np

from ..graph import Tensor, new_tensor
from .optimizer import Optimizer, check_one_element, check_range, in_float32, scalar, step_count, zeros


class ASGD(Optimizer):
    """p <- (1 - lambd eta) p - eta g,  ax <- ax + mu (p - ax): `ax` in the state is the average of the weights.

    eta = lr / (1 + lambd lr t)^alpha, and mu = 1 / max(1, t - t0): averaging begins after t0 steps."""

    _settings_since = MappingProxyType({"foreach": None, "maximize": False, "differentiable": False,
                                        "capturable": False})

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-2, lambd: float = 1e-4, alpha: float = 0.75,
                 t0: float = 1e6, weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False):
        check_one_element("lr", lr)
        check_range("learning rate", lr, lr >= 0)
        check_range("weight_decay value", weight_decay, weight_decay >= 0)
        super().__init__(params, {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
                                  "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
                                  "capturable": capturable})

    def update(self, p: Tensor, g: np.ndarray, group: dict[str, Any]) -> None:
        state, lr = self.state[p], float(scalar(group["lr"]))
        if not state:
            state.update(step=step_count(group), eta=new_tensor(np.array(lr, np.float32)),
                         mu=new_tensor(np.array(1, np.float32)), ax=zeros(p))
        state["step"].array += 1
        _asgd(-g if group["maximize"] else g, p.array, state["ax"].array, eta=state["eta"].item(),
              mu=state["mu"].item(), lambd=group["lambd"], weight_decay=group["weight_decay"])
        t = state["step"].item()
        state["eta"].array[...] = lr / (1 + group["lambd"] * lr * t) ** group["alpha"]
        state["mu"].array[...] = 1 / max(1, t - group["t0"])


@in_float32
def _asgd(g, p, ax, *, eta, mu, lambd, weight_decay) -> None:
    if weight_decay != 0:
        g = g + weight_decay * p
    p *= 1 - lambd * eta
    p -= eta * g
    ax += mu * (p - ax) if mu != 1 else p - ax


class Adafactor(Optimizer):
    """Adam's second moments kept as the product of a column and a row: of a matrix of n by m, n + m numbers. Steps are
    in proportion to the weights' size, and cut to d times that."""

    _settings_since = MappingProxyType({"foreach": None})

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-2, beta2_decay: float = -0.8,
                 eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
                 foreach: bool | None = None, maximize: bool = False):
        check_one_element("lr", lr)
        for name, value, good in (("Learning rate", lr, lr >= 0), ("weight_decay", weight_decay, weight_decay >= 0)):
            if not good:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if not beta2_decay <= 0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        super().__init__(params, {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d,
                                  "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize})

    def update(self, p: Tensor, g: np.ndarray, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["step"] = new_tensor(np.array(0, np.float32))
            if g.ndim > 1:
                state["row_var"] = new_tensor(np.zeros((*g.shape[:-1], 1), g.dtype))
                state["col_var"] = new_tensor(np.zeros((*g.shape[:-2], 1, g.shape[-1]), g.dtype))
            else:
                state["variance"] = zeros(p)
        state["step"].array += 1
        g, p, t, lr = -g if group["maximize"] else g, p.array, state["step"].item(), float(scalar(group["lr"]))
        smallest, scale = group["eps"]
        smallest = float(np.finfo(p.dtype).eps) if smallest is None else smallest
        share = t ** group["beta2_decay"]                    # of the new in the running averages
        step = max(scale, _root_mean_square(p)) * min(lr, 1 / t**0.5)
        if group["weight_decay"] != 0:
            p *= 1 - lr * group["weight_decay"]
        if g.ndim > 1:
            row, column = state["row_var"].array, state["col_var"].array
            row += share * ((g * g).mean(-1, keepdims=True) - row)
            column += share * ((g * g).mean(-2, keepdims=True) - column)
            v = row @ column / np.maximum(row.mean(-2, keepdims=True), smallest)
        else:
            v = state["variance"].array
            v += share * (g * g - v)
        u = g / np.sqrt(np.maximum(v, smallest**2))
        p -= (step / max(1.0, _root_mean_square(u) / group["d"]) * u).astype(p.dtype)


def _root_mean_square(x: np.ndarray) -> float:
    return float(np.linalg.norm(x.reshape(-1))) / math.sqrt(x.size)


class Muon(Optimizer):
    """B <- B + (1 - momentum)(g - B), p <- p - lr O, where O is B (or with Nesterov, what it becomes next) with all its
    singular values near one. torch finds O in bfloat16, which NumPy has not: O is more exact here, and so differs."""

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95,
                 nesterov: bool = True, ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
                 eps: float = 1e-7, ns_steps: int = 5, adjust_lr_fn: str | None = None):
        check_one_element("lr", lr)
        for name, value in (("Learning rate", lr), ("momentum", momentum), ("weight decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
                                  "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps,
                                  "adjust_lr_fn": adjust_lr_fn})
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon only supports 2D parameters whereas we found a parameter with size: "
                                     f"{p.size()}")

    def update(self, p: Tensor, g: np.ndarray, group: dict[str, Any]) -> None:
        if "momentum_buffer" not in self.state[p]:
            self.state[p]["momentum_buffer"] = zeros(p)
        buffer, momentum, lr = self.state[p]["momentum_buffer"].array, group["momentum"], float(scalar(group["lr"]))
        buffer += (1 - momentum) * (g - buffer)
        new = _orthogonal(g + momentum * (buffer - g) if group["nesterov"] else buffer, group)
        rows, columns = p.array.shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(rows, columns))
        else:
            ratio = math.sqrt(max(1, rows / columns))
        p.array *= 1 - lr * group["weight_decay"]
        p.array -= (lr * ratio * new).astype(p.array.dtype)


def _orthogonal(x: np.ndarray, group: dict[str, Any]) -> np.ndarray:
    """The matrix with the same singular vectors, and values near one: of X, a X + b (X X^T) X + c (X X^T)^2 X, again
    and again, which drives values within (0, 1] there."""
    a, b, c = group["ns_coefficients"]
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / max(float(np.linalg.norm(x)), group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if tall else x
