"""Further optimizers end where torch's do, and keep the same state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad

SETTINGS = {
    "RMSprop": {"lr": [0.01, 0.1], "alpha": [0.9, 0.99], "momentum": [0, 0.9], "centered": [False, True],
                "weight_decay": [0, 0.1], "maximize": [False, True]},
    "Adagrad": {"lr": [0.01, 0.1], "lr_decay": [0, 0.1], "weight_decay": [0, 0.1],
                "initial_accumulator_value": [0, 0.1], "maximize": [False, True]},
    "Adadelta": {"lr": [1.0, 0.1], "rho": [0.9, 0.5], "weight_decay": [0, 0.1], "maximize": [False, True]},
    "Adamax": {"lr": [0.002, 0.1], "betas": [(0.9, 0.999), (0.5, 0.9)], "weight_decay": [0, 0.1]},
    "NAdam": {"lr": [0.002, 0.1], "momentum_decay": [0.004, 0.1], "weight_decay": [0, 0.1],
              "decoupled_weight_decay": [False, True]},
    "RAdam": {"lr": [0.001, 0.1], "betas": [(0.9, 0.999), (0.5, 0.9)], "weight_decay": [0, 0.1],
              "decoupled_weight_decay": [False, True]},
    "Rprop": {"lr": [0.01, 0.1], "etas": [(0.5, 1.2), (0.3, 2.0)], "maximize": [False, True]},
    "LBFGS": {"lr": [1, 0.5], "max_iter": [1, 4, 20], "history_size": [2, 100]},
}


@pytest.mark.parametrize("name", SETTINGS)
@given(data=st.data())
def test_it_ends_where_torchs_does(name, data):
    settings = {key: data.draw(st.sampled_from(values)) for key, values in SETTINGS[name].items()}
    dtype = data.draw(st.sampled_from(["float64", "float32"])) if name != "LBFGS" else "float64"
    rng = np.random.default_rng(data.draw(st.integers(0, 5)))
    start, A = rng.standard_normal(4), rng.standard_normal((6, 4))
    ends, states, texts = [], [], []
    for engine in (torch, minigrad):
        p = engine.tensor(start, dtype=getattr(engine, dtype), requires_grad=True)
        a = engine.tensor(A, dtype=getattr(engine, dtype))
        optimizer = getattr(engine.optim, name)([p], **settings)

        def closure(p=p, a=a, optimizer=optimizer):
            optimizer.zero_grad()
            loss = ((a @ p).sin()**2).sum() + (p**2).sum()
            loss.backward()
            return loss

        for _ in range(8):
            optimizer.step(closure)
        ends.append(p.detach().numpy())
        state = optimizer.state_dict()["state"][0]
        states.append({k: np.asarray(v) for k, v in state.items()} if name != "LBFGS" else {})
        texts.append(repr(optimizer))
    assert texts[0] == texts[1]
    assert states[0].keys() == states[1].keys()
    tolerance = dict(rtol=1e-9, atol=1e-12) if dtype == "float64" else dict(rtol=2e-3, atol=1e-4)
    for a, b in zip([ends[0], *states[0].values()], [ends[1], *states[1].values()]):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(b, a, **tolerance)


@pytest.mark.parametrize("wrong", [
    lambda o, p: o.RMSprop(p, lr=-1), lambda o, p: o.Adagrad(p, lr_decay=-1), lambda o, p: o.Adadelta(p, rho=2),
    lambda o, p: o.Adamax(p, betas=(1.0, 0.9)), lambda o, p: o.NAdam(p, momentum_decay=-1),
    lambda o, p: o.RAdam(p, eps=-1), lambda o, p: o.Rprop(p, etas=(1.5, 2)), lambda o, p: o.RMSprop([])])
def test_wrong_settings(wrong):
    for engine in (torch, minigrad):
        with pytest.raises(ValueError):
            wrong(engine.optim, [engine.zeros(2, requires_grad=True)])
