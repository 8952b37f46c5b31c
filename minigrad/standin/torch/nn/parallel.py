"""Parallel modules where there is one device."""

from __future__ import annotations

from ....nn import Module


class DataParallel(Module):
    """The module itself: there is no second device to share the batch with."""

    def __init__(self, module: Module, device_ids=None, output_device=None, dim: int = 0):
        super().__init__()
        self.module, self.device_ids, self.dim = module, [], dim

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)


class DistributedDataParallel(Module):
    """Refused: it needs torch.distributed."""

    def __init__(self, module: Module, *args, **kwargs):
        raise ValueError("Default process group has not been initialized: minigrad runs in one process, and "
                         "torch.distributed.is_available() is False")
