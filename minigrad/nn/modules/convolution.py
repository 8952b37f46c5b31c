"""Conv1d."""

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


def _single(n: int | Sequence[int]) -> tuple[int, ...]:
    return (n,) if isinstance(n, int) else tuple(n)


class Conv1d(Module):
    """Windows of the input, as long as the kernel, times the weight."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int], stride: int | tuple[int] = 1,
                 padding: str | int | tuple[int] = 0, dilation: int | tuple[int] = 1, groups: int = 1,
                 bias: bool = True, padding_mode: str = "zeros", device=None, dtype=None):
        super().__init__()
        stride = _single(stride)
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in _PADDINGS:
                raise ValueError(f"Invalid padding string {padding!r}, should be one of {_PADDINGS}")
            if padding == "same" and stride != (1,):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _MODES:
            raise ValueError(f"padding_mode must be one of {_MODES}, but got padding_mode='{padding_mode}'")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = _single(kernel_size), stride, _single(dilation)
        self.padding, self.padding_mode = padding if isinstance(padding, str) else _single(padding), padding_mode
        self.weight = uninitialised((out_channels, in_channels // groups, *self.kernel_size), device, dtype)
        if bias:
            self.bias = uninitialised((out_channels,), device, dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Both uniform within 1 / sqrt(the number of inputs of one output)."""
        kaiming_uniform_(self.weight, a=math.sqrt(5))
        fan_in = self.weight.array[0].size if self.out_channels else 0
        if self.bias is not None and fan_in:
            uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def forward(self, input: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._sides(), mode=self.padding_mode), 0
        return F.conv1d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _sides(self) -> tuple[int, int]:
        if not isinstance(self.padding, str):
            return self.padding * 2
        total = self.dilation[0] * (self.kernel_size[0] - 1) if self.padding == "same" else 0
        return total // 2, total - total // 2

    def extra_repr(self) -> str:
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, default in (("padding", (0,)), ("dilation", (1,)), ("groups", 1)):
            value = getattr(self, name)
            shown += f", {name}={value}" if value != default else ""
        shown += ", bias=False" if self.bias is None else ""
        return shown + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")
