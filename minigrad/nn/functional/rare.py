"""Functions that few networks have: max_unpool, rrelu, the margin loss of several labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...composed.elementwise import maximum
from ...creation import zeros_like
from ...graph import Tensor, new_tensor
from ...names import named
from ...ops.elementwise import where
from ...ops.logic import check_tensors
from .common import check_reduction
from .margin import Flags, _reduced
from .pooling import Ints
from .spatial import sizes


def _max_unpool(n: int, input: Tensor, indices: Tensor, kernel_size: Ints, stride: Ints | None, padding: Ints,
                output_size: Sequence[int] | None) -> Tensor:
    name = f"max_unpool{n}d"
    check_tensors(name, input=input, indices=indices)
    if input.shape != indices.shape:
        raise RuntimeError(f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) "
                           f"but got indices tensor with shape: {list(indices.shape)}")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(f"Input to {name} should be a {n + 1}d or {n + 2}d Tensor, but got {input.dim()}d")
    kernel, padding = sizes("kernel_size", kernel_size, n), sizes("padding", padding, n)
    stride = kernel if stride is None or stride == [] else sizes("stride", stride, n)
    default = [(m - 1) * s - 2 * p + k for m, s, p, k in zip(input.shape[-n:], stride, padding, kernel)]
    target = default if output_size is None else list(output_size)[-n:]
    for want, usual, step in zip(target, default, stride):
        if not usual - step < want < usual + step and output_size is not None:
            raise ValueError(f"invalid output_size {list(output_size)} (dims must be within a stride of {default})")
    lead, total = input.shape[:-n], int(np.prod(target))
    if indices.numel() and not 0 <= int(indices.array.min()) <= int(indices.array.max()) < total:
        raise RuntimeError(f"Found an invalid max index: {int(indices.array.max())} (output volumes are of size "
                           f"{'x'.join(map(str, target))})")
    flat = new_tensor(np.zeros((*lead, total), input.array.dtype))
    out = flat.scatter(-1, indices.reshape(*lead, -1), input.reshape(*lead, -1)).reshape(*lead, *target)
    return named(out, f"MaxUnpool{max(n, 2)}D")


def max_unpool1d(input: Tensor, indices: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:
    """Maxima back in their places, and zeros around them."""
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(input: Tensor, indices: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:
    """Maxima back in their places, and zeros around them."""
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(input: Tensor, indices: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:
    """Maxima back in their places, and zeros around them."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


def rrelu(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False,
          inplace: bool = False) -> Tensor:
    """x, or below zero x times a slope: of each number its own in training, and the middle one afterwards."""
    check_tensors("rrelu", input=input)
    if lower > upper:
        raise RuntimeError(f"Lower bound should be less than or equal to the upper bound. lower: {lower}, "
                           f"upper: {upper}")
    if training:
        below = input.array <= 0
        slopes = np.ones(input.array.shape, input.array.dtype)
        slopes[below] = new_tensor(np.empty(int(below.sum()))).uniform_(lower, upper).array
        out = named(input * new_tensor(slopes), "RreluWithNoise")
    else:
        out = named(where(input > 0, input, input * ((lower + upper) / 2)), "RreluWithNoise")
    return input.copy_(out) if inplace else out


def rrelu_(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Tensor:
    return rrelu(input, lower, upper, training, inplace=True)


def multilabel_margin_loss(input: Tensor, target: Tensor, size_average: Flags = None, reduce: Flags = None,
                           reduction: str = "mean") -> Tensor:
    """sum of max(0, 1 - (x[label] - x[other])) over the labels, which a -1 ends, and all others, by class"""
    reduction = check_reduction(reduction, size_average, reduce)
    x, labels = (input, target) if input.dim() > 1 else (input.reshape(1, -1), target.reshape(1, -1))
    ids = labels.array
    listed = np.cumprod(ids >= 0, -1).astype(bool)
    ids = np.where(listed, ids, 0)
    is_label = np.zeros(x.array.shape, bool)
    rows = np.broadcast_to(np.arange(ids.shape[0])[:, None], ids.shape)
    is_label[rows[listed], ids[listed]] = True
    gaps = 1 - (x.gather(1, new_tensor(ids)).unsqueeze(2) - x.unsqueeze(1))                 # (N, label, class)
    gaps = maximum(gaps, zeros_like(gaps)) * new_tensor((listed[:, :, None] & ~is_label[:, None]).astype(x.array.dtype))
    loss = gaps.sum((1, 2)) / x.shape[1]
    return _reduced(loss if input.dim() > 1 else loss[0], reduction)
