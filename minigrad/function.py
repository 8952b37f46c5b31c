"""autograd.Function: an op whose derivative its author writes, on Tensors, as torch's users do."""

from __future__ import annotations

import inspect
import warnings
import weakref
from collections.abc import Callable
from functools import wraps

import numpy as np

from .anomaly import forward_traceback
from .graph import Node, Tensor, Variable, fit, new_tensor, next_sequence, tensor_with_edge
from .modes import Settings, mode
from .names import renamed
from .ops.shape import alias, write
from .refusals import check_inplace
from .views import rewrite_history


class FunctionCtx:
    """What forward leaves for backward."""

    def __init__(self):
        self.needs_input_grad: tuple[bool, ...] = ()
        self.materialize_grads = True
        self.non_differentiable: tuple = ()
        self.dirty_tensors: tuple = ()
        self.to_save: tuple = ()
        self._saved: list[tuple] | None = []

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs, outputs or intermediate tensors; a write to one of them in place will not go unnoticed."""
        for t in tensors:
            if t is not None and not isinstance(t, Variable):
                raise TypeError("save_for_backward can only save variables, but argument is of type "
                                f"{type(t).__name__}")
        self.to_save = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """These outputs have no gradients, though floating point."""
        self.non_differentiable = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """forward wrote to these inputs in place, and returns them."""
        self.dirty_tensors = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward is given zeros, rather than None, for an output that nothing was computed from."""
        self.materialize_grads = value

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        if self._saved is None:
            raise RuntimeError("Trying to backward through the graph a second time (or directly access saved tensors "
                               "after they have already been freed). Specify retain_graph=True if you need to.")
        return tuple(map(self._unpack, self._saved))

    def _unpack(self, entry: tuple | None) -> Tensor | None:
        if entry is None:
            return None
        value, edge, version, seen, unpack = entry
        if version[0] != seen:
            raise RuntimeError("one of the variables needed for gradient computation has been modified by an inplace "
                               f"operation: it is at version {version[0]}; expected version {seen} instead.")
        if isinstance(value, Variable) and unpack is None:
            return value
        if isinstance(edge, int):
            edge = self._node.output(edge)
        return tensor_with_edge(unpack(value) if unpack else value, edge)


class _FunctionNode(Node):
    """The node of one application of a Function. Its gradient is that of its output, or the Slots of several."""

    __slots__ = ("ctx", "function", "heads", "outputs")

    def __repr__(self) -> str:
        return f"<torch.autograd.function.{self.name()} object at {id(self):#x}>"

    def release(self) -> None:
        self.ctx._saved = None

    def calls_back(self) -> bool:
        return True

    def places(self) -> list[int]:
        return [i for i, kind in enumerate(self.ctx._is_tensor) if kind]

    def output(self, i: int) -> Node:
        """The node of the i-th output: this one, or the one that hands it that output's gradient. Such a node holds
        this one, so this one remembers it weakly, and makes another when the first is gone."""
        if self.heads is None:
            return self
        node = self.heads[i]() if i in self.heads else None
        if node is None:
            node = plain_node(renamed(_OutputNode, self.name()), [(None, (), self, *self.outputs[i], 0)])
            node.index = i
            self.heads[i] = weakref.ref(node)
        return node

    def split(self, g) -> list:
        if not isinstance(g, Slots):
            g = {next(i for i, meta in enumerate(self.outputs) if meta): g}
        return [g.get(i) for i in range(len(self.outputs))]

    def join(self, gradients: list) -> Slots:
        return Slots({i: g for i, g in enumerate(gradients) if g is not None})

    def gradients(self, g, wanted: Callable, create_graph: bool):
        ctx, given = self.ctx, self.split(g)
        for i, meta in enumerate(self.outputs):
            if given[i] is None and meta and ctx.materialize_grads:
                given[i] = np.zeros(*meta)
            if given[i] is not None and not isinstance(given[i], Variable):
                given[i] = new_tensor(np.asarray(given[i]))
        ctx._node = self
        try:
            result = _backward_of(self.function)(ctx, *given)
        finally:
            del ctx._node                     # a ctx never knows its node for long: no reference cycle
        result = result if isinstance(result, tuple) else (result,)
        count = len(ctx.needs_input_grad)
        if len(result) > count and all(r is None for r in result[count:]):
            result = result[:count]
        if len(result) != count:
            raise RuntimeError(f"function {self.name()} returned an incorrect number of gradients (expected {count}, "
                               f"got {len(result)})")
        for i, (gi, differentiable) in enumerate(zip(result, ctx._is_tensor, strict=True)):
            if gi is not None and not differentiable:
                raise RuntimeError(f"function {self.name()} returned a gradient different from None at position "
                                   f"{i + 1}, but the corresponding forward input was not a Variable")
            if gi is not None and not isinstance(gi, Variable):
                raise RuntimeError(f"function {self.name()} returned a {type(gi).__name__} at position {i + 1}: "
                                   "gradients are Tensors or None")
        for _, _, edge, shape, dtype, i in self.inputs:
            gi = result[i]
            if not wanted(edge):
                continue
            if gi is not None and gi.array.shape != shape and not _expandable(shape, gi.array.shape):
                raise RuntimeError(f"Function {self.name()} returned an invalid gradient at index {i} - got "
                                   f"{list(gi.shape)} but expected shape compatible with {list(shape)}")
            yield edge, None if gi is None else fit(gi if create_graph else gi.array, shape, dtype)


def _expandable(shape: tuple, to: tuple) -> bool:
    """Whether a tensor of this shape broadcasts to the other, so that its gradient can be summed back."""
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(reversed(shape), reversed(to), strict=False))


class Slots(dict):
    """Gradients of several outputs of one node, by output; they add up output by output."""

    def __add__(self, other: Slots) -> Slots:
        return Slots({i: self[i] + other[i] if i in self and i in other else (self if i in self else other)[i]
                      for i in self.keys() | other.keys()})


class _OutputNode(Node):
    """One of several outputs: hands its gradient to the node that made them all."""

    __slots__ = ("index",)

    def gradients(self, g, wanted: Callable, create_graph: bool):
        edge = self.inputs[0][2]
        if wanted(edge):
            yield edge, Slots({self.index: g})

    def release(self) -> None:
        pass

    @property
    def next_functions(self) -> tuple:
        return self.inputs[0][2].next_functions

    def _extra(self, name: str) -> dict:
        return self.inputs[0][2]._extra(name)           # a user of torch sees one node for all outputs


def plain_node(cls: type[Node], inputs: list) -> Node:
    """A node that saves nothing."""
    node = cls()
    node.inputs, node.seq, node.hooks, node.retain, node.extras = inputs, next_sequence(), None, None, None
    node.saved, node.versions = (), ()
    node.trace = forward_traceback() if mode.anomaly is not None else None
    return node


class Function:
    """Subclass it with static methods forward(ctx, *args) and backward(ctx, *grads); call it through `apply`.

    Or with forward(*args) and setup_context(ctx, inputs, output)."""

    @staticmethod
    def forward(*args, **kwargs):
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple, output) -> None:
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        raise NotImplementedError("You must implement either the backward or vjp method for your custom "
                                  "autograd.Function to use it with backward mode AD.")

    vjp = backward

    def __init__(self, *args, **kwargs):
        warnings.warn(f"{type(self)} should not be instantiated: its methods are static, and `apply` is called on the "
                      "class",
                      DeprecationWarning, stacklevel=2)

    @classmethod
    def apply(cls, *args, **kwargs):
        """forward's result, with backward in its history."""
        separate = cls.setup_context is not Function.setup_context
        ctx = FunctionCtx()
        if separate:
            bound = inspect.signature(cls.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            args = bound.args
        elif kwargs:
            args = inspect.signature(cls.forward).bind(ctx, *args, **kwargs).args[1:]
        edges = [a._edge() if isinstance(a, Variable) else None for a in args]
        ctx.needs_input_grad = tuple(e is not None for e in edges)
        ctx._is_tensor = tuple(isinstance(a, Variable) for a in args)
        with Settings(grad=False, pack=None, unpack=None):
            if separate:
                outputs = cls.forward(*args)
                cls.setup_context(ctx, args, outputs)
            else:
                outputs = cls.forward(ctx, *args)
        single = not isinstance(outputs, tuple)
        results = _attach(cls, ctx, args, edges, [outputs] if single else list(outputs))
        ctx.to_save = ctx.non_differentiable = ctx.dirty_tensors = ()
        return results[0] if single else tuple(results)


def _backward_of(function: type[Function]) -> Callable:
    own, vjp = function.backward is not Function.backward, function.vjp is not Function.vjp
    if own and vjp:
        raise RuntimeError("Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should "
                           "only implement one of them.")
    return function.vjp if vjp else function.backward


def _attach(cls: type[Function], ctx: FunctionCtx, args: tuple, edges: list, outputs: list) -> list:
    """Give the results of a Function their node."""
    dirty, dull = set(map(id, ctx.dirty_tensors)), set(map(id, ctx.non_differentiable))
    if not dirty <= set(map(id, outputs)):
        raise RuntimeError("Some elements marked as dirty during the forward method were not returned as output. The "
                           "inputs that are modified inplace must all be outputs of the Function.")
    given, record = set(map(id, args)), mode.grad and any(ctx.needs_input_grad)
    # An input handed through is a view of itself, unless forward wrote to it.
    hand = _alias if record else lambda t: t.detach()
    results = [hand(t) if id(t) in given - dirty and isinstance(t, Variable) else t for t in outputs]
    if not record:
        return results
    node = plain_node(renamed(_FunctionNode, f"{cls.__name__}Backward"),
                      [(None, (), e, a.array.shape, a.array.dtype, i)
                       for i, (a, e) in enumerate(zip(args, edges, strict=True)) if e is not None])
    node.ctx, node.function = ctx, cls
    node.outputs = [(t.array.shape, t.array.dtype) if isinstance(t, Variable) else None for t in results]
    node.heads = {} if sum(meta is not None for meta in node.outputs) > 1 else None
    place = {}
    for i, (t, raw) in enumerate(zip(results, outputs, strict=True)):
        if isinstance(t, Variable) and id(raw) not in dull and t.array.dtype.kind == "f":
            if id(t) in dirty:
                _rebase(t, node.output(i))
            else:
                t._node = node.output(i)
            if t._view is not None and id(t) not in dirty:
                t._view.kind = "function"
            place[id(raw)] = i
    for t in ctx.to_save:
        ctx._saved.append(None if t is None else _saved(t, place.get(id(t), t._edge())))
    return results


def _alias(t: Tensor) -> Tensor:
    with Settings(grad=False):
        return alias(t)


def _rebase(t: Tensor, node: Node) -> None:
    """forward wrote to t: t is what the node made; and so are, where t is a view, those elements of its base."""
    with Settings(grad=True):
        check_inplace(t)
        if t._view is not None:
            base = t._view.base
            base_edge = tensor_with_edge(base.array, base._edge())
            rewrite_history(base, write(base_edge, tensor_with_edge(t.array, node), t._view.steps)._node)
            t._counter[0] += 1                    # every view of the base asks for its history anew
        else:
            rewrite_history(t, node)


def _saved(t: Tensor, edge: Node | Variable | int | None) -> tuple:
    value, version, unpack = t.array, t._counter, None
    if version is None:
        raise RuntimeError("Inference tensors cannot be saved for backward. To work around you can make a clone to get "
                           "a normal tensor and use it in autograd.")
    if mode.pack is not None:
        value, unpack, version = mode.pack(t), mode.unpack, version if mode.watched else [0]
    elif edge is t or edge is None and t.is_leaf:
        value = t                                # a leaf comes back as itself
    return value, edge, version, version[0], unpack


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
