"""Reverse-mode automatic differentiation: the tape.

minigrad/autograd.py walks back over what is written down here.

An op is its value and its vjp, written together (see minigrad/ops):

    @primitive(input=lambda g, other: g * other,
               other=lambda g, input: g * input)
    def mul(input, other):
        return np.multiply(input, other)

The rule named `input` turns the gradient g of the result into the gradient of `input`. What a rule names is what
the op saves for backward: other arguments, `out` (the result), and `shape`, the shape of the input the rule is for.

What ops have in common happens once: recording, saving and version checks here, un-broadcasting, casting,
accumulation, hooks, freeing and anomaly checks in the walk.

Rules are written in minigrad's own ops, and those take NumPy arrays as well as Tensors. An ordinary backward runs
the rules on bare arrays. With create_graph=True the very same rules run on Tensors, and so record themselves: that
is all there is to higher-order gradients.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import wraps
from operator import itemgetter

import numpy as np

from . import dtypes
from .anomaly import forward_traceback
from .inspection import Inspectable
from .kernels.layout import arranged
from .modes import mode, quietly
from .refusals import bind, modified, not_a_tensor

# ---- a value and how it was made --------------------------------------------------------------------------------

class Variable:
    """An array, its gradient, and how it was made. Tensor adds the methods.

    `_node` is what made it (None for a leaf), `_leaf` whether a leaf wants a gradient. `_counter` counts in-place
    writes in a list of one int, which all tensors that share the memory share; a tensor made in inference mode has
    none. `_view` says of which base this is a view, and how to take that view again."""

    __slots__ = ("__dict__", "__weakref__", "_grad", "_leaf", "_node", "_counter", "_view", "array", "hooks",
                 "post_hooks")

    def __init__(self, array: np.ndarray = (), requires_grad: bool = False, *sizes):
        if not isinstance(array, np.ndarray):
            if isinstance(array, np.generic):
                array = np.asarray(array)
            else:                                      # torch.Tensor(2, 3), torch.Tensor([1, 2]): a user's call
                from .creation import of_default_dtype
                array, requires_grad = of_default_dtype(array, requires_grad, *sizes), False
        self.array = array
        self._grad = self._node = self._view = self.hooks = self.post_hooks = None
        self._leaf = requires_grad
        self._counter = None if mode.inference else [0]

    def _edge(self) -> Node | Variable | None:
        """Where a gradient for this tensor goes: to the node that made it, to the leaf itself, or nowhere."""
        view = self._view
        if view is not None:
            if view.seen is not None and view.seen != self._counter[0]:
                view.renew(self)
            if self._node is None and view.base.requires_grad:
                return NOWHERE                 # a view taken within no_grad: torch lets its gradients vanish
        return self._node if self._node is not None else self if self._leaf else None

    @property
    def requires_grad(self) -> bool:
        return self._node is not None or self._leaf or self._view is not None and self._view.base.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self.grad_fn is not None:
            if not value:
                raise RuntimeError("you can only change requires_grad flags of leaf variables. If you want to use a "
                                   "computed variable in a subgraph that doesn't require differentiation use "
                                   "var_no_grad = var.detach().")
            return
        if value and self.array.dtype.kind != "f":
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        if value and self._counter is None and not mode.inference:
            raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
        self._leaf = bool(value)

    @property
    def grad_fn(self) -> Node | None:
        self._edge()
        return self._node

    @property
    def is_leaf(self) -> bool:
        return self.grad_fn is None


Tensor = Variable      # the class of the results; tensor.py, which stands on this module, puts its Tensor here


def new_tensor(array: np.ndarray, requires_grad: bool = False) -> Tensor:
    """A tensor around an array, which it does not copy."""
    return Tensor(array, requires_grad)


def tensor_with_edge(array: np.ndarray, edge: Node | Variable | None) -> Tensor:
    """A passing tensor: this array, with its gradient going to that edge."""
    t = Tensor(array)
    t._node = edge
    return t


# ---- nodes ------------------------------------------------------------------------------------------------------

next_sequence = itertools.count(1).__next__      # every node has a number, higher than those of its inputs


_POSITION = itemgetter(5)


class Node(Inspectable):
    """One recorded op: `inputs` says for each differentiable input (rule, the rule's needs, edge, shape, dtype,
    position), `saved` holds what the rules need, by position, the result last. A node knows its inputs' edges,
    never its result's tensor: there are no reference cycles, and the graph goes when its last tensor goes."""

    __slots__ = ("__weakref__", "extras", "hooks", "inputs", "retain", "saved", "seq", "trace", "versions")
    rules: tuple = ()           # (position of the input, rule, positions of what the rule needs)
    many = None                 # the same for each of a variadic op's *inputs, from a position on

    def edges(self) -> list:
        """Its inputs', in the order of their positions: rules may be in another."""
        inputs = self.inputs
        if len(inputs) > 2 or len(inputs) == 2 and inputs[0][5] > inputs[1][5]:
            inputs = sorted(inputs, key=_POSITION)
        return [entry[2] for entry in inputs]

    def gradients(self, g, wanted: Callable, create_graph: bool):
        """Yield (edge, gradient) for the wanted inputs, given the gradient of the result."""
        saved = self.unpack(create_graph)
        for rule, needs, edge, shape, dtype, position in self.inputs:
            if wanted(edge):
                gi = rule(g, *[saved[i] if i >= 0 else shape if i == SHAPE else position for i in needs])
                yield edge, None if gi is None else fit(gi, shape, dtype)

    def unpack(self, create_graph: bool) -> list:
        """What was saved, as arrays, or as Tensors that know where their gradients go. Refuses what has changed."""
        if self.saved is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have "
                "already been freed). Saved intermediate values of the graph are freed when you call .backward() or "
                "autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or "
                "if you need to access saved tensors after calling backward.")
        saved, edges = self.saved, None
        for i, version, seen, unpack in self.versions:
            if version[0] != seen:
                raise RuntimeError(modified(self, i, version[0], seen))
            if saved is self.saved and (unpack or create_graph):
                saved = list(saved)
            if unpack:
                saved[i] = unpack(saved[i])
            if create_graph:
                if edges is None:
                    edges = {entry[5]: entry[2] for entry in self.inputs}
                saved[i] = tensor_with_edge(saved[i], self if i == len(saved) - 1 else edges.get(i))
        return saved

    def release(self) -> None:
        if self.versions:
            self.saved, self.versions = None, ()

    def calls_back(self) -> bool:
        """Whether its gradients are asked of code that is the user's."""
        return self.hooks is not None or self.extras is not None or any(unpack for *_, unpack in self.versions)


class _Nowhere(Node):
    """An edge into which gradients vanish."""

    __slots__ = ()

    def gradients(self, g, wanted: Callable, create_graph: bool):
        return ()

    def release(self) -> None:
        pass


NOWHERE = _Nowhere()
NOWHERE.inputs, NOWHERE.seq, NOWHERE.versions = [], 0, ()
NOWHERE.hooks = NOWHERE.retain = NOWHERE.extras = None


def fit(g, shape: tuple, dtype: np.dtype):
    """A gradient in its source's shape (summed where the source was broadcast) and dtype."""
    if g.shape != shape:
        lead = len(g.shape) - len(shape)
        dims = tuple([d for d in range(len(g.shape)) if d < lead or shape[d - lead] == 1 != g.shape[d]])
        if dims:
            g = (g.sum(dims) if isinstance(g, Variable) else _summed(g, dims)).reshape(shape)
    if isinstance(g, Variable):
        return g if g.array.dtype == dtype else g.to(dtypes.of(dtype))
    return g if g.dtype == dtype else dtypes.towards(g, dtype).astype(dtype)


def _summed(g: np.ndarray, dims: tuple) -> np.ndarray:
    """A sum, maybe in twice the precision: NumPy adds row after row, and errors grow with their number. Of a few rows
    the plain sum is torch's, or nearly."""
    few = math.prod([g.shape[d] for d in dims]) <= 64
    return np.add.reduce(g, dims, np.float32 if g.dtype.char == "e" else g.dtype if few else np.float64)


SHAPE, POSITION = -1, -2        # what a rule may name besides arguments and the result


# ---- recording --------------------------------------------------------------------------------------------------

def primitive(name: str | None = None, *, elementwise: bool = False, **rules: Callable) -> Callable:
    """Make an op of a function of arrays: what it returns is its value, `rules` are its vjps by input.

    The op takes Tensors and records; given bare arrays it is the function itself. The result of an elementwise op lies
    in memory as its operands do."""
    def decorate(forward: Callable) -> Callable:
        code = forward.__code__
        params = code.co_varnames[:code.co_argcount]
        variadic = code.co_varnames[code.co_argcount] if code.co_flags & 0x04 else None
        place = {p: i for i, p in enumerate(params)} | {"out": len(params), "shape": SHAPE, "position": POSITION}
        node_class = new_node_class(name or forward.__name__.strip("_").title(), Node)
        entries = {key: (rule, tuple(place[p] for p in rule.__code__.co_varnames[1:rule.__code__.co_argcount]))
                   for key, rule in rules.items()}
        node_class.rules = tuple((place[key], *entry) for key, entry in entries.items() if key != variadic)
        node_class.many = entries.get(variadic)
        first, defaults = code.co_argcount, forward.__defaults__ or ()
        compute = forward if not elementwise else lambda *raw: arranged(forward(*raw), raw)

        @wraps(forward)
        def op(*args, **kwargs):
            if kwargs or len(args) < first:
                args = bind(forward.__name__, params, defaults, args, kwargs)
            for a in args:
                if isinstance(a, Variable):
                    break
            else:                               # a rule calls, with bare arrays
                if isinstance(args[0], _ARRAYS) or any(isinstance(a, _ARRAYS) for a in args):
                    return forward(*args)
                return not_a_tensor(forward, args)
            raw = [a.array if isinstance(a, Variable) else a for a in args]
            out = Tensor(quietly(compute, *raw))
            if mode.grad and (node_class.rules or node_class.many):
                record(node_class, out, args, raw, first)
            return out

        op.node_class = node_class
        return op
    return decorate


def elementwise(name: str | None = None, **rules: Callable) -> Callable:
    return primitive(name, elementwise=True, **rules)


_ARRAYS = (np.ndarray, np.generic)


def new_node_class(name: str, base: type[Node]) -> type[Node]:
    suffix = "" if "Backward" in name or name == "CopySlices" else "Backward0"
    return type(name + suffix, (base,), {"__slots__": (), "__module__": base.__module__})


def record(node_class: type[Node], out: Tensor, args: Sequence, raw: list, first: int) -> None:
    """If an input wants a gradient, make `out` the result of a new node that saves what the rules name."""
    entries = node_class.rules
    if node_class.many:
        entries = itertools.chain(entries, ((i, *node_class.many) for i in range(first, len(args))))
    inputs, keep = [], ()
    for i, rule, needs in entries:
        a = args[i]
        if isinstance(a, Variable):
            edge = a._edge()
            if edge is not None:
                inputs.append((rule, needs, edge, a.array.shape, a.array.dtype, i))
                keep += needs
    if not inputs or out.array.dtype.kind != "f" or mode.inference:
        return
    node = node_class()
    node.inputs, node.seq, node.hooks, node.retain, node.extras = inputs, next_sequence(), None, None, None
    node.trace = forward_traceback() if mode.anomaly is not None else None
    out._node = node
    saved, versions = [None] * (len(raw) + 1), []
    for i in keep:
        if i < 0 or saved[i] is not None:
            continue
        owner, value = (args[i], raw[i]) if i < len(raw) else (out, out.array)
        saved[i] = value
        if isinstance(owner, Variable):
            version = owner._counter
            if version is None:
                raise RuntimeError(
                    "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference "
                    "mode in computation tracked by autograd. To work around this, you can make a clone to get a "
                    "normal tensor and use it in autograd, or use `torch.no_grad()` instead of "
                    "`torch.inference_mode()`.")
            versions.append((i, version, version[0], None))
    node.saved, node.versions = saved, versions
    if mode.pack is not None:
        pack_saved(node, args)


def pack_saved(node: Node, args: Sequence = ()) -> None:
    """Put what the node saved through the pack hook: the op's arguments themselves, if they are given. What a hook of
    the user's keeps is a value of its own, which later writes to the tensor do not invalidate."""
    edges = {entry[5]: entry[2] for entry in node.inputs} | {len(node.saved) - 1: node}
    for k, (i, version, seen, _) in enumerate(node.versions):
        t = args[i] if i < len(args) else edges.get(i)
        if not isinstance(t, Variable) or t.array is not node.saved[i]:
            t = tensor_with_edge(node.saved[i], edges.get(i))
            t._counter = version
        node.saved[i] = mode.pack(t)
        node.versions[k] = (i, version, seen, mode.unpack) if mode.watched else (i, [0], 0, mode.unpack)
