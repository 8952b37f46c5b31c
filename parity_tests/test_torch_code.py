"""What published code asks of torch beyond its core, on both engines from the same seed."""

from __future__ import annotations

import copy
import itertools
import warnings

import numpy as np
import pytest
import torch
import torch.nn.utils.parametrize
from torch.nn.utils import prune

import minigrad
from minigrad.nn.utils import parametrizations, parametrize
from minigrad.nn.utils import prune as our_prune
from minigrad.optim import swa_utils


def both(f, *args):
    """f on torch and on minigrad, each from seed 0."""
    results = []
    for engine in (torch, minigrad):
        engine.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.append(f(engine, *args))
    return results


def flat(x) -> list:
    """The numbers of what a function returned, and its texts."""
    if isinstance(x, torch.Tensor | minigrad.Tensor):
        return [x.detach().numpy()]
    if isinstance(x, list | tuple):
        return [leaf for part in x for leaf in flat(part)]
    return [x]


def assert_same(f, *args, rtol: float = 1e-6, atol: float = 1e-6) -> None:
    theirs, ours = (flat(x) for x in both(f, *args))
    assert len(theirs) == len(ours) > 0
    for a, b in zip(theirs, ours, strict=True):
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(b, a, rtol=rtol, atol=atol)
        else:
            assert a == b


# ---- out= ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["add", "mul", "exp", "maximum", "clamp", "where", "eq", "logical_not", "atan2"])
def test_out_takes_the_result(name):
    def f(t):
        x, out = t.randn(5), t.empty(5)
        args = {"clamp": (x, -0.5, 0.5), "where": (x > 0, x, -x)}.get(
            name, (x,) if name in ("exp", "logical_not") else (x, t.randn(5)))
        same = getattr(t, name)(*args, out=out) is out
        getattr(t, name)(*args, out=x)                        # a result may replace an operand
        return same, out, x, getattr(t, name)(*args, out=t.empty(0))
    assert_same(f)


@pytest.mark.parametrize("call", [
    lambda t: t.add(t.ones(2), 1, out=t.empty(2, dtype=t.int64)),
    lambda t: t.sin(t.ones(2, requires_grad=True), out=t.empty(2)),
    lambda t: (lambda x: t.add(x[:-1], 1, out=x[1:]))(t.ones(4)),
    lambda t: t.add(t.ones(2), 1, out=[1.0]),
])
def test_out_refuses_what_torch_refuses(call):
    with pytest.raises((RuntimeError, TypeError)) as theirs:
        call(torch)
    with pytest.raises(type(theirs.value)):
        call(minigrad)


# ---- older argument orders ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("call", [
    lambda t, x, y, m: x.clone().add_(2, y), lambda t, x, y, m: t.sub(x, 2, y),
    lambda t, x, y, m: x.clone().addcmul_(0.5, x, y), lambda t, x, y, m: t.addcdiv(x, -1, x, y),
    lambda t, x, y, m: m.clone().addmm_(1, -2, m, m), lambda t, x, y, m: t.addmm(2, m, 3, m, m),
    lambda t, x, y, m: x.clone().add_(y, alpha=t.tensor(-0.5)), lambda t, x, y, m: t.addcdiv(x, x, y, value=y[0]),
    lambda t, x, y, m: x.type(t.LongTensor), lambda t, x, y, m: t.svd(m).V.abs(), lambda t, x, y, m: t.qr(m).R.abs(),
    lambda t, x, y, m: t.nn.init.dirac_(t.empty(4, 2, 3)), lambda t, x, y, m: t.nn.init.xavier_uniform(t.empty(3, 2)),
    lambda t, x, y, m: t.nn.init.sparse_(t.empty(6, 3), 0.4),
])
def test_older_forms(call):
    assert_same(lambda t: call(t, t.randn(3), t.rand(3) + 1, t.randn(3, 3)))


def test_to_refuses_what_it_does_not_know():
    for call in (lambda t: t.ones(1).to([]), lambda t: t.ones(1).to(dtyp=1), lambda t: t.ones(1).to(t.LongTensor)):
        for t in (torch, minigrad):
            with pytest.raises(TypeError):
                call(t)


# ---- weights computed from others ---------------------------------------------------------------------------------

def _trained(t, module, *, shape=(4, 3)):
    """A module's outputs over some steps, its names, and its weights in the end."""
    optimizer, outs = t.optim.SGD(module.parameters(), lr=0.01), []
    for _ in range(3):
        outs.append(module(t.randn(*shape)))
        optimizer.zero_grad()
        outs[-1].pow(2).sum().backward()
        optimizer.step()
    module.eval()
    return outs, module(t.ones(*shape)), repr(module), list(module.state_dict()), list(module.state_dict().values())


def _without_norm(t, module):
    module(t.ones(1, 3))                                      # approaches the singular vectors first
    return t.nn.utils.remove_spectral_norm(module)


@pytest.mark.parametrize("make", [
    lambda t: t.nn.utils.weight_norm(t.nn.Linear(3, 2)), lambda t: t.nn.utils.weight_norm(t.nn.Linear(3, 2), dim=None),
    lambda t: t.nn.utils.spectral_norm(t.nn.Linear(3, 2)),
    lambda t: t.nn.utils.parametrizations.weight_norm(t.nn.Linear(3, 2)),
    lambda t: t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(3, 2), n_power_iterations=2),
    lambda t: t.nn.utils.remove_weight_norm(t.nn.utils.weight_norm(t.nn.Linear(3, 2))),
    lambda t: _without_norm(t, t.nn.utils.spectral_norm(t.nn.Linear(3, 2), n_power_iterations=9)),
    lambda t: copy.deepcopy(t.nn.utils.parametrizations.weight_norm(t.nn.Linear(3, 2))),
    lambda t: t.nn.Sequential(t.nn.LazyLinear(4), t.nn.LazyBatchNorm1d(), t.nn.Linear(4, 1)),
])
def test_weights_computed_and_late(make):
    assert_same(lambda t: _trained(t, make(t)), atol=1e-5)


def test_a_parametrization_of_ones_own():
    def f(t, module):
        class Symmetric(t.nn.Module):
            def forward(self, x):
                return x.triu() + x.triu(1).transpose(-1, -2)

            def right_inverse(self, x):
                return x.triu()

        layer = t.nn.Linear(3, 3)
        kept = layer.weight
        module.register_parametrization(layer, "weight", Symmetric())
        shown = repr(layer), type(layer).__name__, isinstance(layer, t.nn.Linear), module.is_parametrized(layer)
        layer.weight = t.eye(3)
        with module.cached():
            once = layer.weight is layer.weight
        result = layer(t.ones(1, 3))
        module.remove_parametrizations(layer, "weight")
        return shown, once, result, layer.weight is kept, layer.weight, repr(layer)

    theirs, ours = (flat(f(t, m)) for t, m in seeded((torch, torch.nn.utils.parametrize), (minigrad, parametrize)))
    for a, b in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6) if isinstance(a, np.ndarray) else None
        assert isinstance(a, np.ndarray) or a == b
    assert parametrizations.__all__ == ["spectral_norm", "weight_norm"]


def seeded(*pairs):
    for t, module in pairs:
        t.manual_seed(0)
        yield t, module


def test_pruning():
    def f(t, module):
        layer = t.nn.Linear(6, 5)
        module.l1_unstructured(layer, "weight", 0.3)
        module.random_unstructured(layer, "weight", 4)
        module.ln_structured(layer, "weight", 0.2, n=2, dim=0)
        module.random_structured(layer, "weight", 1, dim=1)
        masks, out = [layer.weight_mask], layer(t.ones(2, 6))
        module.remove(layer, "weight")
        other = t.nn.Linear(3, 3)
        module.global_unstructured([(layer, "weight"), (other, "weight")], pruning_method=module.L1Unstructured,
                                   amount=0.5)
        return masks, out, layer.weight, other.weight_mask, module.is_pruned(layer), list(other.state_dict())
    theirs, ours = (flat(f(t, m)) for t, m in seeded((torch, prune), (minigrad, our_prune)))
    for a, b in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6) if isinstance(a, np.ndarray) else None
        assert isinstance(a, np.ndarray) or a == b


def test_averaged_models():
    def f(t, module):
        model = t.nn.Sequential(t.nn.Linear(2, 3), t.nn.BatchNorm1d(3))
        average = module.AveragedModel(model)
        decayed = module.AveragedModel(model, multi_avg_fn=module.get_ema_multi_avg_fn(0.9), use_buffers=True)
        optimizer = t.optim.SGD(model.parameters(), lr=0.1)
        schedule, rates = module.SWALR(optimizer, swa_lr=0.05, anneal_epochs=3), []
        for _ in range(5):
            model(t.randn(8, 2)).pow(2).mean().backward()
            optimizer.step()
            schedule.step()
            rates.append(optimizer.param_groups[0]["lr"])
            average.update_parameters(model)
            decayed.update_parameters(model)
        module.update_bn([t.randn(8, 2) for _ in range(3)], average)
        return rates, list(average.state_dict()), list(average.state_dict().values()), list(decayed.parameters())
    theirs, ours = (flat(f(t, m)) for t, m in seeded((torch, torch.optim.swa_utils), (minigrad, swa_utils)))
    for a, b in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6) if not isinstance(a, str) else None
        assert not isinstance(a, str) or a == b


# ---- optimizers ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, settings", [
    ("ASGD", {}), ("ASGD", {"t0": 3, "weight_decay": 0.1, "alpha": 0.5}), ("Adafactor", {}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.1, "d": 2.0, "eps": (1e-3, 0.1)}),
    ("LBFGS", {"line_search_fn": "strong_wolfe"}),
    ("LBFGS", {"line_search_fn": "strong_wolfe", "lr": 20, "max_iter": 6, "history_size": 3}),
])
def test_optimizers_step_as_torchs(name, settings):
    def f(t):
        model = t.nn.Sequential(t.nn.Linear(3, 6), t.nn.Tanh(), t.nn.Linear(6, 2)).double()
        optimizer = getattr(t.optim, name)(model.parameters(), **settings)
        x, y = t.randn(9, 3, dtype=t.float64), t.randn(9, 2, dtype=t.float64)

        def closure():
            optimizer.zero_grad()
            loss = t.nn.functional.mse_loss(model(x), y)
            loss.backward()
            return loss
        return [optimizer.step(closure) for _ in range(6)], list(model.parameters()), repr(optimizer)
    assert_same(f, rtol=1e-7, atol=1e-9)


# ---- images -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n, mode, padding, corners", [
    c for c in itertools.product((2, 3), ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"),
                                 (True, False)) if c[:2] != (3, "bicubic")])
def test_grid_sample(n, mode, padding, corners):
    def f(t):
        x = t.randn(2, 3, *(4, 5, 3)[:n], dtype=t.float64, requires_grad=True)
        grid = (t.rand(2, *(3, 4, 2)[:n], n, dtype=t.float64) * 4 - 2).requires_grad_()
        y = t.nn.functional.grid_sample(x, grid, mode, padding, corners)
        (y * t.randn(*y.shape, dtype=t.float64)).sum().backward()
        return y, x.grad, t.zeros_like(grid) if grid.grad is None else grid.grad, type(y.grad_fn).__name__
    assert_same(f, rtol=1e-10, atol=1e-10)


def test_affine_grid_and_max_unpool():
    def f(t):
        F = t.nn.functional
        x = t.randn(2, 3, 6, 6, requires_grad=True)
        y, where = F.max_pool2d(x, 2, return_indices=True)
        back = F.max_unpool2d(y, where, 2)
        back.pow(2).sum().backward()
        theta = t.randn(2, 2, 3)
        grids = [F.affine_grid(theta, size, c) for size in ((2, 1, 3, 4), (2, 1, 1, 2)) for c in (True, False)]
        return back, x.grad, grids, F.max_unpool2d(y, where, 2, output_size=(7, 7)).shape == (2, 3, 7, 7)
    assert_same(f)


# ---- distributions ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("make", [
    lambda d, t: d.Gamma(t.tensor([0.3, 5.0]), t.tensor([1.0, 2.0])), lambda d, t: d.Beta(t.tensor([0.5]), 2.0),
    lambda d, t: d.Dirichlet(t.tensor([1.0, 2.0, 3.0])), lambda d, t: d.Chi2(t.tensor([3.0])),
    lambda d, t: d.StudentT(t.tensor([4.0])), lambda d, t: d.Poisson(t.tensor([3.0, 20.0])),
    lambda d, t: d.Geometric(t.tensor([0.3])), lambda d, t: d.Gumbel(t.zeros(1), t.ones(1) * 2),
    lambda d, t: d.HalfNormal(t.tensor([2.0])), lambda d, t: d.Categorical(t.ones(3)),
    lambda d, t: d.MultivariateNormal(t.zeros(2), t.tensor([[2.0, 0.5], [0.5, 1.0]])),
    lambda d, t: d.MultivariateNormal(t.zeros(3, 2), precision_matrix=t.tensor([[2.0, 0.5], [0.5, 1.0]])),
    lambda d, t: d.MixtureSameFamily(d.Categorical(t.ones(3)), d.Normal(t.randn(3), t.rand(3) + 0.1)),
    lambda d, t: d.TransformedDistribution(d.Independent(d.Normal(t.zeros(3), t.ones(3)), 1),
                                           [d.TanhTransform(cache_size=1), d.AffineTransform(1.0, 2.0)]),
    lambda d, t: d.TransformedDistribution(d.Uniform(t.zeros(2), t.ones(2)), [d.SigmoidTransform().inv]),
])
def test_distributions(make):
    def f(t):
        d = make(t.distributions, t)
        x = d.sample((20,))
        return x, d.log_prob(x), d.sample(), str(d), d.batch_shape == x.shape[1:len(d.batch_shape) + 1], t.rand(1)
    assert_same(f, rtol=2e-5, atol=2e-5)


def test_divergences():
    def f(t):
        d, kl = t.distributions, t.distributions.kl_divergence
        normal = d.MultivariateNormal(t.zeros(2), t.tensor([[2.0, 0.5], [0.5, 1.0]]))
        return (kl(d.Gamma(2.0, 3.0), d.Gamma(1.0, 2.0)), kl(d.Beta(2.0, 3.0), d.Beta(1.0, 1.0)),
                kl(normal, d.MultivariateNormal(t.ones(2), t.eye(2))), kl(d.Laplace(0.0, 1.0), d.Laplace(1.0, 2.0)),
                kl(d.Poisson(2.0), d.Poisson(3.0)))
    assert_same(f, rtol=1e-5)


# ---- linear algebra -----------------------------------------------------------------------------------------------

def test_least_squares_and_factors():
    def f(t):
        A, B = t.randn(5, 3, dtype=t.float64, requires_grad=True), t.randn(5, 2, dtype=t.float64)
        x = t.linalg.lstsq(A, B).solution
        x.sum().backward()
        L = t.linalg.cholesky(t.eye(3) * 4 + 1)
        return (x, A.grad, t.linalg.lstsq(A.detach().mT, B[:3]).solution, t.cholesky_solve(t.ones(3, 1), L),
                t.cholesky_inverse(L), t.triangular_solve(t.ones(3, 1), L, upper=False).solution,
                t.linalg.tensorsolve(t.eye(4).reshape(2, 2, 2, 2) * 2, t.ones(2, 2)))
    assert_same(f, rtol=1e-5)
