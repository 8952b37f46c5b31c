"""What becomes of a gradient that has reached its leaf: it is added up in `.grad`, clipped, looked at, dropped.

`_grad` holds it as a Tensor or, until somebody looks at it, in one of the forms of kernels/late.py. Whoever wants the
Tensor reads `.grad`, or asks `looked_at`.
"""

from __future__ import annotations

import sys
import threading
import weakref

import numpy as np

from .graph import Tensor, Variable, new_tensor
from .kernels import memory
from .kernels.late import LARGE, Rows, Scaled, scale
from .modes import Quiet
from .refusals import check_inplace, check_memory


def accumulate_gradient(leaf: Tensor, g) -> None:
    """leaf.grad += g. The first gradient becomes `.grad` itself if nobody else holds its memory, as in torch."""
    former = leaf._grad
    if isinstance(g, Rows) and (former is None or isinstance(former, Rows)) and leaf.array.flags.c_contiguous:
        leaf._grad = g if former is None else former + g
    elif former is None and isinstance(g, Variable):
        leaf._grad = g.clone()
    elif former is None:
        ours = references(g) <= ALONE_BELOW and owns_memory(g) and g.strides == leaf.array.strides
        leaf._grad = new_tensor(g if ours else _copy_like(leaf.array, g))
    else:
        _add(leaf, looked_at(leaf), g)
    if leaf.post_hooks is not None:
        for hook in tuple(leaf.post_hooks.values()):
            if hook(leaf) is not None:
                raise TypeError("hooks registered with register_post_accumulate_grad_hook should return None")


def _add(leaf: Tensor, former: Tensor, g) -> None:
    if isinstance(g, Variable):
        leaf._grad = former + g
    elif former._counter is None:
        leaf._grad = new_tensor(np.asarray(former.array + g))
    else:
        check_memory(former)
        if isinstance(g, Rows):
            g.add_to(former.array)
        else:
            np.add(former.array, g, out=former.array)
        former._counter[0] += 1


def forget_gradient(leaf: Tensor) -> None:
    """leaf.grad = None. The memory of a large gradient is kept for the next one, if nobody else holds it."""
    former, leaf._grad = leaf._grad, None
    if isinstance(former, Scaled):
        former = former.tensor
    if isinstance(former, Variable) and former.array.nbytes > memory.LARGEST:
        g = former.array
        del former
        if references(g) <= ALONE and owns_memory(g):
            memory.keep_room(g, leaf.array)


# ---- gradients that nobody has looked at -------------------------------------------------------------------------

_looking = threading.Lock()


def looked_at(leaf: Tensor) -> Tensor | None:
    """leaf.grad: from now on it is a tensor like any other."""
    if leaf._grad is None or isinstance(leaf._grad, Variable):
        return leaf._grad
    with _looking:                               # or two threads would multiply it
        late = leaf._grad
        if isinstance(late, Rows):
            leaf._grad = new_tensor(np.asarray(late))
            leaf._grad._counter = [0]            # it was made in backward, not in anybody's inference mode
        elif isinstance(late, Scaled):
            with Quiet():
                scale(late.tensor.array, late.factor)
            leaf._grad = late.tensor
    return leaf._grad


def scale_gradient(leaf: Tensor, factor: np.ndarray) -> None:
    """leaf.grad *= factor, a number that is not negative: at once, if somebody may notice."""
    g = leaf._grad
    if isinstance(g, Rows) and np.isfinite(factor):          # else zeros would not be left as they are
        np.multiply(g.rows, factor.astype(g.dtype), out=g.rows)
        return
    del g
    looked_at(leaf)
    g = leaf._grad
    if g is None:
        return
    check_inplace(g)
    x = g.array
    factor = factor.astype(np.float32 if x.dtype == np.float16 else x.dtype)[()]
    unseen = (x.size >= LARGE and x.dtype.char in "fd" and references(g) <= ALONE + 1 and references(x) <= ALONE + 1
              and owns_memory(x) and not weakref.getweakrefcount(g) + weakref.getweakrefcount(x))
    if unseen:
        leaf._grad = Scaled(g, factor)
    else:
        with Quiet():
            scale(x, factor)
    if g._counter is not None:
        g._counter[0] += 1


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
