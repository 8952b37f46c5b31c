"""Layers that widen their input by a border."""

from __future__ import annotations

from ...graph import Tensor
from .. import functional as F
from .module import Module


class _PadNd(Module):
    """`padding` says by how much before and behind, the last dimension first; one number goes for all sides."""

    _n: int
    _mode = "constant"

    def __init__(self, padding: int | tuple[int, ...]):
        super().__init__()
        self.padding = (padding,) * 2 * self._n if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_PadNd):
    def __init__(self, padding: int | tuple[int, ...], value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPadNd(_ConstantPadNd):
    def __init__(self, padding: int | tuple[int, ...]):
        super().__init__(padding, 0.0)

    extra_repr = _PadNd.extra_repr


class ConstantPad1d(_ConstantPadNd):
    """A border of a constant."""

    _n = 1


class ConstantPad2d(_ConstantPadNd):
    """A border of a constant."""

    _n = 2


class ConstantPad3d(_ConstantPadNd):
    """A border of a constant."""

    _n = 3


class ZeroPad1d(_ZeroPadNd):
    """A border of zeros."""

    _n = 1


class ZeroPad2d(_ZeroPadNd):
    """A border of zeros."""

    _n = 2


class ZeroPad3d(_ZeroPadNd):
    """A border of zeros."""

    _n = 3


class ReflectionPad1d(_PadNd):
    """What lies mirrored behind the edge."""

    _n, _mode = 1, "reflect"


class ReflectionPad2d(_PadNd):
    """What lies mirrored behind the edge."""

    _n, _mode = 2, "reflect"


class ReflectionPad3d(_PadNd):
    """What lies mirrored behind the edge."""

    _n, _mode = 3, "reflect"


class ReplicationPad1d(_PadNd):
    """The edge, repeated."""

    _n, _mode = 1, "replicate"


class ReplicationPad2d(_PadNd):
    """The edge, repeated."""

    _n, _mode = 2, "replicate"


class ReplicationPad3d(_PadNd):
    """The edge, repeated."""

    _n, _mode = 3, "replicate"


class CircularPad1d(_PadNd):
    """The other end."""

    _n, _mode = 1, "circular"


class CircularPad2d(_PadNd):
    """The other end."""

    _n, _mode = 2, "circular"


class CircularPad3d(_PadNd):
    """The other end."""

    _n, _mode = 3, "circular"
