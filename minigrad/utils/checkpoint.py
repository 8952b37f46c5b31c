"""Activation checkpointing: compute again in backward what was not kept in forward."""

from __future__ import annotations

from collections.abc import Callable

from .. import random
from ..graph import Variable
from ..modes import Settings, mode


class CheckpointError(RuntimeError):
    """The second forward did not do what the first one did."""


class _Frame:
    """One checkpointed call. In forward, what its ops save is replaced by a number: the how-manieth it was. The first
    time backward asks for one, the call is made again, under the same random stream, and its saved values collected."""

    def __init__(self, function: Callable, args: tuple, kwargs: dict, preserve_rng_state: bool):
        self.function, self.args, self.kwargs = function, args, kwargs
        self.state = random.get_rng_state() if preserve_rng_state else None
        self.count, self.shapes, self.values = 0, [], {}

    def pack(self, array) -> int:
        self.shapes.append((array.shape, array.dtype))
        self.count += 1
        return self.count - 1

    def unpack(self, number: int):
        if number not in self.values:
            self.recompute()
        array = self.values.pop(number)
        if (array.shape, array.dtype) != self.shapes[number]:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than during the "
                f"forward pass: saved {self.shapes[number]}, recomputed {(array.shape, array.dtype)}")
        return array

    def recompute(self) -> None:
        arrays = []

        def collect(array):
            arrays.append(array)
            return array

        with random.fork_rng(enabled=self.state is not None), \
                Settings(grad=True, pack=collect, unpack=_same):
            if self.state is not None:
                random.set_rng_state(self.state)
            self.function(*map(_detached, self.args), **{k: _detached(v) for k, v in self.kwargs.items()})
        if len(arrays) != self.count:
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {self.count}\nNumber of tensors saved during "
                f"recomputation: {len(arrays)}.")
        self.values = dict(enumerate(arrays))


def _same(array):
    return array


def _detached(x):
    return x.detach().requires_grad_(x.requires_grad) if isinstance(x, Variable) else x


def checkpoint(function: Callable, *args, use_reentrant: bool | None = None, preserve_rng_state: bool = True,
               context_fn: Callable | None = None, determinism_check: str = "default", debug: bool = False, **kwargs):
    """function(*args, **kwargs), keeping for backward only the arguments; the rest is computed again when it is needed.

    torch's non-reentrant form, whatever use_reentrant says: gradients flow to everything the function uses, to any
    order, and autograd.grad works."""
    if not mode.grad:
        return function(*args, **kwargs)
    frame = _Frame(function, args, kwargs, preserve_rng_state)
    with Settings(pack=frame.pack, unpack=frame.unpack):
        return function(*args, **kwargs)


def checkpoint_sequential(functions, segments: int, input, use_reentrant: bool | None = None, **kwargs):
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
        input = checkpoint(run(start, end), input, use_reentrant=use_reentrant, **kwargs)
    return run(end, len(functions))(input)
