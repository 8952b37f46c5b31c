"""Mixed precision, of which there is none: contexts that say so once, and a scaler that does not scale."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from ... import dtypes
from ...creation import device

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

_FAST = {"cuda": dtypes.float16, "cpu": dtypes.bfloat16}
_said: set[str] = set()


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        warnings.warn(text, stacklevel=3)


class autocast:
    """A context, or a decorator, in which everything keeps its dtype."""

    def __init__(self, device_type: str, dtype: dtypes.dtype | None = None, enabled: bool = True,
                 cache_enabled: bool | None = None):
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        self.device = device(device_type).type
        self.fast_dtype = dtype if dtype is not None else get_autocast_dtype(self.device)
        self._cache_enabled, self._enabled = True if cache_enabled is None else cache_enabled, False
        if enabled and self.device == "cuda":
            _say_once("CUDA is not available or torch_xla is imported. Disabling autocast.")
        elif enabled:
            _say_once(f"autocast does nothing here: minigrad computes in the dtype of its tensors, not in "
                      f"{self.fast_dtype}")

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *exc) -> None:
        pass

    def __call__(self, func: Callable) -> Callable:
        return func


def is_autocast_available(device_type: str) -> bool:
    return device(device_type).type == "cpu"


def is_autocast_enabled(device_type: str | None = None) -> bool:
    return False


def get_autocast_dtype(device_type: str) -> dtypes.dtype:
    return _FAST.get(device(device_type).type, dtypes.bfloat16)


def custom_fwd(fwd: Callable | None = None, *, device_type: str = "cpu",
               cast_inputs: dtypes.dtype | None = None) -> Callable:
    """A Function's forward, as it is."""
    return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs) if fwd is None else fwd


def custom_bwd(bwd: Callable | None = None, *, device_type: str = "cpu") -> Callable:
    """A Function's backward, as it is."""
    return functools.partial(custom_bwd, device_type=device_type) if bwd is None else bwd


class GradScaler:
    """A scaler that is switched off, as torch's is where there is no CUDA: losses and gradients stay as they are."""

    def __init__(self, device: str = "cuda", init_scale: float = 2.0**16, growth_factor: float = 2.0,
                 backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True):
        self._device, self._enabled = device, False
        if enabled:
            _say_once("torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling."
                      if device == "cuda" else "GradScaler does nothing here: minigrad has no mixed precision")

    def scale(self, outputs):
        return outputs

    def unscale_(self, optimizer) -> None:
        pass

    def step(self, optimizer, *args, **kwargs) -> Any:
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale=None) -> None:
        pass

    def is_enabled(self) -> bool:
        return False

    def get_scale(self) -> float:
        return 1.0

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass
