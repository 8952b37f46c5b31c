"""What is refused, and why: writes in place, values that changed, arguments that do not fit. In torch's words."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import dtypes
from .modes import mode

if TYPE_CHECKING:
    from .graph import Node, Tensor
    from .views import View


def check_inplace(t: Tensor, constant: bool = False) -> None:
    """torch's conditions for a write in place."""
    if t._counter is None and not mode.inference:
        raise RuntimeError("Inplace update to inference tensor outside InferenceMode is not allowed. You can make a "
                           "clone to get a normal tensor before doing inplace update.")
    if not constant:
        check_memory(t)
    if not mode.grad:
        return
    view = t._view
    if view is None:
        if t._node is None and t._leaf:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    elif t.requires_grad or view.base.requires_grad:
        check_view(t, view)


def check_memory(t: Tensor) -> None:
    array, view = t.array, t._view
    if array.size and (0 in array.strides and any(n > 1 and not s for n, s in zip(array.shape, array.strides))
                       or view is not None and view.kind == "overlapping"):
        raise RuntimeError("unsupported operation: more than one element of the written-to tensor refers to a single "
                           "memory location. Please clone() the tensor before performing the operation.")


def check_overlap(t: Tensor, source: Tensor) -> None:
    """Refuse, as torch does, to write where the values to be read partly lie: the same block of memory, laid out
    otherwise or shifted. (The very same elements may be read and written.)"""
    a, b = t.array, source.array
    if a is b or not a.size or not b.size or not np.may_share_memory(a, b):
        return
    if is_dense(a) and is_dense(b) and (a.ctypes.data, a.strides, a.shape) != (b.ctypes.data, b.strides, b.shape):
        raise RuntimeError("unsupported operation: some elements of the input tensor and the written-to tensor refer "
                           "to a single memory location. Please clone() the tensor before performing the operation.")


def is_dense(a: np.ndarray) -> bool:
    """Whether the elements fill a block of memory, in some order of the dimensions."""
    step = a.itemsize
    for stride, n in sorted((s, n) for s, n in zip(a.strides, a.shape, strict=True) if n != 1):
        if stride != step:
            return False
        step *= n
    return True


def check_view(t: Tensor, view: View) -> None:
    check_kind(t, view, "and is being modified inplace")
    if any(x._leaf and x._node is None for x in (t, view.base)):
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")


def check_kind(t: Tensor, view: View, what: str) -> None:
    """Refuse to rewrite the history of a view that has none of its own."""
    if view.kind == "function":
        raise RuntimeError(
            f"A view that an autograd.Function returned (of its input, or the input itself) {what}. The history that "
            "this would give it leaves out the Function's backward, and so its gradient would be wrong. Return a clone "
            "of it from the Function, or clone it before the write.")
    if view.kind == "outside":
        raise RuntimeError(
            f"A view that as_strided took {what}. It reaches memory that its base does not hold, whose history is not "
            "known. Take it from a tensor that holds all of it, or from a clone.")
    if view.kind == "no_grad":
        raise RuntimeError(
            f"A view was created in no_grad mode {what} with grad mode enabled. Given that this use case is ambiguous "
            "and error-prone, it is forbidden. You can clarify your code by moving both the view and the inplace "
            "either both inside the no_grad block (if you don't want the inplace to be tracked) or both outside (if "
            "you want the inplace to be tracked).")
    if isinstance(view.kind, int):
        name = t._node.name().partition("Backward")[0] if t._node is not None else "a function"
        raise RuntimeError(
            f"Output {view.kind} of {name} is a view {what}. This view is the output of a function that returns "
            "multiple views. Such functions do not allow the output views to be modified inplace. You should replace "
            "the inplace operation by an out-of-place one.")


def modified(node: Node, i: int, now: int, seen: int) -> str:
    value = node.saved[i]
    own = i == len(node.saved) - 1
    makers = [node] if own else [entry[2] for entry in node.inputs if entry[5] == i]
    maker = next((e for e in makers if hasattr(e, "inputs")), None)
    which = f", which is output 0 of {maker.name()}," if maker else ""
    packed = not isinstance(value, np.ndarray)
    what = "a tensor" if packed else f"[torch.{dtypes.of(value.dtype).tensor_type}Tensor {list(value.shape)}]"
    return ("one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"{what}{which} is at version {now}; expected version {seen} instead. Hint: "
            + ("the backtrace further above shows the operation that failed to compute its gradient." if mode.anomaly
               is not None else "enable anomaly detection to find the operation that failed to compute its gradient, "
               "with torch.autograd.set_detect_anomaly(True)."))


def not_a_tensor(f: Callable, args: Sequence):
    raise TypeError(f"{f.__name__}(): argument 'input' (position 1) must be {tensor_not(args[0])}")


def tensor_not(x) -> str:
    """What was wanted and what was given: "Tensor, not int"; a tensor of PyTorch's with the names of both engines."""
    kind = type(x).__name__
    return f"Tensor, not {kind}" if not is_torchs(x) else f"minigrad.Tensor, not torch.{kind}: {CROSSING}"


def is_torchs(x) -> bool:
    """Whether x is a tensor of PyTorch's, which is only asked for if the program has imported it."""
    theirs = getattr(sys.modules.get("torch"), "Tensor", ())
    return isinstance(x, theirs) and not hasattr(x, "_counter")        # which ours has, also in torch's place


def unknown(other):
    """What an operator answers where the other operand is no tensor, array or number."""
    if is_torchs(other):                              # Python's own error would say 'Tensor' and 'Tensor'
        raise TypeError(f"the other operand must be a {tensor_not(other)}")
    return NotImplemented


CROSSING = "the two engines do not mix. from_numpy(t.numpy()), of the engine that is wanted, takes a tensor over"


def bind(name: str, params: Sequence[str], defaults: tuple, args: tuple, kwargs: dict) -> list:
    values = dict(zip(params[len(params) - len(defaults):], defaults)) | dict(zip(params, args))
    for key, value in kwargs.items():
        if key not in params or key in params[:len(args)]:
            raise TypeError(f"{name}() got an unexpected keyword argument '{key}'")
        values[key] = value
    missing = [p for p in params if p not in values]
    if missing:
        raise TypeError(f"{name}() missing {len(missing)} required positional arguments: " +
                        ", ".join(f'"{p}"' for p in missing))
    return [values[p] for p in params] + list(args[len(params):])
