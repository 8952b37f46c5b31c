"""Activation checkpointing: compute again in backward what was not kept in forward."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from .. import random
from ..graph import Tensor, Variable, new_tensor
from ..modes import Settings, mode


class CheckpointError(RuntimeError):
    """The second forward did not do what the first one did."""


def noop_context_fn() -> tuple[AbstractContextManager, AbstractContextManager]:
    return nullcontext(), nullcontext()


class _Frame:
    """One checkpointed call. In forward, what its ops save is replaced by a number: the how-manieth it was. The first
    time backward asks for one, the call is made again, under the same random stream, and its saved values collected."""

    def __init__(self, function: Callable, args: tuple, kwargs: dict, preserve_rng_state: bool, compare: bool,
                 context: AbstractContextManager):
        self.function, self.compare, self.context = function, compare, context
        # The arguments of a call within another checkpoint are values that the outer call saves.
        self.args, self.kwargs = [_Argument(a) for a in args], {k: _Argument(v) for k, v in kwargs.items()}
        self.state = random.get_rng_state() if preserve_rng_state else None
        self.shapes, self.values = [], {}

    def pack(self, t: Tensor) -> int:
        self.shapes.append((t.array.shape, t.array.dtype))
        return len(self.shapes) - 1

    def unpack(self, number: int) -> np.ndarray:
        if number not in self.values:
            self.values = dict(enumerate(self.recompute()))
        return self.values.pop(number)

    def recompute(self) -> list[np.ndarray]:
        arrays = []

        def collect(t):
            arrays.append(t.array)
            return t.array

        args, kwargs = [a.again() for a in self.args], {k: a.again() for k, a in self.kwargs.items()}
        with random.fork_rng(enabled=self.state is not None), self.context, \
                Settings(grad=True, anomaly=None, pack=collect, unpack=_same, watched=True):
            if self.state is not None:
                random.set_rng_state(self.state)
            self.function(*args, **kwargs)
        if len(arrays) != len(self.shapes):
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {len(self.shapes)}\nNumber of tensors saved "
                f"during recomputation: {len(arrays)}.")
        for i, (array, shape) in enumerate(zip(arrays, self.shapes, strict=True)):
            if self.compare and (array.shape, array.dtype) != shape:
                raise CheckpointError(
                    "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                    f"during the forward pass.\ntensor at position {i}: saved {_meta(*shape)}, "
                    f"recomputed {_meta(array.shape, array.dtype)}")
        return arrays


class _Argument:
    """An argument to hand over a second time, which must not change until then."""

    def __init__(self, value):
        self.value, self.unpack, self.version = value, None, None
        if isinstance(value, Variable):
            self.requires_grad, self.version = value.requires_grad, value._counter
            self.seen = self.version and self.version[0]
            self.value, self.unpack = value.array, _same
            if mode.pack is not None:
                self.value, self.unpack = mode.pack(value), mode.unpack

    def again(self):
        if self.unpack is None:
            return self.value
        if self.version and self.version[0] != self.seen:
            raise RuntimeError("an argument of a checkpointed function has been modified by an inplace operation since "
                               f"the call: it is at version {self.version[0]}; expected version {self.seen} instead. "
                               "Pass a clone of it to the function.")
        return new_tensor(self.unpack(self.value), self.requires_grad)


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _meta(shape: tuple, dtype: np.dtype) -> str:
    return f"{{'shape': {list(shape)}, 'dtype': {dtype}}}"


def checkpoint(function: Callable, *args, use_reentrant: bool | None = None, preserve_rng_state: bool = True,
               context_fn: Callable = noop_context_fn, determinism_check: str = "default", debug: bool = False,
               early_stop: bool = True, **kwargs):
    """function(*args, **kwargs), keeping for backward only the arguments; the rest is computed again when it is needed.

    This is torch's use_reentrant=False, whatever use_reentrant says: gradients flow to everything the function uses,
    to any order, and autograd.grad works. The function always runs to its end (early_stop says nothing here)."""
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], but got {determinism_check}")
    if use_reentrant and kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    if not mode.grad:
        return function(*args, **kwargs)
    first, second = context_fn()
    frame = _Frame(function, args, kwargs, preserve_rng_state, determinism_check == "default", second)
    with first, Settings(pack=frame.pack, unpack=frame.unpack, watched=True):
        return function(*args, **kwargs)


def checkpoint_sequential(functions: Iterable[Callable], segments: int, input: Tensor,
                          use_reentrant: bool | None = None, preserve_rng_state: bool = True) -> Tensor:
    """Run a sequence of functions in checkpointed segments; the last segment is kept."""
    functions = list(functions.children()) if hasattr(functions, "children") else list(functions)
    size = len(functions) // segments

    def run(start: int, end: int) -> Callable:
        def segment(x):
            for f in functions[start:end]:
                x = f(x)
            return x
        return segment

    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(run(start, end), input, use_reentrant=use_reentrant, preserve_rng_state=preserve_rng_state)
    return run(end, len(functions))(input)
