"""Handles that take a registered hook back."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable

_ids = itertools.count()


class RemovableHandle:
    """What registering a hook returns: `remove()` takes the hook back; as a context manager, at the block's end."""

    def __init__(self, hooks: dict, owner: object | None = None):
        self.id, self._hooks = next(_ids), weakref.ref(hooks) if type(hooks) is not dict else lambda: hooks

    def remove(self) -> None:
        hooks = self._hooks()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc) -> None:
        self.remove()


def add_hook(hooks: dict, hook: Callable) -> RemovableHandle:
    """Put a hook among others; they run in the order of their registration."""
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle
