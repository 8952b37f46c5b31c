"""Pooling: the largest or the mean of each window; and images in other sizes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import product

import numpy as np

from ...composed.joining import narrow, stack
from ...composed.shape import permute
from ...graph import Tensor, new_tensor
from ...names import composite
from ...ops.logic import check_tensors
from ...ops.reduce import sum_over
from ...ops.shape import permute_dims, reshape_to
from .convolution import _constant_pad
from .spatial import Ints, positions

# ---- windows ----------------------------------------------------------------------------------------------------


def _settings(name: str, n: int, **values: Ints) -> list[tuple[int, ...]]:
    found = []
    for setting, value in values.items():
        value = tuple(value) if isinstance(value, list | tuple) else (value,)
        if len(value) not in (1, n):
            raise RuntimeError(f"{name}: {setting} must either be a single int, or a tuple of {n} ints")
        found.append(value * n if len(value) == 1 else value)
    return found


def _batched(name: str, n: int, input: Tensor) -> Tensor:
    check_tensors(name, input=input)
    if input.array.ndim not in (n + 1, n + 2):
        raise RuntimeError(f"{name}: Expected {n + 1}D or {n + 2}D (batch mode) tensor, but got: {list(input.shape)}")
    return input if input.array.ndim == n + 2 else input.unsqueeze(0)


def _lengths(name: str, shape: Sequence[int], kernel, stride, padding, dilation, ceil_mode: bool) -> list[int]:
    """How many windows there are in each dimension. With ceil_mode the last one may hang over the end, but it starts
    within the input or its left padding."""
    lengths = []
    for m, k, s, p, r in zip(shape, kernel, stride, padding, dilation):
        if s <= 0 or k <= 0:
            raise RuntimeError(f"{name}: kernel_size and stride must be greater than zero")
        if p > (r * (k - 1) + 1) // 2:
            raise RuntimeError(f"{name}: pad should be at most half of effective kernel size, but got pad={p}, "
                               f"kernel_size={k} and dilation={r}")
        room = m + 2 * p - r * (k - 1) - 1
        n = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (n - 1) * s >= m + p:
            n -= 1
        if n < 1:
            raise RuntimeError(f"Given input size: {tuple(shape)}, the calculated output size is too small")
        lengths.append(n)
    return lengths


def _seen(x, kernel, stride, padding, dilation, lengths, value):
    """The input padded so that the windows fit, cut into windows: (B, C, L..., product of K)."""
    n, ends = len(kernel), []
    for m, k, s, p, r, count in zip(x.array.shape[2:], kernel, stride, padding, dilation, lengths):
        ends.append((p, (count - 1) * s + r * (k - 1) + 1 - m - p))
    x = _constant_pad(x, ends[::-1], value)
    seen = positions(x, kernel, stride, dilation)
    return reshape_to(seen, (*seen.array.shape[:2 + n], math.prod(kernel)))


def _max_pool(n: int, input: Tensor, kernel_size: Ints, stride: Ints | None, padding: Ints, dilation: Ints,
              ceil_mode: bool) -> tuple[Tensor, Tensor]:
    name = f"max_pool{n}d"
    x = _batched(name, n, input)
    kernel, stride, padding, dilation = _settings(
        name, n, kernel_size=kernel_size, stride=kernel_size if stride is None or stride == [] else stride,
        padding=padding, dilation=dilation)
    shape = x.array.shape[2:]
    lengths = _lengths(name, shape, kernel, stride, padding, dilation, ceil_mode)
    lowest = -np.inf if x.array.dtype.kind == "f" else int(np.iinfo(x.array.dtype).min)

    @composite(f"MaxPool{n}DWithIndices" if n > 1 else "SqueezeBackward1")
    def pooled(x):
        return tuple(_seen(x, kernel, stride, padding, dilation, lengths, lowest).max(-1))

    values, best = pooled(x)
    flat = np.zeros((), np.int64)
    for d, index in enumerate(np.unravel_index(best.array, kernel)):       # from the place in the window to the input's
        start = np.arange(lengths[d]).reshape((-1,) + (1,) * (n - 1 - d)) * stride[d] - padding[d]
        flat = flat * shape[d] + (start + index * dilation[d])
    indices = new_tensor(flat)
    return (values, indices) if input.array.ndim == n + 2 else (values.squeeze(0), indices.squeeze(0))


def _max_pools(n: int):
    def with_indices(input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0,
                     dilation: Ints = 1, ceil_mode: bool = False, return_indices: bool = False
                     ) -> tuple[Tensor, Tensor]:
        """The largest of each window, and where it is in the flattened input."""
        return _max_pool(n, input, kernel_size, stride, padding, dilation, ceil_mode)

    def pool(input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1,
             ceil_mode: bool = False, return_indices: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """The largest of each window; with return_indices, also where it is in the flattened input."""
        both = _max_pool(n, input, kernel_size, stride, padding, dilation, ceil_mode)
        return both if return_indices else both[0]
    pool.__name__ = pool.__qualname__ = f"max_pool{n}d"
    with_indices.__name__ = with_indices.__qualname__ = f"max_pool{n}d_with_indices"
    return pool, with_indices


max_pool1d, max_pool1d_with_indices = _max_pools(1)
max_pool2d, max_pool2d_with_indices = _max_pools(2)
max_pool3d, max_pool3d_with_indices = _max_pools(3)


def _avg_pool(n: int, input: Tensor, kernel_size: Ints, stride: Ints | None, padding: Ints, ceil_mode: bool,
              count_include_pad: bool, divisor_override: int | None) -> Tensor:
    name = f"avg_pool{n}d"
    x = _batched(name, n, input)
    kernel, stride, padding = _settings(
        name, n, kernel_size=kernel_size, stride=kernel_size if stride is None or stride == [] else stride,
        padding=padding)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    shape, ones = x.array.shape[2:], (1,) * n
    lengths = _lengths(name, shape, kernel, stride, padding, ones, ceil_mode)
    count = np.ones((), np.int64)                       # of what each window holds, maybe with the padding
    for m, k, s, p, length in zip(shape, kernel, stride, padding, lengths):
        start = np.arange(length) * s - p
        end = np.minimum(start + k, m + p)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, m)
        count = count[..., None] * (end - start)
    divisor = new_tensor(count.astype(x.array.dtype)) if divisor_override is None else divisor_override

    @composite(f"AvgPool{n}D" if n > 1 else "SqueezeBackward1")
    def pooled(x):
        seen = _seen(x, kernel, stride, padding, ones, lengths, 0)
        return sum_over(seen, (2 + n,), False) / divisor

    y = pooled(x)
    return y if input.array.ndim == n + 2 else y.squeeze(0)


def avg_pool1d(input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> Tensor:
    """The mean of each window."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Tensor:
    """The mean of each window."""
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None) -> Tensor:
    """The mean of each window."""
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


# ---- a given number of windows ----------------------------------------------------------------------------------

def _bounds(size: int, count: int) -> list[tuple[int, int]]:
    """Where `count` windows that cover `size` elements start and end."""
    return [(i * size // count, -((i + 1) * size // -count)) for i in range(count)]


def _targets(name: str, n: int, input: Tensor, output_size) -> tuple[Tensor, list[int]]:
    x = _batched(name, n, input)
    wanted = [output_size] * n if isinstance(output_size, int) or output_size is None else list(output_size)
    return x, [m if w is None else w for w, m in zip(wanted, x.array.shape[2:])]


def _adaptive_avg(n: int, input: Tensor, output_size) -> Tensor:
    x, wanted = _targets(f"adaptive_avg_pool{n}d", n, input, output_size)

    @composite("SqueezeBackward1" if n == 1 else "MeanBackward1" if wanted == [1] * n else f"AdaptiveAvgPool{n}D")
    def pooled(x):
        for d, count in enumerate(wanted, 2):
            parts = [narrow(x, d, start, end - start).mean(d) for start, end in _bounds(x.array.shape[d], count)]
            x = stack(parts, d)
        return x

    y = pooled(x)
    return y if input.array.ndim == n + 2 else y.squeeze(0)


def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """The means of so many windows as the output has elements."""
    return _adaptive_avg(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The means of so many windows as the output has elements."""
    return _adaptive_avg(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The means of so many windows as the output has elements."""
    return _adaptive_avg(3, input, output_size)


def _adaptive_max(n: int, input: Tensor, output_size) -> tuple[Tensor, Tensor]:
    x, wanted = _targets(f"adaptive_max_pool{n}d", n, input, output_size)
    shape = x.array.shape

    @composite(f"AdaptiveMaxPool{n}D")
    def pooled(x):
        values, places = [], []
        for spans in product(*(_bounds(m, count) for m, count in zip(shape[2:], wanted))):
            part = x[(slice(None), slice(None), *(slice(*span) for span in spans))]
            value, best = part.reshape(*shape[:2], -1).max(-1)
            flat = np.zeros((), np.int64)
            for index, (start, _), m in zip(np.unravel_index(best.array, part.array.shape[2:]), spans, shape[2:]):
                flat = flat * m + start + index
            values.append(value)
            places.append(flat)
        flat = np.stack(places, -1).reshape(*shape[:2], *wanted)
        return stack(values, -1).reshape(*shape[:2], *wanted), new_tensor(flat)

    values, indices = pooled(x)
    return (values, indices) if input.array.ndim == n + 2 else (values.squeeze(0), indices.squeeze(0))


def _adaptive_maxes(n: int):
    def with_indices(input: Tensor, output_size, return_indices: bool = False) -> tuple[Tensor, Tensor]:
        """The largest of so many windows as the output has elements, and where it is in the flattened input."""
        return _adaptive_max(n, input, output_size)

    def pool(input: Tensor, output_size, return_indices: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """The largest of so many windows as the output has elements."""
        both = _adaptive_max(n, input, output_size)
        return both if return_indices else both[0]
    pool.__name__ = pool.__qualname__ = f"adaptive_max_pool{n}d"
    with_indices.__name__ = with_indices.__qualname__ = f"adaptive_max_pool{n}d_with_indices"
    return pool, with_indices


adaptive_max_pool1d, adaptive_max_pool1d_with_indices = _adaptive_maxes(1)
adaptive_max_pool2d, adaptive_max_pool2d_with_indices = _adaptive_maxes(2)
adaptive_max_pool3d, adaptive_max_pool3d_with_indices = _adaptive_maxes(3)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Ints, stride: Ints | None = None,
              ceil_mode: bool = False) -> Tensor:
    """The p-norm of each window."""
    kernel, = _settings("lp_pool2d", 2, kernel_size=kernel_size)
    mean = avg_pool2d(input.pow(norm_type), kernel, stride, 0, ceil_mode)
    return (mean.sign() * mean.abs().relu()).mul(math.prod(kernel)).pow(1.0 / norm_type)


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: int, stride: Ints | None = None,
              ceil_mode: bool = False) -> Tensor:
    """The p-norm of each window."""
    mean = avg_pool1d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return (mean.sign() * mean.abs().relu()).mul(kernel_size).pow(1.0 / norm_type)


# ---- images in other sizes --------------------------------------------------------------------------------------

def interpolate(input: Tensor, size: Ints | None = None, scale_factor: float | Sequence[float] | None = None,
                mode: str = "nearest", align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
                antialias: bool = False) -> Tensor:
    """(N, C, L...) with other lengths: by the nearest element, or linearly between elements."""
    check_tensors("interpolate", input=input)
    n, shape = input.array.ndim - 2, input.array.shape[2:]
    if (size is None) == (scale_factor is None):
        raise ValueError("only one of size or scale_factor should be defined" if size is not None else
                         "either size or scale_factor should be defined")
    if align_corners is not None and mode in ("nearest", "area", "nearest-exact"):
        raise ValueError("align_corners option can only be set with the interpolating modes: linear | bilinear | "
                         "bicubic | trilinear")
    given = size if size is not None else scale_factor
    given = list(given) if isinstance(given, list | tuple) else [given] * n
    if len(given) != n:
        raise ValueError(f"Input and output must have the same number of spatial dimensions, but got input with "
                         f"spatial dimensions of {list(shape)} and output size of {given}.")
    wanted = [int(g) for g in given] if size is not None else [math.floor(m * s) for m, s in zip(shape, given)]
    keep = size is None and not recompute_scale_factor                 # a given factor is used as it is
    ratios = [1 / s if keep else m / w for m, w, s in zip(shape, wanted, given)]
    if antialias:
        raise NotImplementedError("interpolate: antialias=True is not supported here")
    linear = {"linear": 1, "bilinear": 2, "trilinear": 3}
    if mode == "area":
        return _adaptive_avg(n, input, wanted)
    if mode in ("nearest", "nearest-exact"):
        shift = 0.5 if mode != "nearest" else 0.0
        name = f"UpsampleNearest{'Exact' if shift else ''}{n}D"
        return composite(name)(_nearest)(input, wanted, ratios, shift)
    if linear.get(mode) == n or mode == "bicubic" and n == 2:
        name = f"Upsample{mode.title()}{n}D"
        return composite(name)(_cubic if mode == "bicubic" else _linear)(input, wanted, ratios, bool(align_corners))
    raise NotImplementedError(f"Got {n + 2}D input, but {mode} mode needs another number of dimensions, or is not "
                              "one of nearest | linear | bilinear | bicubic | trilinear | area | nearest-exact")


def _nearest(x, wanted, ratios, shift: float):
    for d, (w, ratio) in enumerate(zip(wanted, ratios), 2):
        m = x.array.shape[d]
        index = np.floor((np.arange(w, dtype=np.float32) + np.float32(shift)) * np.float32(ratio)).astype(np.int64)
        x = x.index_select(d, new_tensor(np.minimum(index, m - 1)))
    return x


def _sources(m: int, w: int, ratio: float, corners: bool, dtype, cut: bool = True) -> np.ndarray:
    """Where each output lies among the inputs."""
    real = np.float64 if dtype == np.float64 else np.float32
    at = np.arange(w).astype(real)
    if corners:
        return at * real((m - 1) / (w - 1) if w > 1 else 0)
    at = (at + real(0.5)) * real(ratio) - real(0.5)
    return np.maximum(at, 0) if cut else at


def _linear(x, wanted, ratios, corners: bool):
    for d, (w, ratio) in enumerate(zip(wanted, ratios), 2):
        m = x.array.shape[d]
        at = _sources(m, w, ratio, corners, x.array.dtype)
        low = np.minimum(at.astype(np.int64), m - 1)
        weight = new_tensor((at - low).astype(x.array.dtype).reshape((-1,) + (1,) * (x.array.ndim - 1 - d)))
        high = np.minimum(low + 1, m - 1)
        x = x.index_select(d, new_tensor(low)) * (1 - weight) + x.index_select(d, new_tensor(high)) * weight
    return x


def _cubic(x, wanted, ratios, corners: bool):
    """Keys' cubic with a = -0.75 through the four nearest elements."""
    a = -0.75
    for d, (w, ratio) in enumerate(zip(wanted, ratios), 2):
        m = x.array.shape[d]
        at = _sources(m, w, ratio, corners, x.array.dtype, cut=False)
        low = np.floor(at).astype(np.int64)
        t = at - low
        near = lambda u: ((a + 2) * u - (a + 3)) * u * u + 1                                      # |u| <= 1
        far = lambda u: ((a * u - 5 * a) * u + 8 * a) * u - 4 * a                                 # 1 < |u| < 2
        total = None
        for k, weight in enumerate((far(t + 1), near(t), near(1 - t), far(2 - t)), -1):
            weight = new_tensor(weight.astype(x.array.dtype).reshape((-1,) + (1,) * (x.array.ndim - 1 - d)))
            part = x.index_select(d, new_tensor(np.clip(low + k, 0, m - 1))) * weight
            total = part if total is None else total + part
        x = total
    return x


def upsample(input: Tensor, size=None, scale_factor=None, mode: str = "nearest", align_corners=None) -> Tensor:
    """interpolate's older name."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


# ---- channels and places ----------------------------------------------------------------------------------------

@composite("PixelShuffle")
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C r^2, H, W) -> (..., C, H r, W r)"""
    *lead, c, h, w = input.array.shape
    r = upscale_factor
    if input.array.ndim < 3:
        raise RuntimeError("pixel_shuffle expects input to have at least 3 dimensions, but got input with "
                           f"{input.array.ndim} dimension(s)")
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    if c % r**2:
        raise RuntimeError("pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
                           f"upscale_factor, but input.size(-3)={c} is not divisible by {r**2}")
    k = len(lead)
    x = input.reshape(*lead, c // r**2, r, r, h, w)
    return permute(x, (*range(k), k, k + 3, k + 1, k + 4, k + 2)).reshape(*lead, c // r**2, h * r, w * r)


@composite("PixelUnshuffle")
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H r, W r) -> (..., C r^2, H, W)"""
    *lead, c, h, w = input.array.shape
    r, k = downscale_factor, len(lead)
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    if h % r or w % r:
        raise RuntimeError("pixel_unshuffle expects height and width to be divisible by downscale_factor, but they are "
                           f"{h} and {w}, and the factor is {r}")
    x = input.reshape(*lead, c, h // r, r, w // r, r)
    return permute(x, (*range(k), k, k + 2, k + 4, k + 1, k + 3)).reshape(*lead, c * r * r, h // r, w // r)


@composite("ChannelShuffle")
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """(N, C, ...) with the groups of channels dealt out one after another."""
    b, c, *rest = input.array.shape
    if c % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    x = reshape_to(input, (b, groups, c // groups, *rest))
    return reshape_to(permute_dims(x, (0, 2, 1, *range(3, 3 + len(rest)))), (b, c, *rest))
