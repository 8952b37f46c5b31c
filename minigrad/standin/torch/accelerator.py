"""torch.accelerator: there is none."""

from __future__ import annotations


def is_available() -> bool:
    return False


def device_count() -> int:
    return 0


def current_accelerator(check_available: bool = False) -> None:
    """None: there is none."""


def synchronize(device=None) -> None:
    raise RuntimeError("Cannot access accelerator device when none is available.")
