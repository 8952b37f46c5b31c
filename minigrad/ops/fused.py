"""Ops that are computed at once and differentiated through the composition they stand for.

    @fused(lambda input: sin(input) / cos(input))
    def tan(input):
        return np.tan(input)

The function gives the value. Backward takes the composition of its inputs again, made of ops that know their
derivatives, and differentiates that: no vjp by hand, and all higher orders.

A kernel whose first derivative must be fast brings that along as `backward`, on arrays; the higher orders still go
through the composition. Then the function returns (value, aside), and `backward` names what it wants:

    g         the gradient of the result
    aside     what the function put aside
    needed    for each differentiable input in turn, whether its gradient is wanted
    out       the result; and any of the op's arguments, by their names

It returns a gradient, or None, for each differentiable input. With instead="input", what is put aside is saved in that
argument's place, which may then change: for a composition that has the same derivatives there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np

from .. import autograd
from ..graph import Node, Variable, fit, new_node_class, new_tensor, primitive, record
from ..kernels.layout import arranged
from ..modes import enable_grad, mode, quietly
from ..refusals import bind, not_a_tensor
from .shape import alias


class Fused(Node):
    """A node whose vjp is that of a composition; or, for the first order, a kernel's own."""

    __slots__ = ("aside",)
    composition = kernel = None
    wants = ()                    # what the kernel names

    def gradients(self, g, wanted: Callable, create_graph: bool):
        entries = [entry for entry in self.inputs if wanted(entry[2])]
        values = self.unpack(create_graph)[:]
        take = self._by_composition if create_graph or self.kernel is None else self._by_kernel
        found = take(g, values, entries, create_graph)[::-1]
        for *_, edge, shape, dtype, _ in entries:
            gi = found.pop()                             # it belongs to the walk alone
            yield edge, None if gi is None else fit(gi, shape, dtype)

    def _by_composition(self, g, values: list, entries: list, create_graph: bool) -> list:
        for i, *_ in self.versions:                      # these were tensors
            if not create_graph:
                values[i] = new_tensor(values[i])
        inputs = []
        with enable_grad():
            for *_, i in entries:                        # each its own, even where one tensor came in twice
                values[i] = alias(values[i]) if create_graph else values[i].requires_grad_()
                inputs.append(values[i])
            out = self.composition(*values[:len(self.saved) - 1])
        if not out.requires_grad:                        # constant
            return [zeros_like(x) if create_graph else np.zeros_like(x.array) for x in inputs]
        grads = autograd.grad(out, inputs, g if create_graph else new_tensor(g), create_graph=create_graph,
                              materialize_grads=True)
        return list(grads) if create_graph else [gi.array for gi in grads]

    def _by_kernel(self, g, values: list, entries: list, create_graph: bool) -> list:
        positions = [entry[5] for entry in entries]
        places = [rule[0] for rule in self.rules]
        known = {"g": g, "aside": self.aside, "needed": tuple(i in positions for i in places)}
        grads = self.kernel(*[known[w] if w in known else values[w] for w in self.wants])
        by_place = dict(zip(places, grads if isinstance(grads, tuple) else (grads,), strict=True))
        return [by_place[i] for i in positions]

    def save_instead(self, i: int, value: np.ndarray) -> None:
        self.saved[i] = value
        self.versions = [(i, [0], 0, None) if entry[0] == i else entry for entry in self.versions]

    def release(self) -> None:
        super().release()
        self.aside = None


def fused(composition: Callable, *inputs: str, name: str | None = None, backward: Callable | None = None,
          instead: str | None = None, elementwise: bool = False) -> Callable:
    """Make an op of a function of arrays that computes what `composition` composes of other ops. `inputs` names the
    arguments that have derivatives: "input", if no other is named."""
    def decorate(forward: Callable) -> Callable:
        code = forward.__code__
        params, defaults = code.co_varnames[:code.co_argcount], forward.__defaults__ or ()
        place = {p: i for i, p in enumerate(params)} | {"out": len(params)}
        node_class = new_node_class(name or forward.__name__.strip("_").title(), Fused)
        node_class.composition = staticmethod(composition)
        saved = tuple(range(len(params)))
        if backward is not None:
            node_class.kernel = staticmethod(backward)
            names = backward.__code__.co_varnames[:backward.__code__.co_argcount]
            node_class.wants = tuple(place.get(p, p) for p in names)
            saved += (len(params),) * ("out" in names)
        node_class.rules = tuple((place[key], None, saved) for key in inputs or ("input",))

        @wraps(forward)
        def op(*args, **kwargs):
            if kwargs or len(args) < len(params):
                args = bind(forward.__name__, params, defaults, args, kwargs)
            raw, tensors = list(args), False
            for i, a in enumerate(args):
                if isinstance(a, Variable):
                    raw[i], tensors = a.array, True
            if not tensors and not any(isinstance(a, np.ndarray | np.generic) for a in raw):
                return not_a_tensor(forward, args)
            value = quietly(forward, *raw)
            value, aside = value if backward is not None else (value, None)
            if not tensors:
                return value
            out = new_tensor(arranged(value, raw) if elementwise else value)
            if mode.grad:
                record(node_class, out, args, raw, len(params))
                if out._node is not None:
                    out._node.aside = aside
                    if instead is not None:
                        out._node.save_instead(place[instead], aside)
            return out

        op.node_class = node_class
        return op
    return decorate


def pointwise(composition: Callable, *inputs: str, name: str | None = None) -> Callable:
    return fused(composition, *inputs, name=name, elementwise=True)


@primitive()
def zeros_like(input):
    """What a step function is fused to, for the sake of its derivative."""
    return np.zeros_like(input)
