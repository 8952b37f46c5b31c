"""Reverse-mode automatic differentiation: the walk back over the tape that minigrad/graph.py describes.

Gradients flow from the roots to the leaves, each node once, in descending order of the nodes' sequence numbers: a
node is made after its inputs, so when its turn comes, all that used its result has been, and its gradient is
complete. That is torch's order too. There is no recursion, so a chain of any length will do.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from .anomaly import detect_anomaly, inspect_gradient, is_anomaly_enabled, set_detect_anomaly
from .graph import Node, Tensor, Variable, new_tensor
from .hooks import observed, run_hooks
from .kernels.blocks import Aside, Side, finished
from .kernels.late import Rows
from .leaves import ALONE, accumulate_gradient, looked_at, owns_memory, references
from .modes import (
    Quiet,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    mode,
    no_grad,
    set_grad_enabled,
)

# ---- the walk ---------------------------------------------------------------------------------------------------


def walk(roots: Sequence, gradients: Sequence, retain_graph: bool, create_graph: bool, targets: set | None = None,
         accumulate: bool = True) -> dict:
    """Walk back from the roots (edges of the graph: nodes or leaves) with their gradients: arrays, or Tensors if
    create_graph. Leaves accumulate in `.grad`; or the gradients of the targets are returned."""
    order = _order(roots)
    needed = None if targets is None else _leading_to(targets, order)
    wanted = _everything if needed is None else needed.__contains__
    pending, found, side, later, suspect = {}, {}, [], [], None
    for root, g in zip(roots, gradients, strict=True):
        pending[root] = pending[root] + g if root in pending else g
    del gradients
    g = gi = None
    former, mode.grad, outer, mode.side, anomaly = mode.grad, create_graph, mode.side, side, mode.anomaly
    try:
        with Quiet():
            for node in order:
                if node not in pending or not wanted(node):
                    continue
                g, leaf = pending.pop(node), isinstance(node, Variable)
                if side or type(g) is Rows:
                    ordinary = leaf and accumulate and targets is None
                    if _may_write(node) if leaf else node.calls_back():
                        _accumulate_all(later, side)     # products may read what may be written now
                    elif ordinary and isinstance(g, Aside):
                        later.append((node, g))   # it is still on its way, and all that is left is to accumulate it
                        continue
                    g = finished(g)
                    if isinstance(g, Rows) and not ordinary:
                        g = np.asarray(g)
                ends = False
                if targets is not None and node in targets:
                    ends = not (accumulate if leaf else any(map(wanted, node.edges())))
                    found[node] = g             # before its hooks, if the path goes on: as in torch
                if node.hooks is not None:
                    g = run_hooks(node.hooks, g)
                if not leaf and node.retain is not None and (t := node.retain()) is not None:
                    _add_to_grad(t, g)
                if ends:
                    found[node] = g
                    continue
                if leaf:
                    if accumulate:
                        accumulate_gradient(node, g)
                    continue
                flow = node.gradients if node.extras is None else partial(observed, node)
                for edge, gi in flow(g, wanted, create_graph):
                    if gi is not None:
                        if anomaly is not None:
                            gi = finished(gi)
                            suspect = inspect_gradient(node, gi, suspect)
                        pending[edge] = _sum(pending.pop(edge), gi) if edge in pending else gi
                gi = None                       # the walk keeps nothing alive but what is pending
                if not retain_graph:
                    node.release()
    finally:
        mode.grad, mode.side = former, outer
        if side:
            _accumulate_all(later, side)
    return found


def _everything(edge) -> bool:
    return True


def _may_write(leaf: Tensor) -> bool:
    """Whether, when its turn comes, something may be written that is there already: a former gradient, or, by hooks,
    anything."""
    return leaf._grad is not None or bool(leaf.hooks or leaf.post_hooks)


def _accumulate_all(later: list, side: list[Side]) -> None:
    """Wait for what was put aside (Side in kernels/blocks.py), and accumulate the gradients whose leaves' turn went by
    meanwhile: at the end, and before code of the user's runs, which may look at them."""
    for products in side:
        products.wait()
    with Quiet():
        while later:
            leaf, g = later.pop(0)
            g = g.result()
            accumulate_gradient(leaf, g)


def _order(roots: Iterable) -> list:
    """All that the roots lead to, each before what it was made from. A leaf, which has no number, comes right after
    the last node that feeds it."""
    rank, stack = {}, []
    for root in roots:
        if isinstance(root, Node):
            rank[root] = root.seq
            stack.append(root)
        else:
            rank[root] = float("inf")
    while stack:
        node = stack.pop()
        before = node.seq - 0.5
        for edge in node.edges():
            if isinstance(edge, Variable):
                if rank.get(edge, before) >= before:
                    rank[edge] = before
            elif edge not in rank:
                rank[edge] = edge.seq
                stack.append(edge)
    return sorted(rank, key=rank.__getitem__, reverse=True)


def _leading_to(targets: set, order: list) -> set:
    """The targets, and the nodes through which a gradient reaches one."""
    needed = set(targets)
    for node in reversed(order):
        if isinstance(node, Node) and any(edge in needed for edge in node.edges()):
            needed.add(node)
    return needed


def _sum(a, b):
    """a + b, in the memory of a, if nobody else holds that."""
    a, b = finished(a), finished(b)
    if references(a) <= ALONE and owns_memory(a) and a.dtype == b.dtype:
        if isinstance(b, Rows):
            return b.add_to(a)
        if isinstance(b, np.ndarray) and a.strides == b.strides:
            return np.add(a, b, out=a)
    return a + b


def _add_to_grad(t: Tensor, g) -> None:
    """What retain_grad asked for: t.grad += g, in an array that no other gradient shares."""
    if t._grad is not None:
        g = looked_at(t) + (g if isinstance(g, Variable) else new_tensor(g))
    t._grad = g if isinstance(g, Variable) else new_tensor(np.array(g))


# ---- backward and grad ------------------------------------------------------------------------------------------

def backward(tensors: Tensor | Sequence[Tensor], grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
             retain_graph: bool | None = None, create_graph: bool = False,
             grad_variables: object = None, inputs: Tensor | Sequence[Tensor] | None = None) -> None:
    """Accumulate the gradients of the tensors in the leaves they were made from."""
    outputs = (tensors,) if isinstance(tensors, Variable) else tuple(tensors)
    targets = None
    if inputs is not None:
        inputs = (inputs,) if isinstance(inputs, Variable) else tuple(inputs)
        if not inputs:
            raise RuntimeError("'inputs' argument to backward cannot be empty.")
        for t in inputs:
            if not t.requires_grad:
                raise RuntimeError("One of the differentiated Tensors does not require grad")
            if t._node is not None:
                t.retain_grad()
        targets = {t._edge() for t in inputs}
    if create_graph:
        warnings.warn("Using backward() with create_graph=True will create a reference cycle between the parameter and "
                      "its gradient which can cause a memory leak. We recommend using autograd.grad when creating the "
                      "graph to avoid this. If you have to use this function, make sure to reset the .grad fields of "
                      "your parameters to None after use to break the cycle and avoid the leak.", stacklevel=3)
    roots, gradients = _start(outputs, grad_tensors, create_graph)
    walk(roots, gradients, create_graph if retain_graph is None else retain_graph, create_graph, targets)


def grad(outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor],
         grad_outputs: Tensor | Sequence[Tensor | None] | None = None, retain_graph: bool | None = None,
         create_graph: bool = False, only_inputs: bool = True, allow_unused: bool | None = None,
         is_grads_batched: bool = False, materialize_grads: bool = False) -> tuple[Tensor | None, ...]:
    """The gradients of the outputs (summed, weighted by grad_outputs) with respect to each of the inputs."""
    outputs = (outputs,) if isinstance(outputs, Variable) else tuple(outputs)
    inputs = (inputs,) if isinstance(inputs, Variable) else tuple(inputs)
    if is_grads_batched:
        raise NotImplementedError("is_grads_batched=True is not implemented: call grad once for each of the vectors")
    if materialize_grads and allow_unused is False:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
                         "allow_unused=False.")
    if not inputs:
        raise RuntimeError("grad requires non-empty inputs.")
    for t in inputs:
        if not isinstance(t, Variable):
            raise RuntimeError(f"all inputs have to be Tensors, but got {type(t).__name__}")
        if not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    roots, gradients = _start(outputs, grad_outputs, create_graph)
    found = walk(roots, gradients, create_graph if retain_graph is None else retain_graph, create_graph,
                 {t._edge() for t in inputs}, accumulate=False)
    results, g = [], None
    for i, t in enumerate(inputs):
        g = found.get(t._edge())
        if g is None:
            if not allow_unused and not materialize_grads:
                raise RuntimeError(f"The differentiated Tensor at index {i} appears to not have been used in the "
                                   "graph. Set allow_unused=True if this is the desired behavior.")
            g = np.zeros_like(t.array) if materialize_grads else None
        elif not isinstance(g, Variable):
            ours = references(g) <= ALONE + 1 and owns_memory(g)                  # `found` holds it, too
            g = g if ours else np.array(g)
        results.append(g if g is None or isinstance(g, Variable) else new_tensor(g))
    return tuple(results)


_SEQUENCES = (list, tuple)


def _start(outputs: Sequence[Tensor], given, create_graph: bool) -> tuple[list, list]:
    """The edges a walk starts from, and their gradients: 1 for a scalar where none is given."""
    given = tuple(given) if isinstance(given, _SEQUENCES) else (given,)
    for g in given:
        if g is not None and not isinstance(g, Variable):
            raise TypeError("gradients can be either Tensors or None, but got "
                            + ", ".join(type(g).__name__ for g in given if not isinstance(g, Variable)))
    if len(given) == 1 and given[0] is None:
        given *= len(outputs)
    if len(given) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(given)} gradients")
    roots, gradients = [], []
    for i, (t, g) in enumerate(zip(outputs, given, strict=True)):
        if g is not None:
            if g.array.shape != t.array.shape:
                raise RuntimeError(f"Mismatch in shape: grad_output[{i}] has a shape of {g.shape} and output[{i}] has "
                                   f"a shape of {t.shape}.")
        elif t.requires_grad:
            if t.array.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            g = new_tensor(np.ones_like(t.array))
        if not t.requires_grad:
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        roots.append(t._edge())
        if g.array.dtype != t.array.dtype:
            g = g.to(t.dtype)
        gradients.append(g if create_graph else g.array)
    return roots, gradients


# ---- the rest of torch.autograd's names, from where they are defined ---------------------------------------------

from . import function  # noqa: E402
from . import saved_hooks as graph  # noqa: E402
from .function import Function, FunctionCtx  # noqa: E402


def __getattr__(name: str):
    if name in ("gradcheck", "gradgradcheck"):         # these stand on this module, and are rarely asked for
        from . import gradcheck
        return getattr(gradcheck, name)
    raise AttributeError(f"module 'minigrad.autograd' has no attribute {name!r}")


__all__ = ["Function", "FunctionCtx", "Node", "Tensor", "Variable", "backward", "detect_anomaly", "enable_grad", "grad",
           "function", "graph", "inference_mode", "is_anomaly_enabled", "is_grad_enabled",
           "is_inference_mode_enabled", "new_tensor", "no_grad", "set_detect_anomaly", "set_grad_enabled", "walk"]
