"""torch.cpu: the one device."""

from __future__ import annotations

from contextlib import contextmanager

from . import amp as amp


def is_available() -> bool:
    return True


def device_count() -> int:
    return 1


def current_device() -> str:
    return "cpu"


def synchronize(device=None) -> None:
    """Nothing runs in the background."""


@contextmanager
def stream(stream):
    yield
