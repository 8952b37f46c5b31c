"""What surrounds a training loop: `data` feeds it, `checkpoint` saves its memory. Each is imported when asked for."""

from importlib import import_module as _import_module


def __getattr__(name: str):
    if name in ("checkpoint", "data", "hooks"):
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'minigrad.utils' has no attribute {name!r}")
