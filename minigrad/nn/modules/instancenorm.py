"""Normalisation of each channel of each sample."""

from __future__ import annotations

import warnings

from ...graph import Tensor
from .. import functional as F
from .batchnorm import _BatchNorm


class _InstanceNorm(_BatchNorm):
    """By channel and sample. Keeps no running statistics, if it is not told to."""

    _dims: tuple[int, int]                     # the dimensions of an input without and with a batch

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
                 track_running_stats: bool = False, device=None, dtype=None, *, bias: bool = True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        channels = input.size(input.dim() - self._dims[0])
        if channels != self.num_features:
            if self.affine:
                raise ValueError(f"expected input's size at dim={input.dim() - self._dims[0]} to match num_features "
                                 f"({self.num_features}), but got: {channels}.")
            warnings.warn(f"input's size at dim={input.dim() - self._dims[0]} does not match num_features. You can "
                          "silence this warning by not passing in num_features, which is not used because "
                          "affine=False", stacklevel=2)
        own = self.training or not self.track_running_stats
        x = input.unsqueeze(0) if input.dim() == self._dims[0] else input
        y = F.instance_norm(x, self.running_mean, self.running_var, self.weight, self.bias, own,
                            0.0 if self.momentum is None else self.momentum, self.eps)
        return y.squeeze(0) if input.dim() == self._dims[0] else y


class InstanceNorm1d(_InstanceNorm):
    """Of ((N,) C, L)."""

    _dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Of ((N,) C, H, W)."""

    _dims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Of ((N,) C, D, H, W)."""

    _dims = (4, 5)
