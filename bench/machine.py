"""What measured: no figure means anything without it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import numpy as np


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, object]:
    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as f:
            processor = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), processor)
    return {"processor": processor, "cores": cores(), "python": platform.python_version(),
            "numpy": np.__version__, "torch": version("torch")}


def described() -> str:
    return ", ".join(f"{k} {v}" for k, v in machine().items())
