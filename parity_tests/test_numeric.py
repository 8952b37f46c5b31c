"""Statistics, distances, linear systems and factorisations: values and gradients are torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import minigrad

CASES = {
    "inv": (lambda e, a: e.linalg.inv(a), (2, 3, 3)), "det": (lambda e, a: e.linalg.det(a), (2, 3, 3)),
    "slogdet": (lambda e, a: e.linalg.slogdet(a), (2, 3, 3)),
    "logdet": (lambda e, a: e.logdet(a @ a.mT), (3, 3)),
    "solve": (lambda e, a, b: e.linalg.solve(a, b), (2, 3, 3), (2, 3, 2)),
    "solve vector": (lambda e, a, b: e.linalg.solve(a, b), (3, 3), (3,)),
    "solve right": (lambda e, a, b: e.linalg.solve(a, b, left=False), (3, 3), (2, 3)),
    "solve_triangular": (lambda e, a, b: e.linalg.solve_triangular(a, b, upper=True), (3, 3), (3, 2)),
    "unitriangular": (lambda e, a, b: e.linalg.solve_triangular(a, b, upper=False, unitriangular=True), (3, 3), (3, 2)),
    "cholesky": (lambda e, a: e.linalg.cholesky(a @ a.mT + e.eye(3, dtype=e.float64)), (2, 3, 3)),
    "qr": (lambda e, a: e.linalg.qr(a), (2, 4, 3)), "qr square": (lambda e, a: e.linalg.qr(a), (3, 3)),
    "eigh": (lambda e, a: e.linalg.eigh(a + a.mT)[0], (2, 3, 3)),
    "eigh vectors": (lambda e, a: e.linalg.eigh(a + a.mT)[1]**2, (3, 3)),
    "svd": (lambda e, a: e.linalg.svd(a, full_matrices=False)[1], (2, 4, 3)),
    "svd vectors": (lambda e, a: tuple(x**2 for x in e.linalg.svd(a, full_matrices=False)[::2]), (3, 4)),
    "pinv": (lambda e, a: e.linalg.pinv(a), (4, 3)), "matrix_exp": (lambda e, a: e.matrix_exp(a), (3, 3)),
    "matrix_power": (lambda e, a: e.matrix_power(a, -3), (3, 3)), "cond": (lambda e, a: e.linalg.cond(a), (3, 3)),
    "cov": (lambda e, a: e.cov(a, correction=0), (3, 6)), "corrcoef": (lambda e, a: e.corrcoef(a), (3, 6)),
    "cov weighted": (lambda e, a: e.cov(a, fweights=e.tensor([1, 2, 1, 3])), (3, 4)),
    "diff": (lambda e, a: e.diff(a, 2, 0), (5, 6)), "diff joined": (lambda e, a, b: a.diff(prepend=b), (2, 3), (2, 1)),
    "trapezoid": (lambda e, a, b: e.trapezoid(a, b), (3, 6), (3, 6)),
    "cumulative_trapezoid": (lambda e, a: e.cumulative_trapezoid(a, dx=0.5, dim=0), (3, 6)),
    "cdist": (lambda e, a, b: e.cdist(a, b), (2, 4, 3), (2, 5, 3)),
    "cdist 1": (lambda e, a, b: e.cdist(a, b, p=1.0), (4, 3), (5, 3)),
    "pdist": (lambda e, a: e.pdist(a), (4, 3)), "copysign": (lambda e, a, b: e.copysign(a, b), (4, 3), (4, 3)),
    "lgamma": (lambda e, a: e.lgamma(a * 3), (40,)), "renorm": (lambda e, a: e.renorm(a, 2, 0, 1.0), (4, 3)),
    "fill_diagonal_": (lambda e, a: (a * 1).fill_diagonal_(2.0), (3, 4)),
    "sum_to_size": (lambda e, a: a.sum_to_size(3, 1), (2, 3, 4)),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name):
    compare(*CASES[name])


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
def test_quantile(name, interpolation):
    def several(e, a):
        return getattr(e, name)(a, e.tensor([0.0, 0.3, 0.55, 1.0], dtype=e.float64), dim=1, keepdim=True,
                                interpolation=interpolation)

    def with_nan(e, a):
        a = e.where(e.arange(6) == 2, float("nan"), a)
        return getattr(a, name)(0.4, interpolation=interpolation).nan_to_num(7.0)

    compare(several, (3, 6))
    compare(with_nan, (2, 6))


def compare(f, *shapes) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    results = []
    for engine in (torch, minigrad):
        inputs = [engine.tensor(a, requires_grad=True) for a in arrays]
        out = f(engine, *inputs)
        outs = out if isinstance(out, tuple) else (out,)
        sum((o * engine.arange(o.numel(), dtype=o.dtype).reshape(o.shape).cos()).sum() for o in outs).backward()
        results.append([o.detach().numpy() for o in outs] + [x.grad.numpy() for x in inputs])
    for a, b in zip(*results, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(b, a, rtol=1e-8, atol=1e-10)


def test_special_values():
    x = np.array([0.0, -0.0, -1.0, -0.5, 0.3, 1.0, 5.0, 100.0, -3.7, np.inf])
    for name in ("lgamma", "digamma", "signbit", "isreal"):
        theirs, ours = (getattr(e, name)(e.tensor(x)).numpy() for e in (torch, minigrad))
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_integers():
    a, b = np.array([12, -8, 0, 7]), np.array([18, 12, 5, 7])
    for name in ("gcd", "lcm"):
        theirs, ours = (getattr(e, name)(e.tensor(a), e.tensor(b)).tolist() for e in (torch, minigrad))
        assert ours == theirs
    assert minigrad.isin(minigrad.tensor(a), minigrad.tensor([7, 0])).tolist() == [False, False, True, True]
    assert [i.tolist() for i in minigrad.unravel_index(minigrad.tensor([5, 7]), (3, 4))] == [[1, 1], [1, 3]]
    for name in ("hann_window", "hamming_window", "blackman_window"):
        theirs, ours = (getattr(e, name)(7, periodic=False).numpy() for e in (torch, minigrad))
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize("wrong", [
    lambda e: e.linalg.inv(e.zeros(2, 2)), lambda e: e.linalg.inv(e.zeros(2, 3)), lambda e: e.linalg.det(e.zeros(3)),
    lambda e: e.linalg.cholesky(-e.eye(2)), lambda e: e.linalg.solve(e.zeros(2, 2), e.zeros(2, 2)),
    lambda e: e.quantile(e.ones(3), 1.5), lambda e: e.quantile(e.ones(3, dtype=e.int64), 0.5),
    lambda e: e.cdist(e.ones(3), e.ones(3)), lambda e: e.cdist(e.ones(3, 2), e.ones(3, 4)), lambda e: e.is_nonzero(
        e.ones(2)), lambda e: e.diff(e.ones(()))])
def test_refusals(wrong):
    with pytest.raises(Exception) as theirs:
        wrong(torch)
    with pytest.raises(RuntimeError) as ours:
        wrong(minigrad)
    assert isinstance(theirs.value, RuntimeError) and type(ours.value).__name__ in (theirs.type.__name__, "LinAlgError",
                                                                                  "_LinAlgError")


def test_older_constructors():
    assert minigrad.LongTensor([1, 2]).tolist() == [1, 2] and minigrad.FloatTensor(2, 3).shape == (2, 3)
    assert isinstance(minigrad.ones(1), minigrad.FloatTensor) and not isinstance(minigrad.ones(1), minigrad.LongTensor)


@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "solve", "cholesky", "matrix_exp"])
def test_second_derivatives(name):
    f, *shapes = CASES[name]
    inputs = [minigrad.tensor(np.random.default_rng(1).standard_normal(shape), requires_grad=True) for shape in shapes]
    assert minigrad.autograd.gradgradcheck(lambda *xs: f(minigrad, *xs), inputs)
