"""Kernels beside the compositions that they replace: values, gradients to second order, threads."""

from __future__ import annotations

import gc
import os
import sys
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import minigrad
from minigrad.kernels import blas, blocks, cross_entropy, memory
from minigrad.kernels.adam import adam_step
from minigrad.kernels.attention import attend, attend_backward
from minigrad.modes import Quiet
from minigrad.nn.functional import activation, attention, loss, normalization

F = minigrad.nn.functional


@dataclass(frozen=True)
class Row:
    """A kernel: the op, and how its arguments are drawn: (rng, dtype, size) -> list."""

    op: Callable
    draw: Callable


def _normal(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def _gelu(rng, dtype, n):
    return [_normal(rng, dtype, *rng.integers(0 if n == 1 else 1, 4, 2), n) * 3]


def _norm(biases: int):
    def draw(rng, dtype, n):
        shape, dims = (*rng.integers(1, 40, 2), n), (1, 2) if rng.random() < 0.3 else (2,)
        p = [_normal(rng, dtype, *shape[dims[0]:]) if rng.random() < 0.7 else None for _ in range(2)]
        return [_normal(rng, dtype, *shape), dims, *p[:biases], float(10.0 ** rng.integers(-8, 0))]
    return draw


def _attention(rng, dtype, n):
    B, H, D, E = (int(i) for i in rng.integers(1, 5, 4))
    T, S = (int(i) for i in rng.integers(1, 2 + n, 2))
    made = [_normal(rng, dtype, B, T, H, D), _normal(rng, dtype, B, S, H, D), _normal(rng, dtype, B, S, H, E)]
    if rng.random() < 0.5:
        made = [np.ascontiguousarray(a.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3) for a in made]
    if dtype == np.float64 and rng.random() < 0.5:             # scores whose exponentials overflow
        made[0] *= 1000
    return [*(a.transpose(0, 2, 1, 3) for a in made), float(rng.uniform(-1, 1)), bool(rng.integers(2))]


def _dropped(rng, dtype, n):
    args = _attention(rng, dtype, n)
    shape = *args[0].shape[:3], args[1].shape[2]
    return [*args, np.packbits(rng.random(shape) < 0.7, axis=-1), 0.3]


def _likelihood(rng, dtype, n):
    rows = rng.integers(0 if n == 1 else 1, 30)
    return [3 * _normal(rng, dtype, rows, n), rng.integers(0, n, rows)]


def _head(rng, dtype, n):
    x, classes = _likelihood(rng, dtype, n)
    factors = _normal(rng, dtype, len(x)) * (rng.random(len(x)) < 0.8)
    bias = _normal(rng, dtype, n) if rng.random() < 0.5 else None
    x, w = _normal(rng, dtype, len(x), 4), _normal(rng, dtype, n, 4)
    return [x, w, bias, classes, factors, (True, True, bias is not None)]


ROWS = {
    "gelu": Row(activation._gelu_tanh, _gelu),
    "layer_norm": Row(normalization._layer_norm, _norm(2)),
    "rms_norm": Row(normalization._rms_norm, _norm(1)),
    "attention": Row(attention._attend, _attention),
    "attention with dropout": Row(attention._attend_with_dropout, _dropped),
    "cross_entropy": Row(loss._log_likelihood, _likelihood),
    "linear_cross_entropy": Row(loss._linear_log_likelihood, _head),
}
CASES = pytest.mark.parametrize("name", ROWS)


def _fused(op):
    """The op made by `fused`, under the decorators of nn.functional."""
    while not hasattr(op, "node_class"):
        op = op.__wrapped__
    return op


def _tensors(args: list, op: Callable) -> tuple[list, list]:
    """The arguments with tensors in the place of arrays of floats, and these."""
    can = {place for place, *_ in op.node_class.rules}
    args = [_leaf(a) if i in can and isinstance(a, np.ndarray) else a for i, a in enumerate(args)]
    return args, [a for a in args if isinstance(a, minigrad.Tensor)]


def _leaf(array):
    t = minigrad.graph.new_tensor(array)
    t.requires_grad = True
    return t


def _close(a, b, dtype, scale=1.0):
    bound = {np.float64: 1e-10, np.float32: 2e-5}[dtype]
    np.testing.assert_allclose(a, b, rtol=bound * 10, atol=bound * scale * max(1.0, np.abs(b).max(initial=0)))


def _both(row: Row, args: list) -> list:
    """The op's value and gradients, and those of its composition."""
    found, op = [], _fused(row.op)
    for f in (op, op.node_class.composition):
        given_args, tensors = _tensors(args, op)
        y = f(*given_args)
        way = np.random.default_rng(1).standard_normal(y.shape).astype(y.array.dtype)
        grads = minigrad.autograd.grad(y, tensors, minigrad.tensor(way)) if y.requires_grad else []
        found.append([y.detach().numpy(), *(g.numpy() for g in grads)])
    return found


@CASES
@given(seed=st.integers(0, 2**32 - 1), wide=st.booleans(), n=st.sampled_from([1, 3, 17, 200]))
def test_value_and_gradients(name, seed, wide, n):
    dtype = np.float64 if wide else np.float32
    args = ROWS[name].draw(np.random.default_rng(seed), dtype, n)
    kernel, composition = _both(ROWS[name], args)
    scale = max(n, _cancelling(*args[:2], args[-1], name == "layer_norm") / 10 if "norm" in name else 0)
    for a, b in zip(kernel, composition, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        _close(a, b, dtype, scale)


def _cancelling(x, dims, eps: float, centred: bool) -> float:
    """1 / deviation, the size of the terms that all but cancel in the gradient of a norm of narrow rows. With gradients
    and weights drawn from normals, a tenth of it times the bound is a few roundings of such terms."""
    squares = (np.var if centred else lambda x, dims: np.mean(x * x, dims))(x, dims)
    return 1 / np.sqrt(squares.min(initial=1) + eps)


@CASES
@given(seed=st.integers(0, 2**32 - 1))
def test_second_order(name, seed):
    rng = np.random.default_rng(seed)
    args, found, op = ROWS[name].draw(rng, np.float64, 5), [], _fused(ROWS[name].op)
    for f in (op, op.node_class.composition):
        given_args, tensors = _tensors(args, op)
        y = f(*given_args)
        rng = np.random.default_rng(seed)
        way = minigrad.tensor(rng.standard_normal(y.shape), requires_grad=True)
        first = minigrad.autograd.grad(y, tensors, way, create_graph=True)
        total = sum((g * minigrad.tensor(rng.standard_normal(g.shape))).sum() for g in first)
        second = minigrad.autograd.grad(total, [*tensors, way], materialize_grads=True)
        found.append([t.detach().numpy() for t in (*first, *second)])
    for a, b in zip(*found, strict=True):
        _close(a, b, np.float64)


@CASES
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=1080)
def test_layouts_do_not_matter(name, seed):
    """Arrays with gaps, in reverse, or in another order in memory. Gradients are products with the arguments, and in
    attention of differences of numbers near 1 that cancel: rounding counts as much as the largest argument does."""
    rng = np.random.default_rng(seed)
    args = ROWS[name].draw(rng, np.float64, 12)
    odd = [_odd(rng, a) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in args]
    largest = max(abs(a).max(initial=1) for a in args if isinstance(a, np.ndarray))
    for a, b in zip(_both(ROWS[name], args)[0], _both(ROWS[name], odd)[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12 * largest)


def _odd(rng, a):
    kind = rng.integers(3)
    if kind == 0:
        return np.asfortranarray(a)
    out = np.zeros([2 * n for n in a.shape], a.dtype)[tuple(slice(None, None, 2) for _ in a.shape)]
    out = out[..., ::-1] if kind == 1 and a.ndim else out
    out[...] = a
    return out


@CASES
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=1)                                             # a query without any score
def test_what_is_not_finite(name, value, seed):
    rng = np.random.default_rng(seed)
    args = ROWS[name].draw(rng, np.float64, 6)
    if args[0].size:
        args[0][tuple(rng.integers(0, m) for m in args[0].shape)] = value
    kernel, composition = _both(ROWS[name], args)
    np.testing.assert_allclose(kernel[0], composition[0], rtol=1e-10, atol=1e-12)


@CASES
def test_the_number_of_threads_does_not_show(name, monkeypatch):
    monkeypatch.setattr(blocks, "ALONE", 0)
    monkeypatch.setattr(blocks, "BLOCK", 64)
    args, found = ROWS[name].draw(np.random.default_rng(0), np.float32, 150), []
    former = minigrad.get_num_threads()
    try:
        for threads in (1, 2, 4):
            minigrad.set_num_threads(threads)
            found.append([a.tobytes() for a in _both(ROWS[name], args)[0]])
    finally:
        minigrad.set_num_threads(former)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("name", [name for name in ROWS if name != "cross_entropy"])
def test_a_changed_input_is_refused(name):
    op = _fused(ROWS[name].op)
    args, tensors = _tensors(ROWS[name].draw(np.random.default_rng(0), np.float64, 5), op)
    y = op(*args).sum()
    with minigrad.no_grad():
        tensors[0].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_logits_may_change_after_the_loss():
    """torch keeps their logarithms, and so do we."""
    found = []
    for change in (False, True):
        w = minigrad.arange(12.0).reshape(3, 4).requires_grad_()
        logits = w.sin()
        y = F.cross_entropy(logits, minigrad.tensor([1, 3, 0]))
        if change:
            logits.detach().zero_()
        y.backward()
        found.append(w.grad.numpy())
    np.testing.assert_array_equal(*found)


@given(seed=st.integers(0, 2**32 - 1))
def test_linear_cross_entropy_in_chunks(seed):
    """However the rows and classes are cut, however they lie in memory, and with rows to ignore: the loss of the
    logits, and its gradients."""
    rng = np.random.default_rng(seed)
    n, m, classes = (int(i) for i in rng.integers(1, 12, 3))
    x, w, target = rng.normal(size=(n, m)), rng.normal(size=(classes, m)), rng.integers(0, classes, n)
    x, w = (np.asfortranarray(a) if rng.random() < 0.3 else a for a in (x, w))
    target[rng.random(n) < 0.3] = -100
    settings = {"reduction": str(rng.choice(["mean", "sum"])),
                "weight": minigrad.tensor(rng.random(classes)) if rng.random() < 0.5 else None}
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_entropy, "CHUNK", int(rng.integers(1, 60)))
        patch.setattr(cross_entropy, "SLICE", int(rng.integers(1, 12)))
        for whole in (False, True):
            a, b = (minigrad.from_numpy(p.copy(order="K")).requires_grad_() for p in (x, w))
            t = minigrad.tensor(target)
            y = F.cross_entropy(a @ b.T, t, **settings) if whole else F.linear_cross_entropy(a, b, t, **settings)
            y = y * 1.5
            y.backward(retain_graph=True)
            y.backward()
            found.append((y.item(), a.grad.numpy(), b.grad.numpy()))
    for ours, composed in zip(*found, strict=True):
        np.testing.assert_allclose(ours, composed, rtol=1e-10, atol=1e-12)


def test_linear_cross_entropy_holds_few_logits(monkeypatch):
    monkeypatch.setattr(cross_entropy, "CHUNK", 1 << 16)
    x, w = minigrad.randn(2048, 8, requires_grad=True), minigrad.randn(1024, 8, requires_grad=True)
    tracemalloc.start()
    F.linear_cross_entropy(x, w, minigrad.zeros(2048, dtype=minigrad.int64)).backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2048 * 1024 * 4 / 4


@given(seed=st.integers(0, 2**32 - 1), level=st.floats(-200, 200), spread=st.floats(0, 100))
def test_one_query_with_scores_of_any_size(seed, level, spread):
    """Where exponentials overflow, vanish, or do neither: what torch has in double precision, but for what rounding a
    score does to its exponential."""
    rng = np.random.default_rng(seed)
    k = np.stack([np.full((1, 2, 9), level), rng.standard_normal((1, 2, 9)) * spread], -1).astype(np.float32)
    v = rng.standard_normal((1, 2, 9, 2)).astype(np.float32)
    ours = F.scaled_dot_product_attention(minigrad.ones(1, 2, 1, 2), *map(minigrad.from_numpy, (k, v)), scale=1.0)
    exact = torch.nn.functional.scaled_dot_product_attention(
        torch.ones(1, 2, 1, 2, dtype=torch.float64), *(torch.from_numpy(x).double() for x in (k, v)), scale=1.0)
    rounding = np.finfo(np.float32).eps * (1 + abs(k.astype(float).sum(-1)).max()) * abs(v).max()
    np.testing.assert_allclose(ours.numpy(), exact.numpy(), rtol=0, atol=rounding)


def _attended(q, k, v, g, *settings) -> list:
    out, aside = attend(q, k, v, *settings)
    return [out, *attend_backward(g, q, k, v, *settings, out, aside)]


@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.3, 5.0, 30.0]), causal=st.booleans(),
       T=st.sampled_from([2, 17, 64, 129]), S=st.sampled_from([2, 15, 65, 200]))
def test_attention_with_scores_in_the_thousands(seed, scale, causal, T, S):
    """Backward makes the very scores again that forward made, or else its weights would not add up to 1: of such
    numbers, the last bit is much after exp."""
    rng = np.random.default_rng(seed)
    q, k, v, g = (_normal(rng, np.float32, 1, 2, n, 4) for n in (T, S, S, T))
    k[:, :, rng.integers(S)] *= 1000
    with Quiet():
        dv = _attended(q, k, v, g, scale, causal)[3]
    np.testing.assert_allclose(dv.sum(2), g.sum(2), rtol=0, atol=1e-4 * np.abs(g).sum(2).max())


def test_one_head_with_large_scores_does_not_change_another(monkeypatch):
    """Threads take groups of heads, and what a head needs is decided for it alone."""
    monkeypatch.setattr(blocks, "ALONE", 0)
    rng, found = np.random.default_rng(0), set()
    q, k, v, g = (_normal(rng, np.float32, 2, 4, 70, 16) for _ in range(4))
    q[:, 0] *= 1000
    for threads in 1, 2, 4, 8:
        minigrad.set_num_threads(threads)
        with Quiet():
            found.add(b"".join(a.tobytes() for a in _attended(q, k, v, g, -0.7, True)))
    minigrad.set_num_threads(1)
    assert len(found) == 1


@pytest.mark.parametrize(("score", "value"), [(30.0, 1e20), (60.0, 1e30), (-30.0, 1e-22), (-60.0, 1e-36)])
def test_attention_to_equal_scores_gives_the_value(score, value):
    """However large both are, as long as the result is not."""
    ones = np.ones((1, 1, 20, 1), np.float32)
    out, *grads = _attended(ones, ones * np.float32(score), ones * np.float32(value), ones, 1.0, False)
    np.testing.assert_allclose(out, value, rtol=1e-5)
    assert np.isfinite(grads).all()


def test_gelus_slope_where_x_cubed_is_infinite():
    x = minigrad.tensor([8e12, 1e18, -1e18], requires_grad=True)
    F.gelu(x, approximate="tanh").sum().backward()
    assert x.grad.tolist() == [1, 1, 0]


@given(seed=st.integers(0, 2**32 - 1), T=st.integers(1, 70), later=st.integers(1, 70))
def test_what_comes_later_does_not_matter(seed, T, later):
    """Causal, with more keys than queries: whatever stands there."""
    rng = np.random.default_rng(seed)
    q, k, v, g = (_normal(rng, np.float64, 2, 2, n, 3) for n in (T, T + later, T + later, T))
    k[:, :, T:] = v[:, :, T:] = np.nan
    with Quiet():
        out, dq, dk, dv = _attended(q, k, v, g, 0.5, True)
        for a, b in zip((out, dq, dk[:, :, :T], dv[:, :, :T]), _attended(q, k[:, :, :T], v[:, :, :T], g, 0.5, True),
                        strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    assert not dk[:, :, T:].any() and not dv[:, :, T:].any()


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(0, 300))
def test_adam_in_blocks(seed, size):
    """The same, to the bit, as in one piece, in whatever layout."""
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal((3, size)).astype(np.float32) for _ in range(2)] + \
        [rng.random((3, size)).astype(np.float32) for _ in range(3)]
    settings = {"step": 3.0, "lr": 1e-2, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1,
                "decoupled": bool(rng.integers(2)), "maximize": bool(rng.integers(2))}
    whole, cut, strided = ([a.copy() for a in arrays] for _ in range(3))
    strided = [np.asfortranarray(a) for a in strided]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blas, "FEW", int(rng.choice([1, 1 << 20])))
        patch.setattr(blocks, "BLOCK", 1 << 20)
        adam_step(*whole, **settings)
        adam_step(*strided, **settings)
        patch.setattr(blocks, "BLOCK", 64)
        patch.setattr(blocks, "ALONE", 0)
        adam_step(*cut, **settings)
    for a, b, c in zip(whole, cut, strided, strict=True):
        assert a.tobytes() == b.tobytes() == c.tobytes(order="C")


@pytest.mark.parametrize("causal", [False, True])
def test_dropout_draws_torchs_stream(causal):
    """The weights that are dropped are torch's, and so is what is drawn next."""
    q, k, v = (np.random.default_rng(i).normal(size=(2, 3, 70, 5)) for i in range(3))
    found = []
    for engine in (minigrad, torch):
        engine.manual_seed(3)
        y = engine.nn.functional.scaled_dot_product_attention(*map(engine.tensor, (q, k, v)), dropout_p=0.4,
                                                              is_causal=causal)
        found.append((y.numpy(), engine.rand(5).numpy()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_attention_holds_no_square():
    """Memory grows with the context's length, not with its square."""
    peaks = []
    for T in (1024, 4096):
        q, k, v = (minigrad.randn(1, 1, T, 8, requires_grad=True) for _ in range(3))
        tracemalloc.start()
        F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 4096 * 4096 * 4 / 4 and peaks[1] < 6 * peaks[0]


def test_memory_is_kept_by_glibc_alone(monkeypatch):
    """What is set is malloc's, and not against the user's will."""
    keep = memory.keep_freed_memory.__wrapped__
    if not sys.platform.startswith("linux"):
        assert not keep()
    monkeypatch.setenv("MINIGRAD_MALLOC", "system")
    assert not keep()


# ---- rooms --------------------------------------------------------------------------------------------------------

def _forget(how: str, model, optimizer) -> None:
    if how in ("optimizer", "module"):
        (optimizer if how == "optimizer" else model).zero_grad()
    for p in model.parameters():
        if how == "None":
            p.grad = None
        else:
            del p.grad


HOLD = {"nothing": lambda g: None, "the tensor": lambda g: g, "its memory": lambda g: g.detach(),
        "a view": lambda g: g[:1], "the array": lambda g: g.numpy(), "a buffer": lambda g: memoryview(g.numpy())}


class Tiny(minigrad.nn.Module):
    """Words, a layer, and the loss of the next word."""

    def __init__(self, tied: bool):
        super().__init__()
        self.words, self.inner = minigrad.nn.Embedding(11, 6), minigrad.nn.Linear(6, 6)
        self.head = minigrad.nn.Linear(6, 11, bias=False)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, ids, fused: bool):
        x = self.inner(self.words.weight[ids] if fused else self.words(ids))
        return (F.linear_cross_entropy(x, self.head.weight, ids.flip(0)) if fused else
                F.cross_entropy(self.head(x), ids.flip(0)))


@given(st.lists(st.tuples(st.sampled_from(["optimizer", "module", "None", "del"]), st.sampled_from(sorted(HOLD)),
                          st.booleans(), st.integers(1, 2)), min_size=1, max_size=4), st.booleans())
def test_gradients_may_lie_where_former_ones_lay(steps, tied):
    """With rooms for all gradients, as with none, a model learns the same; what somebody holds is not written over."""
    found = []
    for setting in ("", "system"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory, "LARGEST", 0)
            patch.setenv("MINIGRAD_MALLOC", setting)
            minigrad.manual_seed(0)
            model = Tiny(tied)
            optimizer, losses, held = minigrad.optim.AdamW(model.parameters(), lr=0.1), [], []
            for how, what, fused, times in steps:
                for _ in range(times):
                    loss = model(minigrad.randint(11, (7,)), fused)
                    loss.backward()
                losses.append(loss.item())
                optimizer.step()
                held += [(h, np.array(h)) for p in model.parameters() if (h := HOLD[what](p.grad)) is not None]
                _forget(how, model, optimizer)
                assert all(p.grad is None for p in model.parameters())
                assert not memory._rooms if setting else memory._rooms or what != "nothing"
            assert all(np.array_equal(h, then) for h, then in held)
            found.append((losses, [p.tolist() for p in model.parameters()]))
            del model, optimizer, held, loss
        gc.collect()
        assert not memory._rooms                             # they live no longer than the weights
    assert found[0] == found[1]


@pytest.mark.parametrize("fused", [True, False])
def test_a_large_gradient_is_written_where_the_last_one_was(monkeypatch, fused):
    monkeypatch.setattr(memory, "LARGEST", 0)
    model, places = Tiny(tied=False), []
    for _ in range(3):
        model(minigrad.arange(8), fused).backward()
        places.append({p.grad.data_ptr() for p in (model.words.weight, model.head.weight)})
        model.zero_grad()
    assert places[0] == places[1] == places[2]


def test_what_is_borrowed_is_given_back(monkeypatch):
    monkeypatch.setattr(memory, "LARGEST", 0)
    weights, room = np.zeros(12, np.float32), np.arange(12, dtype=np.float32)
    kind = room.shape, room.dtype
    assert memory.taken_room(*kind) is None
    memory.keep_room(np.zeros(13), weights)
    assert not memory._rooms                                 # nobody has asked for such a one
    memory.keep_room(room, weights)
    for shape, dtype, expected in [((2, 5), np.float32, True), ((13,), np.float32, False), ((3,), np.float64, False)]:
        with memory.borrowed(shape, np.dtype(dtype)) as x:
            assert (x.shape, x.dtype, np.shares_memory(x, room)) == (shape, dtype, expected)
            assert (not memory._rooms) == expected
    assert memory.zeros(*kind) is room and not room.any()
    assert memory.taken_room(*kind) is None
    memory.keep_room(room, weights)
    with memory.borrowed((3,), weights.dtype):
        del weights
    assert not memory._rooms


def test_a_room_is_not_given_back_after_an_error(monkeypatch):
    """A thread of the pool may be still at work in it."""
    monkeypatch.setattr(memory, "LARGEST", 0)
    weights = np.zeros(12, np.float32)
    assert memory.taken_room(weights.shape, weights.dtype) is None
    memory.keep_room(np.zeros_like(weights), weights)
    with pytest.raises(KeyboardInterrupt), memory.borrowed((3,), weights.dtype):
        raise KeyboardInterrupt
    assert not memory._rooms


def test_rooms_go_to_one_thread_each(monkeypatch):
    monkeypatch.setattr(memory, "LARGEST", 0)
    kind = (4,), np.dtype(np.float32)
    memory.taken_room(*kind)
    owners, twice = [np.zeros(*kind) for _ in range(3)], []
    for w in owners:
        memory.keep_room(np.zeros(*kind), w)

    def work(number: int) -> None:
        for i in range(2000):
            room = memory.taken_room(*kind)
            if room is not None:
                room.fill(number)
                with memory.borrowed((3,), kind[1]) as other:
                    other.fill(-1)
                    if (room != number).any():
                        twice.append(i)
                memory.keep_room(room, owners[i % 3])
    former = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(former)
    assert not twice
    owners.clear()
    del w
    assert not memory._rooms


# ---- the pool -----------------------------------------------------------------------------------------------------

@pytest.fixture
def threads(monkeypatch):
    """Everything by the pool."""
    monkeypatch.setattr(blocks, "ALONE", 0)
    former = minigrad.get_num_threads()
    yield minigrad.set_num_threads
    minigrad.set_num_threads(former)


def test_blas_follows(threads):
    """set_num_threads is for NumPy's products, too; where our own threads make them, each does so alone."""
    functions = blas._functions()
    if functions is None:
        pytest.skip("NumPy's BLAS here is not OpenBLAS")
    get, _ = functions
    for number in (1, 2):
        threads(number)
        assert get() == number
        with blas.SingleThreaded(), blas.SingleThreaded():
            assert get() == 1
        assert get() == number


def test_every_item_once(threads):
    for number in (1, 2, 5):
        threads(number)
        for n in (0, 1, 2, 100):
            seen = []
            blocks.each(seen.append, range(n), 1)
            assert sorted(seen) == list(range(n))


def test_several_threads_work(threads):
    threads(3)
    meet = threading.Barrier(3, timeout=20)            # passes only if three are inside at once
    blocks.each(lambda i: meet.wait(), range(3), 1)


def test_an_error_reaches_the_caller(threads):
    threads(2)

    def fail(i):
        if i == 3:
            raise ValueError("three")
    for _ in range(3):
        with pytest.raises(ValueError, match="three"):
            blocks.each(fail, range(10), 1)
    blocks.each(lambda i: None, range(10), 1)


def test_small_work_stays_with_the_caller():
    seen = set()
    blocks.each(lambda i: seen.add(threading.get_ident()), range(50), blocks.ALONE - 1)
    assert seen == {threading.get_ident()}


def _ours() -> int:
    return sum(t.name == "minigrad" and t.is_alive() for t in threading.enumerate())


def test_no_thread_is_left_over(threads):
    for number in (4, 2, 3, 2):
        threads(number)
        blocks.each(lambda i: None, range(10), 1)
    for t in threading.enumerate():
        if t.name == "minigrad" and _ours() > 1:
            t.join(0.5)
    assert _ours() == 1


def test_work_inside_work(threads):
    threads(2)
    seen = []
    blocks.each(lambda i: blocks.each(lambda j: seen.append((i, j)), range(4), 1), range(4), 1)
    assert len(set(seen)) == 16


def at_once(tasks: list) -> None:
    callers = [threading.Thread(target=task) for task in tasks]
    for t in callers:
        t.start()
    for t in callers:
        t.join()


def test_callers_in_several_threads(threads):
    threads(3)
    results = [[] for _ in range(4)]
    at_once([lambda r=r: blocks.each(r.append, range(50), 1) for r in results])
    assert all(sorted(r) == list(range(50)) for r in results)


def test_callers_at_once_make_one_pool(threads):
    for number in (2, 3) * 10:
        threads(number)
        meet, pools = threading.Barrier(4), []
        at_once([lambda m=meet, p=pools: (m.wait(), p.append(blocks._pool()))] * 4)
        assert len(pools) == 4 and len(set(pools)) == 1


def test_nothing_outlives_the_work(threads):
    threads(2)
    array = np.zeros(10)
    seen = [0]
    blocks.each(lambda i: seen.append(array[i]), range(10), 1)
    blocks.each(lambda i: None, range(10), 1)
    gc.collect()
    assert len(gc.get_referrers(array)) <= 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork(threads, in_child):
    threads(3)
    blocks.each(lambda i: None, range(10), 1)

    def work() -> bool:
        seen = []
        blocks.each(seen.append, range(10), 1)
        return sorted(seen) == list(range(10)) and _ours() == 2
    assert in_child(work)
