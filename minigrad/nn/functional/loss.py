"""Losses."""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np

from ...composed.elementwise import xlogy
from ...graph import Tensor, Variable, elementwise, new_tensor
from ...kernels.cross_entropy import linear_log_likelihood, log_likelihood, log_likelihood_backward
from ...modes import mode
from ...names import named
from ...ops.elementwise import abs, exp, mul, sigmoid, sub, true_divide, where
from ...ops.fused import fused
from ...ops.logic import check_tensors
from ...ops.promotion import cast, promoted
from ...ops.reduce import log_softmax_along, sum_over, take_along
from ...ops.shape import reshape_to
from ...ops.special import _clamp, _logit
from .activation import log1p_exp
from .common import check_reduction, kernel, reduced, require_floating
from .linear import linear

# ---- classes ----------------------------------------------------------------------------------------------------


def nll_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
             ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """-log p of the target class: `input` (N, C, ...) holds log-probabilities, `target` (N, ...) the class indices."""
    return _nll_loss(input, target, weight, check_reduction(reduction, size_average, reduce), ignore_index)


def _nll_loss(input, target, weight, reduction: str, ignore_index: int, logits: bool = False):
    check_tensors("nll_loss", input=input, target=target)
    classes, dim = _check_classes(input, target, weight)
    labels, kept = _labels(target, classes, ignore_index)
    if not input.array.size and not labels.size and reduction == "mean":
        return input.sum() / 0
    if logits and input.array.ndim == 2 and input.array.dtype != np.float16:
        picked = _log_likelihood(input, labels)
    else:
        logp = log_softmax_along(input, dim) if logits else input
        picked = take_along(logp, np.expand_dims(labels.reshape(input.shape[:dim] + input.shape[dim + 1:]), dim), dim)
    shape = target.array.shape if input.array.ndim > 1 else ()
    factor = kept if weight is None else np.where(kept, weight.array[labels], 0)
    factor = np.asarray(factor, input.array.dtype).reshape(shape)
    loss = -reshape_to(picked, shape)
    loss = loss if weight is None and kept.all() else where(kept.reshape(shape), loss * new_tensor(factor), 0.0)
    two_d = input.array.ndim > 2
    if reduction == "none":
        return named(loss, "View" if two_d and input.array.ndim != 4 else "NllLoss2D" if two_d else "NllLoss")
    total = sum_over(loss, tuple(range(len(shape))), False)
    if reduction == "mean":
        total = true_divide(total, float(factor.sum(dtype=np.float64)))
    return named(total, "NllLoss2D" if two_d else "NllLoss")


# What is saved are the log-probabilities, as in torch, and not the logits, which may change. To the composition they
# are as good as these: softmax takes no notice of a number that is added to a whole row.
@fused(lambda input, labels: reshape_to(take_along(log_softmax_along(input, 1), labels[:, None], 1), labels.shape),
       name="NllLoss", instead="input",
       backward=lambda g, aside, labels: log_likelihood_backward(np.ascontiguousarray(g), aside, labels))
def _log_likelihood(input, labels):
    return log_likelihood(input, labels)


def _check_classes(input, target, weight) -> tuple[int, int]:
    """torch's conditions; the number of classes and their dimension."""
    shape, wanted = input.array.shape, target.array.shape
    if not shape:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    if len(shape) == 1 and wanted and wanted != (1,):
        if len(wanted) > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        raise ValueError(f"For 1D input, 1D target must have size 1, but got target size: {wanted[0]}")
    if len(shape) > 1:
        count = wanted[0] if wanted else 0
        if shape[0] != count:
            raise ValueError(f"Expected input batch_size ({shape[0]}) to match target batch_size ({count}).")
        if len(shape) == 2 and len(wanted) > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if wanted[1:] != shape[2:]:
            raise RuntimeError(f"Expected target size {[shape[0], *shape[2:]]}, got {list(wanted)}")
    if target.array.dtype not in (np.int64, np.uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {target.dtype.tensor_type}")
    require_floating("nll_loss", "nll_loss_out_frame", input)
    dim = min(len(shape) - 1, 1)
    if weight is not None:
        if weight.requires_grad:
            raise RuntimeError("the derivative for 'weight' is not implemented")
        if weight.array.shape != (shape[dim],):
            raise RuntimeError(f"weight tensor should be defined either for all {shape[dim]} classes or no classes "
                               f"but got weight tensor of shape: {list(weight.shape)}")
        if weight.array.dtype != input.array.dtype:
            raise RuntimeError(f"expected scalar type {input.dtype.tensor_type} but found {weight.dtype.tensor_type}")
    return shape[dim], dim


def _labels(target, classes: int, ignore_index: int) -> tuple[np.ndarray, np.ndarray]:
    """The class indices, with 0 in the place of those to ignore, and where there is none to ignore. They lie in C's
    order, as torch's losses do, whatever the target's."""
    labels = target.array.astype(np.int64, order="C")
    kept = labels != ignore_index
    out = kept & ((labels < 0) | (labels >= classes))
    if out.any():
        raise IndexError(f"Target {labels[out][0]} is out of bounds.")
    return np.where(kept, labels, 0), kept


def cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
                  ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Tensor:
    """-sum p log softmax(input) over the classes, the second dimension of `input`; `target` holds class indices, or
    probabilities p in the shape of `input`. Label smoothing mixes p with the uniform distribution."""
    reduction = check_reduction(reduction, size_average, reduce)
    check_tensors("cross_entropy_loss", input=input, target=target)
    probabilities = input.array.shape == target.array.shape
    if probabilities and target.array.dtype.kind != "f":
        raise RuntimeError("Expected floating point type for target with class probabilities, got "
                           f"{target.dtype.tensor_type}")
    if probabilities and ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    require_floating("log_softmax", "log_softmax_lastdim_kernel_impl", input)
    dim = 1 if input.array.ndim > 1 else 0
    if not probabilities and label_smoothing <= 0 or not input.array.ndim:
        return _nll_loss(input, target, weight, reduction, ignore_index, logits=True)
    if label_smoothing > 1 or label_smoothing < 0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    classes = input.array.shape[dim]
    if weight is not None and weight.array.shape != (classes,):
        raise RuntimeError(f"cross_entropy: weight tensor should be defined either for all {classes} classes or no "
                           f"classes but got weight tensor of shape: {list(weight.shape)}")
    logp = log_softmax_along(input, dim)
    per_class = None if weight is None else reshape_to(weight, (classes,) + (1,) * (input.array.ndim - 1 - dim))
    if probabilities:
        return _against_probabilities(logp, target, per_class, reduction, label_smoothing, dim)

    # The mixture's cross entropy is the mixture of cross entropies: with the target's class, and with all classes.
    exact = _nll_loss(logp, target, weight, reduction, ignore_index)
    labels, kept = _labels(target, classes, ignore_index)
    uniform = -sum_over(logp if weight is None else logp * per_class, (dim,), False)
    if not kept.all():
        uniform = where(kept.reshape(uniform.shape), uniform, 0.0)
    if reduction != "none":
        uniform = sum_over(uniform, tuple(range(uniform.array.ndim)), False)
    if reduction == "mean":
        count = kept.sum() if weight is None else weight.array[labels[kept]].sum(dtype=np.float64)
        uniform = true_divide(uniform, float(count))
    return exact * (1 - label_smoothing) + uniform * (label_smoothing / classes)


def _against_probabilities(logp, target, per_class, reduction: str, label_smoothing: float, dim: int):
    classes = logp.array.shape[dim]
    if label_smoothing > 0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    terms = mul(logp, target)
    if per_class is not None:
        terms = terms * per_class
    if reduction == "none":
        return -sum_over(terms, (dim,), False)
    total = -sum_over(terms, tuple(range(terms.array.ndim)), False)
    if reduction == "sum":
        return total
    return named(true_divide(total, float(logp.array.size / classes if classes else 0)), "DivBackward1")


@dataclasses.dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How torch cuts a batch into chunks to save memory. The value does not depend on it, and here nothing does."""

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: object = None


def linear_cross_entropy(input: Tensor, linear_weight: Tensor, target: Tensor, *, linear_bias: Tensor | None = None,
                         weight: Tensor | None = None, reduction: str = "mean", ignore_index: int | None = None,
                         label_smoothing: float = 0.0, options: LinearCrossEntropyOptions | None = None) -> Tensor:
    """cross_entropy(linear(input, linear_weight, linear_bias), target)"""
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}")
    *batch, features = input.array.shape
    out = linear_weight.array.shape[:-1]
    if features != linear_weight.array.shape[-1]:
        raise RuntimeError("expected equal input and linear_weight last dimensions (in_features), got "
                           f"{features} and {linear_weight.array.shape[-1]}, respectively")
    if linear_bias is not None and linear_bias.array.shape != out:
        raise RuntimeError(f"expected linear_bias shape {out}, got {tuple(linear_bias.shape)}")
    if len(out) > 1 and not batch:
        raise RuntimeError(f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires "
                           f"batched input, (N, {features}), got unbatched input with shape {tuple(input.shape)}")
    if ignore_index is not None and target.array.shape == (*batch, *out):
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    chunked = options is not None
    if chunked and (len(out) > 1 or label_smoothing or target.array.dtype != np.int64):
        chunked = False
        warnings.warn("linear_cross_entropy: ``options`` ignored; chunks need label_smoothing == 0, target.dtype == "
                      "int64 and a linear_weight with 2 dimensions", stacklevel=2)
    ignore_index = -100 if ignore_index is None else ignore_index
    loss = None
    if not label_smoothing and reduction in ("mean", "sum"):
        loss = _without_logits(input, linear_weight, linear_bias, target, weight, reduction, ignore_index)
    if loss is None:
        logits = linear(input, linear_weight.reshape(math.prod(out), features),
                        linear_bias if linear_bias is None else linear_bias.reshape(math.prod(out)))
        loss = cross_entropy(logits.reshape(*batch, *out), target, weight, reduction=reduction,
                             ignore_index=ignore_index, label_smoothing=label_smoothing)
    if chunked:                                  # the same numbers; torch shows the op that it generates for chunks
        form = "_no_reduction_default" if reduction == "none" else "_default"
        named(loss, f"GeneratedBackwardFor_torch_nn__linear_cross_entropy_batch_chunked{form}Backward" if batch
              else "SqueezeBackward1")
    return loss


def _without_logits(input, linear_weight, linear_bias, target, weight, reduction: str, ignore_index: int):
    """The loss by a kernel that never holds all logits; or None, where that is not for it: for batches of floats, and
    one class for each."""
    x, w, dtype = input.array, linear_weight.array, input.array.dtype
    floats = [t for t in (linear_weight, linear_bias, weight) if t is not None]
    if (x.ndim != 2 or w.ndim != 2 or dtype.kind != "f" or dtype == np.float16 or target.array.shape != x.shape[:1]
            or target.array.dtype != np.int64 or any(t.array.dtype != dtype for t in floats)
            or weight is not None and (weight.requires_grad or weight.array.shape != w.shape[:1])):
        return None
    labels, kept = _labels(target, len(w), ignore_index)
    factor = np.asarray(kept if weight is None else np.where(kept, weight.array[labels], 0), dtype)
    total = factor.sum(dtype=np.float64) if reduction == "mean" else 1.0
    if total == 0:
        return None
    wanted = tuple(mode.grad and t is not None and t.requires_grad for t in (input, linear_weight, linear_bias))
    return _linear_log_likelihood(input, linear_weight, linear_bias, labels, (-factor / total).astype(dtype), wanted)


def _linear_log_likelihood_composed(input, weight, bias, labels, factors, wanted):
    chosen = take_along(log_softmax_along(linear(input, weight, bias), 1), labels[:, None], 1)
    return sum_over(where(factors[:, None] != 0, chosen * new_tensor(factors[:, None]), 0.0), (0, 1), False)


def _linear_log_likelihood_backward(g, aside, input, weight, bias, labels, factors, wanted):
    if not aside:                                # handed out already, in a backward with retain_graph
        aside = linear_log_likelihood(input, weight, bias, labels, factors, wanted)[1]
    grads = tuple(aside)
    aside.clear()
    if g != 1:
        for d in grads:
            if d is not None:
                np.multiply(d, g, out=d)
    return grads


@fused(_linear_log_likelihood_composed, "input", "weight", "bias", name="NllLoss",
       backward=_linear_log_likelihood_backward)
def _linear_log_likelihood(input, weight, bias, labels, factors, wanted):
    return linear_log_likelihood(input, weight, bias, labels, factors, wanted)


# ---- probabilities ----------------------------------------------------------------------------------------------

# Logarithms are cut off at -100, so that a probability of 0 costs much, but not all; the derivative by x is that of the
# uncut loss, (x - t) / (x (1 - x)), with a denominator of at least 1e-12 (in torch a single-precision number).
_LEAST = float(np.float32(1e-12))


@elementwise("BinaryCrossEntropy",
             input=lambda g, input, target: g * ((input - target) / _clamp((1 - input) * input, _LEAST, None)),
             target=lambda g, input: -g * _logit(input))
def _log_loss(input, target):
    return (target - 1) * np.maximum(np.log1p(-input), -100) - target * np.maximum(np.log(input), -100)


@kernel("BinaryCrossEntropy")
def _binary_cross_entropy(input, target, weight, reduction):
    loss = _log_loss(input, target)
    return reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
                         reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """-(t log x + (1 - t) log(1 - x)) for probabilities x"""
    reduction = check_reduction(reduction, size_average, reduce)
    if target.size() != input.size():
        raise ValueError(f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) "
                         "is deprecated. Please ensure they have the same size.")
    require_floating("binary_cross_entropy", "binary_cross_entropy", input)
    _check_constant("binary_cross_entropy", weight)
    for other in (target, weight):
        if other is not None and other.array.dtype != input.array.dtype:
            raise RuntimeError(f"Found dtype {other.dtype.tensor_type} but expected {input.dtype.tensor_type}")
    if not ((input.array >= 0) & (input.array <= 1)).all():
        raise RuntimeError("all elements of input should be between 0 and 1")
    return _binary_cross_entropy(input, target, weight, reduction)


def _check_constant(function: str, weight: Tensor | None) -> None:
    if weight is not None and weight.requires_grad:
        raise RuntimeError(f"The function '{function}' is not differentiable with respect to argument 'weight'. This "
                           "input cannot have requires_grad True.")


# With p = sigmoid(x): -(w t log p + (1 - t) log(1 - p)) = (1 - t) x + (1 + (w - 1) t) log(1 + e^-x). The terms of its
# derivative cancel where x is large; (w t + 1 - t) p - w t is the same, and does not.
@elementwise("BinaryCrossEntropyWithLogits",
             input=lambda g, input, target, pos_weight: g * (
                 sigmoid(input) - target if pos_weight is None else
                 (pos_weight * target + 1 - target) * sigmoid(input) - pos_weight * target),
             target=lambda g, input, pos_weight: g * (-input if pos_weight is None else
                                                      log1p_exp(-input) * pos_weight - log1p_exp(input)),
             pos_weight=lambda g, input, target: g * (target * log1p_exp(-input)))
def _log_loss_of_logits(target, input, pos_weight):
    """Laid out in memory as the target is, rather than the input."""
    negative = np.logaddexp(-input, input.dtype.type(0))
    return (1 - target) * input + (negative if pos_weight is None else (1 + (pos_weight - 1) * target) * negative)


@kernel("BinaryCrossEntropyWithLogits")
def _binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction):
    loss = _log_loss_of_logits(target, input, pos_weight)
    return reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None = None,
                                     size_average: bool | None = None, reduce: bool | None = None,
                                     reduction: str = "mean", pos_weight: Tensor | None = None) -> Tensor:
    """binary_cross_entropy of sigmoid(x), without its rounding; pos_weight weighs the positive targets"""
    reduction = check_reduction(reduction, size_average, reduce)
    check_tensors("binary_cross_entropy_with_logits", input=input, target=target)
    if target.size() != input.size():
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    require_floating("binary_cross_entropy_with_logits", "log_sigmoid_cpu", input)
    if target.array.dtype.kind != "f":
        raise RuntimeError(f"result type Float can't be cast to the desired output type {target.dtype.tensor_type}")
    for name, w in (("weight", weight), ("pos_weight", pos_weight)):
        if w is not None and w.requires_grad:
            raise RuntimeError(f"The function 'binary_cross_entropy_with_logits' is not differentiable with respect to "
                               f"argument '{name}'. This input cannot have requires_grad True.")
    tensors = [x for x in (input, target, weight, pos_weight) if x is not None]
    input, target, *others = promoted(*tensors)
    weight = others.pop(0) if weight is not None else None
    return _binary_cross_entropy_with_logits(input, target, weight, others[0] if others else None, reduction)


def kl_div(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
           reduction: str = "mean", log_target: bool = False) -> Tensor:
    """t (log t - x) for log-probabilities x, and t or (log_target) log t"""
    reduction = check_reduction(reduction, size_average, reduce, "batchmean")
    if reduction == "mean":
        warnings.warn("reduction: 'mean' divides the total loss by both the batch size and the support "
                      "size.'batchmean' divides only by the batch size, and aligns with the KL div math "
                      "definition.'mean' will be changed to behave the same as 'batchmean' in the next major "
                      "release.", stacklevel=2)
    check_tensors("kl_div", input=input, target=target)
    if input.array.dtype.kind != "f" or target.array.dtype.kind != "f":
        raise RuntimeError("kl_div: Integral inputs not supported.")
    loss = exp(target) * (target - input) if log_target else xlogy(target, target) - target * input
    if reduction != "batchmean":
        return reduced(loss, reduction)
    total = reduced(loss, "sum")
    return total / input.array.shape[0] if input.array.ndim else total


# ---- distances --------------------------------------------------------------------------------------------------

def _sizes_agree(input: Tensor, target: Tensor, weight: Tensor | None = None) -> None:
    if not isinstance(input, Variable) or not isinstance(target, Variable):
        check_tensors("loss", input=input, target=target)
    if input.array.shape != target.array.shape:
        warnings.warn(f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). "
                      "This will likely lead to incorrect results due to broadcasting. Please ensure they have the "
                      "same size.",
                      stacklevel=3)
    if weight is not None and weight.array.shape != input.array.shape:
        raise ValueError("Weights and input must have the same size.")


def _weighted(loss: Tensor, weight: Tensor, reduction: str) -> Tensor:
    loss = reduced(loss * weight, "none" if reduction == "none" else "sum")
    return loss / weight.sum() if reduction == "mean" else loss


def mse_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
             reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """(x - t)^2"""
    reduction = check_reduction(reduction, size_average, reduce)
    _sizes_agree(input, target, weight)
    if weight is not None:
        return _weighted((input - target)**2, weight, reduction)
    input, target = promoted(input, target)
    require_floating("mse_loss", "mse_cpu", input)
    difference = sub(input, target)
    return named(reduced(difference * difference, reduction), "MseLoss")


def l1_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
            reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """|x - t|"""
    reduction = check_reduction(reduction, size_average, reduce)
    _sizes_agree(input, target, weight)
    loss = abs(sub(input, target))
    if weight is not None:
        return _weighted(loss, weight, reduction)
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean()


@kernel("SmoothL1Loss")
def _smooth_l1(input, target, beta, reduction):
    difference = sub(input, target)
    size = abs(difference)
    return reduced(where(size < beta, 0.5 / beta * (difference * difference), size - 0.5 * beta), reduction)


def smooth_l1_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
                   reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """(x - t)^2 / (2 beta) for differences below beta, |x - t| - beta / 2 for others"""
    reduction = check_reduction(reduction, size_average, reduce)
    _sizes_agree(input, target)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    input, target = promoted(input, target)
    require_floating("smooth_l1_loss", "smooth_l1_cpu", input)
    return _smooth_l1(input, target, float(beta), reduction)


@kernel("HuberLoss")
def _huber(input, target, delta, reduction):
    if 0 in input.array.strides:              # the losses lie as a copy of the input would, which is not expanded
        input = input.clone()
    difference = sub(input, target)
    size = abs(difference)
    return reduced(where(size < delta, 0.5 * (difference * difference), delta * (size - 0.5 * delta)), reduction)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0,
               weight: Tensor | None = None) -> Tensor:
    """(x - t)^2 / 2 for differences up to delta, delta (|x - t| - delta / 2) for others"""
    reduction = check_reduction(reduction)
    _sizes_agree(input, target, weight)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    dtype = input.array.dtype                           # which is the result's, whatever the target's is
    require_floating("huber_loss", "huber_cpu", input)
    loss = _huber(*promoted(input, target), float(delta), reduction if weight is None else "none")
    loss = loss if loss.array.dtype == dtype else named(cast(loss, dtype), "HuberLoss")
    return loss if weight is None else reduced(loss * weight, reduction)
