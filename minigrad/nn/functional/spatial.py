"""Convolutions in one, two and three dimensions, and their transposes; unfold and fold.

The windows of all positions side by side are a matrix, and a convolution is its product with the weight. Its
transpose goes the other way: each number is spread over a window, and windows that overlap add up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...graph import Tensor, new_tensor
from ...names import composite
from ...ops.logic import check_tensors
from ...ops.matmul import matrix_product
from ...ops.shape import _fold as overlap_add
from ...ops.shape import basic_index, permute_dims, reshape_to, windows, write
from .common import kernel
from .convolution import _constant_pad

Ints = int | Sequence[int]


def sizes(name: str, value: Ints, n: int) -> tuple[int, ...]:
    """A setting for each of n dimensions, or one for all."""
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(values) not in (1, n):
        raise RuntimeError(f"expected {name} to be a single integer value or a list of {n} values to match the "
                           f"convolution dimensions, but got {name}={list(values)}")
    return values * n if len(values) == 1 else values


def positions(x, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]):
    """(B, C, L...) -> (B, C, positions..., kernel...): what a kernel sees from each of its positions."""
    n = len(kernel)
    for d, (k, s, r) in enumerate(zip(kernel, stride, dilation)):
        x = windows(x, 2 + d, r * (k - 1) + 1, s)
    if any(r > 1 for r in dilation):
        x = basic_index(x, (slice(None),) * (2 + n) + tuple(slice(None, None, r) for r in dilation))
    return x


# ---- convolutions -----------------------------------------------------------------------------------------------

@kernel("Convolution")
def _convolution(input, weight, bias, stride, sides, dilation, groups):
    if any(map(any, sides)):
        input = _constant_pad(input, sides[::-1], 0)
    batch, (out, inner, *kernel) = input.array.shape[0], weight.array.shape
    n, size = len(kernel), math.prod(kernel)
    seen = positions(input, kernel, stride, dilation)                             # (B, C, L..., K...)
    places = seen.array.shape[2:2 + n]
    seen = reshape_to(seen, (batch, groups, inner, *places, *kernel))
    order = (1, 0, *range(3, 3 + n), 2, *range(3 + n, 3 + 2 * n))                 # (G, B, L..., C/G, K...)
    columns = reshape_to(permute_dims(seen, order), (groups, batch * math.prod(places), inner * size))
    kernels = permute_dims(reshape_to(weight, (groups, out // groups, inner * size)), (0, 2, 1))
    y = reshape_to(matrix_product(columns, kernels), (groups, batch, *places, out // groups))
    y = reshape_to(permute_dims(y, (1, 0, 2 + n, *range(2, 2 + n))), (batch, out, *places))
    return y if bias is None else y + reshape_to(bias, (out,) + (1,) * n)


def _conv(n: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints | str,
          dilation: Ints, groups: int) -> Tensor:
    name = f"conv{n}d"
    check_tensors(name, input=input, weight=weight)
    x, w = input.array.shape, weight.array.shape
    if len(x) not in (n + 1, n + 2):
        raise RuntimeError(f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of "
                           f"size: {list(x)}")
    stride, dilation = sizes("stride", stride, n), sizes("dilation", dilation, n)
    if len(w) != n + 2:
        raise RuntimeError(f"weight should have at least three dimensions and as many as the input, {n + 2}, but its "
                           f"size is {list(w)}")
    if padding == "same":
        if any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        totals = [r * (k - 1) for r, k in zip(dilation, w[2:])]
        sides = [(t // 2, t - t // 2) for t in totals]
    elif isinstance(padding, str) and padding != "valid":
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    else:
        sides = [(p, p) for p in sizes("padding", 0 if padding == "valid" else padding, n)]
    batched = input if len(x) == n + 2 else input.unsqueeze(0)
    _check(batched, weight, bias, stride, dilation, sides, groups, w[0], w[1] * groups)
    padded = [m + sum(side) for m, side in zip(batched.array.shape[2:], sides)]
    reach = [r * (k - 1) + 1 for r, k in zip(dilation, w[2:])]
    if any(m < r for m, r in zip(padded, reach)):
        raise RuntimeError("Calculated padded input size per channel: ({}). Kernel size: ({}). Kernel size can't be "
                           "greater than actual input size".format(" x ".join(map(str, padded)),
                                                                   " x ".join(map(str, reach))))
    y = _convolution(batched, weight, bias, stride, sides, dilation, groups)
    return y if len(x) == n + 2 else y.squeeze(0)


def _check(x, weight, bias, stride, dilation, sides, groups: int, out: int, channels: int) -> None:
    shape, w = list(x.array.shape), list(weight.array.shape)
    for text, wrong in (("non-positive groups is not supported", groups <= 0),
                        ("negative padding is not supported", any(min(side) < 0 for side in sides)),
                        ("non-positive stride is not supported", min(stride) <= 0),
                        (f"dilation should be greater than zero, but got {list(dilation)}", min(dilation) <= 0)):
        if wrong:
            raise RuntimeError(text)
    if w[0] % groups:
        raise RuntimeError(f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but "
                           f"got weight of size [{w}] instead")
    if shape[1] != channels:
        raise RuntimeError(f"Given groups={groups}, weight of size {w}, expected input{shape} to have {channels} "
                           f"channels, but got {shape[1]} channels instead")
    if bias is not None and bias.array.shape != (out,):
        raise RuntimeError(f"Given weight of size {w}, expected bias to be 1-dimensional with {out} elements, but got "
                           f"bias of size {list(bias.shape)} instead")
    for other, what in ((weight, "weight"), (bias, "bias")):
        if other is not None and other.array.dtype != x.array.dtype:
            raise RuntimeError(f"Input type ({x.dtype.alias or x.dtype.name}) and {what} type "
                               f"({other.dtype.alias or other.dtype.name}) should be the same")


def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints | str = 0,
           dilation: Ints = 1, groups: int = 1) -> Tensor:
    """Slide `weight` (out, in / groups, height, width) over `input` ((N,) in, height, width); sum up the products."""
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints | str = 0,
           dilation: Ints = 1, groups: int = 1) -> Tensor:
    """Slide `weight` (out, in / groups, depth, height, width) through `input`; sum up the products."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


# ---- transposed convolutions ------------------------------------------------------------------------------------

def spread(x, stride: Sequence[int]):
    """(B, C, positions..., kernel...) -> (B, C, L...): the adjoint of `positions`, without dilation."""
    n = len(stride)
    for d in reversed(range(n)):
        shape = list(x.array.shape)
        size = shape.pop()
        shape[2 + d] = (shape[2 + d] - 1) * stride[d] + size
        x = overlap_add(x, 2 + d, size, stride[d], tuple(shape))
    return x


def dilated(x, n: int, dilation: Sequence[int]):
    """The last n dimensions with zeros between their elements."""
    if all(r == 1 for r in dilation):
        return x
    shape = list(x.array.shape)
    wide = [*shape[:-n], *(r * (k - 1) + 1 for r, k in zip(dilation, shape[-n:]))]
    index = (slice(None),) * (len(shape) - n) + tuple(slice(None, None, r) for r in dilation)
    return write(new_tensor(np.zeros(wide, x.array.dtype)), x, ((), basic_index, (index,)))


@kernel("Convolution")
def _transposed(input, weight, bias, stride, padding, extra, dilation, groups):
    n = len(stride)
    weight = dilated(weight, n, dilation)
    (batch, channels, *places), (_, inner, *kernel) = input.array.shape, weight.array.shape
    x = reshape_to(input, (batch, groups, channels // groups, math.prod(places)))
    x = permute_dims(x, (1, 0, 3, 2))                                                        # (G, B, L, C/G)
    x = reshape_to(x, (groups, batch * math.prod(places), channels // groups))
    y = matrix_product(x, reshape_to(weight, (groups, channels // groups, inner * math.prod(kernel))))
    y = reshape_to(y, (groups, batch, *places, inner, *kernel))
    y = permute_dims(y, (1, 0, 2 + n, *range(2, 2 + n), *range(3 + n, 3 + 2 * n)))           # (B, G, C, L..., K...)
    y = spread(reshape_to(y, (batch, groups * inner, *places, *kernel)), stride)
    if any(padding) or any(extra):
        y = _constant_pad(y, [(-p, e - p) for p, e in zip(padding, extra)][::-1], 0)
    return y if bias is None else y + reshape_to(bias, (groups * inner,) + (1,) * n)


def _conv_transpose(n: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints,
                    output_padding: Ints, groups: int, dilation: Ints) -> Tensor:
    name = f"conv_transpose{n}d"
    check_tensors(name, input=input, weight=weight)
    x = input.array.shape
    if len(x) not in (n + 1, n + 2):
        raise RuntimeError(f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of "
                           f"size: {list(x)}")
    stride, padding, dilation = sizes("stride", stride, n), sizes("padding", padding, n), sizes("dilation", dilation, n)
    extra = sizes("output_padding", output_padding, n)
    batched = input if len(x) == n + 2 else input.unsqueeze(0)
    _check(batched, weight, bias, stride, dilation, [(p, p) for p in padding], groups, weight.array.shape[1] * groups,
           weight.array.shape[0])
    if any(e >= s and e >= r for e, s, r in zip(extra, stride, dilation)):
        raise RuntimeError("output padding must be smaller than either stride or dilation, but got output_padding: "
                           f"{list(extra)}, stride: {list(stride)}, dilation: {list(dilation)}")
    y = _transposed(batched, weight, bias, stride, padding, extra, dilation, groups)
    return y if len(x) == n + 2 else y.squeeze(0)


def conv_transpose1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints = 0,
                     output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1) -> Tensor:
    """Add up `weight` (in, out / groups, size), scaled by `input` ((N,) in, length), `stride` apart."""
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints = 0,
                     output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1) -> Tensor:
    """Add up `weight` (in, out / groups, height, width), scaled by `input` ((N,) in, height, width)."""
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints = 0,
                     output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1) -> Tensor:
    """Add up `weight` (in, out / groups, depth, height, width), scaled by `input`."""
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


# ---- windows as columns -----------------------------------------------------------------------------------------

@composite("Im2Col")
def _columns(x, kernel, dilation, padding, stride):
    x = _constant_pad(x, [(p, p) for p in padding][::-1], 0)
    seen = positions(x, kernel, stride, dilation)                                 # (B, C, h, w, kh, kw)
    batch, channels, *rest = seen.array.shape
    return reshape_to(permute_dims(seen, (0, 1, 4, 5, 2, 3)), (batch, channels * math.prod(kernel),
                                                               math.prod(rest[:2])))


def unfold(input: Tensor, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1) -> Tensor:
    """((N,) C, height, width) -> ((N,) C x kernel, positions): every window as a column."""
    check_tensors("im2col", input=input)
    if input.array.ndim not in (3, 4):
        raise RuntimeError("Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
                           f"dimensions for input, but got: {list(input.shape)}")
    settings = [sizes(name, value, 2) for name, value in (("kernel_size", kernel_size), ("dilation", dilation),
                                                          ("padding", padding), ("stride", stride))]
    return _columns(input, *settings) if input.array.ndim == 4 else _columns(input.unsqueeze(0), *settings).squeeze(0)


@composite("Col2Im")
def _image(x, output, kernel, dilation, padding, stride):
    batch, columns, _ = x.array.shape
    places = [(m + 2 * p - r * (k - 1) - 1) // s + 1
              for m, k, r, p, s in zip(output, kernel, dilation, padding, stride)]
    x = reshape_to(x, (batch, columns // math.prod(kernel), *kernel, *places))
    y = spread(dilated(permute_dims(x, (0, 1, 4, 5, 2, 3)), 2, dilation), stride)
    ends = [(-p, m + p - n) for m, p, n in zip(output, padding, y.array.shape[2:])]
    return _constant_pad(y, ends[::-1], 0)


def fold(input: Tensor, output_size: Ints, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0,
         stride: Ints = 1) -> Tensor:
    """((N,) C x kernel, positions) -> ((N,) C, height, width): the columns back at their places, overlaps summed."""
    check_tensors("col2im", input=input)
    output, kernel, dilation, padding, stride = settings = [sizes(name, value, 2) for name, value in (
        ("output_size", output_size), ("kernel_size", kernel_size), ("dilation", dilation), ("padding", padding),
        ("stride", stride))]
    shape = input.array.shape
    if len(shape) not in (2, 3):
        raise RuntimeError("Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero "
                           f"dimensions for input, but got: {list(shape)}")
    if shape[-2] % math.prod(kernel):
        raise RuntimeError("Expected size of input's dimension 1 to be divisible by the product of kernel_size, but "
                           f"got input.size(1)={shape[-2]} and kernel_size={kernel}.")
    count = math.prod((m + 2 * p - r * (k - 1) - 1) // s + 1
                      for m, k, r, p, s in zip(output, kernel, dilation, padding, stride))
    if shape[-1] != count:
        raise RuntimeError(f"Given output_size={output}, kernel_size={kernel}, dilation={dilation}, padding={padding}, "
                           f"stride={stride}, expected size of input's dimension 2 to match the calculated number of "
                           f"sliding blocks {count}, but got input.size(2)={shape[-1]}.")
    return _image(input, *settings) if len(shape) == 3 else _image(input.unsqueeze(0), *settings).squeeze(0)
