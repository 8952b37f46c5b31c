"""One Adam step on arrays, in place."""

from __future__ import annotations

import math

import numpy as np


def adam_step(p: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, largest: np.ndarray | None, *, step: float,
              lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool) -> None:
    """p, m, v (and with amsgrad the largest v) move by one step, in torch's order of operations:

        m <- m + (1 - b1)(g - m)        v <- b2 v + (1 - b2) g^2
        p <- p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
    """
    if weight_decay != 0:
        if decoupled:
            p *= 1 - lr * weight_decay
        else:
            g = g + weight_decay * p
    t = g - m
    t *= 1 - beta1
    m += t                                       # the lerp of torch: exact at both ends
    v *= beta2
    np.multiply(g, g, out=t)
    t *= 1 - beta2
    v += t
    if largest is not None:
        np.maximum(largest, v, out=largest)
        v = largest
    np.sqrt(v, out=t)
    t /= math.sqrt(1 - beta2 ** step)
    t += eps
    np.divide(m, t, out=t)
    t *= -(lr / (1 - beta1 ** step))
    p += t
