"""Running the hooks of tensors and of nodes, during the walk."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .graph import Node, Variable, new_tensor
from .kernels.blocks import finished


def run_hooks(hooks: dict, g):
    """Let each hook see the gradient as a Tensor, and replace it."""
    t = g if isinstance(g, Variable) else new_tensor(np.asarray(g))
    for hook in tuple(hooks.values()):
        result = hook(t)
        if result is not None:
            _check(result, t, hook)
            t = result
    return t if isinstance(g, Variable) else t.array


def _check(result: object, former: Variable | None, hook: Callable) -> None:
    """What a hook puts in a gradient's place must be like it."""
    if former is None:
        raise RuntimeError("can't replace a None gradient with a non-None value")
    if not isinstance(result, Variable):
        raise TypeError(f"expected Tensor, but hook returned '{type(result).__name__}'")
    if result.array.shape != former.array.shape:
        raise RuntimeError(f"{_named(hook)} has changed the size of value, from {former.array.shape} to "
                           f"{result.array.shape}")
    if result.array.dtype != former.array.dtype:
        raise RuntimeError(f"{_named(hook)} has changed the type of value (was {former.type()} got {result.type()})")


def _named(hook: Callable) -> str:
    return f"hook '{getattr(hook, '__name__', '<unknown>')}'"


def observed(node: Node, g, wanted: Callable, create_graph: bool) -> list:
    """node.gradients, between the hooks of the node itself: they see, and may replace, tuples of gradients."""
    def shown(x):
        return x if x is None or isinstance(x, Variable) else new_tensor(np.asarray(x))

    def replaced(new, former: tuple, hook: Callable) -> list:
        if not isinstance(new, tuple):
            raise TypeError(f"expected tuple, but hook returned '{type(new).__name__}'")
        if len(new) != len(former):
            raise RuntimeError(f"{_named(hook)} has returned an incorrect number of values (got {len(new)}, but "
                               f"expected {len(former)})")
        for x, old in zip(new, former, strict=True):
            if x is not None:
                _check(x, old, hook)
        return [x if create_graph or x is None else x.array for x in new]

    outputs = node.split(g)
    for hook in tuple(node.extras.get("prehooks", {}).values()):
        former = tuple(map(shown, outputs))
        new = hook(former)
        if new is not None:
            outputs = replaced(new, former, hook)
    if all(x is None for x in outputs):
        return []
    g = node.join(outputs)
    entries = [entry for entry in node.inputs if wanted(entry[2])]
    gradients = [finished(gi) for _, gi in node.gradients(g, wanted, create_graph)]
    for hook in tuple(node.extras.get("hooks", {}).values()):
        by_place = {entry[5]: shown(gi) for entry, gi in zip(entries, gradients, strict=True)}
        places = node.places()
        former = tuple(by_place.get(place) for place in places)
        new = hook(former, tuple(map(shown, outputs)))
        if new is not None:
            by_place = dict(zip(places, replaced(new, former, hook), strict=True))
            gradients = [by_place[entry[5]] for entry in entries]
    return [(entry[2], gi) for entry, gi in zip(entries, gradients, strict=True)]
