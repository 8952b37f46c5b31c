"""gradcheck and gradgradcheck: the same verdicts as torch's, on functions right and wrong."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import minigrad

from .programs import attempt, same


def randn(T, *shape, seed=0):
    return T.tensor(np.random.default_rng(seed).standard_normal(shape) + 0.1, dtype=T.float64, requires_grad=True)


def function(T, forward, backward):
    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("F", (T.autograd.Function,), members).apply


CASES = {
    "two inputs": lambda T: (lambda x, y: x * y, (randn(T, 2, 3), randn(T, 3))),
    "two outputs": lambda T: (lambda x, y: (x * y, x.sin(), y.detach() * 2), (randn(T, 2), randn(T, 2, seed=1))),
    "a list": lambda T: (lambda x, y: [x * y, y], [randn(T, 2), randn(T, 2)]),
    "no tuple": lambda T: (lambda x: x.cos(), randn(T, 2)),
    "0-dim": lambda T: (lambda x: x.exp(), (randn(T),)),
    "empty": lambda T: (lambda x: x.exp(), (randn(T, 0, 3),)),
    "non-contiguous": lambda T: (lambda x: x.tanh().t(), (randn(T, 2, 3).detach().t().requires_grad_(),)),
    "not a leaf": lambda T: (lambda x: x**2, (randn(T, 2) * 1,)),
    "integers": lambda T: (lambda x, i: x * i, (randn(T, 2), T.tensor([1, 2]))),
    "an unused input": lambda T: (lambda x, y: x.cos(), (randn(T, 2), randn(T, 2))),
    "matmul": lambda T: (lambda x, y: x @ y, (randn(T, 2, 3), randn(T, 3, 2))),
    "writes": lambda T: (lambda x: x.clone().mul_(3).sin_(), (randn(T, 2),)),
    "a view": lambda T: (lambda x: x[0], (randn(T, 2, 2),)),
    "the input": lambda T: (lambda x: x, (randn(T, 2),)),
    "Function": lambda T: (function(T, lambda c, x: (x * 2, x * 3), lambda c, a, b: a * 2 + b * 3), (randn(T, 2),)),
    "WRONG rule": lambda T: (function(T, lambda c, x: x * 2, lambda c, g: g * 3), (randn(T, 2),)),
    "WRONG detach": lambda T: (lambda x: x * x.detach(), (randn(T, 2),)),
    "WRONG constant": lambda T: (function(T, lambda c, x: x * 0 + 1, lambda c, g: g * 0 + 1), (randn(T, 2),)),
    "WRONG nan": lambda T: (lambda x: (x * 0 - 1).sqrt() * x, (randn(T, 2),)),
    "undefined gradients": lambda T: (function(T, lambda c, x: (c.set_materialize_grads(False), (x * 2, x * 3))[1],
                                                  lambda c, a, b: a * 2 + b * 3), (randn(T, 2),)),
    "nothing to check": lambda T: (lambda x: x * 2, (T.ones(2, dtype=T.float64),)),
    "single precision": lambda T: (lambda x: x * 2, (T.ones(2, requires_grad=True),)),
    "expanded": lambda T: (lambda x: x * 2, (T.ones(1, dtype=T.float64).expand(2).requires_grad_(),)),
    "an error": lambda T: (lambda x: x.view(7), (randn(T, 2),)),
}
OPTIONS = ({}, {"fast_mode": True}, {"check_undefined_grad": False, "nondet_tol": 1.0, "eps": 1e-5, "atol": 1e-4,
                                     "rtol": 1e-2, "check_grad_dtypes": True})


@pytest.mark.parametrize("case", CASES)
def test_verdicts(case):
    verdicts = []

    @same
    def program(T):
        f, inputs = CASES[case](T)
        for check in (T.autograd.gradcheck, T.autograd.gradgradcheck):
            for options in OPTIONS:
                verdicts.append(attempt(check, f, inputs, raise_exception=False, **options))
                verdicts.append(attempt(check, f, inputs, **options))
        return verdicts[-12:]
    program()
    if case.startswith("WRONG"):
        assert False in verdicts


@same
def test_outputs_without_gradients(T):
    x = randn(T, 2)
    return [attempt(T.autograd.gradcheck, f, x) for f in (lambda x: x.detach() * 2, lambda x: x.detach() * 0)]


@same
def test_other_arguments(T):
    x = randn(T, 2)
    return [T.autograd.gradgradcheck(lambda x: x**3, x, gen_non_contig_grad_outputs=True),
            T.autograd.gradgradcheck(lambda x: x**3, x, (randn(T, 2),)),
            T.autograd.gradcheck(lambda x: x**3, x, masked=False)]


def test_the_inputs_are_put_back():
    x = randn(minigrad, 3)
    before = x.tolist()
    minigrad.autograd.gradcheck(lambda x: x.exp(), x)
    calls = []

    def fails_later(x):
        calls.append(1)
        if len(calls) > 3:
            raise KeyError
        return x.exp()
    with pytest.raises(KeyError):
        minigrad.autograd.gradcheck(fails_later, x)
    assert x.tolist() == before


def test_irreproducible_gradients_are_found():
    calls = []

    def backward(ctx, g):
        calls.append(1)
        return g * (2 + 1e-7 * len(calls))
    f = function(minigrad, lambda c, x: x * 2, backward)
    with pytest.raises(RuntimeError, match="Backward is not reentrant"):
        minigrad.autograd.gradcheck(f, randn(minigrad, 2))
    assert minigrad.autograd.gradcheck(f, randn(minigrad, 2), nondet_tol=1e-4)


def test_single_precision_is_warned_of():
    with pytest.warns(UserWarning, match="not a double precision"), warnings.catch_warnings():
        minigrad.autograd.gradcheck(lambda x: x * 2, minigrad.ones(2, requires_grad=True), raise_exception=False)
