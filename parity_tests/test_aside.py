"""Weights' gradients that are made on the side while the walk goes on: nobody can tell that they were."""

from __future__ import annotations

import dis
import itertools
import os
import queue
import sys
import threading
import time
import weakref
from contextlib import nullcontext, suppress
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.kernels import blas, blocks, memory, products
from minigrad.kernels.blocks import Aside, Side
from minigrad.kernels.products import aside
from minigrad.modes import Settings

pytestmark = pytest.mark.skipif(blas._functions() is None, reason="NumPy's BLAS here is not OpenBLAS: products on the "
                                                                  "side would each use all of its threads")


@pytest.fixture(scope="module", params=["at once", "when asked"])
def how(request):
    """Any product is worth while; and either a thread of the pool makes it, or that thread comes too late."""
    former, late = minigrad.get_num_threads(), queue.SimpleQueue()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "ASIDE", 0)
        if request.param == "when asked":
            patch.setattr(blocks, "_pool", lambda: SimpleNamespace(give=late.put, run=lambda job, helpers: job.lead()))
        minigrad.set_num_threads(2)
        yield request.param
        assert not blas._inside and blas._functions()[0]() == 2
        minigrad.set_num_threads(former)


WIDTH = 3
LAYERS = st.lists(st.one_of(
    st.tuples(st.just("new"), st.booleans()), st.tuples(st.just("former"), st.integers(0, 3)),
    st.tuples(st.just("computed"), st.integers(0, 3)), st.tuples(st.just("bend"), st.just(0)),
    st.tuples(st.sampled_from(["look", "change", "function"]), st.integers(0, 3))), min_size=1, max_size=8)
WEIGHTS = st.lists(st.sampled_from([None, "look", "double", "after"]), min_size=8, max_size=8)


def _run(engine, layers: list, hooked: list, rows: int, times: int, seed: int) -> list[np.ndarray]:
    """All gradients, and what hooks have seen of them on the way."""
    F, rng, weights, leaves, seen = engine.nn.functional, np.random.default_rng(seed), [], [], []

    def leaf(*shape: int):
        t = engine.tensor(rng.standard_normal(shape), requires_grad=True)
        leaves.append(t)
        return t

    def look(*_, since: int = 0) -> None:
        seen.extend(np.zeros(0) if t.grad is None else t.grad.numpy().copy() for t in leaves[since:])

    def change(data: np.ndarray, _) -> None:
        """What the next layer's product has read."""
        data *= 1.5

    class Looking(engine.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            look()
            return g * 2

    def weight(i: int):
        return weights[i % len(weights)] if weights else leaf(WIDTH, WIDTH)
    x = first = leaf(rows, WIDTH)
    for kind, which in layers:
        if kind == "new":
            weights.append(leaf(WIDTH, WIDTH))
            x = F.linear(x, weights[-1], leaf(WIDTH) if which else None)
        elif kind == "former":
            x = F.linear(x, weight(which))
        elif kind == "computed":
            x = F.linear(x, weight(which) * 2)
        elif kind == "bend":
            x = engine.tanh(x)
        elif kind == "function":
            x = Looking.apply(x)
        else:
            x = engine.sin(x)
            x.register_hook(look if kind == "look" else partial(change, x.detach().numpy()))
    for t, hook in zip(weights, hooked, strict=False):             # each sees what belongs to later layers
        later = partial(look, since=next(i for i, u in enumerate(leaves) if u is t) + 2)
        if hook == "look":
            t.register_hook(later)
        elif hook == "double":
            t.register_hook(lambda g: g * 2)
        elif hook == "after":
            t.register_post_accumulate_grad_hook(later)
    for _ in range(times):
        (x * x).sum().backward(retain_graph=True)
        look()
    if weights:
        asked = engine.autograd.grad((x ** 3).sum(), [*weights, first], allow_unused=True, retain_graph=True)
        seen += [np.zeros(0) if g is None else g.numpy() for g in asked]
    (g,) = engine.autograd.grad((x ** 3).sum(), first, create_graph=True, allow_unused=True)
    if g is not None and g.requires_grad:
        (g * g).sum().backward()
    look()
    return seen


@given(layers=LAYERS, hooked=WEIGHTS, rows=st.integers(1, 4), times=st.integers(1, 3), seed=st.integers(0, 99))
def test_any_program(how, layers, hooked, rows, times, seed):
    ours, theirs = (_run(e, layers, hooked, rows, times, seed) for e in (minigrad, torch))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * max(1, abs(b).max(initial=0)))
    minigrad.set_num_threads(1)
    alone = _run(minigrad, layers, hooked, rows, times, seed)
    minigrad.set_num_threads(2)
    assert all((a == b).all() for a, b in zip(ours, alone, strict=True))


def _two_layers(rows: int = 64, width: int = 32):
    rng = np.random.default_rng(0)
    x, w, v = (minigrad.tensor(rng.standard_normal(shape, np.float32), requires_grad=i > 0)
               for i, shape in enumerate([(rows, width), (width, width), (width, width)]))
    middle = minigrad.nn.functional.linear(x, w)
    return x, w, v, middle, minigrad.nn.functional.linear(middle, v)


def test_the_walk_does_not_wait(how, monkeypatch):
    """A weight's product may last as long as the rest of the walk."""
    if how == "when asked":
        pytest.skip("there is no thread to be waited for")
    entered, go, kept = threading.Event(), threading.Event(), Aside.help

    def slow(self):
        entered.set()
        assert go.wait(20)
        kept(self)
    monkeypatch.setattr(Aside, "help", slow)
    x, w, v, middle, out = _two_layers()
    seen = []
    middle.retain_grad()
    waited = Side.wait

    def wait(self):
        assert entered.wait(20)
        seen.append(len(self.running))
        go.set()
        waited(self)
    monkeypatch.setattr(Side, "wait", wait)
    out.sum().backward()
    assert seen == [2] and w.grad is not None and v.grad is not None


def test_what_was_reached_before_an_error_is_there(how):
    def fail(g):
        raise ValueError("stop")
    x, w, v, middle, out = _two_layers()
    middle.register_hook(fail)
    with pytest.raises(ValueError, match="stop"):
        out.sum().backward()
    assert w.grad is None
    np.testing.assert_allclose(v.grad.numpy(), np.ones((32, 64)) @ middle.detach().numpy(), rtol=1e-4)


def test_an_error_on_the_side_reaches_the_caller(how, monkeypatch):
    def fail(*args):
        raise MemoryError("no room")
    x, w, v, middle, out = _two_layers()
    monkeypatch.setattr(products, "for_blas", fail)
    with pytest.raises(RuntimeError, match="not enough memory: no room"):
        out.sum().backward()


def test_anomalies_are_found(how):
    x, w, v, middle, out = _two_layers()
    with minigrad.autograd.detect_anomaly(), pytest.warns(UserWarning, match="MmBackward0"), \
            pytest.raises(RuntimeError, match="nan"):
        minigrad.nn.functional.linear(x, w).backward(minigrad.full((64, 32), float("nan")))


def test_the_gradient_is_the_leafs_alone(how, monkeypatch):
    """It is not copied on its way, and nothing else holds it, or what it was made of."""
    made, kept = [], memory.empty

    def empty(*of) -> np.ndarray:
        out = kept(*of)
        made.append(weakref.ref(out))
        return out
    monkeypatch.setattr(memory, "empty", empty)
    x, w, v, middle, out = _two_layers()
    read = weakref.ref(middle.array)
    out.sum().backward()
    assert made[0]() is v.grad.array and made[1]() is w.grad.array
    del middle, out
    assert read() is None
    w.grad = v.grad = None
    assert made[0]() is made[1]() is None


def test_threads_may_walk_at_once(how, at_once):
    errors = []

    def walk(seed: int) -> None:
        try:
            for _ in range(20):
                x, w, v, middle, out = _two_layers()
                (out * seed).sum().backward()
                np.testing.assert_allclose(v.grad.numpy(), seed * (np.ones((32, 64)) @ middle.detach().numpy()),
                                           rtol=1e-3, atol=1e-3)
        except BaseException as error:
            errors.append(error)
    at_once([partial(walk, seed) for seed in range(1, 4)])
    assert not errors


@pytest.mark.parametrize("threads, least, inside", [(1, 0, True), (3, 0, True), (2, 28, True), (2, 0, False)])
def test_otherwise_it_is_done_at_once(monkeypatch, threads, least, inside):
    """By one thread there is nobody else, with three all share it, little is not worth while, and outside of a walk
    nobody waits."""
    monkeypatch.setattr(products, "ASIDE", least)
    former, a, out = minigrad.get_num_threads(), np.arange(9.0).reshape(3, 3), np.zeros((3, 3))
    minigrad.set_num_threads(threads)
    with Settings(side=[]) if inside else nullcontext():
        assert aside(a, a, out) is out
        np.testing.assert_array_equal(out, a @ a)
    minigrad.set_num_threads(former)


def _gradient_as_operand(engine, form: str) -> np.ndarray:
    F, rng = engine.nn.functional, np.random.default_rng(0)
    b, v = (engine.tensor(rng.standard_normal((6, 6)), requires_grad=True) for _ in range(2))
    (b * b).sum().backward()
    if form == "itself":
        y = (b * 3).sum()
        (F.linear(b.grad, v).sum() + y).backward()
    elif form == "detached":
        (b * 0.9 - F.linear(b.grad.detach(), v)).sum().backward()
    elif form == "the walk's first":
        F.linear(b, v).backward(b.grad)
    else:                                                          # which is refused, once it has changed
        loss = F.linear(b.grad, v).sum() + F.linear(b.detach() + 1, b).sum()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
        return b.grad.numpy()
    return v.grad.numpy()


@pytest.mark.parametrize("form", ["itself", "detached", "the walk's first", "changed"])
def test_a_gradient_that_is_written_may_be_an_operand(how, form):
    """`.grad` is added to in place, and a product that is still to be made may read it."""
    ours, theirs = (_gradient_as_operand(e, form) for e in (minigrad, torch))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_passes_do_not_differ(how, monkeypatch):
    """Products of such sizes end in other bits if two threads make them; which depends on nothing that takes time."""
    rng, kept = np.random.default_rng(0), Aside.help

    def slow(self):
        time.sleep(rng.choice([0, 0.002]))
        kept(self)
    monkeypatch.setattr(Aside, "help", slow)
    weights = [minigrad.tensor(rng.standard_normal((n, 490 - n)), requires_grad=True) for n in (390, 100) * 3]
    x, seen = minigrad.tensor(rng.standard_normal((200, 100)), requires_grad=True), set()
    for _ in range(6):
        y = x
        for t in [x, *weights]:
            t.grad = None
        for w in weights:
            y = minigrad.tanh(minigrad.nn.functional.linear(y, w))
        y.sum().backward()
        seen.add(b"".join(t.grad.numpy().tobytes() for t in [x, *weights]))
    assert len(seen) == 1


def test_few_are_on_their_way_at_once(how, monkeypatch):
    """What they read would take memory."""
    most, put = [], Side.put
    monkeypatch.setattr(Side, "put", lambda self, *of: (put(self, *of), most.append(len(self.running)))[0])
    rng = np.random.default_rng(0)
    x = minigrad.tensor(rng.standard_normal((8, 8)))
    weights = [minigrad.tensor(rng.standard_normal((8, 8)), requires_grad=True) for _ in range(12)]
    sum(minigrad.nn.functional.linear(x, w).sin().sum() for w in weights).backward()
    assert len(most) == 12 and max(most) == blocks.AT_ONCE


def test_after_an_error_nothing_is_running(how):
    """And whoever sets the number of threads then is not overruled by what was left."""
    def fail(g):
        raise ValueError("stop")
    x, w, v, middle, out = _two_layers()
    early = v * 1
    loss = minigrad.nn.functional.linear(minigrad.sin(middle), early).sum()
    middle.register_hook(fail)
    with pytest.raises(ValueError, match="stop"):
        loss.backward()
    assert not blas._inside
    with blas.SingleThreaded():
        minigrad.set_num_threads(1)
        minigrad.set_num_threads(2)
        assert blas._functions()[0]() == 1
    assert blas._functions()[0]() == 2


class _Interrupt:
    """Within it, KeyboardInterrupt is raised at the nth moment at which Python looks for signals (after a call, and at
    a function's start) while code of the given modules runs; which was reached, if `happened`. Python says so and goes
    on if that is in __del__."""

    def __init__(self, nth: int, *modules):
        self.left, self.happened, self.files = nth, False, {m.__file__ for m in modules}

    def __enter__(self) -> _Interrupt:
        self.former = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *exc) -> None:
        sys.settrace(self.former)

    def _trace(self, frame, event, _):
        if frame.f_code.co_filename not in self.files or "__del__" in (f.f_code.co_name for f in (frame, frame.f_back)):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_lasti in _after_calls(frame.f_code):
            self.left -= 1
            if self.left < 0 and not self.happened:
                self.happened = True
                raise KeyboardInterrupt
        return self._trace


@cache
def _after_calls(code) -> set[int]:
    steps = list(dis.get_instructions(code))
    return {b.offset for a, b in itertools.pairwise(steps) if a.opname.startswith(("CALL", "RESUME"))}


def test_an_interrupt_leaves_nothing_behind(how):
    """Whenever it comes: BLAS has its threads again, nobody waits for ever, and the next backward is right."""
    expected, nth = None, 0
    while True:
        x, w, v, middle, out = _two_layers()
        loss = out.sum()
        with suppress(KeyboardInterrupt), _Interrupt(nth, blocks, blas) as interrupt:
            loss.backward()
        del middle, out, loss
        assert blas._functions()[0]() == 2 and not blas._inside, nth
        x, w, v, middle, out = _two_layers()
        out.sum().backward()
        expected = w.grad if expected is None else expected
        assert w.grad.equal(expected) and blas._functions()[0]() == 2, nth
        if not interrupt.happened:
            break
        nth += 1
    assert nth > 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_meanwhile_has_all_of_blass_threads(how, in_child):
    """Another thread's products are none of the child's."""
    get = blas._functions()[0]

    def work() -> bool:
        x, w, v, middle, out = _two_layers()
        ok = get() == 2
        out.sum().backward()
        return ok and get() == 2 and w.grad is not None
    with blas.SingleThreaded():
        assert in_child(work)
