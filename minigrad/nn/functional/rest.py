"""Functions that go together with one layer each."""

from __future__ import annotations

import numpy as np

from ...composed.shape import repeat
from ...graph import Tensor, Variable, new_tensor
from ...modes import no_grad
from ...names import composite
from ...ops.logic import check_tensors
from .linear import embedding
from .normalization import batch_norm


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1^T W x2 + b, with one matrix W for each output"""
    from ...composed.linalg import einsum
    y = einsum("...n,anm,...m->...a", input1, weight, input2)
    return y if bias is None else y + bias


def instance_norm(input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
                  weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True,
                  momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """Mean 0 and variance 1 in each channel of each sample: batch_norm, where each of them is a channel."""
    check_tensors("instance_norm", input=input)
    shape = input.array.shape
    if use_input_stats and np.prod(shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.size()}")
    b, c = shape[:2]
    wide = [None if p is None else repeat(p, b) for p in (running_mean, running_var, weight, bias)]
    y = batch_norm(input.reshape(1, b * c, *shape[2:]), *wide, use_input_stats, momentum, eps)
    with no_grad():
        for running, new in zip((running_mean, running_var), wide):
            if running is not None and use_input_stats:
                running.copy_(new.reshape(b, c).mean(0))
    return y.reshape(shape)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha mean of x^2 over `size` neighbouring channels)^beta"""
    from .convolution import pad
    from .pooling import avg_pool2d
    if input.array.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.array.ndim} dimensions)")
    squares = (input * input).reshape(input.size(0), 1, input.size(1), -1)
    mean = avg_pool2d(pad(squares, (0, 0, size // 2, (size - 1) // 2)), (size, 1), 1)
    return input / (mean.reshape(input.shape) * alpha + k).pow(beta)


@composite("EmbeddingBag")
def _bags(weight, index: np.ndarray, starts: np.ndarray, mode: str, per_sample, padding_idx):
    rows, ends = embedding(new_tensor(index), weight, padding_idx), np.append(starts[1:], len(index))
    if per_sample is not None:
        rows = rows * per_sample.unsqueeze(1)
    kept = np.ones(len(index), bool) if padding_idx is None else index != padding_idx
    if mode == "max":
        from ...composed.joining import stack
        empty = new_tensor(np.zeros(weight.array.shape[1], weight.array.dtype))
        bags = [np.flatnonzero(kept[a:b]) + a for a, b in zip(starts, ends)]
        return stack([rows[new_tensor(bag)].max(0)[0] if len(bag) else empty for bag in bags])
    member = np.zeros((len(starts), len(index)), weight.array.dtype)        # (bags, rows): which rows a bag holds
    for bag, (a, b) in enumerate(zip(starts, ends)):
        member[bag, a:b] = kept[a:b]
    if mode == "mean":
        member /= np.maximum(member.sum(1, keepdims=True), 1)
    return new_tensor(member) @ rows


def embedding_bag(input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None,
                  norm_type: float = 2, scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
                  per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
                  padding_idx: int | None = None) -> Tensor:
    """The sum, mean or maximum of the rows that each bag names: a bag is a row of `input`, or starts at an offset."""
    check_tensors("embedding_bag", input=input, weight=weight)
    if sparse:
        raise NotImplementedError("embedding_bag: minigrad has no sparse gradients")
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError("embedding_bag: per_sample_weights was not None. per_sample_weights is only "
                                  f"supported for mode='sum' (got mode='{mode}').")
    if input.array.ndim == 2:
        if offsets is not None:
            raise ValueError("if input is 2D, then offsets has to be None, as input is treated is a mini-batch of "
                             f"fixed length sequences. However, found offsets of type {type(offsets)}")
        starts = np.arange(input.size(0)) * input.size(1)
        per_sample_weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    elif input.array.ndim == 1:
        if not isinstance(offsets, Variable):
            raise ValueError("offsets has to be a 1D Tensor but got None")
        starts = offsets.array[:-1] if include_last_offset else offsets.array
        if offsets.array.size and offsets.array[0] != 0:
            raise ValueError(f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
                             f"position 0. However, got {offsets.array[0]}")
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.array.ndim}")
    if max_norm is not None:
        embedding(input, weight, None, max_norm, norm_type)                 # it shortens the rows
    return _bags(weight, input.array.reshape(-1), starts, mode, per_sample_weights, padding_idx)
