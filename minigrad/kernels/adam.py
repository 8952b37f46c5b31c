"""One Adam step on arrays, in place."""

from __future__ import annotations

import numpy as np


def adam_step(g: np.ndarray, p: np.ndarray, m: np.ndarray, v: np.ndarray, largest: np.ndarray | None, *, step: float,
              lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool) -> None:
    """p, m, v (and with amsgrad the largest v) move by one step, in torch's order of operations:

        m <- m + (1 - b1)(g - m)        v <- b2 v + (1 - b2) g^2
        p <- p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)

    Settings are Python's or NumPy's numbers. What arrays are multiplied by are Python's, which leave their dtype alone.
    """
    if weight_decay != 0:
        if decoupled:
            p *= float(1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
    step_size = float(lr / (1 - beta1 ** step))
    correction = float((1 - beta2 ** step) ** 0.5)
    t, weight = np.empty_like(p), 1 - float(beta1)
    np.subtract(g, m, out=t)
    if weight < 0.5:                             # towards the nearer end of m ... g, as torch's lerp does
        t *= weight
        m += t
    else:
        t *= 1 - weight
        np.subtract(g, t, out=m)
    np.multiply(g, float(1 - beta2), out=t)
    t *= g
    v *= float(beta2)
    v += t
    if largest is not None:
        np.maximum(largest, v, out=largest)
        v = largest
    np.sqrt(v, out=t)
    t /= correction
    t += eps
    np.divide(m, t, out=t)
    t *= -step_size
    p += t
