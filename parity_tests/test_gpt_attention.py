"""Attention in steps (gpt/attention.py): each form is the one before, with one thing changed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gpt.attention
import gpt.mirror.attention
import minigrad

ENGINES = {"numpy": (minigrad, gpt.attention), "torch": (torch, gpt.mirror.attention)}
BOOK = [[0.43, 0.15, 0.89], [0.55, 0.87, 0.66], [0.57, 0.85, 0.64],      # "Your journey starts with one step"
        [0.22, 0.58, 0.33], [0.77, 0.25, 0.10], [0.05, 0.80, 0.55]]

engines = pytest.mark.parametrize("engine", ENGINES)


@st.composite
def problems(draw) -> tuple[int, np.ndarray, list[np.ndarray]]:
    """Heads, an input (B, T, C), and the matrices of query, key and value (C, D), H of which divide D."""
    heads, size = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    B, T, C = draw(st.integers(1, 3)), draw(st.integers(1, 7)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return heads, rng.normal(size=(B, T, C)), [rng.normal(size=(C, heads * size)) for _ in range(3)]


def on(t, problem):
    heads, x, matrices = problem
    return heads, t.tensor(x), [t.tensor(W) for W in matrices]


def close(actual, expected) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)


@engines
@given(problem=problems())
def test_plain_is_trainable_with_nothing_trained(engine, problem):
    t, a = ENGINES[engine]
    _, x, _ = on(t, problem)
    one = t.eye(x.shape[-1], dtype=t.float64)
    close(a.trainable(x, one * math.sqrt(x.shape[-1]), one, one), a.plain(x))


@engines
@given(problem=problems())
def test_causal_sees_what_trainable_sees_of_the_text_so_far(engine, problem):
    t, a = ENGINES[engine]
    _, x, matrices = on(t, problem)
    full = a.causal(x, *matrices)
    for T in range(1, x.shape[1] + 1):
        close(full[:, T - 1], a.trainable(x[:, :T], *matrices)[:, -1])


@engines
@given(problem=problems())
def test_one_head_stacked_split_and_fast_is_causal(engine, problem):
    t, a = ENGINES[engine]
    _, x, matrices = on(t, problem)
    expected = a.causal(x, *matrices)
    close(a.stacked_heads(x, [tuple(matrices)]), expected)
    close(a.split_heads(x, *matrices, n_heads=1), expected)
    close(a.fast(x, *matrices, n_heads=1), expected)


@engines
@given(problem=problems())
def test_stacked_heads_are_split_heads_are_the_fast_ones(engine, problem):
    t, a = ENGINES[engine]
    heads, x, matrices = on(t, problem)
    matrices = [W.requires_grad_() for W in matrices]
    stacked = a.stacked_heads(x, list(zip(*(W.chunk(heads, dim=1) for W in matrices))))
    gradients = []
    for out in (stacked, a.split_heads(x, *matrices, n_heads=heads), a.fast(x, *matrices, n_heads=heads)):
        close(out, stacked)
        gradients.append(t.autograd.grad(out.square().sum(), matrices))
    for others in gradients[1:]:
        for g, expected in zip(others, gradients[0]):
            np.testing.assert_allclose(g.numpy(), expected.numpy(), rtol=1e-8, atol=1e-10)


@engines
@given(problem=problems(), p=st.floats(0.1, 0.9))
def test_dropout_strikes_the_same_weights_in_every_form(engine, problem, p):
    t, a = ENGINES[engine]
    heads, x, matrices = on(t, problem)
    outs = []
    for form in (a.split_heads, a.fast):
        t.manual_seed(7)
        outs.append(form(x, *matrices, n_heads=heads, dropout_p=p))
    close(*outs)
    t.manual_seed(7)
    causal = a.causal(x, *matrices, dropout_p=p)
    t.manual_seed(7)
    close(a.split_heads(x, *matrices, n_heads=1, dropout_p=p), causal)


@given(problem=problems(), p=st.sampled_from([0.0, 0.5]))
def test_the_engines_agree(problem, p):
    outs = []
    for t, a in ENGINES.values():
        heads, x, matrices = on(t, problem)
        t.manual_seed(3)
        outs.append([a.plain(x), a.trainable(x, *matrices), a.causal(x, *matrices, p),
                     a.split_heads(x, *matrices, heads, p), a.fast(x, *matrices, heads, p)])
    for mine, theirs in zip(*outs):
        close(mine, theirs)


@engines
@given(problem=problems())
def test_one_text_is_a_batch_of_one(engine, problem):
    t, a = ENGINES[engine]
    heads, x, matrices = on(t, problem)
    for form, more in ((a.plain, ()), (a.causal, matrices), (a.split_heads, (*matrices, heads)),
                       (a.fast, (*matrices, heads))):
        close(form(x[0], *more), form(x[:1], *more)[0])


@engines
def test_the_numbers_that_chapter_3_prints(engine):
    t, a = ENGINES[engine]
    x = t.tensor(BOOK)

    def matrices(seed: int):
        t.manual_seed(seed)
        return [t.nn.Linear(3, 2, bias=False).weight.T for _ in range(3)]

    def printed(out, first, last) -> None:
        np.testing.assert_allclose(out[0].detach().numpy(), first, atol=5.1e-5)
        np.testing.assert_allclose(out[-1].detach().numpy(), last, atol=5.1e-5)

    printed(a.plain(x), [0.4421, 0.5931, 0.5790], [0.4177, 0.6503, 0.5645])
    t.manual_seed(123)
    printed(a.trainable(x, *(t.rand(3, 2) for _ in range(3))), [0.2996, 0.8053], [0.2990, 0.8040])
    printed(a.trainable(x, *matrices(789)), [-0.0739, 0.0713], [-0.0754, 0.0693])
    first = matrices(123)
    printed(a.causal(x, *first), [-0.4519, 0.2216], [-0.5299, -0.1081])
    second = [t.nn.Linear(3, 2, bias=False).weight.T for _ in range(3)]
    printed(a.stacked_heads(x, [first, second]), [-0.4519, 0.2216, 0.4772, 0.1063],
            [-0.5299, -0.1081, 0.5077, 0.3493])
    first = matrices(123)
    project = t.nn.Linear(2, 2)
    for form in (a.split_heads, a.fast):
        printed(project(form(x, *first, n_heads=2)), [0.3190, 0.4858], [0.2575, 0.4028])
