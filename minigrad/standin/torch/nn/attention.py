"""torch.nn.attention: which attention is used. There is one here."""

from __future__ import annotations

import enum
from contextlib import contextmanager


class SDPBackend(enum.IntEnum):
    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextmanager
def sdpa_kernel(backends: SDPBackend | list[SDPBackend], set_priority: bool = False):
    """Attention has one form here, whichever is asked for."""
    yield {}
