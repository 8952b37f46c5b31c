"""Pooling layers."""

from __future__ import annotations

from collections.abc import Sequence

from ...graph import Tensor
from .. import functional as F
from .module import Module

Ints = int | tuple[int, ...]


class _MaxPoolNd(Module):
    _n: int

    def __init__(self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1,
                 return_indices: bool = False, ceil_mode: bool = False):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride if stride is not None else kernel_size
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        pool = getattr(F, f"max_pool{self._n}d")
        return pool(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
                    self.return_indices)

    def extra_repr(self) -> str:
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
                f"dilation={self.dilation}, ceil_mode={self.ceil_mode}")


class MaxPool1d(_MaxPoolNd):
    """The largest of each window of ((N,) C, L)."""

    _n = 1


class MaxPool2d(_MaxPoolNd):
    """The largest of each window of ((N,) C, H, W)."""

    _n = 2


class MaxPool3d(_MaxPoolNd):
    """The largest of each window of ((N,) C, D, H, W)."""

    _n = 3


class AvgPool1d(Module):
    """The mean of each window of ((N,) C, L)."""

    def __init__(self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True):
        super().__init__()
        self.kernel_size, self.stride, self.padding = (
            (v,) if isinstance(v, int) else v
            for v in (kernel_size, kernel_size if stride is None else stride, padding))
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPoolNd(Module):
    _n: int

    def __init__(self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True, divisor_override: int | None = None):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride if stride is not None else kernel_size
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        pool = getattr(F, f"avg_pool{self._n}d")
        return pool(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
                    self.divisor_override)

    extra_repr = AvgPool1d.extra_repr


class AvgPool2d(_AvgPoolNd):
    """The mean of each window of ((N,) C, H, W)."""

    _n = 2


class AvgPool3d(_AvgPoolNd):
    """The mean of each window of ((N,) C, D, H, W)."""

    _n = 3


class _AdaptiveAvgPoolNd(Module):
    _n: int

    def __init__(self, output_size: int | Sequence[int | None]):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return getattr(F, f"adaptive_avg_pool{self._n}d")(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """The means of so many windows as the output has elements."""

    _n = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """The means of so many windows as the output has elements."""

    _n = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """The means of so many windows as the output has elements."""

    _n = 3


class _AdaptiveMaxPoolNd(_AdaptiveAvgPoolNd):
    def __init__(self, output_size: int | Sequence[int | None], return_indices: bool = False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return getattr(F, f"adaptive_max_pool{self._n}d")(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The largest of so many windows as the output has elements."""

    _n = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The largest of so many windows as the output has elements."""

    _n = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The largest of so many windows as the output has elements."""

    _n = 3


class _LPPoolNd(Module):
    _n: int

    def __init__(self, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False):
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        pool = getattr(F, f"lp_pool{self._n}d")
        return pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"ceil_mode={self.ceil_mode}")


class LPPool1d(_LPPoolNd):
    """The p-norm of each window."""

    _n = 1


class LPPool2d(_LPPoolNd):
    """The p-norm of each window."""

    _n = 2
