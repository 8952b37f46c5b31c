"""torch.mtia on a machine without."""

from __future__ import annotations


def is_available() -> bool:
    return False


def device_count() -> int:
    return 0


def manual_seed(seed: int) -> None:
    """Nothing to seed."""


def empty_cache() -> None:
    """Nothing to empty."""


def synchronize(device=None) -> None:
    raise AssertionError("Torch not compiled with mtia enabled: minigrad runs on the CPU, with NumPy")
