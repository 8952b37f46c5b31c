"""Gradients that nobody has looked at: what is computed from them, and what is seen at last, is the same."""

from __future__ import annotations

import copy
import os
import signal
import threading
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad import leaves
from minigrad.kernels import blocks, late, norm
from minigrad.kernels.late import Rows, Scaled
from minigrad.kernels.norm import sum_of_squares

WORDS, WIDTH = 24, 5


@pytest.fixture(autouse=True)
def _small_is_large():
    """Small arrays have many blocks, and gradients that may be late."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((blocks, "BLOCK"), (norm, "BLOCK"), (late, "LARGE"), (leaves, "LARGE")):
            patch.setattr(module, name, 16)
        yield


def _model(engine, dtype: str, tied: bool):
    class Words(engine.nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.inner = engine.nn.Embedding(WORDS, WIDTH), engine.nn.Linear(WIDTH, WIDTH)
            self.head = engine.nn.Linear(WIDTH, WORDS)
            if tied:
                self.head.weight = self.words.weight

        def forward(self, ids, how: str):
            x = {"layer": lambda: self.words(ids), "index": lambda: self.words.weight[ids - WORDS],
                 "twice": lambda: self.words(ids) + self.words.weight[ids.flip(0)]}[how]()
            return engine.nn.functional.cross_entropy(self.head(self.inner(x)), ids.flip(0))
    engine.manual_seed(0)
    return Words().to(getattr(engine, dtype))


OPTIMIZERS = [("AdamW", {}), ("AdamW", {"weight_decay": 0}), ("AdamW", {"amsgrad": True}),
              ("AdamW", {"maximize": True}), ("Adam", {"weight_decay": 0.1}), ("Adam", {"eps": 0}),
              ("SGD", {"momentum": 0.9}), ("RMSprop", {})]

STEPS = st.lists(st.fixed_dictionaries({
    "ids": st.lists(st.lists(st.integers(0, WORDS - 1), min_size=2, max_size=8), min_size=1, max_size=3),
    "how": st.sampled_from(["layer", "index", "twice"]), "norm": st.sampled_from([None, 0.0, 0.1, 1e6]),
    "kind": st.sampled_from([2.0, 1.0, float("inf")]), "zero": st.sampled_from([True, False, None])}),
    min_size=1, max_size=4)


def _train(engine, steps: list, dtype: str, tied: bool, optimizer: tuple, look=lambda model: None):
    """All that can be told from outside: norms, weights, states, and in the end the gradients."""
    name, settings = optimizer
    model, found = _model(engine, dtype, tied), []
    opt = getattr(engine.optim, name)(model.parameters(), lr=0.01, **settings)
    for step in steps:
        if step["zero"] is not None:
            opt.zero_grad(set_to_none=step["zero"])
        for ids in step["ids"]:
            model(engine.tensor(ids), step["how"]).backward()
            look(model)
        if step["norm"] is not None:
            found.append(engine.nn.utils.clip_grad_norm_(model.parameters(), step["norm"], step["kind"]))
            look(model)
        opt.step()
        look(model)
    found += [*model.parameters(), *(s for state in opt.state.values() for s in state.values() if s is not None)]
    return [t.detach().numpy() for t in found + [p.grad for p in model.parameters()]]


@given(STEPS, st.sampled_from(["float32", "float64", "float16"]), st.booleans(), st.sampled_from(OPTIMIZERS))
def test_to_look_changes_nothing(steps, dtype, tied, optimizer):
    """To the bit, whether one looks at every gradient after every move, or at none before the end."""
    if dtype == "float16":
        optimizer = optimizer[0], {k: v for k, v in optimizer[1].items() if k != "eps"}
    unseen = _train(minigrad, steps, dtype, tied, optimizer)
    seen = _train(minigrad, steps, dtype, tied, optimizer, lambda model: [p.grad for p in model.parameters()])
    for a, b in zip(unseen, seen, strict=True):
        np.testing.assert_array_equal(a, b)


@given(STEPS, st.booleans(), st.sampled_from([o for o in OPTIMIZERS if o[1].get("eps") != 0]))
def test_a_run_is_torchs(steps, tied, optimizer):
    ours, theirs = (_train(engine, steps, "float64", tied, optimizer) for engine in (minigrad, torch))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


def _words(ids=(3, 1, 3)):
    """Weights with a gradient in the form of rows."""
    weight = minigrad.nn.Parameter(minigrad.randn(WORDS, WIDTH))
    weight[minigrad.tensor(list(ids))].mul(2).sum().backward()
    return weight


EXPECTED = np.zeros((WORDS, WIDTH), np.float32)
EXPECTED[1], EXPECTED[3] = 2, 4


def test_they_are_late_indeed():
    """Else these tests would show nothing."""
    weight = _words()
    assert isinstance(weight._grad, Rows)
    weight[minigrad.tensor([0, 3])].sum().backward()
    assert isinstance(weight._grad, Rows) and weight._grad.places.tolist() == [0, 1, 3]
    minigrad.nn.utils.clip_grad_norm_([weight], 1.0)
    assert isinstance(weight._grad, Rows) and weight.grad is weight.grad
    weight.grad = weight.grad * 2
    minigrad.nn.utils.clip_grad_norm_([weight], 0.5)
    assert isinstance(weight._grad, Scaled)
    minigrad.optim.AdamW([weight]).step()
    assert not weight._grad.seen
    minigrad.optim.SGD([weight]).step()
    assert weight._grad.seen["tensor"] is weight.grad is weight.grad


@pytest.mark.parametrize("ids", [range(WORDS), [], [[1, 2], [3, 4]]])
def test_many_rows_or_none(ids):
    weight = minigrad.nn.Parameter(minigrad.randn(WORDS, WIDTH))
    index = minigrad.tensor(list(ids), dtype=minigrad.int64)
    weight[index].sum().backward()
    assert isinstance(weight._grad, Rows) == (0 < index.numel() <= WORDS // 4)
    expected = np.zeros((WORDS, 1), np.float32)
    np.add.at(expected, index.numpy().reshape(-1), 1)
    np.testing.assert_array_equal(weight.grad.numpy(), np.broadcast_to(expected, weight.shape))


HOLDERS = {"the tensor": lambda g: g, "another name of its memory": lambda g: g.detach(), "a view": lambda g: g[:2],
           "its array": lambda g: g.numpy(), "a buffer": lambda g: memoryview(g.numpy())}


@pytest.mark.parametrize("what", HOLDERS)
def test_who_holds_a_gradient_sees_it_clipped(what):
    weight = _words()
    held = HOLDERS[what](weight.grad)
    before = np.array(held)
    minigrad.nn.utils.clip_grad_norm_([weight], 1.0)
    size = np.float32(1 / (np.linalg.norm(EXPECTED) + 1e-6))
    np.testing.assert_allclose(np.array(held), before * size, rtol=1e-6)
    np.testing.assert_allclose(weight.grad.numpy(), EXPECTED * size, rtol=1e-6)


def test_who_holds_it_weakly_does_too():
    weight = _words()
    seen = weakref.ref(weight.grad)
    minigrad.nn.utils.clip_grad_norm_([weight], 1.0)
    assert seen().norm().item() == pytest.approx(1)


@pytest.mark.parametrize("factor", [float("nan"), 0.0, -0.5, float("inf")])
def test_numbers_that_make_zeros_something_else(factor):
    def scaled(engine):
        weight = engine.nn.Parameter(engine.ones(WORDS, WIDTH))
        weight[engine.tensor([3, 1, 3])].mul(2).sum().backward()
        engine.nn.utils.clip_grads_with_norm_([weight], 1.0, engine.tensor(1 / factor if factor else float("inf")))
        return weight.grad.numpy()
    np.testing.assert_array_equal(scaled(minigrad), scaled(torch))


def _loss(w):
    return w[minigrad.tensor([3, 1, 3])].mul(2).sum()


def _hooked(register: str, seen) -> np.ndarray:
    w, got = minigrad.randn(WORDS, WIDTH, requires_grad=True), []
    getattr(w, register)(lambda x: got.append(seen(x).clone()))
    _loss(w).backward()
    return got[0]


def _after(then, transposed: bool = False, **kwargs):
    w = minigrad.randn(WIDTH, WORDS).t() if transposed else minigrad.randn(WORDS, WIDTH)
    w.requires_grad_()
    if "inputs" in kwargs:
        kwargs["inputs"] = [w]
    _loss(w).backward(**kwargs)
    return then(w)


def _of_another_dtype():
    layer = minigrad.nn.Embedding(WORDS, WIDTH)
    _loss(layer.weight).backward()
    return layer.double().weight.grad.float()


def _not_of_a_leaf():
    w = minigrad.randn(WORDS, WIDTH, requires_grad=True)
    between = w * 1
    between.retain_grad()
    _loss(between).backward()
    assert between.grad.equal(w.grad)
    return w.grad


def _returned():
    w = minigrad.randn(WORDS, WIDTH, requires_grad=True)
    return minigrad.autograd.grad(_loss(w), w)[0]


@pytest.mark.filterwarnings("ignore:Using backward")
@pytest.mark.parametrize("way", [
    lambda: _hooked("register_hook", lambda g: g),
    lambda: _hooked("register_post_accumulate_grad_hook", lambda leaf: leaf.grad),
    lambda: _after(lambda w: copy.deepcopy(w).grad),
    lambda: _after(lambda w: w.grad, inputs=True),
    lambda: _after(lambda w: w.grad, create_graph=True),
    lambda: _after(lambda w: w.grad, transposed=True),
    _of_another_dtype, _not_of_a_leaf, _returned])
def test_every_way_to_a_gradient(way):
    np.testing.assert_array_equal(way().detach().numpy(), EXPECTED)


def test_columns_stay_columns():
    assert _after(lambda w: w.grad, transposed=True).stride() == (1, WORDS)


def test_anomalies_are_found_in_rows():
    weight = minigrad.nn.Parameter(minigrad.randn(WORDS, WIDTH))
    with minigrad.autograd.detect_anomaly(), pytest.warns(UserWarning, match="first NaN"), pytest.raises(RuntimeError):
        weight[minigrad.tensor([3])].backward(minigrad.full((1, WIDTH), float("nan")))


def test_what_is_looked_at_in_inference_mode_can_be_trained_with():
    weight = _words()
    with minigrad.inference_mode():
        assert weight.grad.sum().item() == EXPECTED.sum()
    weight[minigrad.tensor([3, 1, 3])].mul(2).sum().backward()
    weight.grad.mul_(2)
    np.testing.assert_array_equal(weight.grad.numpy(), 4 * EXPECTED)


def test_threads_that_look_at_once_see_one_gradient(at_once):
    weight, start = minigrad.nn.Parameter(minigrad.zeros(400, 400)), threading.Barrier(4)

    def look(seen: list) -> None:
        start.wait()
        seen.append(weight.grad.sum().item())
    for _ in range(20):
        weight.grad = minigrad.ones(400, 400)
        minigrad.nn.utils.clip_grad_norm_([weight], 200.0)
        assert isinstance(weight._grad, Scaled)
        seen: list = []
        at_once([partial(look, seen)] * 4)
        assert seen == pytest.approx([80_000] * 4)


@given(st.integers(1, 60), st.integers(1, 16), st.data())
def test_norms_of_rows(rows, width, data):
    """To the bit, whatever blocks they fall into."""
    places = np.array(sorted(data.draw(st.sets(st.integers(0, rows - 1), min_size=1))))
    some = np.random.default_rng(rows).standard_normal((len(places), width), np.float32)
    late_one = Rows((rows, width), places, some)
    if late_one.size > blocks.BLOCK:
        assert sum_of_squares(late_one) == sum_of_squares(np.asarray(late_one))
    np.testing.assert_array_equal(late_one.part(0, rows), np.asarray(late_one))


# ---- found by others ----------------------------------------------------------------------------------------------

def test_what_comes_after_rows():
    """A dense gradient for the same weights, once with them as a leaf and once not."""
    def run(engine):
        engine.manual_seed(0)
        w = engine.randn(WORDS, WIDTH, requires_grad=True)
        between = w * 2
        penalty, others = (w ** 2).sum(), (between ** 3).sum()
        (w[engine.tensor([3, 1])].sum() + penalty + between[engine.tensor([3, 3])].sum() + others).backward()
        return w.grad.numpy()
    np.testing.assert_allclose(run(minigrad), run(torch), rtol=1e-5)


def test_a_thread_may_look_while_another_trains():
    def train(watched: bool):
        minigrad.manual_seed(0)
        weight, done = minigrad.nn.Parameter(minigrad.randn(300, 50)), threading.Event()
        optimizer = minigrad.optim.AdamW([weight], lr=0.1)

        def watch():
            while not done.is_set():
                _ = weight.grad
        watcher = threading.Thread(target=watch)
        if watched:
            watcher.start()
        try:
            for step in range(60):
                optimizer.zero_grad()
                for part in range(3):
                    weight[minigrad.arange(50) + 50 * part].square().sum().backward()
                if step % 2:
                    weight.square().sum().backward()
                minigrad.nn.utils.clip_grad_norm_([weight], 1.0)
                optimizer.step()
        finally:
            done.set()
            if watched:
                watcher.join()
        return weight.detach().numpy()
    np.testing.assert_array_equal(train(True), train(False))


def test_backward_in_several_threads_loses_nothing():
    weight = minigrad.nn.Parameter(minigrad.zeros(600, 40))

    def add(first: int) -> None:
        for _ in range(30):
            weight[minigrad.arange(40) + first].sum().backward()
    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 20, 300)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert weight.grad[:, 0].tolist() == [30] * 20 + [60] * 20 + [30] * 20 + [0] * 240 + [30] * 40 + [0] * 260


def test_a_look_that_is_interrupted_can_be_repeated(monkeypatch):
    weight = minigrad.nn.Parameter(minigrad.zeros(40, 40))
    weight.grad = minigrad.ones(40, 40)
    minigrad.nn.utils.clip_grad_norm_([weight], 20.0)

    def interrupted(x, factor, out, really=late.scale):
        really(x, factor, out)
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(late, "scale", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _ = weight.grad
    assert weight.grad.unique().tolist() == pytest.approx([0.5])


def test_to_clip_what_has_no_gradient():
    def run(engine):
        leaf = engine.ones(3, requires_grad=True)
        made = leaf * 2
        made.sum().backward()
        with pytest.warns(UserWarning, match="not a leaf"):
            return engine.nn.utils.clip_grad_norm_([made, leaf], 1.0).item()
    assert run(minigrad) == pytest.approx(run(torch))


@pytest.mark.parametrize("clipped", [False, True])
def test_an_optimizer_of_ones_own_gets_arrays(clipped):
    class Twice(minigrad.optim.Adam):
        def update(self, p, g, group):
            assert isinstance(g, np.ndarray)
            return super().update(p, g * 2, group)
    weight = _words()
    if clipped:
        weight.grad = weight.grad + 1
        minigrad.nn.utils.clip_grad_norm_([weight], 0.5)
    before = weight.detach().clone()
    Twice([weight]).step()
    assert not weight.equal(before)


@pytest.mark.parametrize("new", [(WORDS - 4, WIDTH), (WORDS + 4, WIDTH), (3, WORDS, WIDTH), (WIDTH, WORDS), (4096, 40)])
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_weights_of_another_shape_than_their_gradient(new, again, name):
    def run(engine):
        weight = engine.nn.Parameter(engine.ones(WORDS, WIDTH))
        weight[engine.tensor([3, 1])].sum().backward()
        weight.data = engine.ones(*new)
        optimizer = getattr(engine.optim, name)([weight], lr=0.1)
        try:
            if again:
                weight[engine.tensor([0, 1])].sum().backward()
            optimizer.step()
        except (RuntimeError, ValueError):
            return "refused"
        return weight.detach().numpy()
    ours, theirs = run(minigrad), run(torch)
    if isinstance(theirs, str) or isinstance(ours, str):
        assert isinstance(ours, str) and isinstance(theirs, str)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_versions_of_gradients():
    def run(engine):
        weight, versions = engine.nn.Parameter(engine.ones(WORDS, WIDTH)), []
        for look in (False, True, True):
            weight[engine.tensor([3, 1])].sum().backward()
            engine.nn.utils.clip_grad_norm_([weight], 0.1)
            if look:
                versions.append(weight.grad._version)
        return versions
    ours, theirs = run(minigrad), run(torch)
    assert ours[1] - ours[0] == theirs[1] - theirs[0]        # the first gradient was written once more by torch itself


def test_norms_of_half_precision_do_not_overflow():
    def run(engine):
        weight = engine.nn.Parameter(engine.zeros(3000, dtype=engine.float16))
        weight.grad = engine.full((3000,), 8.0, dtype=engine.float16)
        return engine.nn.utils.clip_grad_norm_([weight], 1.0).item(), weight.grad[0].item()
    assert run(minigrad) == pytest.approx(run(torch), rel=1e-2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_child_does_not_wait_for_its_parents_threads(in_child):
    held, done = threading.Event(), threading.Event()

    def hold():
        with leaves._adding:
            held.set()
            done.wait()
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()

    def work() -> bool:
        signal.alarm(20)                                     # rather than for ever
        _words()
        return True
    try:
        assert in_child(work)
    finally:
        done.set()
        holder.join()
