"""Layers, losses and functions against torch: outputs, gradients, seeds, errors and warnings."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st

import minigrad

from .opinfo import assert_same, values
from .strategies import FLOATS, Draw, pair

ENGINES = (minigrad, torch)
few = settings(max_examples=max(settings().max_examples // 2, 1))


# ---- what is drawn: the arguments of a layer, its inputs, and the arguments of its call --------------------------

class Case(Draw):
    """A draw that also knows seeds and layers."""

    def sides(self, *ranges: tuple[int, int]) -> tuple[int, ...]:
        return tuple(self.int(*r) for r in ranges)


def _batch(d: Case, *tail: int) -> torch.Tensor:
    return d.tensor((*d.shape(0, 2, 1), *tail))


def linear(d: Case) -> tuple:
    n, m = d.sides((1, 4), (1, 4))
    return (n, m), {"bias": d.flag()}, [_batch(d, n)], {}


def embedding(d: Case) -> tuple:
    kwargs = {"padding_idx": d.pick([None, 0, -1]), "scale_grad_by_freq": d.flag()}
    return (4, d.int(1, 3)), kwargs, [d.index(d.shape(0, 2), 4)], {}


def normalised(d: Case) -> tuple:
    shape = d.pick([(2,), (3,), (2, 3)])
    return (shape,), {"eps": d.pick([1e-5, 0.5]), "elementwise_affine": d.flag()}, [_batch(d, *shape)], {}


def group_norm(d: Case) -> tuple:
    groups, per_group = d.sides((1, 3), (1, 2))
    kwargs = {"affine": d.flag(), "eps": d.pick([1e-5, 0.5])}
    return (groups, groups * per_group), kwargs, [d.tensor((2, groups * per_group, *d.shape(1, 2, 2)))], {}


def batch_norm(d: Case) -> tuple:
    kwargs = {"affine": d.flag(), "momentum": d.pick([0.1, None, 1.0]), "track_running_stats": d.flag()}
    return (3,), kwargs, [d.tensor((d.int(2, 4), 3, *([d.int(1, 3)] if d.flag() else [])))], {}


def conv1d(d: Case) -> tuple:
    groups, size, dilation = d.sides((1, 2), (1, 3), (1, 2))
    mode = d.pick(["zeros", "reflect", "replicate", "circular"])
    padding = d.pick([0, 1, "valid", "same"])
    kwargs = {"stride": 1 if padding == "same" else d.int(1, 2), "padding": padding, "dilation": dilation,
              "groups": groups, "bias": d.flag(), "padding_mode": mode}
    length = dilation * (size - 1) + d.int(2, 5)
    shape = (*([2] if d.flag() else []), 2 * groups, length)
    return (2 * groups, groups * d.int(1, 2), size), kwargs, [d.tensor(shape)], {}


def attention(d: Case) -> tuple:
    heads, width = d.sides((1, 2), (1, 3))
    embed = heads * width
    length, source, batch = d.sides((1, 3), (1, 3), (1, 2))
    own = d.flag()
    batched, batch_first = d.flag(), d.flag()
    kdim, vdim = (None, None) if own else (d.pick([None, 2]), d.pick([None, 3]))
    kwargs = {"bias": d.flag(), "add_bias_kv": d.flag(), "add_zero_attn": d.flag(), "kdim": kdim, "vdim": vdim,
              "batch_first": batch_first}
    order = (lambda n, f: (batch, n, f) if batch_first else (n, batch, f)) if batched else (lambda n, f: (n, f))
    source = length if own else source
    query = d.tensor(order(length, embed))
    others = [query] * 2 if own else [d.tensor(order(source, n or embed)) for n in (kdim, vdim)]
    call: dict = {"need_weights": d.flag(), "average_attn_weights": d.flag()}
    if d.flag():
        shape = d.pick([(length, source), ((batch if batched else 1) * heads, length, source)])
        mask = torch.zeros(shape, dtype=torch.bool) if d.flag() else d.tensor(shape)
        if mask.dtype is torch.bool:
            mask[..., 1:] = d.mask(shape)[..., 1:]
        call["attn_mask"] = mask
    if d.flag() and call.get("attn_mask", torch.zeros(0, dtype=torch.bool)).dtype is torch.bool:
        padding = d.mask((batch, source) if batched else (source,)).clone()
        padding[..., 0] = False
        call["key_padding_mask"] = padding
    return (embed, heads), kwargs, [query, *others], call


def elementwise(*choices: tuple, **kwargs: Any) -> Callable[[Case], tuple]:
    return lambda d: (d.pick(choices) if choices else (), {k: d.pick(v) for k, v in kwargs.items()}, [d.tensor()], {})


def along(d: Case) -> tuple:
    x = d.tensor(d.shape(1, 3, 1))
    return (d.dim(x.ndim),), {}, [x], {}


REDUCTIONS = ["none", "mean", "sum"]


def distance(**kwargs: Any) -> Callable[[Case], tuple]:
    def draw(d: Case) -> tuple:
        shape = d.shape(0, 3, 1)
        drawn = {"reduction": d.pick(REDUCTIONS)} | {k: d.pick(v) for k, v in kwargs.items()}
        return (), drawn, [d.tensor(shape), d.tensor(shape)], {}
    return draw


def binary(logits: bool) -> Callable[[Case], tuple]:
    def draw(d: Case) -> tuple:
        shape = d.shape(1, 3, 1)
        kwargs = {"reduction": d.pick(REDUCTIONS), "weight": d.pick([None, d.tensor(shape[-1:], 0, 2)])}
        if logits:
            kwargs["pos_weight"] = d.pick([None, d.tensor(shape[-1:], 0, 2)])
        return (), kwargs, [d.tensor(shape) if logits else d.tensor(shape, 0, 1), d.tensor(shape, 0, 1)], {}
    return draw


def classes(d: Case, probabilities: bool = False, **kwargs: Any) -> tuple:
    n, spatial = d.int(1, 4), d.shape(0, 2, 1)
    batch = (3,) if spatial or d.flag() else ()
    x = d.tensor((*batch, n, *spatial))
    target = d.tensor(tuple(x.shape), 0, 1) if probabilities and d.flag() else d.index((*batch, *spatial), n)
    ignored = {} if target.dtype.is_floating_point else {"ignore_index": d.pick([-100, 0])}
    weight = d.tensor((n,), 0.5, 2) if d.flag() else None
    return (), {"reduction": d.pick(REDUCTIONS), "weight": weight} | ignored | kwargs, [x, target], {}


def cross_entropy(d: Case) -> tuple:
    return classes(d, probabilities=True, label_smoothing=d.pick([0.0, 0.0, 0.25]))


LAYERS: dict[str, Callable[[Case], tuple]] = {
    "Linear": linear, "Embedding": embedding, "LayerNorm": normalised, "RMSNorm": normalised, "GroupNorm": group_norm,
    "BatchNorm1d": batch_norm, "Conv1d": conv1d, "MultiheadAttention": attention,
    "Dropout": elementwise((0.0,), (0.5,), (1.0,)), "Identity": elementwise(),
    "Flatten": lambda d: ((0, -1), {}, [d.tensor()], {}),
    "ReLU": elementwise(), "ReLU6": elementwise(), "SiLU": elementwise(), "Mish": elementwise(), "SELU": elementwise(),
    "Tanh": elementwise(), "Sigmoid": elementwise(), "LogSigmoid": elementwise(), "Softsign": elementwise(),
    "Tanhshrink": elementwise(), "GELU": elementwise(approximate=["none", "tanh"]), "ELU": elementwise((1.0,), (0.5,)),
    "LeakyReLU": elementwise((0.01,), (0.0,), (-1.0,)), "Softplus": elementwise((1.0,), (2.0,), (10.0,)),
    "Hardtanh": elementwise((-1.0, 1.0), (0.0, 2.0)), "Threshold": elementwise((0.5, 20.0)),
    "GLU": lambda d: ((-1,), {}, [d.tensor((*d.shape(0, 2), 2 * d.int(0, 2)))], {}),
    "Softmax": along, "Softmin": along, "LogSoftmax": along,
    "Unflatten": lambda d: ((0, (2, -1)), {}, [d.tensor((4, *d.shape(0, 1)))], {}),
    "MSELoss": distance(), "L1Loss": distance(), "SmoothL1Loss": distance(beta=[0.0, 0.5, 1.0]),
    "HuberLoss": distance(delta=[0.5, 1.0]), "KLDivLoss": distance(log_target=[True]),
    "BCELoss": binary(False), "BCEWithLogitsLoss": binary(True), "NLLLoss": classes, "CrossEntropyLoss": cross_entropy,
    "CosineSimilarity": lambda d: ((d.dim(2),), {}, [d.tensor((2, 3)), d.tensor((2, 3))], {}),
    "PairwiseDistance": lambda d: ((d.pick([1.0, 2.0]),), {}, [d.tensor((2, 3)), d.tensor((2, 3))], {}),
}


def given_to(engine: ModuleType, x: Any) -> Any:
    return pair(engine, x)[0] if isinstance(x, torch.Tensor) else x


def quiet(f: Callable, *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return f(*args, **kwargs)


def run(engine: ModuleType, name: str, case: tuple, dtype: torch.dtype, training: bool, seed: int) -> tuple[dict, list]:
    """What the seed gives as weights; then outputs, gradients of inputs and parameters, and the state afterwards."""
    args, kwargs, inputs, call = case
    engine.manual_seed(seed)
    module = quiet(getattr(engine.nn, name), *args, **{k: given_to(engine, v) for k, v in kwargs.items()})
    start = {k: values(v).tobytes() for k, v in module.state_dict().items() if k != "weight" or "weight" not in kwargs}
    wide = dtype is torch.float64
    module = (module.double() if wide else module).train(training)
    memo: dict = {}
    xs = []
    for i, x in enumerate(inputs):
        if id(x) not in memo:
            memo[id(x)] = given_to(engine, x.double() if wide and x.is_floating_point() else x)
            if x.is_floating_point() and not (name == "CrossEntropyLoss" and i):
                memo[id(x)].requires_grad_()
        xs.append(memo[id(x)])
    if wide:
        call = {k: v.double() if isinstance(v, torch.Tensor) and v.is_floating_point() else v for k, v in call.items()}
    out = quiet(module, *xs, **{k: given_to(engine, v) for k, v in call.items()})
    outs = list(out) if isinstance(out, tuple) else [out]
    wanted = [o for o in outs if o is not None and o.requires_grad]
    leaves = [t for t in (*memo.values(), *module.parameters()) if t.requires_grad]
    grads = []
    if wanted and leaves:
        seeds = [engine.from_numpy(np.asarray(np.random.default_rng(0).integers(-8, 9, o.shape) / 4, values(o).dtype))
                 for o in wanted]
        grads = list(engine.autograd.grad(wanted, leaves, seeds, allow_unused=True))
    return start, [*outs, *grads, *module.state_dict().values()]


@pytest.mark.parametrize("name", LAYERS)
@few
@given(st.data())
def test_layer(name: str, data: st.DataObject) -> None:
    """The weights that a seed gives, bit for bit; output, gradients and buffers: in double precision to 1e-9, in single
    precision to torch's tolerances, or as near as torch comes to what they are in double precision."""
    d = Case(data.draw, data.draw(st.sampled_from(FLOATS[:2])))
    case = LAYERS[name](d)
    how = d.flag(), d.int(0, 99)
    note(f"{name}{case}")
    try:
        start, actual = run(minigrad, name, case, d.dtype, *how)
        their_start, expected = run(torch, name, case, d.dtype, *how)
        exact = expected if d.dtype is torch.float64 else run(torch, name, case, torch.float64, *how)[1]
    except RuntimeError as error:                           # torch's own limit, for losses of images one pixel high
        assert "grad_input must be contiguous" in str(error)
        return
    assert start == their_start
    for i, (a, e, x) in enumerate(zip(actual, expected, exact, strict=True)):
        if a is None or e is None or not e.is_floating_point():
            close([a], [e], f"value {i}", None)
        elif d.dtype is torch.float64:
            close([a], [e], f"value {i}", 1e-9)
        else:
            as_near(values(a), values(e), values(x), f"value {i}")


def as_near(actual: np.ndarray, expected: np.ndarray, exact: np.ndarray, what: str) -> None:
    """Equal up to torch's tolerances, to which its own error is added."""
    assert actual.dtype == expected.dtype and actual.shape == expected.shape, what
    with np.errstate(all="ignore"):
        error = np.abs(expected - exact)
        allowed = 1e-5 + 1.3e-6 * np.abs(exact) + np.max(error, initial=0, where=np.isfinite(error))
        wrong = ~((actual == expected) | (np.abs(actual - exact) <= allowed) | (np.isnan(actual) & np.isnan(expected)))
    assert not wrong.any(), f"{what}: {actual[wrong]}, torch {expected[wrong]}, exactly {exact[wrong]}"


def close(actual: Any, expected: Any, what: str, exact: float | None) -> None:
    """Same dtype, shape and values; a gradient that is nothing but zeros may be none."""
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        if e is None:
            assert a is None or not values(a).any(), f"{what} {i}: torch has none"
        elif a is None:
            assert not values(e).any(), f"{what} {i}: there is none"
        else:
            assert_same(a, e, f"{what} {i}")
            if exact and e.is_floating_point():
                np.testing.assert_allclose(values(a), values(e), rtol=exact, atol=exact, err_msg=f"{what} {i}")


# ---- half precision ---------------------------------------------------------------------------------------------

HALF = ["ReLU", "ReLU6", "SiLU", "Mish", "SELU", "Tanh", "Sigmoid", "LogSigmoid", "GELU", "ELU", "LeakyReLU",
        "Softplus", "Hardtanh", "GLU", "Softmax", "LogSoftmax", "LayerNorm", "RMSNorm", "GroupNorm", "Linear",
        "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "NLLLoss"]


# Probabilities as targets make several ops of this one: logarithms, times weights, times targets, and their sum. Its
# terms have one sign, so the errors of half a unit add up, and nothing cancels.
ROUNDINGS = {"CrossEntropyLoss": 4}


@pytest.mark.parametrize("name", HALF)
@few
@given(st.data())
def test_half_precision(name: str, data: st.DataObject) -> None:
    """Computed in single precision, rounded once: within one unit in the last place, or as near as torch comes."""
    d = Case(data.draw, torch.float16)
    args, kwargs, inputs, _ = LAYERS[name](d)
    kwargs |= {k: v for k, v in {"reduction": "none", "label_smoothing": 0.0}.items() if k in kwargs}     # one op each
    def result(engine: ModuleType, dtype: str) -> np.ndarray:
        engine.manual_seed(0)
        weights = {k: given_to(engine, v) for k, v in kwargs.items()}
        module = getattr(quiet(getattr(engine.nn, name), *args, **weights).half(), dtype)()
        xs = [given_to(engine, x) for x in inputs]
        return values(quiet(module, *(getattr(x, dtype)() if x.is_floating_point() else x for x in xs)))

    actual, expected, exact = result(minigrad, "half"), result(torch, "half"), result(torch, "double")
    assert actual.dtype == expected.dtype == np.float16
    with np.errstate(all="ignore"):
        unit = np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64)
        unit = np.maximum(unit, ROUNDINGS.get(name, 1) * 2**-11 * np.abs(exact))
        allowed = np.maximum(np.abs(expected - exact), unit)
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        assert (same | (np.abs(actual - exact) <= allowed)).all(), (actual, expected, exact)


# ---- corners ----------------------------------------------------------------------------------------------------

CORNERS = [0.0, -0.0, 1.0, -1.0, 6.0, 0.5, -0.5, 20.0, 20.5, 100.0, -100.0, 1000.0, -1000.0, 1e-30, -1e-30, math.inf,
           -math.inf, math.nan]
ACTIVATIONS = ["relu", "relu6", "hardtanh", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus",
               "logsigmoid", "sigmoid", "tanh", "softsign", "tanhshrink"]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_activations_at_their_corners(name: str, order: int) -> None:
    """Values and subgradients where a rule changes, and where numbers overflow. Second derivatives where they exist,
    and where torch has them: that of mish(1000) is a NaN there."""
    points = np.array(CORNERS if order < 2 else [x for x in CORNERS if abs(x) <= 100 and x != 20])
    results = []
    for engine in ENGINES:
        x = engine.tensor(points, requires_grad=True)
        y = getattr(engine.nn.functional, name)(x)
        for _ in range(order):
            y = engine.autograd.grad(y.sum(), x, create_graph=True)[0] if y.requires_grad else engine.zeros_like(x)
        results.append(values(y))
    np.testing.assert_allclose(*results, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["relu", "relu6", "hardtanh", "leaky_relu", "elu", "selu", "silu", "mish", "dropout"])
def test_in_place_activations(name: str) -> None:
    """The same value in the same memory, the same gradient, the same refusal of a leaf."""
    seen = []
    for engine in ENGINES:
        engine.manual_seed(0)
        f, leaf = getattr(engine.nn.functional, name), engine.tensor([-2.0, -0.5, 0.5, 7.0], requires_grad=True)
        x = leaf * 1
        y = f(x, inplace=True)
        y.sum().backward()
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
            f(leaf, inplace=True)
        seen.append((y is x, x.tolist(), leaf.grad.tolist(), type(y.grad_fn).__name__))
    assert seen[0][0] and seen[0][3] == seen[1][3]
    np.testing.assert_allclose(seen[0][1:3], seen[1][1:3], rtol=1e-6)


def test_losses_at_their_corners() -> None:
    """Probabilities of 0 and 1, logits of 1000, differences at the bound between square and absolute value."""
    grid = np.array([0.0, 1.0, 1e-20, 0.5])
    probability, target = (a.ravel() for a in np.meshgrid(grid, grid))
    far, near = np.meshgrid([1000.0, -1000.0, 30.0, -30.0, 0.0], grid)
    difference = np.array([0.0, 1.0, -1.0, 0.5, -0.5, 2.0])
    for name, x, t, kwargs in (
            ("binary_cross_entropy", probability, target, {}), ("binary_cross_entropy_with_logits", far, near, {}),
            ("smooth_l1_loss", difference, 0 * difference, {}),
            ("smooth_l1_loss", difference, 0 * difference, {"beta": 0.5}),
            ("huber_loss", difference, 0 * difference, {}), ("l1_loss", difference, 0 * difference, {}),
            ("kl_div", far, near, {})):
        results = []
        for engine in ENGINES:
            a, b = engine.tensor(x, requires_grad=True), engine.tensor(t, requires_grad=True)
            loss = getattr(engine.nn.functional, name)(a, b, reduction="none", **kwargs)
            results.append([values(r) for r in (loss, *engine.autograd.grad(loss.sum(), (a, b)))])
        for mine, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-30, err_msg=name)


# ---- attention --------------------------------------------------------------------------------------------------

@given(st.data())
def test_scaled_dot_product_attention(data: st.DataObject) -> None:
    d = Case(data.draw, torch.float64)
    length, source, width = d.sides((1, 3), (1, 4), (1, 3))
    groups, shared = d.sides((1, 2), (1, 2))
    dims = d.pick([2, 3, 4])
    lead = {2: (), 3: (2,), 4: (2, groups * shared)}[dims]
    few_heads = (2, groups) if dims == 4 else lead
    kwargs: dict = {"scale": d.pick([None, 0.5, 2.0]), "enable_gqa": dims == 4, "is_causal": d.flag(),
                    "dropout_p": d.pick([0.0, 0.0, 0.5])}
    inputs = [d.tensor(shape) for shape in ((*lead, length, width), *((*few_heads, source, width),) * 2)]
    if not kwargs["is_causal"] and d.flag():
        kwargs["attn_mask"] = d.mask((length, source)) if d.flag() else d.tensor((length, source))
    results = []
    for engine in ENGINES:
        engine.manual_seed(3)
        xs = [given_to(engine, x).requires_grad_() for x in inputs]
        options = {k: given_to(engine, v) for k, v in kwargs.items()}
        out = engine.nn.functional.scaled_dot_product_attention(*xs, **options)
        results.append((out, *engine.autograd.grad(out.sum(), xs)))
    close(*results, "output and gradients", 1e-9)
    assert type(results[0][0].grad_fn).__name__ == type(results[1][0].grad_fn).__name__


# ---- errors and warnings ----------------------------------------------------------------------------------------

def _wrong_calls(engine: ModuleType) -> list[Callable[[], Any]]:
    F, nn = engine.nn.functional, engine.nn
    x, n, b = engine.arange(12.0).reshape(3, 4), engine.arange(12).reshape(3, 4), engine.ones(3, 4) > 0
    y, p, c = x.double(), x / 20, engine.tensor([0, 1, 9])
    w, one = engine.ones(4, requires_grad=True), engine.tensor([0, 1, 1])
    both = [lambda f=f, t=t: getattr(F, f)(t) for t in (n, b) for f in (
        "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "logsigmoid", "glu", "dropout")]
    losses = [lambda f=f, t=t: getattr(F, f)(t, t) for t in (n, b) for f in (
        "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "binary_cross_entropy", "cosine_similarity")]
    unknown = [lambda f=f: getattr(F, f)(x, x, reduction="x") for f in ("mse_loss", "l1_loss", "huber_loss", "kl_div")]
    return [*both, *losses, *unknown,
        lambda: F.relu(b), lambda: F.relu(3), lambda: F.hardtanh(b), lambda: F.hardtanh(x.byte()), lambda:
        F.hardtanh(x, 2, 1), lambda: F.gelu(3), lambda: F.gelu(x, approximate="x"),
        lambda: F.glu(x[:, :3]), lambda: F.glu(x[0, 0]),
        lambda: F.dropout(x, 1.5), lambda: F.dropout(x, -1), lambda: F.softmax(x), lambda: F.log_softmax(x[0]),
        lambda: F.linear(x, x[:, :3]), lambda: F.linear(x, y), lambda: F.linear(x, x, y[0, :3]),
        lambda: F.linear(x, x, x), lambda: F.linear(x, x, x[0, :2]), lambda: F.linear(x[0, 0], x),
        lambda: F.linear(x, x[None]), lambda: F.linear(3, x), lambda: F.linear(b, b),
        lambda: F.linear(x[None], x, x[0, :2]), lambda: F.linear(x, x[0], x[0, 0]),
        lambda: F.binary_cross_entropy(p, y), lambda: F.binary_cross_entropy(x, x),
        lambda: F.binary_cross_entropy(p, p[0]), lambda: F.binary_cross_entropy(p, p, w),
        lambda: F.binary_cross_entropy_with_logits(x, x, w), lambda: F.binary_cross_entropy_with_logits(x, n),
        lambda: F.binary_cross_entropy_with_logits(x, x[0]), lambda: F.binary_cross_entropy_with_logits(n, n),
        lambda: F.smooth_l1_loss(x, x, beta=-1), lambda: F.huber_loss(x, x, delta=0),
        lambda: F.mse_loss(x, x[0]), lambda: F.mse_loss(x, x[:2]), lambda: F.l1_loss(x, x[0]),
        lambda: F.mse_loss(x, x, weight=x[0]), lambda: F.kl_div(p, p),
        lambda: F.mse_loss(x, x, size_average=False), lambda: F.mse_loss(x, x, reduce=False),
        lambda: nn.MSELoss(size_average=True).reduction, lambda: F.nll_loss(x, c),
        lambda: F.nll_loss(x, x[:, 0]), lambda: F.nll_loss(x, one.int()), lambda: F.nll_loss(x, one[:2]),
        lambda: F.nll_loss(x, n), lambda: F.nll_loss(x[0], n[0]), lambda: F.nll_loss(x[0, 0], n[0, 0]),
        lambda: F.nll_loss(x, one, x[0, :2]), lambda: F.nll_loss(x, one, y[0]), lambda: F.nll_loss(n, one),
        lambda: F.nll_loss(x[None], one), lambda: F.nll_loss(x[None], one[None]),
        lambda: F.nll_loss(x, one, reduction="x"), lambda: F.nll_loss(x, one * 0 - 100),
        lambda: F.nll_loss(x[:0], one[:0]), lambda: F.nll_loss(x[:0], one[:0], reduction="sum"),
        lambda: F.cross_entropy(x, x, ignore_index=2), lambda: F.cross_entropy(x, x[0]),
        lambda: F.cross_entropy(x, c), lambda: F.cross_entropy(x, one.int()),
        lambda: F.cross_entropy(x, x[:, 0]), lambda: F.cross_entropy(x, n),
        lambda: F.cross_entropy(x, one, label_smoothing=2.0), lambda: F.cross_entropy(x, x, weight=x[0, :2]),
        lambda: F.cross_entropy(x, one, weight=x[0, :2]), lambda: F.cross_entropy(x[0, 0], n[0, 0]),
        lambda: F.cross_entropy(n, one), lambda: F.cross_entropy(x, one, reduction="x"),
        lambda: F.cross_entropy(x[:0], one[:0]), lambda: F.cross_entropy(x[:0], x[:0]),
        lambda: F.embedding(x, x), lambda: F.embedding(one, x[0]), lambda: F.embedding(c, x),
        lambda: F.embedding(-one, x), lambda: F.embedding(one, x, padding_idx=5),
        lambda: F.embedding(one, x, padding_idx=-5), lambda: F.embedding(one.short(), x),
        lambda: F.layer_norm(x, (3,)), lambda: F.layer_norm(x, ()), lambda: F.layer_norm(x, (4,), x[0, :2]),
        lambda: F.layer_norm(x, (4,), None, x[0, :2]), lambda: F.layer_norm(x, 4),
        lambda: F.layer_norm(n, (4,)), lambda: F.layer_norm(x, (4,), y[0]), lambda: F.rms_norm(x, (3,)),
        lambda: F.rms_norm(x, ()), lambda: F.rms_norm(n, (4,)), lambda: F.rms_norm(x, (4,), x[0, :2]),
        lambda: F.rms_norm(x, 4), lambda: F.group_norm(x, 3), lambda: F.group_norm(x[0], 2),
        lambda: F.group_norm(x, 0), lambda: F.group_norm(x[:1, :2], 2), lambda: F.group_norm(x, 2, x[0, :3]),
        lambda: F.group_norm(n, 2), lambda: F.batch_norm(x, None, None),
        lambda: F.batch_norm(x[:1], None, None, training=True), lambda: F.batch_norm(x, x[0, :3], x[0, :3]),
        lambda: F.batch_norm(x, x[0], x[0], x[0, :3]), lambda: F.batch_norm(x[0], x[0], x[0]),
        lambda: F.batch_norm(n, None, None, training=True), lambda: F.batch_norm(x, y[0], y[0]),
        lambda: F.one_hot(x), lambda: F.one_hot(-one), lambda: F.one_hot(c, 2), lambda: F.one_hot(c, 0),
        lambda: F.one_hot(one[:0]), lambda: F.one_hot(one.int()), lambda: F.one_hot(one[:0], 3),
        lambda: F.one_hot(one[0]), lambda: F.pad(x, (1,)), lambda: F.pad(x, (1,) * 6),
        lambda: F.pad(x, (-3, -3)), lambda: F.pad(x, (4, 1), mode="reflect"),
        lambda: F.pad(x, (5, 1), mode="circular"), lambda: F.pad(x[0], (1, 1), mode="reflect"),
        lambda: F.pad(x, (1, 1), mode="x"), lambda: F.pad(x, (1, 1), mode="reflect", value=2.0),
        lambda: F.pad(x, (1.0, 1)), lambda: F.pad(x, 1), lambda: F.pad(x, ()),
        lambda: F.pad(b, (1, 1), value=1), lambda: F.pad(n, (1, 0), value=1.5),
        lambda: F.pad(x, (-1, 2), mode="reflect"), lambda: F.pad(x, (-1, 2), mode="replicate"),
        lambda: F.pad(x, (-1, 2), mode="circular"), lambda: F.cosine_similarity(x, x[:2]),
        lambda: F.cosine_similarity(x, x, dim=3), lambda: F.normalize(n), lambda: F.conv1d(x, x),
        lambda: F.conv1d(x[0], x), lambda: F.conv1d(x, x[None, :2]), lambda: F.conv1d(x, y[None, :, :2]),
        lambda: F.conv1d(x, x[None, :, :2], stride=0), lambda: F.conv1d(x, x[None, :, :2], padding=-1),
        lambda: F.conv1d(x, x[None, :, :2], groups=2), lambda: F.conv1d(x, x[None, :, :2], groups=0),
        lambda: F.conv1d(x, x[None, :, :2], x[0, :2]), lambda: F.conv1d(x[..., :1], x[None, :, :2]),
        lambda: F.conv1d(x, x[None, :, :2], padding="same", stride=2),
        lambda: F.conv1d(x, x[None, :, :2], padding="x"), lambda: F.conv1d(x, x[None, :, :2], stride=(1, 1)),
        lambda: F.conv1d(x[:2], x[:3, None, :2], groups=2), lambda: F.conv1d(n, n[None, :, :2]),
        lambda: nn.Linear(2, 3)(x), lambda: nn.LayerNorm(3)(x), lambda: nn.Dropout(2.0),
        lambda: nn.Embedding(3, 2, padding_idx=3), lambda: nn.GroupNorm(2, 3),
        lambda: nn.Conv1d(3, 2, 1, groups=2), lambda: nn.Conv1d(2, 3, 1, groups=2),
        lambda: nn.Conv1d(2, 2, 1, groups=0), lambda: nn.Conv1d(2, 2, 1, stride=2, padding="same"),
        lambda: nn.MultiheadAttention(3, 2), lambda: nn.MultiheadAttention(0, 1),
        lambda: nn.BatchNorm1d(3)(x[0]), lambda: nn.Embedding(2, 2, _weight=x),
        lambda: nn.Embedding.from_pretrained(x[0]), lambda: nn.Unflatten(0, 3), lambda: nn.Unflatten(0, (2.0,)),
        lambda: nn.Hardtanh(2, 1), lambda: nn.Linear(0, 2).weight.shape,
    ]


@pytest.mark.parametrize("i", range(len(_wrong_calls(minigrad))))
def test_errors_and_warnings(i: int) -> None:
    """What torch refuses is refused with its class and its words; so with warnings."""
    said = []
    for engine in ENGINES:
        call = _wrong_calls(engine)[i]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                out = call()
                out = values(out).tolist() if isinstance(out, engine.Tensor) else str(out)
            except Exception as error:
                out = error
        said.append((out, [str(w.message) for w in caught]))
    (mine, my_warnings), (theirs, their_warnings) = said
    assert my_warnings == their_warnings
    if isinstance(theirs, Exception):
        assert type(mine) is type(theirs), f"{mine!r}, torch {theirs!r}"
        assert str(mine) == str(theirs)
    elif isinstance(theirs, str):
        assert mine == theirs
    else:
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


# ---- gradients before a step ------------------------------------------------------------------------------------

@given(st.data())
def test_clipping(data: st.DataObject) -> None:
    """Total norms, scaled gradients, and cut ones, for one parameter, several and none."""
    d = Case(data.draw, data.draw(st.sampled_from(FLOATS[:2])))
    grads = [d.tensor() if d.int(0, 4) else None for _ in range(d.int(0, 3))]
    bound, norm = d.pick([0.5, 1, 100.0]), d.pick([1, 2.0, 3.0, math.inf, "inf"])
    single, how = len(grads) == 1 and d.flag(), d.pick(["norm", "value", "total", "given"])
    # torch's clip_grad_value_ of nothing fails an assertion of its own, and asks to report it; here it does nothing
    assume(how != "value" or any(g is not None for g in grads))
    empty = any(g is not None and not g.numel() for g in grads)
    no_maximum = empty and how in ("norm", "total") and float(norm) == math.inf
    results = []
    for engine in ENGINES:
        parameters = []
        for g in grads:
            parameters.append(engine.nn.Parameter(engine.zeros(() if g is None else tuple(g.shape), dtype=given_to(
                engine, torch.zeros(0, dtype=d.dtype)).dtype)))
            parameters[-1].grad = None if g is None else given_to(engine, g).clone()
        utils, passed = engine.nn.utils, parameters[0] if single else parameters
        if no_maximum:
            with pytest.raises(RuntimeError, match=r"norm .*empty tensor"):
                utils.clip_grad_norm_(passed, bound, norm)
            continue
        if how == "norm":
            out = utils.clip_grad_norm_(passed, bound, norm)
        elif how == "value":
            out = utils.clip_grad_value_(passed, bound)
        elif how == "total":
            out = utils.get_total_norm([p.grad for p in parameters if p.grad is not None], norm)
        else:
            out = utils.clip_grads_with_norm_(passed, bound, engine.tensor(7.0))
        results.append([out, *(p.grad for p in parameters)])
    if results:
        close(*results, "norm and gradients", None)


def test_clipping_refuses_what_is_not_finite() -> None:
    said = []
    for engine in ENGINES:
        p = engine.nn.Parameter(engine.zeros(2))
        p.grad = engine.tensor([1.0, math.inf])
        with pytest.raises(RuntimeError) as error:
            engine.nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
        norm = engine.nn.utils.clip_grad_norm_(p, 1.0, foreach=False)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            engine.nn.utils.clip_grad_norm_((p for p in ()), 1.0)
        said.append((str(error.value), norm.item(), str(p.grad.tolist()), [str(w.message) for w in caught]))
    assert said[0] == said[1]


def test_parameters_as_a_vector() -> None:
    seen = []
    for engine in ENGINES:
        engine.manual_seed(0)
        net = engine.nn.Linear(2, 3)
        vector = engine.nn.utils.parameters_to_vector(net.parameters())
        fn = type(vector.grad_fn).__name__
        engine.nn.utils.vector_to_parameters(engine.arange(9.0), net.parameters())
        with pytest.raises(TypeError):
            engine.nn.utils.vector_to_parameters([1.0], net.parameters())
        seen.append((vector.tolist(), fn, net.weight.tolist(), net.bias.tolist(), net.weight.requires_grad))
    assert seen[0] == seen[1]


# ---- examples ---------------------------------------------------------------------------------------------------

def test_a_model_learns_as_in_torch() -> None:
    """Ten steps of training from the same seed: the same losses."""
    losses = []
    for engine in ENGINES:
        engine.manual_seed(1)
        nn = engine.nn
        net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, 3))
        optimizer = engine.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        x, y = engine.randn(16, 4), engine.randint(0, 3, (16,))
        losses.append([])
        for _ in range(10):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            losses[-1].append(loss.item())
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_embedding_max_norm() -> None:
    """Rows that are looked up are shortened in place; the others stay."""
    seen = []
    for engine in ENGINES:
        table = engine.nn.Embedding.from_pretrained(engine.arange(8.0).reshape(4, 2), max_norm=2.0, freeze=False)
        out = table(engine.tensor([[1, 3], [3, 3]]))
        out.sum().backward()
        seen.append((values(out), values(table.weight), values(table.weight.grad)))
    for mine, theirs in zip(*seen, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


# ---- what is refused --------------------------------------------------------------------------------------------

def _outcome(engine: ModuleType, call: Callable) -> tuple:
    """The shape of a result, or the class of an error."""
    try:
        return tuple(call(engine).shape)
    except (RuntimeError, TypeError) as error:
        return type(error).__name__,


@pytest.mark.parametrize("norm", ["layer_norm", "group_norm", "batch_norm"])
def test_norms_take_the_mixtures_of_dtypes_that_torch_takes(norm: str) -> None:
    def call(engine: ModuleType) -> Any:
        x, *p = (engine.ones(shape, dtype=getattr(engine, d)) for shape, d in zip([(3, 4), *[(4,)] * 4], kinds))
        f = getattr(engine.nn.functional, norm)
        return f(x, *p, training=True) if norm == "batch_norm" else f(x, (4,) if norm == "layer_norm" else 2, *p)
    for kinds in itertools.product(["float16", "float32", "float64"], repeat=5 if norm == "batch_norm" else 3):
        mine, theirs = (_outcome(engine, call) for engine in ENGINES)
        assert mine == theirs, kinds


def test_linear_by_a_vector_takes_the_shapes_that_torch_takes() -> None:
    sides = [(3,), (2, 3), (1, 3)], [(3,), (4, 3)], [(), (1,), (2,), (3,), (4,), (2, 4)]
    def call(engine: ModuleType) -> Any:
        return engine.nn.functional.linear(*map(engine.ones, shapes))
    for shapes in itertools.product(*sides):
        mine, theirs = (_outcome(engine, call) for engine in ENGINES)
        assert mine == theirs, shapes


@pytest.mark.parametrize("call", [
    lambda x: x.view(True, 6), lambda x: x.view(6, True), lambda x: x.view(3, 2, size=(3, 2)),
    lambda x: x.reshape((True, 6)), lambda x: x.expand(True, 6), lambda x: x.repeat(True, 2),
    lambda x: x.repeat(2, True), lambda x: x.flip((False,)), lambda x: x[0].mT, lambda x: x[0].mH, lambda x: x.mT,
    lambda x: x.int().add(x.int(), alpha=1.0), lambda x: x.add(x.int(), alpha=1.0),
    lambda x: x.int().sub_(1, alpha=1.0),
])
@pytest.mark.filterwarnings("ignore:Tensor.m:UserWarning")
def test_arguments_that_are_nearly_right(call: Callable) -> None:
    mine, theirs = (_outcome(engine, lambda e: call(e.ones(6))) for engine in ENGINES)
    assert mine == theirs
