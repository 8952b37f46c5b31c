"""The functions that torch's pickles of tensors call."""

from __future__ import annotations

from ...serialization.unpickler import GLOBALS

_tensor, _parameter = GLOBALS["torch._utils._rebuild_tensor"].make, GLOBALS["torch._utils._rebuild_parameter"].make


def _rebuild_tensor(storage, storage_offset, size, stride):
    return _tensor(storage, storage_offset, size, stride)


def _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, metadata=None):
    return _tensor(storage, storage_offset, size, stride, requires_grad, backward_hooks, metadata)


def _rebuild_parameter(data, requires_grad, backward_hooks):
    return _parameter(data, requires_grad, backward_hooks)


for _function in (_rebuild_tensor, _rebuild_tensor_v2, _rebuild_parameter):
    _function.__module__ = "torch._utils"                        # pickles name it so
