"""torch.profiler: nothing is measured. Contexts may be entered; what they are asked for is refused."""

from __future__ import annotations

import enum
from contextlib import ContextDecorator


class ProfilerActivity(enum.Enum):
    CPU, CUDA, XPU, MTIA = range(4)


class record_function(ContextDecorator):
    """A name for a stretch of a program."""

    def __init__(self, name: str, args: str | None = None):
        self.name = name

    def __enter__(self) -> record_function:
        return self

    def __exit__(self, *exc) -> None:
        pass


class profile:
    """A context that measures nothing, and says so when it is asked what it measured."""

    def __init__(self, *args, **kwargs):
        pass

    def __enter__(self) -> profile:
        return self

    def __exit__(self, *exc) -> None:
        pass

    start = stop = step = lambda self: None

    def key_averages(self, *args, **kwargs):
        raise NotImplementedError("minigrad measures nothing here: use Python's profilers, such as cProfile")

    export_chrome_trace = events = key_averages


def schedule(*args, **kwargs):
    return lambda step: None


def tensorboard_trace_handler(*args, **kwargs):
    return lambda profiler: None
