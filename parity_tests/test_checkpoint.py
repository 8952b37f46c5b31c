"""checkpoint: what it computes is what the function computes, while most of what the function saves is not kept."""

from __future__ import annotations

import tracemalloc
from contextlib import contextmanager

import pytest
import torch.utils.checkpoint
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential

from .programs import attempt, leaf, same

T = minigrad
STEPS = {
    "exp": lambda h, w: (h * 0.1).exp(),
    "mul": lambda h, w: h * w,
    "matmul": lambda h, w: h @ w * 0.3,
    "dropout": lambda h, w: h * (T.rand(3, 3, dtype=T.float64) > 0.3),
    "noise": lambda h, w: h + T.randn(3, 3, dtype=T.float64),
    "writes": lambda h, w: (h * 1).pow_(2).mul_(w).tanh_(),
    "view write": lambda h, w: (lambda y: (y[0].mul_(w[1]), y[1:].sigmoid_(), y)[2])(h * 1),
    "gather": lambda h, w: h.gather(0, h.argsort(0)) * h[[2, 0, 1]],
    "max": lambda h, w: h.max(0).values * h,
    "nested": lambda h, w: checkpoint(lambda x: (x * w).sin() * T.rand(3, 3, dtype=T.float64), h),
    "double": lambda h, w: checkpoint(lambda x: checkpoint(lambda z: z.cos() * w, x * w) * x, h),
}


def results(function, wrapped: bool, times: int = 1) -> list:
    """The value, the first and second gradients by autograd.grad, and those of backward."""
    T.manual_seed(0)
    x, w = leaf(T, 3, 3, start=-4) * 0.2, leaf(T, 3, 3, start=-2)
    x = x.detach().requires_grad_()
    y, n = checkpoint(function, x, w=w, s=0.5) if wrapped else function(x, w=w, s=0.5)
    assert n == "not a tensor"
    after = T.rand(2)
    first = T.autograd.grad((y * y).sum(), [x, w], create_graph=True)
    second = []
    if any(g.requires_grad for g in first):
        second = T.autograd.grad(sum((g * g).sum() for g in first), [x, w], retain_graph=True, allow_unused=True)
    for _ in range(times):
        y.sum().backward(retain_graph=True)
    return [t if t is None else t.tolist() for t in (y, after, *first, *second, x.grad, w.grad)]


@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=5), st.integers(1, 2))
def test_a_checkpointed_program_computes_the_same(names, times):
    """To the last bit: values, gradients of both orders, and the random stream within and afterwards."""
    def function(x, w, s):
        h = x * s + w * 0.01
        for name in names:
            h = STEPS[name](h, w)
        return h, "not a tensor"
    assert results(function, True, times) == results(function, False, times)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=7), st.integers(1, 4))
def test_sequential(factors, segments):
    functions = [lambda x, k=k: (x * k).sin() for k in factors]

    def run(engine, sequential):
        x = leaf(engine, 3)
        result = attempt(lambda: sequential(functions, segments, x, use_reentrant=False))
        if isinstance(result, Exception):
            return type(result).__name__
        result.sum().backward()
        return result.tolist(), x.grad.tolist()
    ours, theirs = run(T, checkpoint_sequential), run(torch, torch.utils.checkpoint.checkpoint_sequential)
    assert type(ours) is type(theirs)
    if isinstance(ours, tuple):
        for a, b in zip(ours, theirs, strict=True):
            assert a == pytest.approx(b, rel=1e-12)


@same
def test_what_checkpoint_takes(T):
    module = torch.utils.checkpoint if T is torch else minigrad.utils.checkpoint
    x, log = leaf(T, 2), []

    def context():
        @contextmanager
        def note(name):
            log.append(name)
            yield
        return note("first"), note("second")
    ck = module.checkpoint
    results = [attempt(f) for f in (
        lambda: ck(T.sin, x, use_reentrant=False, determinism_check="no"),
        lambda: ck(T.sin, x, use_reentrant=False, b=1),
        lambda: ck(T.sin, x, use_reentrant=True, b=1),
        lambda: ck(lambda x, k: x * k, x, k=3, use_reentrant=False, preserve_rng_state=False, debug=False).detach(),
        lambda: ck(lambda x: x * 3, x.detach(), use_reentrant=False), lambda: ck(lambda: 3, use_reentrant=False))]
    for flag in (True, False, None):
        x.grad = None
        ck(lambda x: (x * 3).exp(), x, use_reentrant=flag).sum().backward()
        results.append(x.grad)
    ck(T.sin, x, use_reentrant=False, context_fn=context).sum().backward()
    with T.no_grad():
        results.append(ck(T.sin, x, use_reentrant=False))
    return results, log, issubclass(module.CheckpointError, RuntimeError)


@same
def test_a_function_that_does_something_else_the_second_time(T):
    module = torch.utils.checkpoint if T is torch else minigrad.utils.checkpoint

    def run(functions, **options):
        calls, x = [], leaf(T, 3)

        def function(x):
            calls.append(1)
            return functions[len(calls) > 1](x)
        y = module.checkpoint(function, x, use_reentrant=False, **options)
        return attempt(y.sum().backward), len(calls)

    def fail(x):
        raise KeyError("no")
    return [run((lambda x: x.exp().sin(), lambda x: x.exp())), run((lambda x: x.exp(), lambda x: x[:1].exp())),
            run((lambda x: x.exp(), lambda x: x.float().exp())), run((lambda x: x.exp(), fail))]


def test_longer_recomputations_are_refused_too():
    """torch stops at the last value that it needs, and so does not see these."""
    calls, x = [], leaf(T, 3)

    def function(x):
        calls.append(1)
        return x.exp() if len(calls) == 1 else x.exp().exp()
    y = checkpoint(function, x, use_reentrant=False)
    with pytest.raises(CheckpointError, match="A different number of tensors was saved"):
        y.sum().backward()


def test_a_failing_function_leaves_nothing_behind():
    def fail(x):
        x.exp()
        raise KeyError("no")
    x = leaf(T, 3)
    with pytest.raises(KeyError):
        checkpoint(fail, x, use_reentrant=False)
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4, 6]


@pytest.mark.parametrize("what", ["argument", "parameter"])
def test_writes_before_backward_are_noticed(what):
    """What a recomputation would read must be what the call read."""
    x, w = leaf(T, 3), leaf(T, 3)
    a = x * 1
    y = checkpoint(lambda a: (a * w).exp(), a, use_reentrant=False)
    with T.no_grad():
        (a if what == "argument" else w).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def peak(wrap) -> tuple[float, float]:
    """In activations: what is held after forward through 10 x 20 of them, and the peak of backward."""
    x = T.ones(50_000, requires_grad=True)

    def segment(x):
        for _ in range(20):
            x = x.tanh()
        return x
    tracemalloc.start()
    try:
        y = x
        for _ in range(10):
            y = wrap(segment, y)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        y.sum().backward()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return held / 200_000, most / 200_000


def test_memory():
    held, most = peak(lambda f, x: f(x))
    assert held > 199 and most > 199
    held, most = peak(lambda f, x: checkpoint(f, x, use_reentrant=False))
    assert held < 12 and most < 36
    nested = [lambda f, x: checkpoint(lambda x: checkpoint(f, f(x)), x, use_reentrant=False)]
    held, _ = peak(nested[0])
    assert held < 12                            # of the inner calls, nothing is held either
