"""Anomaly detection: where did the first gradient come from that is not finite?"""

from __future__ import annotations

import os
import traceback
import warnings
from typing import TYPE_CHECKING

import numpy as np

from .modes import Settings, mode

if TYPE_CHECKING:
    from .graph import Node

_HERE = os.path.dirname(__file__)


class set_detect_anomaly(Settings):
    """Name the forward line behind the first non-finite gradient; with check_nan, a NaN gradient is an error."""

    def __init__(self, mode_: bool = True, check_nan: bool = True):
        value = bool(check_nan) if mode_ else None
        super().__init__(anomaly=value)
        self._former.append({"anomaly": mode.anomaly})
        mode.anomaly = value

    def __enter__(self):
        return self


class detect_anomaly(Settings):
    """set_detect_anomaly for the length of a block."""

    def __init__(self, check_nan: bool = True):
        super().__init__(anomaly=bool(check_nan))


def is_anomaly_enabled() -> bool:
    return mode.anomaly is not None


def inspect_gradient(node: Node, g, suspect: str | None) -> str | None:
    """Warn of the first gradient that is not finite, naming the line that recorded its node; stop at a NaN."""
    array = getattr(g, "array", g)
    if np.isfinite(array).all():
        return suspect
    nan = np.isnan(array).any()
    if suspect is None:
        unknown = "  (not recorded: enable anomaly detection before the forward pass)\n"
        trace = "".join(node.trace) if node.trace else unknown
        suspect = node.name()
        warnings.warn(f"Error detected in {node.name()}, which made the first {'NaN' if nan else 'infinite'} gradient. "
                      f"Traceback of forward call that caused the error:\n{trace}", stacklevel=4)
    if nan and mode.anomaly:
        line = f" Recorded at: {node.trace[-1].strip()}" if node.trace else ""
        first = "" if suspect == node.name() else f" The first non-finite gradient was made by '{suspect}'."
        raise RuntimeError(f"Function '{node.name()}' returned nan values in its 0th output.{first}{line}")
    return suspect


def forward_traceback() -> list[str]:
    """The user's lines that led to here, for anomaly detection."""
    frames = [f for f in traceback.extract_stack() if not f.filename.startswith(_HERE)]
    return traceback.format_list(frames)
