"""The generators' states on devices, of which there are none."""

from __future__ import annotations


def get_device_states(*args) -> tuple[list, list]:
    return [], []


def set_device_states(devices: list, states: list, *, device_type: str | None = None) -> None:
    """No states to set."""
