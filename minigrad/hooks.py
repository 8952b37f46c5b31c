"""Running the hooks of tensors and of nodes, during the walk."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .graph import Node, Variable, new_tensor


def run_hooks(hooks: dict, g):
    """Let each hook see the gradient as a Tensor, and replace it."""
    t = g if isinstance(g, Variable) else new_tensor(np.asarray(g))
    for hook in tuple(hooks.values()):
        result = hook(t)
        if result is not None:
            if not isinstance(result, Variable):
                raise TypeError(f"expected Tensor, but hook returned '{type(result).__name__}'")
            if result.array.shape != t.array.shape:
                raise RuntimeError(f"hook has changed the size of value, from {t.array.shape} to {result.array.shape}")
            if result.array.dtype != t.array.dtype:
                raise RuntimeError(f"hook has changed the type of value (was {t.type()} got {result.type()})")
            t = result
    return t if isinstance(g, Variable) else t.array


def observed(node: Node, g, wanted: Callable, create_graph: bool) -> list:
    """node.gradients, between the hooks of the node itself: they see, and may replace, tuples of gradients."""
    def shown(x):
        return x if x is None or isinstance(x, Variable) else new_tensor(np.asarray(x))

    def replaced(new, old) -> list:
        if not isinstance(new, tuple | list) or len(new) != len(old):
            raise RuntimeError(f"a hook of {node.name()} must return None or a tuple of {len(old)} gradients")
        return [x if create_graph or x is None else x.array for x in new]

    outputs = node.split(g)
    for hook in tuple(node.extras.get("prehooks", {}).values()):
        new = hook(tuple(map(shown, outputs)))
        if new is not None:
            outputs = replaced(new, outputs)
    g = node.join(outputs)
    entries = [entry for entry in node.inputs if wanted(entry[2])]
    gradients = [gi for _, gi in node.gradients(g, wanted, create_graph)]
    for hook in tuple(node.extras.get("hooks", {}).values()):
        by_place = {entry[5]: shown(gi) for entry, gi in zip(entries, gradients, strict=True)}
        places = node.places()
        new = hook(tuple(by_place.get(place) for place in places), tuple(map(shown, outputs)))
        if new is not None:
            by_place = dict(zip(places, replaced(new, places), strict=True))
            gradients = [by_place[entry[5]] for entry in entries]
    return [(entry[2], gi) for entry, gi in zip(entries, gradients, strict=True)]
