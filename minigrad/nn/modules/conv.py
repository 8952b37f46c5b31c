"""Convolutions, and their transposes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...graph import Tensor
from .. import functional as F
from ..init import kaiming_uniform_, uniform_
from .linear import uninitialised
from .module import Module

_PADDINGS = {"valid", "same"}
_MODES = {"zeros", "reflect", "replicate", "circular"}

Ints = int | tuple[int, ...]


def per_dimension(value: Ints, n: int) -> tuple[int, ...]:
    """A setting for each of n dimensions, or one for all."""
    return tuple(value) if isinstance(value, Sequence) else (value,) * n


class _ConvNd(Module):
    """What convolutions have in common: settings, weights and how they are shown."""

    transposed = False
    _n: int                                    # in how many dimensions

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Ints, stride: Ints, padding: str | Ints,
                 dilation: Ints, groups: int, bias: bool, padding_mode: str, device, dtype, output_padding: Ints = 0):
        super().__init__()
        n = self._n
        stride = per_dimension(stride, n)
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in _PADDINGS:
                raise ValueError(f"Invalid padding string {padding!r}, should be one of {_PADDINGS}")
            if padding == "same" and any(s != 1 for s in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _MODES:
            raise ValueError(f"padding_mode must be one of {_MODES}, but got padding_mode='{padding_mode}'")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.dilation = per_dimension(kernel_size, n), per_dimension(dilation, n)
        self.stride, self.output_padding = stride, per_dimension(output_padding, n)
        self.padding = padding if isinstance(padding, str) else per_dimension(padding, n)
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = uninitialised((first, second // groups, *self.kernel_size), device, dtype)
        if bias:
            self.bias = uninitialised((out_channels,), device, dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Both uniform within 1 / sqrt(the number of inputs of one output)."""
        kaiming_uniform_(self.weight, a=math.sqrt(5))
        fan_in = self.weight.array[0].size if self.weight.array.shape[0] else 0
        if self.bias is not None and fan_in:
            uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def forward(self, input: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._sides(), mode=self.padding_mode), 0
        convolve = getattr(F, f"conv{self._n}d")
        return convolve(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _sides(self) -> list[int]:
        """The padding as F.pad takes it: the last dimension first."""
        if not isinstance(self.padding, str):
            return [p for p in reversed(self.padding) for _ in range(2)]
        totals = [r * (k - 1) if self.padding == "same" else 0 for r, k in zip(self.dilation, self.kernel_size)]
        return [side for t in reversed(totals) for side in (t // 2, t - t // 2)]

    def extra_repr(self) -> str:
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, default in (("padding", (0,) * self._n), ("dilation", (1,) * self._n),
                              ("output_padding", (0,) * self._n), ("groups", 1)):
            value = getattr(self, name)
            shown += f", {name}={value}" if value != default else ""
        shown += ", bias=False" if self.bias is None else ""
        return shown + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")


class Conv1d(_ConvNd):
    """Windows of the input (N, in, length), as long as the kernel, times the weight."""

    _n = 1

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Ints, stride: Ints = 1,
                 padding: str | Ints = 0, dilation: Ints = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", device=None, dtype=None):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
                         device, dtype)


class Conv2d(_ConvNd):
    """Windows of the input (N, in, height, width), as large as the kernel, times the weight."""

    _n = 2

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Ints, stride: Ints = 1,
                 padding: str | Ints = 0, dilation: Ints = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", device=None, dtype=None):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
                         device, dtype)


class Conv3d(_ConvNd):
    """Windows of the input (N, in, depth, height, width), as large as the kernel, times the weight."""

    _n = 3

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Ints, stride: Ints = 1,
                 padding: str | Ints = 0, dilation: Ints = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", device=None, dtype=None):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
                         device, dtype)


class _ConvTransposeNd(_ConvNd):
    transposed = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Ints, stride: Ints = 1, padding: Ints = 0,
                 output_padding: Ints = 0, groups: int = 1, bias: bool = True, dilation: Ints = 1,
                 padding_mode: str = "zeros", device=None, dtype=None):
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
                         device, dtype, output_padding)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self.output_padding
        if output_size is not None:                # chosen among the sizes that a convolution would have brought here
            wanted = list(output_size)[-self._n:]
            smallest = [(m - 1) * s - 2 * p + r * (k - 1) + 1 for m, s, p, r, k in zip(
                input.shape[-self._n:], self.stride, self.padding, self.dilation, self.kernel_size)]
            extra = tuple(w - m for w, m in zip(wanted, smallest))
            if any(not 0 <= e < s for e, s in zip(extra, self.stride)):
                largest = [m + s - 1 for m, s in zip(smallest, self.stride)]
                raise ValueError(f"requested an output size of {wanted}, but valid sizes range from {smallest} to "
                                 f"{largest} (for an input of {list(input.shape[2:])})")
        convolve = getattr(F, f"conv_transpose{self._n}d")
        return convolve(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)


class ConvTranspose1d(_ConvTransposeNd):
    """Adds up copies of the kernel, scaled by the input (N, in, length)."""

    _n = 1


class ConvTranspose2d(_ConvTransposeNd):
    """Adds up copies of the kernel, scaled by the input (N, in, height, width)."""

    _n = 2


class ConvTranspose3d(_ConvTransposeNd):
    """Adds up copies of the kernel, scaled by the input (N, in, depth, height, width)."""

    _n = 3
