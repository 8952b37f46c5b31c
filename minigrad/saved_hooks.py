"""torch.autograd.graph: nodes, and hooks on what they save."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .graph import Node, Tensor, Variable
from .modes import Settings, mode

__all__ = ["Node", "disable_saved_tensors_hooks", "save_on_cpu", "saved_tensors_hooks"]


class saved_tensors_hooks(Settings):
    """Within the block, what ops save for backward is pack_hook(it); backward takes unpack_hook of that."""

    def __init__(self, pack_hook: Callable[[Tensor], object], unpack_hook: Callable[[object], Tensor]):
        def unpack(packed) -> np.ndarray:
            t = unpack_hook(packed)
            if not isinstance(t, Variable):
                raise TypeError("Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                                f"{type(t).__name__}")
            return t.array

        def pack(t: Tensor):
            counter = t._counter or [0]                      # a tensor made in inference mode has none
            version = counter[0]
            with Settings(pack=None, grad=False):
                packed = pack_hook(t)
            if counter[0] != version:
                raise RuntimeError(
                    "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook "
                    "cannot be modified by in-place operations as this can lead to unexpected side-effects. Please "
                    "open an issue if you need to perform in-place operations on the input to a pack hook.")
            return packed

        super().__init__(pack=pack, unpack=unpack, watched=False)

    def __enter__(self):
        if mode.no_packing is not None:
            raise RuntimeError(mode.no_packing)
        return super().__enter__()


class save_on_cpu(saved_tensors_hooks):
    """Where all memory is the CPU's, this keeps a copy of what is saved."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda"):
        super().__init__(lambda t: t.clone(), lambda t: t)


class disable_saved_tensors_hooks(Settings):
    """Within the block, saved_tensors_hooks are an error with this message."""

    def __init__(self, error_message: str):
        super().__init__(no_packing=error_message)
