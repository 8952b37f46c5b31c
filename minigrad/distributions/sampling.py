"""Draws that take several numbers of the stream each, and how many depends on them: one after another, as torch's."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..graph import Tensor, new_tensor
from ..modes import no_grad


def _uniform() -> float:
    return float(new_tensor(np.empty(1)).uniform_().array[0])


def _normal() -> float:
    return float(new_tensor(np.empty(1)).normal_().array[0])


def gamma(alpha: float) -> float:
    """A standard gamma variate: Marsaglia and Tsang's cube of a normal one, taken or refused."""
    scale = 1.0
    if alpha < 1:
        if alpha == 0:
            return 0.0
        scale = (1 - _uniform()) ** (1 / alpha)
        alpha += 1
    d = alpha - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        x = _normal()
        while 1 + c * x <= 0:
            x = _normal()
        v, u, xx = (1 + c * x) ** 3, 1 - _uniform(), x * x
        if u < 1 - 0.0331 * xx * xx or math.log(u) < 0.5 * xx + d * (1 - v + math.log(v)):
            return scale * d * v


def poisson(rate: float) -> int:
    """A Poisson variate: a product of uniform ones, or for large rates Hoermann's transformed rejection."""
    if rate == 0:
        return 0
    if rate < 10:
        count, product, end = 0, _uniform(), math.exp(-rate)
        while product > end:
            count, product = count + 1, product * _uniform()
        return count
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse, limit = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2)
    while True:
        u, v = _uniform() - 0.5, _uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= limit:
            return k
        if k < 0 or us < 0.013 and v > us:
            continue
        if (math.log(v) + math.log(inverse) - math.log(a / (us * us) + b)
                <= -rate + k * math.log(rate) - math.lgamma(k + 1)):
            return k


@no_grad()
def one_by_one(draw: Callable[[float], float], parameters: Tensor, dtype: type | None = None) -> Tensor:
    """A draw for each number of a tensor, in order."""
    values = [draw(float(x)) for x in parameters.array.reshape(-1)]
    return new_tensor(np.array(values, dtype or parameters.array.dtype).reshape(parameters.array.shape))
