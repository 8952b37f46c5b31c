"""Views and in-place writes, with torch's rules.

NumPy already makes a write visible through every view of the memory. What is left to do: count the writes, so that
backward can refuse a value that changed after it was saved; give every tensor that sees the write its new history;
and refuse what torch refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps

import numpy as np

from . import dtypes
from .graph import Node, Tensor, Variable, new_tensor, next_sequence, pack_saved, primitive, record, tensor_with_edge
from .kernels.layout import owner
from .modes import enable_grad, mode
from .names import renamed
from .refusals import check_inplace, check_kind, check_view


class View:
    """How to take a view again: `steps` lead from the base to it, as nested (earlier steps, op, arguments); `array` is
    the base's as it then was.

    After an in-place write through any of its views, a base has a new history, and every view of it gets a new one
    when it is next asked for: that of the same steps from the base. `kind` is None where that is all; else why it may
    not be: "no_grad" or "inference", where the view was taken, "function" if an autograd.Function returned it,
    "window", "overlapping" or "outside" if as_strided did (see there), or its place among the results of one op."""

    __slots__ = ("array", "base", "kind", "seen", "steps")

    def __init__(self, base: Tensor, steps: tuple, seen: int | None, kind: str | int | None):
        self.base, self.steps, self.seen, self.kind = base, steps, seen, kind
        self.array = base.array

    def base_again(self) -> Tensor:
        """The base as it stands in the graph now, for the steps to be taken anew."""
        former, array = self.array, self.base.array
        if array is not former and (array.shape, array.strides) != (former.shape, former.strides):
            raise RuntimeError("the base of this view was itself reshaped in place (by t_, transpose_, squeeze_ or "
                               "unsqueeze_) after the view was taken, and then written to. Use the out-of-place form "
                               "there.")
        return tensor_with_edge(array, self.base._edge())

    def renew(self, view: Tensor) -> None:
        if not self.base.requires_grad:
            return                               # if it wants one later, the view has a new history then
        check_kind(view, self, "and its base or another view of its base has been modified inplace")
        self.seen = view._counter[0]
        if self.base._edge() is not None:
            with enable_grad():
                rewrite_history(view, take_view(self.base_again(), self.steps)._node)
            if view._node is not None:
                view._node.__class__ = renamed(type(view._node), "AsStrided")


def view_primitive(name: str | None = None, **rules: Callable) -> Callable:
    """A primitive whose value shares the first input's memory, and whose result is a view in torch's sense."""
    def decorate(forward: Callable) -> Callable:
        take = primitive(name, **rules)(forward)
        node_class, first = take.node_class, forward.__code__.co_argcount

        @wraps(forward)
        def op(source, *args):
            if not isinstance(source, Variable):
                return take(source, *args)
            array = source.array
            out = new_tensor(forward(array, *args))
            if mode.grad:
                record(node_class, out, (source, *args), (array, *args), first)
            mark_view(out, source, op, args)
            return out
        return op
    return decorate


def take_view(base, steps: tuple):
    """Follow a view's steps from another base (a Tensor or an array of the same layout)."""
    path = []
    while steps:
        steps, op, args = steps
        path.append((op, args))
    for op, args in reversed(path):
        base = op(base, *args)
    return base


def mark_view(out: Tensor, source: Tensor, op: Callable, args: Sequence) -> None:
    """Make `out` a view of what `source` views, if NumPy did share the memory (a reshape may have copied)."""
    array, memory, inference = out.array, source.array, out._counter is None
    under = array.base
    if under is not memory and (under is None or under is not memory.base) and array is not memory and array.size \
            and not np.may_share_memory(array, memory) and owner(array) is not owner(memory):
        return
    out._counter = counter = source._counter
    base, steps, kind, view = source, (), None, source._view
    if view is not None:
        base, steps, kind = view.base, view.steps, view.kind
        kind = 0 if isinstance(kind, int) else kind
    if kind is None or kind == "window":
        kind = "inference" if inference else kind if mode.grad else "no_grad"
    out._view = View(base, (steps, op, args), counter and counter[0], kind)


def mark_multiple(views: Iterable[Tensor], name: str = "") -> tuple[Tensor, ...]:
    """Views that one op returned together, which torch does not let be written to in grad mode."""
    views = tuple(views)
    for i, v in enumerate(views):
        if isinstance(v, Variable) and v._view is not None:
            v._view.kind = v._view.kind if v._view.kind in ("no_grad", "inference") else i
    return views


def rewrite_history(t: Tensor, node: Node | None) -> None:
    """From now on t is what this node made; if it retains its gradient, then that of its new value."""
    former = t._node
    if former is not None and node is not None and former.retain is not None and former.retain() is t:
        node.retain, former.retain = former.retain, None
    t._node = node


def assign(t: Tensor, compute: Callable[[], Tensor], write: Callable, constant: bool = False,
           known_as: Tensor | None = None) -> Tensor:
    """t <- compute(), in place: the write is seen through every view of the memory, and in the history of every tensor
    that views it. `compute` is the ordinary op, so an in-place op's derivative is the op's. If it is `known_as` another
    tensor to that op, then what backward wants of t itself has been overwritten, and is refused, as in torch.

    `write(base, value, steps)` is the primitive that replaces a view's elements; it becomes the base's history."""
    check_inplace(t, constant)
    if t._view is not None and t._view.kind == "window" and mode.grad:
        t._view.renew(t)
    mark, pack = next_sequence(), mode.pack
    mode.pack = None                         # what is saved is packed when it is sure to stay: in _keep_old_values
    try:
        result = compute()
    finally:
        mode.pack = pack
    value = result.array
    if value.shape != t.array.shape:
        raise RuntimeError(f"output with shape {list(t.array.shape)} doesn't match the broadcast shape "
                           f"{list(value.shape)}")
    if not dtypes.can_cast(dtypes.of(value.dtype), dtypes.of(t.array.dtype)):
        raise RuntimeError(f"result type {dtypes.of(value.dtype).tensor_type} can't be cast to the desired output type "
                           f"{dtypes.of(t.array.dtype).tensor_type}")
    if value.dtype != t.array.dtype:
        result = result.to(t.dtype)
    node, view, new_base = result._node, t._view, None
    if node is not None:
        _keep_old_values(node, t.array, mark, None if known_as is None or known_as is t else t._counter)
        if view is not None:
            check_view(t, view)
    if view is not None and mode.grad and (node is not None or view.base._edge() is not None):
        new_base = write(view.base_again(), result, view.steps)
    np.copyto(t.array, result.array)
    if t._counter is not None:
        t._counter[0] += 1
    if new_base is not None:
        rewrite_history(view.base, new_base._node)
    elif node is not None and view is None:
        rewrite_history(t, node)
        if node.versions and node.versions[-1][1] is result._counter:         # it saved its result: that is now t
            i, _, _, unpack = node.versions[-1]
            node.versions[-1] = (i, t._counter, t._counter[0], unpack)
    return t


def _keep_old_values(node: Node, memory: np.ndarray, mark: int, lost: list | None) -> None:
    """What the nodes of an in-place op saved of the memory that is about to be overwritten moves to a copy, but for
    what was saved of the tensor with the `lost` counter."""
    stack, met = [node], set()
    while stack:
        node = stack.pop()
        if isinstance(node, Variable) or node.seq <= mark or node in met:
            continue
        met.add(node)
        stack.extend(node.edges())
        for k, (i, version, _, unpack) in enumerate(node.versions):
            if version is lost or unpack is not None:
                continue
            if not memory.size or np.may_share_memory(node.saved[i], memory):
                node.saved[i] = node.saved[i].copy()
                node.versions[k] = (i, [0], 0, None)
        if mode.pack is not None:
            pack_saved(node)
