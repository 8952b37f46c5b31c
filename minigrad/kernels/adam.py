"""One Adam step on arrays, in place, block by block: seven streams of memory instead of some twenty."""

from __future__ import annotations

import numpy as np

from . import blas
from .blocks import in_blocks
from .late import Rows, Scaled


def adam_step(g: np.ndarray | Rows | Scaled, p: np.ndarray, m: np.ndarray, v: np.ndarray, largest: np.ndarray | None, *,
              step: float, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool,
              maximize: bool = False) -> None:
    """p, m, v (and with amsgrad the largest v) move by one step:

        m <- (1 - b1) g + b1 m          v <- (1 - b2) g^2 + b2 v
        p <- p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)

    The root of 1 - b2^t is taken out of the fraction. Decoupled weight decay is a factor of p in the last line, the
    other kind a summand of g in the first. Settings are Python's or NumPy's numbers. What arrays are multiplied by are
    Python's, which leave their dtype alone."""
    correction = float((1 - beta2 ** step) ** 0.5)
    settings = {"weight": 1 - float(beta1), "beta2": float(beta2), "eps": float(eps) * correction,
                "size": float(lr / (1 - beta1 ** step)) * correction, "sign": -1 if maximize else 1,
                "decay": weight_decay, "shrink": float(1 - lr * weight_decay) if decoupled else None, "factor": None}
    if isinstance(g, Scaled):
        g, settings["factor"] = g.source
    arrays = [p, m, v] if largest is None else [p, m, v, largest]
    plain = [np.ascontiguousarray(a) for a in arrays]
    flat = [blas.Vector(a.reshape(-1)) for a in plain]
    if isinstance(g, Rows):                      # made, block by block, in the cache
        rows, width, gradient = len(g), g.size // len(g), lambda start, stop: _vector(g.part(start, stop))
    else:
        rows, width, gradient = g.size, 1, blas.Vector(np.ascontiguousarray(g).reshape(-1)).part

    def work(start: int, stop: int) -> None:
        _move(gradient(start, stop), *(a.part(start * width, stop * width) for a in flat), **settings)

    in_blocks(work, rows, width, blocks=2)
    for a, moved in zip(arrays, plain, strict=True):
        if moved is not a:
            a[...] = moved.reshape(a.shape)


def _move(g, p, m, v, largest=None, *, weight: float, beta2: float, eps: float, size: float, sign: int, decay: float,
          shrink: float | None, factor: np.floating | None) -> None:
    t = p.empty_like()
    if factor is not None:
        np.multiply(g.array, factor, out=t.array)
        g = t
    if sign < 0 or shrink is None and decay:
        t.array[...] = g.array
        t.axpby(0.0 if shrink is not None else decay, p, sign)
        g = t
    m.axpby(weight, g, 1 - weight)
    np.square(g.array, out=t.array)
    v.axpby(1 - beta2, t, beta2)
    if largest is not None:
        np.maximum(largest.array, v.array, out=largest.array)
        v = largest
    np.sqrt(v.array, out=t.array)
    t.array += eps
    np.divide(m.array, t.array, out=t.array)
    p.axpby(-size, t, 1.0 if shrink is None else shrink)


def _vector(block: np.ndarray) -> blas.Vector:
    return blas.Vector(block.reshape(-1), blas.address_of(block))
