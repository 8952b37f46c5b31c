"""Losses by margins and distances, and negative log-likelihoods of other distributions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...graph import Tensor, new_tensor
from ...names import composite
from ...ops.elementwise import where
from ...ops.logic import check_tensors
from .activation import log1p_exp, logsigmoid
from .common import check_reduction
from .normalization import pairwise_distance

Flags = bool | None


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean()


def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: Flags = None,
                        reduce: Flags = None, reduction: str = "mean") -> Tensor:
    """max(0, -target (x1 - x2) + margin)"""
    check_tensors("margin_ranking_loss", input1=input1, input2=input2, target=target)
    reduction = check_reduction(reduction, size_average, reduce)
    if not input1.array.ndim == input2.array.ndim == target.array.ndim:
        raise RuntimeError("margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
                           f"{input1.size()}, input2: {input2.size()}, target: {target.size()} ")
    return _reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, size_average: Flags = None,
                         reduce: Flags = None, reduction: str = "mean") -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1"""
    reduction = check_reduction(reduction, size_average, reduce)
    apart = where(target != 1, (margin - input).clamp_min(0), 0.0)
    return _reduced(apart + where(target != -1, input, 0.0), reduction)


def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0,
                          size_average: Flags = None, reduce: Flags = None, reduction: str = "mean") -> Tensor:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1"""
    reduction = check_reduction(reduction, size_average, reduce)
    if target.array.ndim not in (0, 1):
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    dim, eps = target.array.ndim, 1e-12
    product, a, b = ((x * y).sum(dim) for x, y in ((input1, input2), (input1, input1), (input2, input2)))
    cos = product / ((a + eps) * (b + eps)).sqrt()
    return _reduced(where(target == 1, 1 - cos, 0.0) + where(target == -1, (cos - margin).clamp_min(0), 0.0), reduction)


def triplet_margin_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2,
                        eps: float = 1e-6, swap: bool = False, size_average: Flags = None, reduce: Flags = None,
                        reduction: str = "mean") -> Tensor:
    """max(0, |a - p| - |a - n| + margin)"""
    reduction = check_reduction(reduction, size_average, reduce)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    return _triplet(anchor, positive, negative, lambda x, y: pairwise_distance(x, y, p, eps), margin, swap, reduction)


def triplet_margin_with_distance_loss(anchor: Tensor, positive: Tensor, negative: Tensor, *,
                                      distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
                                      margin: float = 1.0, swap: bool = False, reduction: str = "mean") -> Tensor:
    """max(0, d(a, p) - d(a, n) + margin)"""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    return _triplet(anchor, positive, negative, distance_function or pairwise_distance, margin, swap,
                    check_reduction(reduction))


def _triplet(anchor, positive, negative, distance, margin: float, swap: bool, reduction: str) -> Tensor:
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return _reduced((margin + near - far).clamp_min(0), reduction)


@composite("SoftMarginLoss")
def _soft_margin(input, target, reduction):
    return _reduced(log1p_exp(-target * input), reduction)


def soft_margin_loss(input: Tensor, target: Tensor, size_average: Flags = None, reduce: Flags = None,
                     reduction: str = "mean") -> Tensor:
    """ln(1 + e^(-target x))"""
    return _soft_margin(input, target, check_reduction(reduction, size_average, reduce))


def multilabel_soft_margin_loss(input: Tensor, target: Tensor, weight: Tensor | None = None,
                                size_average: Flags = None, reduce: Flags = None, reduction: str = "mean") -> Tensor:
    """The mean binary cross-entropy of the classes."""
    reduction = check_reduction(reduction, size_average, reduce)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    loss = loss if weight is None else loss * weight
    return _reduced(loss.sum(-1) / input.size(-1), reduction)


@composite("MultiMarginLoss")
def _multi_margin(input, target, p, margin, weight, reduction):
    x = input if input.array.ndim == 2 else input.unsqueeze(0)
    t = target.reshape(-1)
    away = (margin - x.gather(1, t.unsqueeze(1)) + x).clamp_min(0)
    away = away if p == 1 else away * away
    away = away if weight is None else away * weight[t].unsqueeze(1)
    away = where(new_tensor(np.arange(x.size(1))) == t.unsqueeze(1), 0.0, away)
    loss = away.sum(1) / x.size(1)
    return _reduced(loss if input.array.ndim == 2 else loss.squeeze(0), reduction)


def multi_margin_loss(input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None,
                      size_average: Flags = None, reduce: Flags = None, reduction: str = "mean") -> Tensor:
    """The sum over the other classes of max(0, margin - x[target] + x[class])^p, by the number of classes"""
    reduction = check_reduction(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    return _multi_margin(input, target, p, margin, weight, reduction)


def gaussian_nll_loss(input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6,
                      reduction: str = "mean") -> Tensor:
    """(ln var + (x - t)^2 / var) / 2, and with `full` ln(2 pi) / 2"""
    if isinstance(var, float):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = var * input.new_ones(input.shape)
    elif (var < 0).any():
        raise ValueError("var has negative entry/entries")
    if var.size() != input.size():
        if input.size()[:-1] == var.size():
            var = var.unsqueeze(-1)
        elif input.size()[:-1] != var.size()[:-1] or var.size(-1) != 1:
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(reduction + " is not valid")
    safe = var.clone()
    safe.data.clamp_(min=eps)                                 # the bound is on the value: the gradient passes
    loss = 0.5 * (safe.log() + (input - target)**2 / safe)
    return _reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool = True, full: bool = False,
                     size_average: Flags = None, eps: float = 1e-8, reduce: Flags = None,
                     reduction: str = "mean") -> Tensor:
    """e^x - t x, or x - t ln x; with `full` Stirling's ln t! on top"""
    reduction = check_reduction(reduction, size_average, reduce)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + where(target > 1, stirling, 0.0)
    return _reduced(loss, reduction)


# ---- unaligned sequences ----------------------------------------------------------------------------------------

def ctc_loss(log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int = 0,
             reduction: str = "mean", zero_infinity: bool = False) -> Tensor:
    """-ln p(targets): the sum over all paths through log_probs (T, (N,) C) that spell the target, with blanks between
    the letters and letters repeated. alpha[s] is the log-probability of the paths that have come to place s of the
    target with blanks around its letters."""
    reduction = check_reduction(reduction)
    batched = log_probs.array.ndim == 3
    x = log_probs if batched else log_probs.unsqueeze(1)
    steps, letters = (np.asarray([int(n) for n in (v.reshape(-1).tolist() if isinstance(v, Tensor) else v)])
                      for v in (input_lengths, target_lengths))
    if targets.array.ndim == 1 and batched:
        starts = np.concatenate([[0], np.cumsum(letters)[:-1]])
        rows = [targets.array[a:a + n] for a, n in zip(starts, letters)]
    else:
        rows = [row[:n] for row, n in zip(targets.array.reshape(len(letters), -1), letters)]
    losses = _paths(x, rows, steps, letters, blank)
    if zero_infinity:
        losses = where(losses == float("inf"), 0.0, losses)
    if reduction == "mean":
        return (losses / new_tensor(np.maximum(letters, 1).astype(x.array.dtype))).mean()
    return losses.sum() if reduction == "sum" else losses if batched else losses.squeeze(0)


@composite("CtcLoss")
def _paths(x, rows: list[np.ndarray], steps: np.ndarray, letters: np.ndarray, blank: int):
    from ...composed.joining import cat, stack
    count, width = len(rows), 2 * int(letters.max(initial=0)) + 1
    spelled = np.full((count, width), blank)
    for n, row in enumerate(rows):
        spelled[n, 1:2 * len(row):2] = row
    skips = np.zeros((count, width), bool)                  # a letter may follow another letter without a blank
    skips[:, 2:] = (spelled[:, 2:] != blank) & (spelled[:, 2:] != spelled[:, :-2])
    places = new_tensor(spelled)
    lowest = new_tensor(np.full((count, 2), -np.inf, x.array.dtype))
    first = new_tensor(np.arange(width) < 2)
    alpha = where(first, x[0].gather(1, places), -math.inf)
    history = [alpha]
    for t in range(1, x.size(0)):
        wide = cat([lowest, alpha], 1)
        came = _log_of_sum(stack([alpha, wide[:, 1:-1], where(new_tensor(skips), wide[:, :-2], -math.inf)]))
        alpha = came + x[t].gather(1, places)
        history.append(alpha)
    ends = stack(history)[new_tensor(steps - 1), new_tensor(np.arange(count))]                       # (N, S)
    last = new_tensor(np.stack([2 * letters, np.maximum(2 * letters - 1, 0)], 1))
    final = ends.gather(1, last)
    final = where(new_tensor((letters == 0)[:, None] & (np.arange(2) == 1)), -math.inf, final)
    return -_log_of_sum(final.transpose(0, 1))


def _log_of_sum(x):
    """ln of the sum of e^x along the first dimension. Where all is -inf, the gradient is 0: there is no path."""
    top = x.detach().max(0)[0]
    none = top == -math.inf
    total = (x - where(none, 0.0, top)).exp().sum(0)
    return where(none, -math.inf, where(none, 1.0, total).log() + top)
