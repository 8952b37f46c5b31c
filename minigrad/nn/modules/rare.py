"""Layers that few networks have."""

from __future__ import annotations

from ...graph import Tensor
from .. import functional as F
from .loss import _Loss
from .module import Module
from .pooling import Ints


class RReLU(Module):
    """x, or below zero x times a slope between lower and upper."""

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False):
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")


class _MaxUnpoolNd(Module):
    _n: int

    def __init__(self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0):
        super().__init__()
        stride = kernel_size if stride is None else stride
        self.kernel_size, self.stride, self.padding = (
            (value,) * self._n if isinstance(value, int) else tuple(value) for value in (kernel_size, stride, padding))

    def forward(self, input: Tensor, indices: Tensor, output_size: list[int] | None = None) -> Tensor:
        unpool = getattr(F, f"max_unpool{self._n}d")
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """The way back from MaxPool1d, by its indices."""

    _n = 1


class MaxUnpool2d(_MaxUnpoolNd):
    """The way back from MaxPool2d, by its indices."""

    _n = 2


class MaxUnpool3d(_MaxUnpoolNd):
    """The way back from MaxPool3d, by its indices."""

    _n = 3


class MultiLabelMarginLoss(_Loss):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)
