"""autograd.Function: an op whose derivative its author writes, on Tensors, as torch's users do."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np

from .graph import Node, Tensor, Variable, fit, forward_traceback, new_tensor, next_sequence, renamed, tensor_with_edge
from .modes import Settings, mode


class FunctionCtx:
    """What forward leaves for backward."""

    def __init__(self):
        self.needs_input_grad: tuple[bool, ...] = ()
        self.materialize_grads = True
        self.non_differentiable: tuple = ()
        self._saved: list[tuple] = []

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        for t in tensors:
            if t is not None and not isinstance(t, Variable):
                raise TypeError(f"save_for_backward can only save variables, but argument is of type {type(t).__name__}")
        self._to_save = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        self.non_differentiable = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        raise NotImplementedError("minigrad's autograd.Function does not write in place: return a new tensor, and let the "
                                  "caller copy_ it")

    def set_materialize_grads(self, value: bool) -> None:
        self.materialize_grads = value

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        if self._saved is None:
            raise RuntimeError("Trying to backward through the graph a second time (or directly access saved tensors after "
                               "they have already been freed). Specify retain_graph=True if you need to.")
        return tuple(self._unpack(*entry) for entry in self._saved)

    def _unpack(self, array, edge, version, seen):
        if array is None:
            return None
        if version is not None and version[0] != seen:
            raise RuntimeError("one of the variables needed for gradient computation has been modified by an inplace "
                               f"operation: it is at version {version[0]}; expected version {seen} instead.")
        return tensor_with_edge(array, self._node if edge is _OWN else edge)


_OWN = object()


class _FunctionNode(Node):
    """The node of one application of a Function; its gradient is that of its output, or a Slots of several."""

    __slots__ = ("ctx", "function", "outputs")

    def unpack(self, create_graph: bool) -> list:
        return []

    def release(self) -> None:
        self.ctx._saved = None

    def gradients(self, g, wanted: Callable, create_graph: bool):
        ctx, ctx_outputs = self.ctx, self.outputs
        grads = [g.get(i) for i in range(len(ctx_outputs))] if isinstance(g, Slots) else [g]
        given = []
        for gi, (shape, dtype) in zip(grads, ctx_outputs, strict=True):
            if gi is None and ctx.materialize_grads:
                gi = np.zeros(shape, dtype)
            given.append(gi if gi is None or isinstance(gi, Variable) else new_tensor(np.asarray(gi)))
        ctx._node = self
        try:
            result = self.function.backward(ctx, *given)
        finally:
            del ctx._node                     # a node never knows itself: no reference cycle
        result = result if isinstance(result, tuple | list) else (result,)
        count = len(ctx.needs_input_grad)
        if len(result) > count and all(r is None for r in result[count:]):
            result = result[:count]
        if len(result) != count:
            raise RuntimeError(f"function {self.name()} returned an incorrect number of gradients (expected {count}, "
                               f"got {len(result)})")
        for _, _, edge, shape, dtype, position in self.inputs:
            gi = result[position]
            if gi is None or not wanted(edge):
                continue
            if not isinstance(gi, Variable):
                raise TypeError(f"expected Variable or None (got {type(gi).__name__})")
            if gi.array.shape != shape and np.broadcast_shapes(gi.array.shape, shape) != gi.array.shape:
                raise RuntimeError(f"Function {self.name()} returned an invalid gradient at index {position} - got "
                                   f"{list(gi.shape)} but expected shape compatible with {list(shape)}")
            yield edge, fit(gi if create_graph else gi.array, shape, dtype)


class Slots(dict):
    """Gradients of several outputs of one node, by output; they add up output by output."""

    def __add__(self, other: Slots) -> Slots:
        return Slots({i: self[i] + other[i] if i in self and i in other else (self if i in self else other)[i]
                      for i in self.keys() | other.keys()})


class _OutputNode(Node):
    """One of several outputs: hands its gradient to the node that made them all."""

    __slots__ = ("index",)

    def unpack(self, create_graph: bool) -> list:
        return []

    def gradients(self, g, wanted: Callable, create_graph: bool):
        edge = self.inputs[0][2]
        if wanted(edge):
            yield edge, Slots({self.index: g})


def _plain_node(cls: type[Node], inputs: list) -> Node:
    node = cls()
    node.inputs, node.seq, node.hooks, node.retain, node.extras = inputs, next_sequence(), None, None, None
    node.saved, node.versions = (), ()
    node.trace = forward_traceback() if mode.anomaly is not None else None
    return node


class Function:
    """Subclass it with static methods forward(ctx, *args) and backward(ctx, *grads); call it through `apply`."""

    @staticmethod
    def forward(*args, **kwargs):
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        raise NotImplementedError("You must implement either the backward or vjp method for your custom autograd.Function to "
                                  "use it with backward mode AD.")

    vjp = backward

    def __init__(self, *args, **kwargs):
        raise RuntimeError(f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you "
                           "should invoke them on the class itself.")

    @classmethod
    def apply(cls, *args):
        ctx = FunctionCtx()
        edges = [a._edge() if isinstance(a, Variable) else None for a in args]
        ctx.needs_input_grad = tuple(e is not None for e in edges)
        with Settings(grad=False):
            if "setup_context" in vars(cls) or any("setup_context" in vars(b) for b in cls.__mro__[1:-2]):
                outputs = cls.forward(*args)
                cls.setup_context(ctx, args, outputs)
            else:
                outputs = cls.forward(ctx, *args)
        single = not isinstance(outputs, tuple | list)
        results = [outputs] if single else list(outputs)
        saved, ctx._to_save = getattr(ctx, "_to_save", ()), ()
        if mode.grad and any(ctx.needs_input_grad):
            results = _attach(cls, ctx, args, edges, results, saved)
        return results[0] if single else tuple(results)


def _attach(cls: type[Function], ctx: FunctionCtx, args, edges, results: list, saved: tuple) -> list:
    """Give the results of a Function their node."""
    inputs = [(None, (), e, a.array.shape, a.array.dtype, i)
              for i, (a, e) in enumerate(zip(args, edges, strict=True)) if e is not None]
    node = _plain_node(renamed(_FunctionNode, f"{cls.__name__}Backward"), inputs)
    node.ctx, node.function = ctx, cls
    fresh, by_id = [], {}
    for t in results:
        if isinstance(t, Variable) and any(t is a for a in args):     # an input handed through becomes a view of itself
            t = t.detach()
        fresh.append(t)
    node.outputs = [(t.array.shape, t.array.dtype) for t in fresh if isinstance(t, Variable)]
    tensors = [t for t in fresh if isinstance(t, Variable)]
    dull = {id(t) for t in ctx.non_differentiable}
    for i, t in enumerate(tensors):
        if id(t) in dull or t.array.dtype.kind != "f":
            continue
        if len(tensors) == 1:
            t._node = node
        else:
            t._node = _plain_node(renamed(_OutputNode, f"{cls.__name__}Backward"),
                                  [(None, (), node, t.array.shape, t.array.dtype, 0)])
            t._node.index = i
        by_id[id(t)] = t
    for t in saved:
        own = t is not None and id(t) in by_id
        edge = None if t is None else (_OWN if len(tensors) == 1 else None) if own else t._edge()
        version = None if t is None else t._version
        ctx._saved.append((None, None, None, None) if t is None else (t.array, edge, version, version and version[0]))
    ctx.non_differentiable = ()
    return fresh


def once_differentiable(backward: Callable) -> Callable:
    """For a backward that is not itself made of differentiable ops: its result cannot be differentiated again."""
    @wraps(backward)
    def wrapped(ctx, *grads):
        recording = mode.grad
        with Settings(grad=False):
            result = backward(ctx, *grads)
        if not recording or not any(isinstance(g, Variable) and g.requires_grad for g in grads):
            return result
        items = result if isinstance(result, tuple | list) else (result,)
        return tuple(_Refuse.apply(r, *grads) if isinstance(r, Variable) else r for r in items)
    return wrapped


class _Refuse(Function):
    @staticmethod
    def forward(ctx, value, *grads):
        return value.clone()

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
