"""Fused ops: their derivatives are those of the compositions they stand for, with or without a kernel's own."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.ops.elementwise import exp
from minigrad.ops.fused import fused
from minigrad.ops.reduce import sum_over

UNARY = ["tan", "exp2", "expm1", "log2", "log10", "log1p", "rsqrt", "reciprocal", "sinh", "cosh", "acos", "erfc",
         "sinc", "floor", "ceil", "trunc", "round", "sgn", "sign", "frac"]
BINARY = ["minimum", "fmax", "fmin", "fmod", "remainder", "logaddexp2"]


def _orders(engine, function, arrays, ways) -> list:
    """The value, and the derivatives to third order along random directions; zeros where there is none."""
    inputs = [engine.tensor(a, requires_grad=True) for a in arrays]
    y, found = function(engine, *inputs), []
    for way in ways:
        found.append(y.detach())
        if not y.requires_grad:
            break
        grads = engine.autograd.grad(y, inputs, engine.tensor(way), create_graph=True, materialize_grads=True)
        y = sum(grads, engine.zeros_like(grads[0]))
    return [(t + 0.0).numpy() for t in found]


def _agree(ours: list, theirs: list) -> None:
    for k in range(max(len(ours), len(theirs))):
        a, b = (x[k] if k < len(x) else np.zeros_like(x[0]) for x in (ours, theirs))
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=f"order {k}")


@pytest.mark.parametrize("name", UNARY)
@given(seed=st.integers(0, 2**32 - 1))
def test_unary_to_third_order(name, seed):
    rng = np.random.default_rng(seed)
    x, ways = rng.uniform(0.05, 0.95, 5) + (name in ("floor", "ceil", "round")) * rng.integers(-3, 3, 5), \
        rng.normal(size=(4, 5))
    _agree(*[_orders(e, lambda m, t: getattr(m, name)(t), [x], ways) for e in (minigrad, torch)])


@pytest.mark.parametrize("name", BINARY)
@given(seed=st.integers(0, 2**32 - 1), same=st.booleans())
def test_binary_to_third_order(name, seed, same):
    rng = np.random.default_rng(seed)
    x, y, ways = rng.normal(size=(3, 4)), rng.normal(size=(1, 4)) + 2.5, rng.normal(size=(4, 3, 4))

    def call(m, *tensors):
        return getattr(m, name)(tensors[0], tensors[0] * 1.5) if same else getattr(m, name)(*tensors)
    arrays = [x] if same else [x, np.broadcast_to(y, x.shape).copy()]
    _agree(*[_orders(e, call, arrays, ways) for e in (minigrad, torch)])


# ---- a kernel with a first derivative of its own -----------------------------------------------------------------

def _slope(g, aside, needed, weight):
    calls.append(needed)
    return (g * aside * weight if needed[0] else None), (g * aside if needed[1] else None)


calls: list = []


@fused(lambda input, weight: exp(input) * weight, "input", "weight", name="Scaled", backward=_slope)
def scaled_exp(input, weight):
    e = np.exp(input)
    return e * weight, e


@given(st.integers(0, 2**32 - 1))
def test_kernel_and_composition(seed):
    rng = np.random.default_rng(seed)
    x, w = (minigrad.tensor(rng.normal(size=shape), requires_grad=True) for shape in ((3, 4), (3, 4)))
    way = minigrad.tensor(rng.normal(size=(3, 4)))
    both = [minigrad.autograd.grad(f(x, w), (x, w), way, create_graph=True) for f in
            (scaled_exp, lambda a, b: a.exp() * b)]
    quick = minigrad.autograd.grad(scaled_exp(x, w), (x, w), way)
    for a, b, c in zip(*both, quick, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12)
        np.testing.assert_allclose(c.numpy(), b.detach().numpy(), rtol=1e-12)
    seconds = [minigrad.autograd.grad((a * a).sum() + (b * b).sum(), (x, w)) for a, b in both]
    for a, b in zip(*seconds, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_a_kernel_is_told_what_is_needed():
    calls.clear()
    x, w = minigrad.ones(3, requires_grad=True), minigrad.ones(3)
    scaled_exp(x, w).sum().backward()
    assert calls == [(True, False)] and w.grad is None
    np.testing.assert_allclose(x.grad.numpy(), np.full(3, np.e), rtol=1e-6)


def test_one_tensor_twice():
    x = minigrad.tensor([0.5], requires_grad=True, dtype=minigrad.float64)
    assert minigrad.autograd.grad(scaled_exp(x, x).sum(), x)[0].item() == pytest.approx(1.5 * np.exp(0.5))
    g, = minigrad.autograd.grad(scaled_exp(x, x).sum(), x, create_graph=True)
    assert minigrad.autograd.grad(g.sum(), x)[0].item() == pytest.approx(2.5 * np.exp(0.5))


def test_what_was_saved_must_not_change():
    x, w = minigrad.ones(3, requires_grad=True), minigrad.ones(3)
    y = scaled_exp(x, w).sum()
    w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_a_second_backward_is_refused():
    x = minigrad.ones(3, requires_grad=True)
    y = scaled_exp(x, minigrad.ones(3)).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="a second time"):
        y.backward()


def test_freed_without_the_collector():
    gc.disable()
    try:
        gc.collect()
        x = minigrad.ones(3, requires_grad=True)
        for _ in range(20):
            y = scaled_exp(x, minigrad.ones(3))
            sum_over(minigrad.tan(y), (0,), False).backward()
        before = len(gc.get_objects())
        for _ in range(100):
            y = scaled_exp(x, minigrad.ones(3))
            sum_over(minigrad.tan(y), (0,), False).backward()
            calls.clear()
        assert len(gc.get_objects()) - before < 10
    finally:
        gc.enable()
