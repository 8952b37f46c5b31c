"""torch.random's contexts."""

from __future__ import annotations

from contextlib import contextmanager

from ... import random as _random


@contextmanager
def fork_rng(devices=None, enabled: bool = True, _caller: str = "fork_rng", _devices_kw: str = "devices",
             device_type: str = "cpu"):
    """What is drawn inside leaves the generator as it was."""
    state = _random.get_rng_state() if enabled else None
    try:
        yield
    finally:
        if enabled:
            _random.set_rng_state(state)
