"""Kernels beside the compositions that they replace: values, gradients to second order, threads."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.kernels import blocks
from minigrad.nn.functional import activation, attention, normalization

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
    return [*(a.transpose(0, 2, 1, 3) for a in made), float(rng.uniform(-1, 1)), bool(rng.integers(2))]


ROWS = {
    "gelu": Row(activation._gelu_tanh, _gelu),
    "layer_norm": Row(normalization._layer_norm, _norm(2)),
    "rms_norm": Row(normalization._rms_norm, _norm(1)),
    "attention": Row(attention._attend, _attention),
}
CASES = pytest.mark.parametrize("name", ROWS)


def _fused(op):
    """The op made by `fused`, under the decorators of nn.functional."""
    while not hasattr(op, "node_class"):
        op = op.__wrapped__
    return op


def _tensors(args: list) -> tuple[list, list]:
    """The arguments with tensors in the place of arrays of floats, and these."""
    args = [_leaf(a) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
            for a in args]
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
        given_args, tensors = _tensors(args)
        y = f(*given_args)
        way = np.random.default_rng(1).standard_normal(y.shape).astype(y.array.dtype)
        grads = minigrad.autograd.grad(y, tensors, minigrad.tensor(way)) if y.requires_grad else []
        found.append([y.detach().numpy(), *(g.numpy() for g in grads)])
    return found


@CASES
@given(seed=st.integers(0, 2**32 - 1), wide=st.booleans(), n=st.sampled_from([1, 3, 17, 200]))
def test_value_and_gradients(name, seed, wide, n):
    dtype = np.float64 if wide else np.float32
    kernel, composition = _both(ROWS[name], ROWS[name].draw(np.random.default_rng(seed), dtype, n))
    for a, b in zip(kernel, composition, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        _close(a, b, dtype, n)


@CASES
@given(seed=st.integers(0, 2**32 - 1))
def test_second_order(name, seed):
    rng = np.random.default_rng(seed)
    args, found, op = ROWS[name].draw(rng, np.float64, 5), [], _fused(ROWS[name].op)
    for f in (op, op.node_class.composition):
        given_args, tensors = _tensors(args)
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
def test_layouts_do_not_matter(name, seed):
    """Arrays with gaps, in reverse, or in another order in memory."""
    rng = np.random.default_rng(seed)
    args = ROWS[name].draw(rng, np.float64, 12)
    odd = [_odd(rng, a) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in args]
    for a, b in zip(_both(ROWS[name], args)[0], _both(ROWS[name], odd)[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


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


@CASES
def test_a_changed_input_is_refused(name):
    args, tensors = _tensors(ROWS[name].draw(np.random.default_rng(0), np.float64, 5))
    y = ROWS[name].op(*args).sum()
    with minigrad.no_grad():
        tensors[0].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


# ---- the pool -----------------------------------------------------------------------------------------------------

@pytest.fixture
def threads(monkeypatch):
    """Everything by the pool."""
    monkeypatch.setattr(blocks, "ALONE", 0)
    former = minigrad.get_num_threads()
    yield minigrad.set_num_threads
    minigrad.set_num_threads(former)


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


def test_callers_in_several_threads(threads):
    threads(3)
    results = [[] for _ in range(4)]
    callers = [threading.Thread(target=lambda r=r: blocks.each(r.append, range(50), 1)) for r in results]
    for t in callers:
        t.start()
    for t in callers:
        t.join()
    assert all(sorted(r) == list(range(50)) for r in results)


def test_nothing_outlives_the_work(threads):
    threads(2)
    array = np.zeros(10)
    seen = [0]
    blocks.each(lambda i: seen.append(array[i]), range(10), 1)
    blocks.each(lambda i: None, range(10), 1)
    gc.collect()
    assert len(gc.get_referrers(array)) <= 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork(threads):
    threads(3)
    blocks.each(lambda i: None, range(10), 1)
    child = os.fork()
    if child == 0:
        seen = []
        blocks.each(seen.append, range(10), 1)
        os._exit(0 if sorted(seen) == list(range(10)) and _ours() == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
