"""conv1d, and padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...composed.shape import contiguous
from ...graph import Tensor, new_tensor
from ...names import composite
from ...ops.logic import check_tensors
from ...ops.matmul import matrix_product
from ...ops.promotion import as_scalar, refuse
from ...ops.shape import (
    basic_index,
    clone,
    concatenate,
    expand_to,
    flip_dims,
    narrow_to,
    permute_dims,
    reshape_to,
    windows,
    write,
)
from .common import kernel

# ---- padding ----------------------------------------------------------------------------------------------------


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Widen dimensions: `pad` says by how much before and behind, for the last dimension, the one before it, and so on.
    Negative numbers cut off. What comes in is a constant, the edge ("replicate"), what lies mirrored behind the edge
    ("reflect"), or the other end ("circular")."""
    check_tensors("pad", input=input)
    pads = _pads(pad, input.array.ndim)
    if mode == "constant":
        return _constant_pad(input, pads, 0 if value is None else value)
    if mode not in _BORDERS:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if value is not None and value != 0:
        raise RuntimeError(f"Padding mode \"{mode}\" doesn't take in value argument")
    count = len(pads)
    if not 1 <= count <= 3 or input.array.ndim not in (count + 1, count + 2):
        raise NotImplementedError(
            f"Padding size {2 * count} is not supported for {input.array.ndim}D input tensor.\nSupported combinations "
            "for non-constant padding:\n  - 2D or 3D input: padding size = 2 (pads last dimension)\n  - 3D or 4D "
            "input: padding size = 4 (pads last 2 dimensions)\n  - 4D or 5D input: padding size = 6 (pads last 3 "
            "dimensions)")
    if mode == "circular":
        return _pad_by(mode, input, pads)
    if not all(input.array.shape[-1 - count:]):
        raise RuntimeError(f"Expected {count + 1}D or {count + 2}D (batch mode) tensor with possibly 0 batch size and "
                           f"other non-zero dimensions for input, but got: {list(input.array.shape)}")
    padded = _pad_by(mode, input, pads)
    if not all(padded.array.shape[-count:]):
        raise RuntimeError(f"input {list(input.array.shape)} is too small. Calculated output "
                           f"{list(padded.array.shape)}")
    refuse(f"{'reflection' if mode == 'reflect' else 'replication'}_pad{count}d", "b", input)
    return padded


def _pads(pad: Sequence[int], ndim: int) -> list[tuple[int, int]]:
    """(before, behind) for the last dimension, the one before it, and so on."""
    if not isinstance(pad, list | tuple):
        raise TypeError(f"pad(): argument 'pad' (position 2) must be tuple of ints, not {type(pad).__name__}")
    for i, n in enumerate(pad):
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise TypeError("pad(): argument 'pad' (position 2) must be tuple of ints, but found element of type "
                            f"{type(n).__name__} at pos {i}")
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pad) > 2 * ndim:
        raise RuntimeError("Padding length should be less than or equal to two times the input dimension but got "
                           f"padding length {len(pad)} and input of dimension {ndim}")
    numbers = [int(n) for n in pad]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


@composite("ConstantPadNd")
def _constant_pad(input, pads, value):
    shape, before = list(input.array.shape), [0] * input.array.ndim
    for d, (front, back) in enumerate(pads):
        shape[-1 - d] += front + back
        before[-1 - d] = front
        if shape[-1 - d] < 0:
            raise RuntimeError("narrow(): length must be non-negative." if front < 0 and back < 0 else
                               f"The input size {input.array.shape[-1 - d]}, plus negative padding {front} and {back} "
                               "resulted in a negative output size, which is invalid. Check dimension "
                               f"{input.array.ndim - 1 - d} of your input.")
    sizes = input.array.shape
    source = tuple(slice(max(-b, 0), max(min(n, m - b), 0)) for n, m, b in zip(sizes, shape, before, strict=True))
    target = tuple(slice(max(b, 0), max(b, 0) + s.stop - s.start) for b, s in zip(before, source, strict=True))
    if all(n <= 0 for pair in pads for n in pair):
        return clone(basic_index(input, source))
    frame = np.zeros(shape, input.array.dtype)
    if value:
        frame[...] = as_scalar(value, frame.dtype)
    return write(new_tensor(frame), basic_index(input, source), ((), basic_index, (target,)))


def _mirrored(x, dim: int, front: int, back: int, n: int):
    if front >= n or back >= n:
        raise RuntimeError("Argument #4: Padding size should be less than the corresponding input dimension, but got: "
                           f"padding ({front}, {back}) at dimension {dim} of input {list(x.shape)}")
    return (flip_dims(narrow_to(x, dim, 1, front), (dim,)), flip_dims(narrow_to(x, dim, n - 1 - back, back), (dim,)))


def _edges(x, dim: int, front: int, back: int, n: int):
    return tuple(expand_to(narrow_to(x, dim, at, 1), tuple(size if d == dim else s for d, s in enumerate(x.shape)))
                 for at, size in ((0, front), (n - 1, back)))


def _around(x, dim: int, front: int, back: int, n: int):
    if front > n or back > n:
        raise RuntimeError("Padding value causes wrapping around more than once.")
    return narrow_to(x, dim, n - front, front), narrow_to(x, dim, 0, back)


_BORDERS = {"reflect": (_mirrored, "ReflectionPad"), "replicate": (_edges, "ReplicationPad"),
            "circular": (_around, None)}


def _pad_by(mode: str, input, pads):
    border, name = _BORDERS[mode]

    @composite("CopySlices" if name is None else f"{name}{len(pads)}D")
    def padded(x):
        for d, (front, back) in enumerate(pads):
            dim = x.array.ndim - 1 - d
            n = x.array.shape[dim]
            whole, kept = x, max(n + min(front, 0) + min(back, 0), 0)
            x = narrow_to(x, dim, max(-front, 0), kept)
            seen, n = (x, kept) if mode == "circular" else (whole, n)         # what wraps around is what is left of it
            before, behind = border(seen, dim, max(front, 0), max(back, 0), n)
            start, end = before.shape[dim], before.shape[dim] + x.shape[dim]
            x = concatenate(dim, (0, start, end), before, x, behind)
        return x
    return padded(input)


# ---- convolution ------------------------------------------------------------------------------------------------

@kernel("Convolution")
def _conv1d(input, weight, bias, stride, padding, dilation, groups):
    """The windows of all positions side by side are a matrix, and the convolution is its product with the weight."""
    if any(padding):
        input = _constant_pad(input, [padding], 0)
    batch, channels, _ = input.array.shape
    out, inner, size = weight.array.shape
    seen = windows(input, 2, dilation * (size - 1) + 1, stride)         # (batch, channels, positions, window)
    if dilation > 1:
        seen = basic_index(seen, (slice(None),) * 3 + (slice(None, None, dilation),))
    positions = seen.array.shape[2]
    columns = reshape_to(permute_dims(reshape_to(seen, (batch, groups, inner, positions, size)), (1, 0, 3, 2, 4)),
                         (groups, batch * positions, inner * size))
    kernels = permute_dims(reshape_to(weight, (groups, out // groups, inner * size)), (0, 2, 1))
    y = reshape_to(matrix_product(columns, kernels), (groups, batch, positions, out // groups))
    y = contiguous(reshape_to(permute_dims(y, (1, 0, 3, 2)), (batch, out, positions)))
    return y if bias is None else y + reshape_to(bias, (out, 1))


def conv1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int | Sequence[int] = 1,
           padding: int | Sequence[int] | str = 0, dilation: int | Sequence[int] = 1, groups: int = 1) -> Tensor:
    """Slide `weight` (out, in / groups, size) along `input` ((N,) in, length), and sum up the products"""
    check_tensors("conv1d", input=input, weight=weight)
    x, w = input.array.shape, weight.array.shape
    if len(x) not in (2, 3):
        raise RuntimeError(f"Expected 2D (unbatched) or 3D (batched) input to conv1d, but got input of size: {list(x)}")
    stride, dilation = _single("stride", stride), _single("dilation", dilation)
    if isinstance(padding, str) and padding not in ("same", "valid"):
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    if len(w) < 3:
        raise RuntimeError("weight should have at least three dimensions")
    if padding == "same":
        if stride != 1:
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        total = dilation * (w[2] - 1)
        sides = (total // 2, total - total // 2)
    else:
        sides = (0 if padding == "valid" else _single("padding", padding),) * 2
    _check_conv(input, weight, bias, stride, sides, dilation, groups)
    if len(x) == 3:
        return _conv1d(input, weight, bias, stride, sides, dilation, groups)
    return _conv1d(input.unsqueeze(0), weight, bias, stride, sides, dilation, groups).squeeze(0)


def _single(name: str, n: int | Sequence[int]) -> int:
    values = list(n) if isinstance(n, list | tuple) else [n]
    if len(values) != 1:
        raise RuntimeError(f"expected {name} to be a single integer value or a list of 1 values to match the "
                           f"convolution dimensions, but got {name}={values}")
    return values[0]


def _check_conv(input, weight, bias, stride, sides, dilation, groups) -> None:
    x, w = input.array.shape, weight.array.shape
    batched = [1, *x] if len(x) == 2 else list(x)
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if min(sides) < 0:
        raise RuntimeError("negative padding is not supported")
    if stride <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if dilation <= 0:
        raise RuntimeError(f"dilation should be greater than zero, but got {dilation}")
    if w[0] < groups:
        raise RuntimeError(f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got "
                           f"weight of size {list(w)} instead")
    if w[0] % groups:
        raise RuntimeError(f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but "
                           f"got weight of size [{list(w)}] instead")
    if batched[1] != w[1] * groups:
        raise RuntimeError(f"Given groups={groups}, weight of size {list(w)}, expected input{batched} to have "
                           f"{w[1] * groups} channels, but got {batched[1]} channels instead")
    if bias is not None and bias.array.shape != (w[0],):
        raise RuntimeError(f"Given weight of size {list(w)}, expected bias to be 1-dimensional with {w[0]} elements, "
                           f"but got bias of size {list(bias.shape)} instead")
    padded, reach = batched[2] + sum(sides), dilation * (w[2] - 1) + 1
    if padded < reach:
        raise RuntimeError(f"Calculated padded input size per channel: ({padded}). Kernel size: ({reach}). Kernel "
                           "size can't be greater than actual input size")
    dtype = input.array.dtype
    if batched[0] and (dtype.kind == "b" or dilation > 1 and dtype.kind in "iu" and dtype != np.int64):
        raise NotImplementedError(f'"slow_conv{"_dilated<>" if dilation > 1 else "2d_cpu"}" not implemented for '
                                  f"{input.dtype.tensor_type!r}")
    if weight.array.dtype != input.array.dtype:
        raise RuntimeError(f"expected scalar type {input.dtype.tensor_type} but found {weight.dtype.tensor_type}")
    if bias is not None and bias.array.dtype != input.array.dtype:
        raise RuntimeError(f"Input type ({input.dtype.alias}) and bias type ({bias.dtype.alias}) should be the same")
