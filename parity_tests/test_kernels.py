"""Kernels beside the compositions that they replace: values, gradients to second order, threads."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import minigrad
from minigrad.kernels import blas, blocks, cross_entropy
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


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 700]), st.sampled_from([2, 128, 777, 2048]),
       st.floats(-2, 8), st.sampled_from("fd"), st.sampled_from([1, 2]))
def test_deviations_that_are_small_beside_the_mean(seed, rows, width, size, dtype, groups):
    """layer_norm and group_norm of rows whose means are many deviations from 0, and of rows of equal numbers. Not
    beside torch: its results are a thousand times less exact there."""
    rng = np.random.default_rng(seed)
    x, equal = rng.standard_normal((rows, width)), rng.random(rows) < 0.3
    x[equal] = x[equal, :1]
    x = (x + rng.choice([-1, 0, 1], (rows, 1)) * 10 ** size).astype(dtype)
    exact = x.astype(np.longdouble)
    for _ in range(2):                           # a mean is rounded, too
        exact -= exact.mean(-1, keepdims=True)
    exact /= np.sqrt(np.square(exact).mean(-1, keepdims=True) + 1e-5)
    x = minigrad.from_numpy(x)
    y = F.layer_norm(x, (width,)) if groups == 1 else F.group_norm(x.reshape(1, rows, width), rows).reshape(rows, width)
    np.testing.assert_allclose(y.numpy(), exact.astype(dtype), rtol=0, atol=1e-5 if dtype == "f" else 1e-13)


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
