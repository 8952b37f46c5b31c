"""What becomes of a gradient that has reached its leaf: it is added up in `.grad`, clipped, looked at, dropped.

`_grad` holds it as a Tensor or, while nobody has looked at it, in one of the forms of kernels/late.py. Whoever wants
the Tensor reads `.grad`, or asks `looked_at`, which leaves `_grad` as it is: threads may look while another one trains.
"""

from __future__ import annotations

import sys
import threading
import weakref

import numpy as np

from . import graph
from .graph import Tensor, Variable, new_tensor
from .host import in_each_child
from .kernels import memory
from .kernels.late import LARGE, Late, Rows, Scaled, scale
from .modes import Quiet
from .refusals import check_inplace, check_memory

_adding = threading.RLock()              # of two backward passes at once, one adds after the other


@in_each_child
def _renew_lock() -> None:
    """One of the parent's other threads may have held it."""
    global _adding
    _adding = threading.RLock()


def accumulate_gradient(leaf: Tensor, g) -> None:
    """leaf.grad += g. The first gradient becomes `.grad` itself if nobody else holds its memory, as in torch."""
    with _adding:
        former = leaf._grad
        if former is not None:
            former = unseen(leaf)
        if former is None and isinstance(g, np.ndarray):
            ours = references(g) <= ALONE_BELOW and owns_memory(g) and g.strides == leaf.array.strides
            leaf._grad = new_tensor(g if ours else _copy_like(leaf.array, g))
        elif former is None and isinstance(g, Variable):
            leaf._grad = g.clone()
        elif former is None:
            rows = isinstance(g, Rows) and g.shape == leaf.array.shape and leaf.array.flags.c_contiguous
            leaf._grad = g if rows else new_tensor(_copy_like(leaf.array, g))
        elif isinstance(former, Rows) and isinstance(g, Rows) and former.shape == g.shape == leaf.array.shape:
            leaf._grad = former + g
        else:
            leaf._grad = _sum(looked_at(leaf), g)
    if leaf.post_hooks is not None:
        for hook in tuple(leaf.post_hooks.values()):
            if hook(leaf) is not None:
                raise TypeError("hooks registered with register_post_accumulate_grad_hook should return None")


def _sum(former: Tensor, g) -> Tensor:
    if isinstance(g, Variable):
        return former + g
    if former._counter is None:
        return new_tensor(np.asarray(former.array + g))
    check_memory(former)
    if isinstance(g, Rows) and g.shape == former.array.shape:
        g.add_to(former.array)
    else:
        np.add(former.array, g, out=former.array)
    former._counter[0] += 1
    return former


def forget_gradient(leaf: Tensor) -> None:
    """leaf.grad = None. The memory of a large gradient is kept for the next one, if nobody else holds it."""
    former, leaf._grad = leaf._grad, None
    if isinstance(former, Rows):
        former = former.seen.get("tensor")
    if former is None:
        return
    g = former.source[0] if isinstance(former, Scaled) else former.array
    del former
    if g.nbytes > memory.LARGEST and references(g) <= ALONE and owns_memory(g):
        memory.keep_room(g, leaf.array)


# ---- gradients that nobody has looked at -------------------------------------------------------------------------

def unseen(leaf: Tensor) -> Tensor | Late | None:
    """leaf.grad, in the form that it has."""
    g = leaf._grad
    return g.seen.get("tensor", g) if isinstance(g, Late) else g


def looked_at(leaf: Tensor) -> Tensor | None:
    """leaf.grad, as a tensor: of several who look for the first time at once, all are given the same one."""
    g = unseen(leaf)
    if not isinstance(g, Late):
        return g
    with Quiet():
        seen = new_tensor(np.asarray(g))
    seen._counter = [g.version]                  # and so in inference mode, too: it was made in backward
    return g.show(seen)


def scale_gradient(leaf: Tensor, factor: np.ndarray) -> None:
    """leaf.grad *= factor, a number: at once, if somebody may notice."""
    with _adding:
        g = unseen(leaf)                         # asked once: a thread may look meanwhile
        if isinstance(g, Rows) and 0 <= factor < np.inf:                         # else zeros would not stay 0
            leaf._grad = g.times(factor)
            return
        if g is None:
            return
        leaf._grad = g = looked_at(leaf)         # from now on it holds no late one
        check_inplace(g)
        x = g.array
        factor = factor.astype(np.float32 if x.dtype == np.float16 else x.dtype)[()]
        unknown = references(g) <= ALONE + 1 and references(x) <= ALONE + 1 and owns_memory(x)
        if unknown and _may_go(g) and x.size >= LARGE and x.dtype.char in "fd":
            leaf._grad = Scaled(x, factor, g._counter[0] + 1)
            return
        with Quiet():
            scale(x, factor, x)
        if g._counter is not None:
            g._counter[0] += 1


def _may_go(g: Tensor) -> bool:
    """Whether nothing is lost with this tensor but its values and its version."""
    ordinary = type(g) is graph.Tensor and not g.__dict__ and g._counter is not None and g._view is None
    return ordinary and not (g.requires_grad or g.hooks or g.post_hooks) and not (
        weakref.getweakrefcount(g) or weakref.getweakrefcount(g.array))


# ---- whose memory it is ------------------------------------------------------------------------------------------

def owns_memory(g) -> bool:
    return isinstance(g, np.ndarray) and g.flags.owndata and g.flags.writeable


def references(x) -> int:
    return sys.getrefcount(x)


def _references_below(x) -> int:
    return references(x)


def _references_alone() -> tuple[int, int]:
    """What `references` says of an array that nothing holds but a local variable: its caller's, and that of the
    caller's caller. Versions of Python differ in it; more than 3 and 4 it is only under a debugger's eyes."""
    x = np.empty(0)
    return min(references(x), 3), min(_references_below(x), 4)


ALONE, ALONE_BELOW = _references_alone()         # of an array with no more references, who asks is the only owner


def _copy_like(like: np.ndarray, g) -> np.ndarray:
    copy = np.empty_like(like)
    np.copyto(copy, g)
    return copy
