"""Optimizers move the same weights as torch's, keep the same state, and refuse what torch refuses."""

from __future__ import annotations

import copy
import gc
import itertools
import math
import pickle
import re
import warnings
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad

SHAPES = ((3,), (), (0, 2), (3, 2))          # the last one lies transposed in memory

CLOSE = {"float64": 1e-12, "float32": 2e-5, "float16": 1e-2}          # some thousand, a hundred, ten roundings


class TensorOf:
    """A setting that is a tensor: each engine gets its own."""

    def __init__(self, value, dtype="float32", shape=()):
        self.value, self.dtype, self.shape = value, dtype, shape

    def __repr__(self):
        return f"tensor({self.value}, {self.dtype}, {self.shape})"


def given_to(engine, value):
    if isinstance(value, TensorOf):
        return engine.full(value.shape, value.value, dtype=getattr(engine, value.dtype))
    if isinstance(value, dict):
        return {k: given_to(engine, v) for k, v in value.items()}
    return tuple(given_to(engine, v) for v in value) if isinstance(value, tuple) else value


def number_or_tensor(*values, shapes=((),)):
    tensors = st.builds(TensorOf, st.sampled_from(values), st.sampled_from(["float32", "float64"]),
                        st.sampled_from(shapes))
    return st.sampled_from(values) | tensors


FLAG = st.booleans()
COMMON = {"maximize": FLAG}
FUSED = {"foreach": st.sampled_from([None, False, True]), "fused": st.sampled_from([None, False, True])}
LR = number_or_tensor(0.0, 1e-3, 0.1, 1, shapes=((), (1,)))
DECAY = st.sampled_from([0, 0.01, 0.3])
BETAS = st.sampled_from([(0.9, 0.999), (0.0, 0.0), (0.3, 0.5), (0.99, 0.9)])
ADAM = {"lr": LR, "eps": st.sampled_from([1e-8, 1e-3]), "weight_decay": DECAY, "amsgrad": FLAG, **COMMON, **FUSED,
        "betas": BETAS | BETAS.map(lambda b: tuple(TensorOf(x, "float64") for x in b))}
SETTINGS = {
    "SGD": {"lr": LR, "momentum": st.sampled_from([0, 0.5, 0.99]), "dampening": st.sampled_from([0, 0.3, 1]),
            "weight_decay": number_or_tensor(0, 0.01, 0.3), "nesterov": FLAG, **COMMON, **FUSED},
    "Adam": {**ADAM, "decoupled_weight_decay": FLAG},
    "AdamW": ADAM,
}


def consistent(kwargs: dict) -> dict:
    """The settings, without what torch refuses to combine."""
    if kwargs.get("nesterov"):
        kwargs |= {"momentum": kwargs.get("momentum") or 0.9, "dampening": 0}
    settings = kwargs.get("lr"), *kwargs.get("betas", ())
    if kwargs.get("foreach") and (kwargs.get("fused") or any(isinstance(x, TensorOf) for x in settings)):
        kwargs["foreach"] = None
    return kwargs


@st.composite
def optimizers(draw, name):
    """(class, settings, settings of the second group)."""
    own = {k: v for k, v in SETTINGS[name].items() if k in ("weight_decay", "maximize", "eps")}
    return name, consistent(draw(st.fixed_dictionaries({}, optional=SETTINGS[name]))), draw(
        st.fixed_dictionaries({}, optional=own))


EACH = pytest.mark.parametrize("name", sorted(SETTINGS))


class Run:
    """One engine's parameters, which live in two groups, and their optimizer."""

    def __init__(self, engine, spec, dtype="float64", seed=0):
        name, kwargs, own = spec
        self.engine, self.dtype, self.rng = engine, dtype, np.random.default_rng(seed)
        self.fused = kwargs.get("fused")
        self.params = [self.tensor(self.rng.normal(size=shape)) for shape in SHAPES[:-1]]
        self.params.append(self.tensor(self.rng.normal(size=SHAPES[-1][::-1])).t())
        self.params = [p.detach().requires_grad_() for p in self.params]
        groups = [{"params": self.params[:2]}, {"params": self.params[2:], **given_to(engine, own)}]
        self.optimizer = getattr(engine.optim, name)(groups, **given_to(engine, kwargs))

    def tensor(self, array):
        return self.engine.from_numpy(np.array(array, self.dtype))

    def steps(self, count):
        """Gradients are noise, and a part of the weight itself; now and then one is missing."""
        for _ in range(count):
            for p in self.params:
                noise = self.rng.normal(size=tuple(p.shape))
                missing = self.rng.random() < 0.1 and not self.fused       # torch's fused SGD stumbles over those
                g = self.tensor(noise) + 0.05 * p.detach()
                if self.fused:                       # torch's fused kernels take any layout for that of the weights
                    g = self.engine.zeros_like(p).copy_(g)
                p.grad = None if missing else g.detach()
            self.optimizer.step()
        return self

    def numbers(self):
        state = self.optimizer.state_dict()["state"]
        found = {f"param {i}": p.detach().numpy() for i, p in enumerate(self.params)}
        for i in sorted(state):
            found |= {f"{k} {i}": v.numpy() for k, v in sorted(state[i].items())}
        return found


def assert_same(ours: Run, theirs: Run) -> None:
    a, b = ours.numbers(), theirs.numbers()
    assert a.keys() == b.keys()
    close = CLOSE[ours.dtype]
    for key in a:
        assert a[key].dtype == b[key].dtype and a[key].shape == b[key].shape, key
        size = np.abs(b[key], dtype=np.float64).max(initial=0.01)          # what is added is of size 1 and 0.001
        if ours.dtype == "float16" and key.startswith(("exp_avg ", "momentum_buffer ")):
            # decay * p is in there, too, for decays to 0.3: a rounding of p is seen, where g cancels it
            size = max(size, 0.3 * np.abs(b[f"param {key.split()[1]}"], dtype=np.float64).max(initial=0))
        np.testing.assert_allclose(a[key], b[key], rtol=close, atol=close * size, err_msg=key)


def converted(value, engine):
    """A state_dict for the other engine: tensors become its tensors."""
    if isinstance(value, torch.Tensor | minigrad.Tensor):
        return engine.from_numpy(value.detach().numpy().copy(order="K"))
    if isinstance(value, dict):
        return {k: converted(v, engine) for k, v in value.items()}
    return type(value)(converted(v, engine) for v in value) if isinstance(value, list | tuple) else value


# ------------------------------------------------------------------------------------------------ the weights

@EACH
@given(st.data(), st.integers(0, 99))
def test_a_hundred_steps(name, data, seed):
    spec = data.draw(optimizers(name))
    assert_same(Run(minigrad, spec, seed=seed).steps(100), Run(torch, spec, seed=seed).steps(100))


@EACH
@given(st.data(), st.integers(0, 99))
def test_float32(name, data, seed):
    spec = data.draw(optimizers(name))
    assert_same(Run(minigrad, spec, "float32", seed).steps(20), Run(torch, spec, "float32", seed).steps(20))


@EACH
@given(st.data(), st.integers(0, 99))
def test_float16(name, data, seed):
    """A step in float32, rounded once, is what torch's fused steps are. (Its others round after every operation, and
    divide by zero where eps = 1e-8 is lost.)"""
    spec = data.draw(optimizers(name))
    spec = spec[0], {**spec[1], "fused": True, "foreach": None}, spec[2]
    assert_same(Run(minigrad, spec, "float16", seed).steps(10), Run(torch, spec, "float16", seed).steps(10))


@EACH
@given(st.data(), st.integers(0, 20), st.integers(0, 99))
def test_a_run_goes_on_in_the_other_engine(name, data, k, seed):
    """After k steps each engine hands weights and state to the other; nobody notices."""
    spec = data.draw(optimizers(name))
    ours, theirs = Run(minigrad, spec, seed=seed).steps(k), Run(torch, spec, seed=seed).steps(k)
    packed = ours.optimizer.state_dict(), theirs.optimizer.state_dict()
    assert [g.keys() for g in packed[0]["param_groups"]] == [g.keys() for g in packed[1]["param_groups"]]
    weights = [[p.detach().numpy().copy() for p in run.params] for run in (ours, theirs)]
    for run, state, arrays in ((ours, packed[1], weights[1]), (theirs, packed[0], weights[0])):
        run.optimizer.load_state_dict(converted(state, run.engine))
        for p, array in zip(run.params, arrays, strict=True):
            p.data.copy_(run.tensor(array))
    assert_same(ours.steps(20), theirs.steps(20))
    assert repr(ours.optimizer).replace(", dtype=torch.float64", "") == \
        repr(theirs.optimizer).replace(", dtype=torch.float64", "")


def test_betas_that_are_float32_tensors():
    """torch then computes 1 - beta^t in float32: so much of the digits is left."""
    spec = "AdamW", {"betas": (TensorOf(0.9), TensorOf(0.999)), "amsgrad": True, "lr": 0.1}, {}
    ours, theirs = Run(minigrad, spec).steps(50).numbers(), Run(torch, spec).steps(50).numbers()
    for key in theirs:
        np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-4, atol=1e-5, err_msg=key)


def test_special_gradients():
    for name in SETTINGS:
        for value in (np.nan, np.inf, -np.inf, 1e300, 1e-300, 0.0):
            found = []
            for engine in (minigrad, torch):
                p = engine.ones(2, dtype=engine.float64, requires_grad=True)
                optimizer = getattr(engine.optim, name)([p], lr=0.1)
                for _ in range(2):
                    p.grad = engine.full((2,), value, dtype=engine.float64)
                    optimizer.step()
                found.append(p.detach().numpy())
            np.testing.assert_allclose(*found, rtol=1e-14)


def test_readable_example():
    """Two steps of Adam on p^2 / 2 by hand."""
    p = minigrad.tensor([1.0], dtype=minigrad.float64, requires_grad=True)
    optimizer = minigrad.optim.Adam([p], lr=0.1)
    m = v = 0.0
    value = 1.0
    for t in (1, 2):
        optimizer.zero_grad()
        (p * p / 2).sum().backward()
        optimizer.step()
        m, v = 0.9 * m + 0.1 * value, 0.999 * v + 0.001 * value ** 2
        value -= 0.1 * (m / (1 - 0.9 ** t)) / ((v / (1 - 0.999 ** t)) ** 0.5 + 1e-8)
    assert p.item() == pytest.approx(value, rel=1e-14)


# ------------------------------------------------------------------------------------------------ what is refused

def leaf(engine, *shape):
    return engine.ones(*shape or (2,), requires_grad=True)


def with_grad(engine):
    p = leaf(engine)
    p.grad = engine.ones(2)
    return p


REFUSED = {
    "a tensor": lambda e: e.optim.SGD(e.ones(2)),
    "a double tensor": lambda e: e.optim.SGD(e.ones(2, dtype=e.float64)),
    "nothing": lambda e: e.optim.SGD([]),
    "a number": lambda e: e.optim.SGD(3),
    "numbers": lambda e: e.optim.SGD([3]),
    "an array": lambda e: e.optim.SGD([np.ones(2)]),
    "group and number": lambda e: e.optim.SGD([{"params": [leaf(e)]}, 3]),
    "tensor and group": lambda e: e.optim.SGD([leaf(e), {"params": [leaf(e)]}]),
    "set": lambda e: e.optim.SGD([{"params": {leaf(e)}}]),
    "no params": lambda e: e.optim.SGD([{}]),
    "not a leaf": lambda e: e.optim.SGD([leaf(e) * 2]),
    "some names": lambda e: e.optim.SGD([("a", leaf(e)), leaf(e)]),
    "names later": lambda e: e.optim.SGD([leaf(e), ("a", leaf(e))]),
    "one named group": lambda e: e.optim.SGD([{"params": [("a", leaf(e))]}, {"params": [leaf(e)]}]),
    "one unnamed group": lambda e: e.optim.SGD([{"params": [leaf(e)]}, {"params": [("a", leaf(e))]}]),
    "twice": lambda e: (lambda p: e.optim.SGD([{"params": p}, {"params": p}]))(leaf(e)),
    "added twice": lambda e: (lambda p: e.optim.SGD([p]).add_param_group({"params": p}))(leaf(e)),
    "added no dict": lambda e: e.optim.SGD([leaf(e)]).add_param_group([leaf(e)]),
    "sgd lr": lambda e: e.optim.SGD([leaf(e)], lr=-1.0),
    "sgd lr tensor": lambda e: e.optim.SGD([leaf(e)], lr=e.tensor(-0.5)),
    "sgd two lrs": lambda e: e.optim.SGD([leaf(e)], lr=e.tensor([0.1, 0.2])),
    "momentum": lambda e: e.optim.SGD([leaf(e)], momentum=-1),
    "sgd decay": lambda e: e.optim.SGD([leaf(e)], weight_decay=-1),
    "nesterov": lambda e: e.optim.SGD([leaf(e)], nesterov=True),
    "nesterov dampened": lambda e: e.optim.SGD([leaf(e)], nesterov=True, momentum=0.9, dampening=0.1),
    "sgd fused foreach": lambda e: e.optim.SGD([leaf(e)], fused=True, foreach=True),
    "sgd fused differentiable": lambda e: e.optim.SGD([leaf(e)], fused=True, differentiable=True),
    "adam lr": lambda e: e.optim.Adam([leaf(e)], lr=-1.0),
    "adam nan": lambda e: e.optim.Adam([leaf(e)], lr=float("nan")),
    "adam two lrs": lambda e: e.optim.Adam([leaf(e)], lr=e.tensor([0.1, 0.2])),
    "adam lr foreach": lambda e: e.optim.Adam([leaf(e)], lr=e.tensor(0.1), foreach=True),
    "adam betas foreach": lambda e: e.optim.Adam([leaf(e)], betas=(e.tensor(0.1), e.tensor(0.1)), foreach=True),
    "eps": lambda e: e.optim.Adam([leaf(e)], eps=-1e-8),
    "beta 0": lambda e: e.optim.Adam([leaf(e)], betas=(1.0, 0.9)),
    "beta 1": lambda e: e.optim.Adam([leaf(e)], betas=(0.9, -0.1)),
    "beta int": lambda e: e.optim.Adam([leaf(e)], betas=(0, 0.9)),
    "beta mixed": lambda e: e.optim.Adam([leaf(e)], betas=(e.tensor(0.5), 0.9)),
    "beta two": lambda e: e.optim.Adam([leaf(e)], betas=(e.tensor(0.5), e.tensor([0.9]).expand(2)[:0])),
    "adamw decay": lambda e: e.optim.AdamW([leaf(e)], weight_decay=-0.1),
    "adamw fused foreach": lambda e: e.optim.AdamW([leaf(e)], fused=True, foreach=True),
    "adamw fused differentiable": lambda e: e.optim.AdamW([leaf(e)], fused=True, differentiable=True),
    "capturable": lambda e: e.optim.AdamW([with_grad(e)], capturable=True).step(),
    "differentiable": lambda e: e.optim.SGD([with_grad(e)], differentiable=True).step(),
    "expanded": lambda e: stepped_expanded(e),
    "number of groups": lambda e: e.optim.SGD([leaf(e)]).load_state_dict({"state": {}, "param_groups": []}),
    "size of a group": lambda e: e.optim.SGD([leaf(e)]).load_state_dict(e.optim.SGD([leaf(e), leaf(e)]).state_dict()),
    "no closure loss": lambda e: e.optim.SGD([leaf(e)]).step(3),
    "hook": lambda e: hooked(e, lambda *_: 3),
    "hook of three": lambda e: hooked(e, lambda *_: (1, 2, 3)),
}


def stepped_expanded(engine):
    p = engine.ones(1).expand(2).requires_grad_()
    p.grad = engine.ones(2)
    engine.optim.SGD([p]).step()


def hooked(engine, hook):
    optimizer = engine.optim.SGD([leaf(engine)])
    optimizer.register_step_pre_hook(hook)
    optimizer.step()


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    errors = []
    for engine in (minigrad, torch):
        with pytest.raises(Exception) as caught:
            REFUSED[what](engine)
        text = re.sub(r"<function \w+\.step at 0x[0-9a-f]+>", "STEP", str(caught.value))
        errors.append((type(caught.value), text))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("cls", ["SGD", "Adam"])
def test_a_step_is_not_differentiated_in_silence(cls):
    p = leaf(minigrad) * 1
    p.retain_grad()
    optimizer = getattr(minigrad.optim, cls)([p], differentiable=True)
    p.grad = minigrad.ones(2)
    with pytest.raises(NotImplementedError):
        optimizer.step()


def test_duplicate_parameters_warn():
    for engine in (minigrad, torch):
        p = with_grad(engine)
        with pytest.warns(UserWarning, match="duplicate parameters"):
            optimizer = engine.optim.SGD([p, p], lr=1.0)
        optimizer.step()
        assert p.tolist() == [-1.0, -1.0]
        assert optimizer.state_dict()["param_groups"][0]["params"] == [1, 1]


# ------------------------------------------------------------------------------------------------ the interface

BOTH = pytest.mark.parametrize("engine", [minigrad, torch], ids=["minigrad", "torch"])


@BOTH
def test_names(engine):
    layer = {"w": leaf(engine), "b": leaf(engine)}
    optimizer = engine.optim.SGD(iter(layer.items()))
    assert optimizer.param_groups[0]["param_names"] == ["w", "b"]
    assert optimizer.param_groups[0]["params"][1] is layer["b"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["w", "b"]
    optimizer.add_param_group({"params": [("c", leaf(engine))], "lr": 5})
    names = [["x", "y"], ["z"]]
    other = engine.optim.SGD([{"params": [(name, leaf(engine)) for name in group]} for group in names])
    state = optimizer.state_dict()
    other.load_state_dict(state)
    assert [g["param_names"] for g in other.param_groups] == [["w", "b"], ["c"]]
    for group in state["param_groups"]:
        del group["param_names"]
    other.load_state_dict(state)
    assert other.param_groups[1]["param_names"] == ["c"] and other.param_groups[1]["lr"] == 5


@BOTH
def test_zero_grad(engine):
    p, q = with_grad(engine), leaf(engine)
    optimizer = engine.optim.SGD([p, q])
    g = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is g and g.tolist() == [0, 0] and q.grad is None
    p.grad = None
    (p * p).sum().backward(create_graph=True)
    assert p.grad.requires_grad
    optimizer.zero_grad(False)
    assert not p.grad.requires_grad and p.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert p.grad is None


@BOTH
def test_closure_and_hooks(engine):
    p, calls = leaf(engine), []
    optimizer = engine.optim.SGD([p], lr=0.25)

    def closure():
        assert engine.is_grad_enabled()
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    first = optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append((args[1:], kwargs)))
    second = optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append((args[1:], kwargs, o is optimizer)))
    with engine.no_grad():
        assert optimizer.step(closure).item() == 2
    assert calls == [((closure,), {}), ((closure,), {}, True)] and p.tolist() == [0.5, 0.5]
    assert optimizer.step(closure=closure).item() == 0.5
    assert calls[2:] == [((), {"closure": closure}), ((), {"closure": closure}, True)]
    first.remove()
    second.remove()
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((o, closure), {}))
    assert optimizer.step().item() == 0.125 and len(calls) == 4


@BOTH
def test_state_dict_hooks(engine):
    calls = []
    optimizer = engine.optim.SGD([leaf(engine)], lr=0.25)
    optimizer.register_state_dict_pre_hook(lambda o: calls.append(1))
    optimizer.register_state_dict_pre_hook(lambda o: calls.append(0), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, s: {**s, "extra": 5})
    state = optimizer.state_dict()
    assert calls == [0, 1] and state["extra"] == 5

    def other_lr(o, state):
        return {**state, "param_groups": [{**g, "lr": 7} for g in state["param_groups"]]}
    optimizer.register_load_state_dict_pre_hook(other_lr)
    optimizer.register_load_state_dict_post_hook(lambda o: calls.append(o.param_groups[0]["lr"]))
    optimizer.load_state_dict(state)
    assert calls[-1] == 7 and state["param_groups"][0]["lr"] == 0.25


@BOTH
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"])
def test_copies(engine, copied):
    """A copy has parameters, state and settings in a memory of its own, and no hooks."""
    p = with_grad(engine)
    optimizer = engine.optim.AdamW([p], lr=0.5, amsgrad=True)
    optimizer.step()
    optimizer.register_step_pre_hook(lambda *_: 1 / 0)
    other = copied(optimizer)
    assert repr(other) == repr(optimizer) and type(other) is type(optimizer)
    q, before = other.param_groups[0]["params"][0], p.tolist()
    assert q is not p and q.tolist() == before and q.requires_grad
    assert other.state[q].keys() == optimizer.state[p].keys()
    assert other.state[q]["exp_avg"].tolist() == optimizer.state[p]["exp_avg"].tolist()
    q.grad = engine.ones(2)
    other.step()
    assert p.tolist() == before != q.tolist()


@BOTH
def test_loading_casts_and_shares(engine):
    """Loaded state is cast to the parameter's dtype, and otherwise taken as it is; old checkpoints are completed."""
    source = Run(engine, ("Adam", {}, {}), seed=1).steps(1)
    state = source.optimizer.state_dict()
    same, other = Run(engine, ("Adam", {}, {})), Run(engine, ("AdamW", {}, {}), "float32")
    same.optimizer.load_state_dict(state)
    other.optimizer.load_state_dict(state)
    assert same.optimizer.state[same.params[0]]["exp_avg"] is source.optimizer.state[source.params[0]]["exp_avg"]
    assert other.optimizer.state[other.params[0]]["exp_avg"].dtype == engine.float32
    assert other.optimizer.param_groups[0]["decoupled_weight_decay"] is True
    settings = {"lr": 0.5, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0}
    old = {"state": {0: {"step": 7, "exp_avg": engine.zeros(3), "exp_avg_sq": engine.zeros(3)}, "x": 3},
           "param_groups": [{"params": group["params"], **settings} for group in state["param_groups"]]}
    source.optimizer.load_state_dict(old)
    assert source.optimizer.state["x"] == 3 and source.optimizer.param_groups[1]["amsgrad"] is False
    step = source.optimizer.state[source.params[0]]["step"]
    assert step.item() == 7 and step.dtype == engine.float32
    source.optimizer.state.pop("x")
    source.steps(1)
    assert step.item() == 8


@BOTH
def test_repr(engine):
    p = leaf(engine)
    assert repr(engine.optim.SGD([{"params": p}, {"params": leaf(engine), "lr": engine.tensor(0.5)}], 0.1, 0.9)) == (
        "SGD (\nParameter Group 0\n    dampening: 0\n    differentiable: False\n    foreach: None\n    fused: None\n"
        "    lr: 0.1\n    maximize: False\n    momentum: 0.9\n    nesterov: False\n    weight_decay: 0\n"
        "\nParameter Group 1\n    dampening: 0\n    differentiable: False\n    foreach: None\n    fused: None\n"
        "    lr: 0.5\n    maximize: False\n    momentum: 0.9\n    nesterov: False\n    weight_decay: 0\n)")


@BOTH
def test_a_step_counts_as_a_write(engine):
    p = with_grad(engine)
    for cls in (engine.optim.SGD, engine.optim.Adam):
        loss = (p * p).sum()
        cls([p]).step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


@BOTH
def test_inference_mode(engine):
    p = with_grad(engine)
    optimizer = engine.optim.SGD([p], lr=1.0)
    with engine.inference_mode():
        optimizer.step()
        q = engine.ones(2)
        q.grad = engine.ones(2)
        inside = engine.optim.SGD([q], lr=1.0)
        inside.step()
    assert p.tolist() == [0, 0] == q.tolist()
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode"):
        inside.step()


@BOTH
def test_nothing_is_recorded(engine):
    p = with_grad(engine)
    optimizer = engine.optim.Adam([p])
    optimizer.step()
    assert p.is_leaf and p.requires_grad and engine.is_grad_enabled()
    assert not any(v.requires_grad for v in optimizer.state[p].values())


def test_steps_leave_no_garbage():
    for name in SETTINGS:
        p = with_grad(minigrad)
        optimizer = getattr(minigrad.optim, name)([p], lr=1e-3)
        scheduler = minigrad.optim.lr_scheduler.StepLR(optimizer, 10)
        gc.collect()
        gc.disable()
        try:
            for step in range(1000):
                if step == 3:
                    before = len(gc.get_objects())
                optimizer.zero_grad()
                (p * p).sum().backward()
                optimizer.step()
                scheduler.step()
            assert len(gc.get_objects()) - before < 5
            gone = weakref.ref(optimizer)
            del optimizer, scheduler
            assert gone() is None
        finally:
            gc.enable()


# ------------------------------------------------------------------------------------------------ written by users

def lion(engine):
    """An optimizer as people write them for torch."""
    class Lion(engine.optim.Optimizer):
        def __init__(self, params, lr=1e-2, betas=(0.9, 0.99), weight_decay=0.0):
            super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

        @engine.no_grad()
        def step(self, closure=None):
            loss = None
            if closure is not None:
                with engine.enable_grad():
                    loss = closure()
            for group in self.param_groups:
                b1, b2 = group["betas"]
                for p in group["params"]:
                    if p.grad is None:
                        continue
                    p.data.mul_(1 - group["lr"] * group["weight_decay"])
                    state = self.state[p]
                    if len(state) == 0:
                        state["m"] = engine.zeros_like(p)
                    m = state["m"]
                    p.data.add_((m.clone().mul_(b1).add(p.grad, alpha=1 - b1)).sign_(), alpha=-group["lr"])
                    m.mul_(b2).add_(p.grad, alpha=1 - b2)
            return loss
    return Lion


def test_an_optimizer_written_for_torch():
    """Its own step; hooks, checkpoints and schedules come from the base."""
    found = []
    for engine in (minigrad, torch):
        p = engine.tensor([1.0, -2.0, 3.0], dtype=engine.float64, requires_grad=True)
        optimizer, calls = lion(engine)([p], lr=0.125, weight_decay=0.5), []
        optimizer.register_step_post_hook(lambda o, args, kwargs, calls=calls: calls.append(o.param_groups[0]["lr"]))
        scheduler = engine.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, 20, cycle_momentum=True)
        for i in range(20):
            def closure(p=p, optimizer=optimizer):
                optimizer.zero_grad()
                loss = ((p - 1) ** 4).sum()
                loss.backward()
                return loss
            loss = optimizer.step(closure)
            scheduler.step()
            if i == 10:
                state = optimizer.state_dict()
                optimizer.state.clear()
                optimizer.load_state_dict(state)
        found.append((p.tolist(), calls, optimizer.state[p]["m"].tolist(), loss.item()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-14)
    assert found[0][1] == found[1][1] and len(found[0][1]) == 20
    np.testing.assert_allclose(found[0][2:][1], found[1][2:][1], rtol=1e-12)


def test_hooks_run_once_around_a_step_that_calls_super():
    class Counted(minigrad.optim.SGD):
        def step(self, closure=None):
            return super().step(closure)
    calls, p = [], with_grad(minigrad)
    optimizer = Counted([p], lr=1.0)
    optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
    optimizer.step()
    assert calls == ["pre"] and p.tolist() == [0, 0]


def test_an_optimizer_by_its_update_rule():
    """In minigrad a rule for one array is enough."""
    class SignSGD(minigrad.optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def update(self, p, g, group):
            p.array -= group["lr"] * np.sign(g)
    p = with_grad(minigrad)
    SignSGD([p], 0.25).step()
    assert p.tolist() == [0.75, 0.75]


@BOTH
def test_required_settings(engine):
    required = __import__(f"{engine.__name__}.optim.optimizer", fromlist=["required"]).required
    with pytest.raises(ValueError, match="didn't specify a value of required optimization parameter lr"):
        engine.optim.Optimizer([leaf(engine)], {"lr": required})
    optimizer = engine.optim.Optimizer([{"params": leaf(engine), "lr": 3}], {"lr": required})
    assert optimizer.param_groups[0]["lr"] == 3 and repr(required) == "<required parameter>"
    with pytest.raises(NotImplementedError):
        optimizer.param_groups[0]["params"][0].grad = engine.ones(2)
        optimizer.step()


def test_no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in SETTINGS:
            Run(minigrad, (name, {}, {})).steps(2)


# ---- many small parameters, which Adam moves together ------------------------------------------------------------

def _two(engine):
    base = engine.tensor([1.0, -1.0, 2.0])
    a, b = engine.nn.Parameter(base), engine.nn.Parameter(base[:2])
    a.grad, b.grad = engine.tensor([0.5, 0.5, 0.5]), engine.tensor([-0.3, 0.2])
    return a, b, engine.optim.Adam([a, b], lr=0.5, weight_decay=0.5)


def test_parameters_that_share_memory_move_in_turn():
    found = []
    for engine in (minigrad, torch):
        a, b, optimizer = _two(engine)
        for scale in 1.0, 0.4, 0.7:
            a.grad, b.grad = a.grad * scale, b.grad * -scale
            optimizer.step()
        found.append(a.detach().numpy())
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_a_gradient_in_the_memory_of_another_parameter():
    found = []
    for engine in (minigrad, torch):
        a, b = (engine.nn.Parameter(engine.tensor([x, 1.0])) for x in (1.0, 2.0))
        optimizer = engine.optim.Adam([a, b], lr=0.3)
        for _ in range(3):
            a.grad, b.grad = engine.tensor([0.5, -0.5]), a.data
            optimizer.step()
        found.append(np.stack([a.detach().numpy(), b.detach().numpy()]))
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_state_of_another_shape_is_refused():
    """Even where the sizes of two parameters add up to those of their states."""
    for engine in (minigrad, torch):
        a, b = (engine.nn.Parameter(engine.zeros(n)) for n in (3, 5))
        optimizer = engine.optim.Adam([a, b])
        for sizes in (3, 5), (5, 3):
            for p, n in zip((a, b), sizes, strict=True):
                p.data, p.grad = engine.zeros(n), None           # its gradient must fit when it comes
                p.grad = engine.ones(n)
            if sizes == (3, 5):
                optimizer.step()
        with pytest.raises((RuntimeError, ValueError)):
            optimizer.step()


def test_small_parameters_move_as_they_would_alone(monkeypatch):
    """Those of one group together, whatever its settings: to the bit."""
    settings = [{"lr": 0.1}, {"lr": 0.1, "amsgrad": True}, {"lr": np.array(0.1)}, {"lr": minigrad.tensor(0.1)},
                {"weight_decay": 0.3}, {"maximize": True}]

    def parameters():
        minigrad.manual_seed(0)
        made = [[minigrad.nn.Parameter(minigrad.zeros(n).normal_()) for n in (3, 0, 7)] for _ in settings]
        for p in itertools.chain(*made):
            p.grad = minigrad.zeros(p.shape).normal_()
        return made
    together, alone, joined = parameters(), parameters(), []
    move = minigrad.optim.optimizer._move_together
    monkeypatch.setattr(minigrad.optim.optimizer, "_move_together", lambda moves: (joined.append(len(moves)),
                                                                                   move(moves)))
    optimizers = [minigrad.optim.AdamW([{"params": p, **s} for p, s in zip(together, settings, strict=True)])]
    optimizers += [minigrad.optim.AdamW([p], **s) for group, s in zip(alone, settings, strict=True) for p in group]
    for _ in range(3):
        for optimizer in optimizers:
            optimizer.step()
    assert joined and min(joined) >= 3
    for a, b in zip(itertools.chain(*together), itertools.chain(*alone), strict=True):
        assert a.tolist() == b.tolist()


def test_an_overflowing_norm_is_infinite_without_a_warning():
    for size in 3, 1 << 17:
        p = minigrad.nn.Parameter(minigrad.zeros(size))
        p.grad = minigrad.full((size,), 1e25)
        with warnings.catch_warnings(), np.errstate(over="raise"):
            warnings.simplefilter("error")
            assert minigrad.nn.utils.clip_grad_norm_([p], 1.0).item() == math.inf
