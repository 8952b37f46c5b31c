"""Layers that learn the number of their inputs from the first one, and are ordinary layers from then on."""

from __future__ import annotations

from ...graph import Tensor
from ..parameter import UninitializedBuffer, UninitializedParameter
from .batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .instancenorm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from .linear import Linear
from .module import Module

_UNINITIALIZED = UninitializedParameter | UninitializedBuffer


class LazyModuleMixin:
    """Before the class of the layer that it becomes. A subclass says how: in `cls_to_become` and
    `initialize_parameters`, which sees the first input. A state dict that is loaded gives its tensors shapes, too."""

    cls_to_become: type[Module] | None = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._take_shapes)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def _own_tensors(self) -> dict[str, Tensor | None]:
        return {**self._parameters, **self._buffers}

    def has_uninitialized_params(self) -> bool:
        return any(isinstance(t, _UNINITIALIZED) for t in self._own_tensors().values())

    def _take_shapes(self, state_dict: dict, prefix: str, *rest) -> None:
        for name, own in self._own_tensors().items():
            given = state_dict.get(prefix + name)
            if isinstance(own, _UNINITIALIZED) and given is not None and not isinstance(given, _UNINITIALIZED):
                own.materialize(given.shape)

    def _infer_parameters(self, module: Module, args: tuple, kwargs: dict | None = None) -> None:
        self.initialize_parameters(*args, **(kwargs or {}))
        if self.has_uninitialized_params():
            raise RuntimeError(f"module {self._get_name()} has not been fully initialized")
        self._initialize_hook.remove()
        self._load_hook.remove()
        del self._initialize_hook, self._load_hook
        if self.cls_to_become is not None:
            self.__class__ = self.cls_to_become


class LazyLinear(LazyModuleMixin, Linear):
    """Linear, whose in_features is the first input's last size."""

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device=None, dtype=None):
        super().__init__(0, 0, False, device, dtype)
        self.weight = UninitializedParameter(dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias = UninitializedParameter(dtype=dtype)

    def reset_parameters(self) -> None:
        if self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        if self.has_uninitialized_params():
            self.in_features = input.shape[-1]
            self.weight.materialize((self.out_features, self.in_features))
            if self.bias is not None:
                self.bias.materialize((self.out_features,))
            self.reset_parameters()
        elif self.in_features == 0:                          # the weight came from a state dict
            self.in_features = self.weight.shape[-1]


class _LazyConv(LazyModuleMixin):
    def __init__(self, out_channels: int, kernel_size, *args, bias: bool = True, dtype=None, **kwargs):
        super().__init__(0, 0, kernel_size, *args, bias=False, dtype=dtype, **kwargs)
        self.weight = UninitializedParameter(dtype=dtype)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(dtype=dtype)

    def reset_parameters(self) -> None:
        if self.in_channels != 0 and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args) -> None:
        if not self.has_uninitialized_params():
            if self.in_channels == 0:
                self.in_channels = self.weight.shape[0 if self.transposed else 1] * (
                    1 if self.transposed else self.groups)
            return
        if input.dim() not in (self._n + 1, self._n + 2):
            raise RuntimeError(f"Expected {self._n + 1}D (unbatched) or {self._n + 2}D (batched) input to "
                               f"{self._get_name()}, but got input of size: {input.shape}")
        self.in_channels = input.shape[-self._n - 1]
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        self.weight.materialize((first, second // self.groups, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class LazyConv1d(_LazyConv, Conv1d):
    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConv, ConvTranspose1d):
    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConv, ConvTranspose2d):
    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConv, ConvTranspose3d):
    cls_to_become = ConvTranspose3d


class _LazyNorm(LazyModuleMixin):
    def __init__(self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool | None = None,
                 track_running_stats: bool | None = None, device=None, dtype=None):
        by_default = not isinstance(self, InstanceNorm1d | InstanceNorm2d | InstanceNorm3d)
        affine = by_default if affine is None else affine
        track_running_stats = by_default if track_running_stats is None else track_running_stats
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype)
        for name in ("weight", "bias") if affine else ():
            setattr(self, name, UninitializedParameter(dtype=dtype))
        for name in ("running_mean", "running_var") if track_running_stats else ():
            setattr(self, name, UninitializedBuffer(dtype=dtype))

    def reset_parameters(self) -> None:
        if self.num_features != 0 and not self.has_uninitialized_params():
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        if self.has_uninitialized_params():
            self.num_features = input.shape[1]
            for t in self._own_tensors().values():
                if isinstance(t, _UNINITIALIZED):
                    t.materialize((self.num_features,))
            self.reset_parameters()
        elif self.num_features == 0:
            self.num_features = input.shape[1]


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    cls_to_become = InstanceNorm3d
