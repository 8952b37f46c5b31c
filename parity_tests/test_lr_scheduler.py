"""Schedules set the learning rates that torch's set, to the last bit, and warn and refuse as torch's do."""

from __future__ import annotations

import copy
import gc
import inspect
import math
import pickle
import warnings
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad

FACTOR = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.5, 1.0])
COUNT = st.integers(1, 12)
FUNCTIONS = (lambda epoch: 0.95 ** epoch, lambda epoch: 1 / (1 + epoch), lambda epoch: 1.0 if epoch % 3 else 0.3)
FUNCTION = st.sampled_from(FUNCTIONS)
LR = st.floats(1e-6, 2) | st.sampled_from([0.1, 1e-3, 0.5])

CHAINABLE = {                                       # made of an optimizer and settings, stepped without arguments
    "LambdaLR": {"lr_lambda": FUNCTION | st.tuples(FUNCTION, FUNCTION)},
    "MultiplicativeLR": {"lr_lambda": FUNCTION | st.tuples(FUNCTION, FUNCTION)},
    "StepLR": {"step_size": COUNT, "gamma": FACTOR},
    "MultiStepLR": {"milestones": st.lists(COUNT, max_size=4), "gamma": FACTOR},
    "ConstantLR": {"factor": FACTOR, "total_iters": st.integers(0, 9)},
    "LinearLR": {"start_factor": FACTOR, "end_factor": FACTOR, "total_iters": st.integers(0, 9)},
    "ExponentialLR": {"gamma": FACTOR},
    "PolynomialLR": {"total_iters": st.integers(0, 9), "power": st.sampled_from([0.5, 1.0, 2.0, 2.5])},
    "CosineAnnealingLR": {"T_max": COUNT, "eta_min": st.sampled_from([0.0, 1e-3, 0.3])},
    "CosineAnnealingWarmRestarts": {"T_0": COUNT, "T_mult": st.integers(1, 3),
                                    "eta_min": st.sampled_from([0, 0.01])},
}
CYCLING = {
    "CyclicLR": {"base_lr": LR, "max_lr": LR | st.lists(LR, min_size=2, max_size=2), "step_size_up": COUNT,
                 "step_size_down": st.none() | COUNT,
                 "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]),
                 "gamma": st.sampled_from([1.0, 0.97]), "scale_fn": st.none() | FUNCTION,
                 "scale_mode": st.sampled_from(["cycle", "iterations"]), "cycle_momentum": st.booleans(),
                 "base_momentum": FACTOR, "max_momentum": FACTOR},
    "OneCycleLR": {"max_lr": LR | st.lists(LR, min_size=2, max_size=2), "total_steps": st.integers(0, 60),
                   "epochs": st.integers(1, 5), "steps_per_epoch": st.integers(3, 8), "pct_start": FACTOR,
                   "anneal_strategy": st.sampled_from(["cos", "linear"]), "cycle_momentum": st.booleans(),
                   "base_momentum": FACTOR, "max_momentum": FACTOR, "div_factor": st.sampled_from([1.0, 25.0]),
                   "final_div_factor": st.sampled_from([10.0, 1e4]), "three_phase": st.booleans()},
}
REQUIRED = {"lr_lambda", "step_size", "milestones", "T_max", "T_0", "base_lr", "max_lr", "epochs", "steps_per_epoch"}


@st.composite
def specs(draw, among=tuple(CHAINABLE) + tuple(CYCLING), depth=0):
    """(class, settings); of chained and sequential schedulers, (class, list of specs, milestones)."""
    if depth and draw(st.booleans()):
        parts = draw(st.lists(specs(among, depth - 1), min_size=1, max_size=3))
        milestones = sorted(draw(st.lists(st.integers(0, 10), min_size=len(parts) - 1, max_size=len(parts) - 1)))
        return draw(st.sampled_from([("ChainedScheduler", parts, None), ("SequentialLR", parts, milestones)]))
    name = draw(st.sampled_from(among))
    table = (CHAINABLE | CYCLING)[name]
    needed = {k: v for k, v in table.items() if k in REQUIRED or name == "ExponentialLR"}
    return name, draw(st.fixed_dictionaries(needed, optional={k: v for k, v in table.items() if k not in needed}))


def build(engine, optimizer, spec):
    cls = getattr(engine.optim.lr_scheduler, spec[0])
    if spec[0] == "ChainedScheduler":
        return cls([build(engine, optimizer, part) for part in spec[1]])
    if spec[0] == "SequentialLR":
        return cls(optimizer, [build(engine, optimizer, part) for part in spec[1]], spec[2])
    return cls(optimizer, **spec[1])


def an_optimizer(engine, lrs=(0.1, 0.5), tensors=False, cls="SGD"):
    groups = []
    for lr in lrs:
        p = engine.ones(1, requires_grad=True)
        groups.append({"params": [p], "lr": engine.tensor(lr, dtype=engine.float64) if tensors else lr})
    return getattr(engine.optim, cls)(groups)


def plain(value):
    """What both engines can be compared by."""
    if isinstance(value, torch.Tensor | minigrad.Tensor):
        return "tensor", value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def observe(engine, program, *args):
    """What a program yields, with the warnings between, and the error that ends it."""
    seen = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for item in program(engine, *args):
                told = [w.message.args[0][:40] for w in caught if w.category is UserWarning]
                seen.append((plain(item), told))
                caught.clear()
        except Exception as error:
            seen.append((type(error), str(error)))
    return seen


def assert_same(program, *args):
    ours, theirs = observe(minigrad, program, *args), observe(torch, program, *args)
    for i, (a, b) in enumerate(zip(ours, theirs)):
        assert a == b or equal_with_nan(a, b), i
    assert len(ours) == len(theirs)


def equal_with_nan(a, b):
    return repr(a) == repr(b) and "nan" in repr(a)


def settings_of(optimizer):
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


STEPS = st.lists(st.sampled_from(["step"] * 12 + ["set", "reload"]), min_size=15, max_size=30)


def schedule(engine, spec, cls, actions):
    """The optimizer's settings, and the scheduler's state, after every step; now and then the user sets a learning
    rate, or goes on with a copy of all from its state_dicts."""
    optimizer = an_optimizer(engine, cls=cls)
    scheduler = build(engine, optimizer, spec)
    yield scheduler.state_dict()
    for action in actions:
        if action == "step":
            optimizer.step()
            scheduler.step()
        elif action == "set":
            optimizer.param_groups[0]["lr"] *= 0.7
        else:
            states = pickle.dumps([optimizer.state_dict(), scheduler.state_dict()])
            optimizer = an_optimizer(engine, cls=cls)
            scheduler = build(engine, optimizer, spec)
            for target, state in zip((optimizer, scheduler), pickle.loads(states), strict=True):
                target.load_state_dict(state)
        yield settings_of(optimizer), scheduler.get_last_lr(), scheduler.state_dict()


@pytest.mark.parametrize("name", [*CHAINABLE, *CYCLING])
@given(st.data(), st.sampled_from(["SGD", "AdamW"]), STEPS)
def test_schedules(name, data, cls, actions):
    assert_same(schedule, data.draw(specs((name,))), cls, actions)


@given(specs(tuple(CHAINABLE), depth=2), STEPS)
def test_nested_schedules(spec, actions):
    assert_same(schedule, spec, "SGD", actions)


def with_epochs(engine, spec, epochs, tensors):
    optimizer = an_optimizer(engine, tensors=tensors)
    lrs = [group["lr"] for group in optimizer.param_groups]
    scheduler = build(engine, optimizer, spec)
    for epoch in epochs:
        optimizer.step()
        if epoch is None:
            scheduler.step()
        else:
            scheduler.step(epoch)
        yield settings_of(optimizer), scheduler.get_last_lr(), scheduler.last_epoch
    if tensors:
        assert all(group["lr"] is lr for group, lr in zip(optimizer.param_groups, lrs, strict=True))


@given(specs(), st.lists(st.none() | st.integers(0, 30) | st.sampled_from([0.5, 2.75, -1]), min_size=4, max_size=12))
def test_epochs(spec, epochs):
    assert_same(with_epochs, spec, epochs, False)


@given(specs(), st.lists(st.none() | st.integers(0, 30), min_size=4, max_size=12))
def test_learning_rates_that_are_tensors(spec, epochs):
    assert_same(with_epochs, spec, epochs, True)


def plateau(engine, kwargs, metrics, grow):
    optimizer = an_optimizer(engine, tensors=grow)
    scheduler = engine.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **kwargs)
    for i, metric in enumerate(metrics):
        if grow and i == 2:
            optimizer.add_param_group({"params": [engine.ones(1)]})
        optimizer.step()
        scheduler.step(engine.tensor(metric, dtype=engine.float64) if i % 2 else metric, *([i] if i % 5 == 4 else []))
        if i == 7:
            state = copy.deepcopy(scheduler.state_dict())
            scheduler = engine.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            scheduler.load_state_dict(state)
        yield settings_of(optimizer), scheduler.state_dict(), scheduler.get_last_lr()


@given(st.fixed_dictionaries({}, optional={
    "mode": st.sampled_from(["min", "max"]), "factor": st.sampled_from([0.1, 0.5, 0.9]),
    "patience": st.integers(0, 3), "threshold": st.sampled_from([1e-4, 0.1, 1.0]),
    "threshold_mode": st.sampled_from(["rel", "abs"]), "cooldown": st.integers(0, 3),
    "min_lr": st.sampled_from([0, 0.01, [0.01, 0.1], [0.1]]), "eps": st.sampled_from([1e-8, 0.05])}),
    st.lists(st.floats(-2, 2) | st.sampled_from([0.0, math.inf, math.nan]), min_size=10, max_size=30), st.booleans())
def test_plateau(kwargs, metrics, grow):
    assert_same(plateau, kwargs, metrics, grow)


# ------------------------------------------------------------------------------------------------ errors and warnings

def made(name, *args, **kwargs):
    return lambda e: getattr(e.optim.lr_scheduler, name)(an_optimizer(e), *args, **kwargs)


REFUSED = {
    "no optimizer": lambda e: e.optim.lr_scheduler.StepLR(3, 1),
    "no optimizer lambda": lambda e: e.optim.lr_scheduler.LambdaLR(3, abs),
    "no optimizer one cycle": lambda e: e.optim.lr_scheduler.OneCycleLR(3, 1),
    "no optimizer cyclic": lambda e: e.optim.lr_scheduler.CyclicLR(3, 1, 1),
    "no optimizer plateau": lambda e: e.optim.lr_scheduler.ReduceLROnPlateau(3),
    "lambdas": made("LambdaLR", [abs]),
    "factors": made("MultiplicativeLR", [abs]),
    "factor": made("MultiplicativeLR", 3),
    "constant": made("ConstantLR", 1.5),
    "linear start": made("LinearLR", 0),
    "linear end": made("LinearLR", 0.5, 1.5),
    "T_0": made("CosineAnnealingWarmRestarts", 0),
    "T_0 float": made("CosineAnnealingWarmRestarts", 2.0),
    "T_mult": made("CosineAnnealingWarmRestarts", 2, 0),
    "eta_min": made("CosineAnnealingWarmRestarts", 2, 1, "0"),
    "epoch": lambda e: made("CosineAnnealingWarmRestarts", 2)(e).step(-1),
    "one cycle": made("OneCycleLR", 0.1),
    "one cycle steps": made("OneCycleLR", 0.1, 0),
    "one cycle float steps": made("OneCycleLR", 0.1, 2.5),
    "one cycle epochs": made("OneCycleLR", 0.1, epochs=0, steps_per_epoch=3),
    "one cycle steps per epoch": made("OneCycleLR", 0.1, epochs=3, steps_per_epoch=3.5),
    "one cycle part": made("OneCycleLR", 0.1, 10, pct_start=1.5),
    "one cycle int part": made("OneCycleLR", 0.1, 10, pct_start=1),
    "one cycle strategy": made("OneCycleLR", 0.1, 10, anneal_strategy="exp"),
    "one cycle lrs": made("OneCycleLR", [0.1], 10),
    "one cycle momenta": made("OneCycleLR", 0.1, 10, max_momentum=[0.9]),
    "cyclic mode": made("CyclicLR", 0.1, 0.2, mode="square"),
    "cyclic lrs": made("CyclicLR", [0.1], 0.2),
    "plateau factor": made("ReduceLROnPlateau", factor=1.0),
    "plateau mode": made("ReduceLROnPlateau", "mean"),
    "plateau threshold": made("ReduceLROnPlateau", threshold_mode="none"),
    "plateau lrs": made("ReduceLROnPlateau", min_lr=[1, 2, 3]),
    "resumed": made("StepLR", 2, last_epoch=3),
    "no schedulers": made("SequentialLR", [], []),
    "no chained": lambda e: e.optim.lr_scheduler.ChainedScheduler([]),
    "sequence of numbers": made("SequentialLR", [3], []),
    "chain of numbers": lambda e: e.optim.lr_scheduler.ChainedScheduler([3], an_optimizer(e)),
    "milestones": lambda e: (lambda s: e.optim.lr_scheduler.SequentialLR(s.optimizer, [s], [1]))(made("StepLR", 1)(e)),
    "other optimizer": lambda e: e.optim.lr_scheduler.SequentialLR(an_optimizer(e), [made("StepLR", 1)(e)], []),
    "other chained": lambda e: e.optim.lr_scheduler.ChainedScheduler([made("StepLR", 1)(e), made("StepLR", 1)(e)]),
    "plateau in sequence": lambda e: (lambda s: e.optim.lr_scheduler.SequentialLR(s.optimizer, [s], []))(
        made("ReduceLROnPlateau")(e)),
    "plateau in chain": lambda e: e.optim.lr_scheduler.ChainedScheduler([made("ReduceLROnPlateau")(e)]),
    "base": lambda e: e.optim.lr_scheduler.LRScheduler(an_optimizer(e)),
    "no momentum": lambda e: e.optim.lr_scheduler.OneCycleLR(bare(e), 0.1, 10),
    "no cyclic momentum": lambda e: e.optim.lr_scheduler.CyclicLR(bare(e), 0.1, 0.2),
}


def bare(engine):
    return engine.optim.Optimizer([engine.ones(1)], {"lr": 0.1})


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    errors = []
    for engine in (minigrad, torch):
        with pytest.raises(Exception) as caught:
            REFUSED[what](engine)
        errors.append((type(caught.value), str(caught.value)))
    if what == "resumed":            # torch goes on at length about how that may have come about
        errors = [(kind, text.split(" when resuming")[0]) for kind, text in errors]
    assert errors[0] == errors[1]


BOTH = pytest.mark.parametrize("engine", [minigrad, torch], ids=["minigrad", "torch"])


@BOTH
def test_warnings(engine):
    module = engine.optim.lr_scheduler
    scheduler = module.StepLR(an_optimizer(engine), 2)
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        scheduler.step()
    scheduler = module.StepLR(an_optimizer(engine), 2)
    scheduler.optimizer.step = lambda: None
    with pytest.warns(UserWarning, match="`optimizer.step\\(\\)` has been overridden"):
        scheduler.step()
    scheduler = module.StepLR(an_optimizer(engine), 2)
    scheduler.optimizer.step()
    with pytest.warns(UserWarning, match="epoch parameter"):
        scheduler.step(3)
    with pytest.warns(UserWarning, match="please use `get_last_lr"):
        scheduler.get_lr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()
        scheduler.optimizer.step()


@BOTH
def test_schedulers_of_users(engine):
    """A subclass brings get_lr, and perhaps a closed form."""
    class Warmup(engine.optim.lr_scheduler.LRScheduler):
        def get_lr(self):
            return [base * min(1.0, (self.last_epoch + 1) / 4) for base in self.base_lrs]

    class Halves(engine.optim.lr_scheduler._LRScheduler):
        def get_lr(self):
            return [group["lr"] / 2 for group in self.optimizer.param_groups]

        def _get_closed_form_lr(self):
            return [base / 2 ** self.last_epoch for base in self.base_lrs]
    optimizer = an_optimizer(engine, (1.0,))
    warmup, lrs = Warmup(optimizer), []
    for _ in range(5):
        lrs.append(warmup.get_last_lr()[0])
        optimizer.step()
        warmup.step()
    assert lrs == [0.25, 0.5, 0.75, 1.0, 1.0]
    halves = Halves(an_optimizer(engine, (1.0,)))
    assert halves.get_last_lr() == [0.5]
    halves.optimizer.step()
    with pytest.warns(UserWarning):
        halves.step(4)
    assert halves.get_last_lr() == [1 / 16]


class Decay:
    """A callable object: its attributes are saved."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, x):
        return self.rate ** x


@BOTH
def test_callable_objects_are_saved(engine):
    module = engine.optim.lr_scheduler
    for make in (lambda o, f: module.LambdaLR(o, [f, FUNCTIONS[0]]), lambda o, f: module.MultiplicativeLR(o, [f, f]),
                 lambda o, f: module.CyclicLR(o, 0.1, 0.2, 3, scale_fn=f)):
        scheduler, other = make(an_optimizer(engine), Decay(0.5)), make(an_optimizer(engine), Decay(0.25))
        state = pickle.loads(pickle.dumps(scheduler.state_dict()))
        other.load_state_dict(state)
        for s in (scheduler, other):
            s.optimizer.step()
            s.step()
        assert scheduler.get_last_lr() == other.get_last_lr()


@BOTH
def test_copies(engine):
    scheduler = engine.optim.lr_scheduler.StepLR(an_optimizer(engine), 1, gamma=0.5)
    other = copy.deepcopy(scheduler)
    other.optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other.step()
    assert other.optimizer.param_groups[0]["lr"] == 0.05 and scheduler.optimizer.param_groups[0]["lr"] == 0.1


@BOTH
def test_a_scheduler_keeps_nothing_alive(engine):
    gc.collect()
    gc.disable()
    try:
        optimizer = an_optimizer(engine)
        scheduler = engine.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 10)
        optimizer.step()
        gone = weakref.ref(optimizer)
        del optimizer, scheduler
        assert gone() is None
    finally:
        gc.enable()


def test_names_and_signatures():
    """Every name that torch exports is here, and takes the same arguments."""
    ours, theirs = minigrad.optim.lr_scheduler, torch.optim.lr_scheduler
    assert set(ours.__all__) == set(theirs.__all__)
    for name in theirs.__all__:
        a, b = (inspect.signature(getattr(module, name)).parameters for module in (ours, theirs))
        assert [(p.name, p.default, p.kind) for p in a.values()] == [(p.name, p.default, p.kind) for p in b.values()]


def test_readable_example():
    """Warm up for 3 steps, then decay along half a cosine."""
    p = minigrad.zeros(1, requires_grad=True)
    optimizer = minigrad.optim.SGD([p], lr=1.0)
    schedules = minigrad.optim.lr_scheduler
    scheduler = schedules.SequentialLR(optimizer, [
        schedules.LinearLR(optimizer, start_factor=0.25, total_iters=3),
        schedules.CosineAnnealingLR(optimizer, T_max=4)], milestones=[3])
    lrs = []
    for _ in range(8):
        lrs.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    cosine = [(1 + math.cos(math.pi * t / 4)) / 2 for t in range(5)]
    assert lrs == pytest.approx([0.25, 0.5, 0.75, *cosine])
