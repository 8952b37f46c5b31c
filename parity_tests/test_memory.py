"""What training leaves behind: nothing. Measured without the garbage collector, so that a reference cycle shows."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import minigrad
from minigrad import Tensor
from minigrad.autograd import Node, Variable

T = minigrad


@contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def live() -> Counter:
    """The tensors and nodes there are, by class."""
    return Counter(type(x).__name__ for x in gc.get_objects() if issubclass(type(x), Variable | Node))


def network() -> tuple[list[Tensor], Tensor, Tensor]:
    T.manual_seed(0)
    parameters = [T.randn(8, 16), T.zeros(16), T.randn(16, 4), T.zeros(4)]
    return [p.mul_(0.1).requires_grad_() for p in parameters], T.randn(32, 8), T.randint(0, 4, (32,))


def step(parameters: list[Tensor], x: Tensor, y: Tensor) -> float:
    """Linear, ReLU, linear, cross entropy, with views and writes in place among the activations, and an SGD step."""
    w1, b1, w2, b2 = parameters
    h = (x @ w1 + b1).clamp(min=0)
    h = h * 1
    h[:, 0].mul_(0.5)
    h.view(4, 8, 16)[0].add_(0.01)
    logits = h @ w2 + b2
    loss = (logits.logsumexp(1) - logits.gather(1, y[:, None])[:, 0]).mean()
    for p in parameters:
        p.grad = None
    loss.backward()
    with T.no_grad():
        for p in parameters:
            p.sub_(p.grad, alpha=0.1)
    return loss.item()


def test_1_000_training_steps_leave_nothing():
    net = network()
    with no_collector():
        losses = [step(*net) for _ in range(1_000)]                    # NumPy fills its caches of small blocks
        before, blocks = live(), sys.getallocatedblocks()
        losses += [step(*net) for _ in range(1_000)]
        growth = sys.getallocatedblocks() - blocks - len(losses)       # the losses are ours
        assert live() == before
    assert growth < 900, f"{growth} blocks more after 1,000 steps: a leak is one for each step, or more"
    assert losses[-1] < losses[0] / 2


def test_a_step_is_gone_before_the_next():
    """Dropping the loss drops its graph, with or without a backward."""
    parameters, x, y = network()
    with no_collector():
        before = live()
        logits = (x @ parameters[0]).tanh() @ parameters[2]
        loss = logits.exp().sum()
        loss.backward(retain_graph=True)
        g = T.autograd.grad(loss, parameters[0], create_graph=True)[0].sum()
        assert live() != before
        del logits, loss, g
        for p in parameters:
            p.grad = None
        assert live() == before


def chain(x: Tensor, depth: int) -> Tensor:
    for _ in range(depth):
        x = x.tanh()
    return x


def test_saved_values_go_as_backward_goes():
    """The peak of backward through 200 saved activations is hardly above forward's; afterwards they are gone."""
    unit = 100_000 * 4
    x = T.ones(100_000, requires_grad=True)
    tracemalloc.start()
    try:
        y = chain(x, 200).sum()
        forward, _ = tracemalloc.get_traced_memory()
        y.backward()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert forward > 199 * unit                       # it does measure
    assert peak < forward + 6 * unit, f"{(peak - forward) / unit} activations more than forward"
    assert after < 3 * unit, f"{after / unit} activations left, of which one is x.grad"


@pytest.mark.parametrize("where", ["hook", "node hook", "function"])
def test_an_exception_in_backward_leaves_nothing(where):
    class Fails(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            raise KeyError("no")

    def fail(*args):
        raise KeyError("no")

    def run():
        y = chain(x, 3)
        if where == "hook":
            y.register_hook(fail)
        elif where == "node hook":
            y.grad_fn.register_hook(fail)
        else:
            y = Fails.apply(y)
        with pytest.raises(KeyError):
            (chain(y, 3) * x).sum().backward()
    x = T.ones(5, requires_grad=True)
    run()
    x.grad = None
    with no_collector():
        before = live()
        run()
        x.grad = None
        gc.collect()              # the exception and its frames refer to one another, whatever the engine does
        assert live() == before
    assert T.is_grad_enabled()


def test_views_and_writes_make_no_cycles():
    x = T.ones(4, 4, requires_grad=True)
    with no_collector():
        before = live()
        base = x * 1
        views = [base[0], base.t(), base.view(16)[2:]]
        for v in views:
            v.mul_(2)
        assert all(v.requires_grad for v in views)
        base.add_(views[0].sum())
        total = base.sum() + views[1].sum()
        total.backward()
        x.grad = None
        del base, views, v, total
        assert live() == before


def test_hooks_and_retained_gradients_make_no_cycles():
    x = T.ones(4, requires_grad=True)
    with no_collector():
        before = live()
        y = x * x
        y.retain_grad()
        handle = y.register_hook(lambda g: g * 2)
        y.grad_fn.register_prehook(lambda grads: None)
        y.sum().backward()
        x.grad = None
        del y, handle
        assert live() == before


def test_a_step_of_words_makes_no_array_of_all_words():
    """The gradient of an embedding stays the few rows that the batch names, until somebody looks."""
    layer = T.nn.Embedding(50_000, 64)
    optimizer, size = T.optim.AdamW(layer.parameters()), layer.weight.nbytes
    for step in range(2):
        optimizer.zero_grad()
        tracemalloc.start()
        layer(T.arange(100)).square().sum().backward()
        T.nn.utils.clip_grad_norm_(layer.parameters(), 0.1)
        if step:                                             # the first one makes the moments
            optimizer.step()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < size * 3 / 4, (peak, size)             # of Adam's blocks, two threads hold two each
        optimizer.step()
    assert layer.weight.grad.nbytes == size
