"""Images read at any places: grid_sample, and the grids of affine maps."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence

import numpy as np

from ...composed.index import gather, where
from ...composed.joining import stack
from ...creation import linspace
from ...graph import Tensor, new_tensor
from ...names import named
from ...ops.logic import check_tensors


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """For an output of this size (N, C, H, W) or (N, C, D, H, W), where each of its places lies in the input."""
    check_tensors("affine_grid", theta=theta)
    n = len(size) - 2
    if n not in (2, 3):
        raise NotImplementedError("affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
                                  f"respectively. Got size {size}.")
    if theta.dim() != 3 or tuple(theta.shape[1:]) != (n, n + 1):
        raise ValueError(f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {size}. Got "
                         f"{theta.shape}.")
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if align_corners is None:
        _warn_of_corners("affine_grid")
    axes = [linspace(-1, 1, m, dtype=theta.dtype) * (1 if align_corners or m == 1 else (m - 1) / m) for m in size[2:]]
    axes = [a * 0 if m == 1 else a for a, m in zip(axes, size[2:])]
    places = [a.reshape([-1 if d == k else 1 for d in range(n)]).expand(size[2:]) for k, a in enumerate(axes)]
    base = stack([*places[::-1], places[0] * 0 + 1], -1).reshape(1, -1, n + 1)                    # (x, y, (z,) 1)
    return named((base @ theta.mT).reshape(size[0], *size[2:], n), "AffineGridGenerator")


def _warn_of_corners(name: str) -> None:
    warnings.warn(f"Default {name} behavior has changed to align_corners=False since 1.3.0. Please specify "
                  f"align_corners=True if the old behavior is desired. See the documentation of {name} for details.",
                  stacklevel=3)


def grid_sample(input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros",
                align_corners: bool | None = None) -> Tensor:
    """The input (N, C, H, W) at the places grid[n, h, w] = (x, y), where -1 and 1 are its edges (or its outermost
    elements, with align_corners); or the same in three dimensions."""
    check_tensors("grid_sampler", input=input, grid=grid)
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError("nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but "
                         f"got: '{mode}'")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError("nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
                         f"'reflection', but got: '{padding_mode}'")
    if align_corners is None:
        _warn_of_corners("grid_sample")
    n = input.dim() - 2
    if n not in (2, 3) or grid.dim() != input.dim():
        raise RuntimeError("grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got "
                           f"input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}")
    if input.shape[0] != grid.shape[0] or grid.shape[-1] != n:
        raise RuntimeError(f"grid_sampler(): expected grid to have size {n} in last dimension and input's batch size, "
                           f"but got input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}")
    if input.dtype is not grid.dtype:
        raise RuntimeError("grid_sampler(): expected input and grid to have same dtype, but input has "
                           f"{input.dtype} and grid has {grid.dtype}")
    if 0 in input.shape[2:]:
        raise RuntimeError("grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes "
                           f"{list(input.shape)}")
    if mode == "bicubic" and n != 2:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    lengths, corners = input.shape[2:], bool(align_corners)
    places = [((g + 1) / 2 * (m - 1)) if corners else ((g + 1) * m - 1) / 2
              for g, m in zip(grid.unbind(-1)[::-1], lengths)]                                     # y, x

    def inside(places: list[Tensor]) -> list[Tensor]:
        return [_padded(x, m, padding_mode, corners) for x, m in zip(places, lengths)]

    if mode == "nearest":
        total = _at(input, [x.detach().round() for x in inside(places)])
    elif mode == "bilinear":
        places, total = inside(places), 0
        low = [x.detach().floor() for x in places]
        for corner in itertools.product((0, 1), repeat=n):
            weight = 1
            for x, first, step in zip(places, low, corner):
                weight = weight * ((x - first) if step else (first + 1 - x))
            total = total + _at(input, [first + step for first, step in zip(low, corner)]) * weight.unsqueeze(1)
    else:
        low, total = [x.detach().floor() for x in places], 0
        shares = [_cubic(x - first) for x, first in zip(places, low)]
        for i, j in itertools.product(range(4), repeat=2):
            value = _at(input, inside([low[0] + (i - 1), low[1] + (j - 1)]))
            total = total + value * (shares[0][i] * shares[1][j]).unsqueeze(1)
    return named(total, f"GridSampler{n}D")


def _at(input: Tensor, places: list[Tensor]) -> Tensor:
    """The input at whole places, and zeros outside."""
    lengths, flat, outside = input.shape[2:], 0, False
    for x, m in zip(places, lengths):
        x = x.array
        outside = outside | ~((x >= 0) & (x < m))
        flat = flat * m + np.clip(np.nan_to_num(x), 0, m - 1).astype(np.int64)
    batch, channels = input.shape[:2]
    index = new_tensor(flat).reshape(batch, 1, -1).expand(batch, channels, -1)
    found = gather(input.reshape(batch, channels, -1), 2, index).reshape(batch, channels, *flat.shape[1:])
    return found.masked_fill(new_tensor(outside[:, None]), 0)


def _padded(x: Tensor, m: int, mode: str, corners: bool) -> Tensor:
    """A place outside brought inside. Where it is cut off to the edge, it has no derivative."""
    if mode == "reflection":
        low, span = (0, m - 1) if corners else (-0.5, m)
        if span == 0:
            return x * 0
        x = (x - low).abs()
        flips, rest = (x.detach() / span).floor(), x - (x.detach() / span).floor() * span
        x = where(flips % 2 == 0, rest, span - rest) + low
    if mode != "zeros":
        x = where((x.detach() > 0) & (x.detach() < m - 1), x, x.detach().clamp(0, m - 1))
    return x


def _cubic(t: Tensor) -> list[Tensor]:
    """The weights of the four neighbours of a place at 1 + t, by Keys' kernel with a = -3/4."""
    a = -0.75

    def near(x):
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x):
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]
