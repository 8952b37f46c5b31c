"""Normalisation: to mean 0 and variance 1 over some dimensions, or to length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ... import dtypes
from ...composed.shape import contiguous, reshape
from ...graph import Tensor, Variable
from ...kernels.layout import empty_for
from ...kernels.norm import SHORT, standardise, standardise_backward, standardise_one
from ...modes import no_grad
from ...names import named
from ...ops.fused import fused
from ...ops.logic import check_tensors
from ...ops.promotion import cast, promoted
from ...ops.reduce import mean_over, sum_over, var_over
from ...ops.shape import reshape_to
from ...ops.special import rsqrt
from .common import kernel, require_floating


def _standardised(x, dims: tuple, eps: float):
    """x with mean 0 and variance 1 over the dimensions."""
    centred = x - mean_over(x, dims, True)
    return centred * rsqrt(mean_over(centred * centred, dims, True) + eps)


def _scaled(x, weight, bias):
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _last_dims(function: str, input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None,
               bias: Tensor | None, star: str) -> tuple[int, ...]:
    """The dimensions that have the normalized_shape: the last ones."""
    if not isinstance(normalized_shape, (list, tuple)):
        raise TypeError(f"{function}(): argument 'normalized_shape' (position 2) must be tuple of ints, not "
                        f"{type(normalized_shape).__name__}")
    shape, n = tuple(normalized_shape), input.array.ndim
    if not shape:
        raise RuntimeError("Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
                           "element, but got normalized_shape = []")
    if weight is not None and weight.array.shape != shape or bias is not None and bias.array.shape != shape:
        name, x = ("weight", weight) if weight is not None and weight.array.shape != shape else ("bias", bias)
        raise RuntimeError(f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                           f"{list(x.shape)} and normalized_shape = {list(shape)}")
    if input.array.shape[max(n - len(shape), 0):] != shape:
        wanted = ", ".join(map(str, shape))
        raise RuntimeError(f"Given normalized_shape={list(shape)}, expected input with shape [*{star}{wanted}], but "
                           f"got input of size{list(input.shape)}")
    return tuple(range(n - len(shape), n))


def _one_dtype(input: Tensor, *parameters: Tensor | None) -> None:
    dtype = input.array.dtype
    for p in parameters:
        if p is not None and p.array.dtype is not dtype:
            break
    else:                                             # as nearly always
        return
    kinds = {p.array.dtype for p in parameters if p is not None}
    if kinds - {dtype} and not (dtype == np.float16 and kinds == {np.dtype(np.float32)}):
        wanted = input.dtype.tensor_type if dtype != np.float16 else "Float"
        raise RuntimeError(f"mixed dtype (CPU): expect parameter to have scalar type of {wanted}")


def _by_rows(input, dims, weight, bias, eps, centred):
    shape, first = input.shape, dims[0]
    if len(dims) > 1:
        weight, bias = [p if p is None else p.reshape(-1) for p in (weight, bias)]
    rows, width = math.prod(shape[:first]), math.prod(shape[first:])
    if rows == 1 and 0 < width <= SHORT:
        y, aside = standardise_one(input.reshape(-1), weight, bias, eps, centred)
    else:
        y, aside = standardise(input.reshape(rows, width), weight, bias, eps, centred)
    return y.reshape(shape), aside


def _by_rows_backward(g, input, dims, weight, aside, needed):
    shape, first = input.shape, dims[0]
    rows, width = math.prod(shape[:first]), math.prod(shape[first:])
    grads = standardise_backward(g.reshape(rows, width), input.reshape(rows, width),
                                 weight if weight is None else weight.reshape(-1), aside, needed)
    shapes = shape, *[shape[first:]] * 2
    return tuple(d if d is None else d.reshape(shape) for d, shape in zip(grads, shapes, strict=True))


@kernel("NativeLayerNorm")
@fused(lambda input, dims, weight, bias, eps: _scaled(_standardised(input, dims, eps), weight, bias),
       "input", "weight", "bias", backward=_by_rows_backward)
def _layer_norm(input, dims, weight, bias, eps):
    return _by_rows(input, dims, weight, bias, eps, centred=True)


def layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
               eps: float = 1e-5) -> Tensor:
    """Mean 0 and variance 1 over the last dimensions, then times weight, plus bias"""
    if not isinstance(input, Variable):
        check_tensors("layer_norm", input=input)
    dims = _last_dims("layer_norm", input, normalized_shape, weight, bias, ", ")
    require_floating("layer_norm", "LayerNormKernelImpl", input)
    _one_dtype(input, weight, bias)
    return _layer_norm(contiguous(input), dims, weight, bias, eps)


def _rms_norm_composed(input, dims, weight, eps):
    return _scaled(input * rsqrt(mean_over(input * input, dims, True) + eps), weight, None)


def _rms_norm_backward(g, input, dims, weight, aside, needed):
    return _by_rows_backward(g, input, dims, weight, aside, (*needed, False))[:2]


@fused(_rms_norm_composed, "input", "weight", name="Mul", backward=_rms_norm_backward)
def _rms_norm(input, dims, weight, eps):
    return _by_rows(input, dims, weight, None, eps, centred=False)


def rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
             eps: float | None = None) -> Tensor:
    """Mean square 1 over the last dimensions, then times weight; eps is the dtype's own if none is given"""
    check_tensors("rms_norm", input=input)
    dims = _last_dims("rms_norm", input, normalized_shape, weight, None, "")
    require_floating("rms_norm", "rms_norm", input)
    dtype, x = input.array.dtype, contiguous(input)
    if dtype == np.float16:
        x = cast(x, np.dtype(np.float32))
    if eps is None:
        eps = float(np.finfo(x.array.dtype).eps)
    if weight is None or weight.array.dtype == x.array.dtype:
        x = _rms_norm(x, dims, weight, eps)
    else:
        x, weight = promoted(_rms_norm(x, dims, None, eps), weight)
        x = x * weight
    if dtype == np.float16:
        return cast(x, dtype)
    if input.array.flags.c_contiguous:
        return x
    shape = input.array.shape                 # torch makes its product of input and 1 / rms contiguous: a copy, or not
    rms = np.empty(shape[:dims[0]] + (1,) * len(dims))
    return x if empty_for(shape, dtype, input.array, rms).flags.c_contiguous else named(x, "Clone")


@kernel("NativeGroupNorm")
def _group_norm(input, groups, weight, bias, eps):
    shape = input.array.shape
    grouped = reshape_to(input, (shape[0], groups, math.prod(shape[1:]) // groups))
    x = reshape_to(_layer_norm(grouped, (2,), None, None, eps), shape)
    per_channel = (shape[1],) + (1,) * (len(shape) - 2)
    return _scaled(x, *(p if p is None else reshape_to(p, per_channel) for p in (weight, bias)))


def group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None,
               eps: float = 1e-5) -> Tensor:
    """Mean 0 and variance 1 over each group of channels (dimension 1), then times weight, plus bias, by channel"""
    check_tensors("group_norm", input=input)
    shape = input.array.shape
    if len(shape) < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {len(shape)}")
    _more_than_one([shape[0] * shape[1] // num_groups, num_groups, *shape[2:]])
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if shape[1] % num_groups:
        raise RuntimeError("Expected number of channels in input to be divisible by num_groups, but got input of shape "
                           f"{list(shape)} and num_groups={num_groups}")
    for name, p in (("weight", weight), ("bias", bias)):
        if p is not None and p.array.shape != shape[1:2]:
            raise RuntimeError(f"Expected {name} to be a vector of size equal to the number of channels in input, but "
                               f"got {name} of shape {list(p.shape)} and input of shape {list(shape)}")
    require_floating("group_norm", "GroupNormKernelImpl", input)
    _one_dtype(input, weight, bias)
    return _group_norm(contiguous(input), num_groups, weight, bias, eps)


def _more_than_one(size: Sequence[int]) -> None:
    """A single value has no variance."""
    if math.prod((size[0], *size[2:])) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {size}")


@kernel("NativeBatchNorm")
def _batch_norm(input, mean, var, weight, bias, eps):
    """By the given statistics, or the batch's own."""
    n = input.array.ndim
    per_channel = (-1,) + (1,) * (n - 2)
    mean, var, weight, bias = (p if p is None else reshape(p, per_channel) for p in (mean, var, weight, bias))
    x = (input - mean) * rsqrt(var + eps) if mean is not None else _standardised(input, (0, *range(2, n)), eps)
    return _scaled(x, weight, bias)


def batch_norm(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
               bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """Mean 0 and variance 1 in each channel (dimension 1) over the batch; or, outside of training, by the running
    statistics, which training keeps up"""
    check_tensors("batch_norm", input=input)
    if training:
        _more_than_one(input.size())
    shape = input.array.shape
    channels = shape[1] if len(shape) > 1 else 0
    for name, p in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if p is None:
            if not training and name.startswith("running"):
                raise RuntimeError(f"{name} must be defined in evaluation mode")
        elif p.array.size != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {p.array.size}")
    require_floating("batch_norm", "batch_norm", input)
    _one_dtype(input, running_mean, running_var, weight, bias)
    if not input.array.size:
        return _scaled(input.clone(), weight, bias)
    input = contiguous(input)
    if not training:
        return _batch_norm(input, running_mean, running_var, weight, bias, eps)
    if running_mean is not None or running_var is not None:
        _keep_up(input, running_mean, running_var, momentum)
    return _batch_norm(input, None, None, weight, bias, eps)


def _keep_up(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float) -> None:
    """Move the running statistics towards those of the batch; the variance without bias."""
    with no_grad():
        x = input if input.array.dtype != np.float16 else cast(input, np.dtype(np.float32))
        dims = (0, *range(2, x.array.ndim))
        for running, new in ((running_mean, mean_over(x, dims, False)), (running_var, var_over(x, dims, 1, False))):
            if running is not None:
                running.copy_(running * (1 - momentum) + new * momentum)


# ---- to length 1 ------------------------------------------------------------------------------------------------

def normalize(input: Tensor, p: float = 2.0, dim: int | Sequence[int] = 1, eps: float = 1e-12,
              out: Tensor | None = None) -> Tensor:
    """input / max(|input|, eps), with the p-norm along a dimension"""
    check_tensors("normalize", input=input)
    if input.array.dtype.kind != "f":
        raise RuntimeError("linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
                           f"{input.dtype.tensor_type}")
    result = input / input.norm(p, dim, keepdim=True).clamp_min(eps)
    return result if out is None else out.copy_(result)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along a dimension"""
    check_tensors("cosine_similarity", x1=x1, x2=x2)
    common = dtypes.result_numpy((x1.array, x2.array))
    if common.kind != "f":
        raise RuntimeError("expected common dtype to be floating point, yet common dtype is "
                           f"{dtypes.of(common).tensor_type}")
    x1, x2 = promoted(x1, x2)
    shape = np.broadcast_shapes(x1.array.shape, x2.array.shape)
    x1, x2 = x1.expand(shape), x2.expand(shape)
    product = _directions(x1, dim, eps) * _directions(x2, dim, eps)
    dims = (dim % max(len(shape), 1),) if shape else ()
    return named(sum_over(product, dims, False), "SumBackward1")


def _directions(x, dim: int, eps: float):
    norm = x.norm(2, dim, keepdim=True).clone()
    with no_grad():                           # the bound is on the value alone: the norm's gradient passes
        norm.clamp_min_(eps)
    return x / norm


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last dimension"""
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)
