"""torch.special: functions that minigrad has under their other names, and some made of them."""

from __future__ import annotations

import math

from ... import (
    digamma,
    erf,
    erfc,
    erfinv,
    exp2,
    expm1,
    lgamma,
    log1p,
    log_softmax,
    logit,
    logsumexp,
    round,
    sigmoid,
    sinc,
    softmax,
    where,
    xlogy,
)
from ...graph import Tensor
from ...ops.promotion import to_floating

__all__ = ["digamma", "entr", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gammaln", "log1p", "log_softmax",
           "logit", "logsumexp", "multigammaln", "ndtr", "ndtri", "psi", "round", "sinc", "softmax", "xlog1py", "xlogy"]

expit, gammaln, psi = sigmoid, lgamma, digamma


def xlog1py(input: Tensor, other: Tensor) -> Tensor:
    """x ln(1 + y), and 0 where x is"""
    return xlogy(input, other + 1)


def entr(input: Tensor) -> Tensor:
    """-x ln x, 0 at 0, and -inf below"""
    x = to_floating(input)
    return where(x < 0, -math.inf, -xlogy(x, x))


def ndtr(input: Tensor) -> Tensor:
    """The normal distribution's share below x."""
    return erfc(to_floating(input) * -math.sqrt(0.5)) / 2


def ndtri(input: Tensor) -> Tensor:
    """The place below which the normal distribution has this share."""
    return erfinv(2 * to_floating(input) - 1) * math.sqrt(2)


def multigammaln(input: Tensor, p: int) -> Tensor:
    """The logarithm of the gamma function of p dimensions."""
    steps = [lgamma(input - k / 2) for k in range(p)]
    return sum(steps[1:], steps[0]) + p * (p - 1) / 4 * math.log(math.pi)
