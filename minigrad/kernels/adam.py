"""One Adam step on arrays, in place, block by block: seven streams of memory instead of some twenty."""

from __future__ import annotations

import numpy as np

from .blocks import in_blocks


def adam_step(g: np.ndarray, p: np.ndarray, m: np.ndarray, v: np.ndarray, largest: np.ndarray | None, *, step: float,
              lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool,
              maximize: bool = False) -> None:
    """p, m, v (and with amsgrad the largest v) move by one step, in torch's order of operations:

        m <- m + (1 - b1)(g - m)        v <- b2 v + (1 - b2) g^2
        p <- p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)

    Settings are Python's or NumPy's numbers. What arrays are multiplied by are Python's, which leave their dtype alone.
    """
    settings = {"decay": float(1 - lr * weight_decay) if decoupled else weight_decay, "decoupled": decoupled,
                "weight": 1 - float(beta1), "beta2": float(beta2), "eps": eps, "maximize": maximize,
                "step_size": float(lr / (1 - beta1 ** step)), "correction": float((1 - beta2 ** step) ** 0.5)}
    arrays = [g, p, m, v] if largest is None else [g, p, m, v, largest]
    if not all(a.flags.c_contiguous for a in arrays):
        _move(*arrays, **settings)
    else:
        flat = [a.reshape(-1) for a in arrays]
        in_blocks(lambda start, stop: _move(*(a[start:stop] for a in flat), **settings), g.size)


def _move(g, p, m, v, largest=None, *, decay: float, decoupled: bool, weight: float, beta2: float, eps: float,
          maximize: bool, step_size: float, correction: float) -> None:
    if maximize:
        g = -g
    if decoupled:
        if decay != 1:
            p *= decay
    elif decay != 0:
        g = g + decay * p
    t = np.subtract(g, m)
    if weight < 0.5:                             # towards the nearer end of m ... g, as torch's lerp does
        t *= weight
        m += t
    else:
        t *= 1 - weight
        np.subtract(g, t, out=m)
    np.multiply(g, 1 - beta2, out=t)
    t *= g
    v *= beta2
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
