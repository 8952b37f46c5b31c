"""nn.init against torch.nn.init: the same weights from the same seed."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad.random as random
from minigrad.nn import init
from minigrad.random import Generator
from minigrad.tensor import Tensor

NONLINEARITIES = ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu", "conv1d", "conv2d", "conv3d",
                  "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
numbers = st.floats(-10, 10, allow_subnormal=False)
fans = st.fixed_dictionaries({}, optional={
    "a": st.floats(0, 3), "mode": st.sampled_from(["fan_in", "fan_out", "FAN_OUT"]),
    "nonlinearity": st.sampled_from(NONLINEARITIES)})
KEYWORDS = {
    "uniform_": st.tuples(numbers, numbers).map(lambda ab: dict(zip("ab", sorted(ab), strict=True))),
    "normal_": st.fixed_dictionaries({}, optional={"mean": numbers, "std": st.floats(0, 10)}),
    "xavier_uniform_": st.fixed_dictionaries({}, optional={"gain": st.floats(0.01, 10)}),
    "xavier_normal_": st.fixed_dictionaries({}, optional={"gain": st.floats(0.01, 10)}),
    "kaiming_uniform_": fans,
    "kaiming_normal_": fans,
    "constant_": st.fixed_dictionaries({"val": numbers}),
    "zeros_": st.just({}),
    "ones_": st.just({}),
    "eye_": st.just({}),
}
shapes = st.lists(st.integers(1, 9) | st.sampled_from([16, 33]), max_size=4) | st.sampled_from([[0], [300, 200]])
LAYOUTS = [lambda a: a, lambda a: a.swapaxes(0, -1) if a.ndim else a, lambda a: a[::2] if a.ndim else a]


def both(shape, dtype, layout) -> tuple[Tensor, torch.Tensor]:
    ours, theirs = layout(np.zeros(shape, dtype)), layout(np.zeros(shape, dtype))
    theirs = torch.from_numpy(theirs)
    assert theirs.stride() == tuple(s // ours.itemsize for s in ours.strides)
    return Tensor(ours), theirs


def agree(name, shape, dtype, layout, seed, own_generator, kwargs) -> None:
    """The same values, state, error or warnings."""
    ours, theirs = both(shape, dtype, layout)
    random.manual_seed(seed)
    torch.manual_seed(seed)
    generators = ({}, {})
    if own_generator and name not in ("constant_", "zeros_", "ones_", "eye_"):
        generators = {"generator": Generator().manual_seed(seed)}, {"generator": torch.Generator().manual_seed(seed)}
    results, said = [], []
    for module, tensor, generator in ((init, ours, generators[0]), (torch.nn.init, theirs, generators[1])):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                results.append(getattr(module, name)(tensor, **kwargs, **generator) is tensor)
            except (ValueError, RuntimeError, ZeroDivisionError) as error:
                results.append((type(error), str(error)))
        said.append([str(w.message) for w in caught])
    assert results[0] == results[1]
    assert said[0] == said[1]
    assert ours.array.tobytes() == theirs.numpy().tobytes()
    states = [g["generator"].get_state() for g in generators] if generators[0] else \
        [random.get_rng_state(), torch.get_rng_state()]
    assert states[0].array.tobytes() == states[1].numpy().tobytes()


@given(st.sampled_from(list(KEYWORDS)).flatmap(lambda name: st.tuples(st.just(name), KEYWORDS[name])), shapes,
       st.sampled_from(["float16", "float32", "float64"]), st.sampled_from(LAYOUTS), st.integers(0, 9), st.booleans())
def test_init(call, shape, dtype, layout, seed, own_generator):
    agree(call[0], shape, dtype, layout, seed, own_generator, call[1])


@pytest.mark.parametrize("name", ["kaiming_uniform_", "kaiming_normal_"])
def test_nothing_to_initialise(name):
    agree(name, (3, 0), "float32", LAYOUTS[0], 0, False, {})


@given(shapes, st.sampled_from(["float16", "float32", "float64"]), st.sampled_from(LAYOUTS), st.integers(0, 9), numbers,
       st.floats(0.01, 10), st.floats(-3, 3), st.floats(0.1, 4), st.booleans())
def test_trunc_normal(shape, dtype, layout, seed, mean, std, a, width, own_generator):
    """The bounds in units of std, around the mean, so that both ways to draw occur."""
    a, b = mean + a * std, mean + (a + width) * std
    agree("trunc_normal_", shape, dtype, layout, seed, own_generator, {"mean": mean, "std": std, "a": a, "b": b})


@pytest.mark.parametrize("kwargs", [{}, {"std": 0.02}, {"std": 0.02, "a": -0.01, "b": 0.05}, {"a": 2.5, "b": 3.0},
                                    {"mean": 4.5}, {"std": 0.0}, {"a": 1.0, "b": -1.0}], ids=str)
def test_trunc_normal_of_many(kwargs):
    agree("trunc_normal_", (300, 200), "float32", LAYOUTS[0], 3, False, kwargs)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=3), st.sampled_from(["float32", "float64"]),
       st.floats(0.1, 3), st.integers(0, 9))
def test_orthogonal(shape, dtype, gain, seed):
    """The draws are torch's; the factorisation may round in another way."""
    ours, theirs = both(shape, dtype, LAYOUTS[0])
    random.manual_seed(seed)
    torch.manual_seed(seed)
    if len(shape) < 2:
        for module, tensor in ((init, ours), (torch.nn.init, theirs)):
            with pytest.raises(ValueError, match="Only tensors with 2 or more dimensions are supported"):
                module.orthogonal_(tensor)
        return
    init.orthogonal_(ours, gain)
    torch.nn.init.orthogonal_(theirs, gain)
    q = ours.array.reshape(shape[0], -1) / gain
    q = q if q.shape[0] <= q.shape[1] else q.T
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(q @ q.T, np.eye(len(q)), atol=50 * eps)
    assert random.get_rng_state().array.tobytes() == torch.get_rng_state().numpy().tobytes()
    # How far rounding moves Q depends on the condition of the matrix: compare on the scale of its error bound.
    condition = _condition(shape, dtype, seed)
    np.testing.assert_allclose(ours.array, theirs.numpy(), atol=20 * eps * condition * gain)


def _condition(shape, dtype, seed) -> float:
    matrix = Generator().manual_seed(seed).normal((shape[0], math.prod(shape[1:])), dtype=dtype)
    return float(np.linalg.cond(matrix.astype(np.float64)))


@given(st.sampled_from([*NONLINEARITIES, "gelu", ""]), st.none() | st.floats(-3, 3) | st.integers(0, 3) | st.booleans()
       | st.just("a"))
def test_calculate_gain(nonlinearity, param):
    results = []
    for module in (init, torch.nn.init):
        try:
            results.append(module.calculate_gain(nonlinearity, param))
        except ValueError as error:
            results.append(str(error))
    assert results[0] == results[1]


@pytest.mark.parametrize("name", KEYWORDS)
def test_a_parameter_may_be_initialised(name):
    """A leaf that requires grad, which otherwise refuses in-place writes."""
    ours, theirs = Tensor(np.full((4, 5), 7, np.float32), True), torch.full((4, 5), 7.0, requires_grad=True)
    args = (2.0,) if name == "constant_" else ()
    random.manual_seed(1)
    torch.manual_seed(1)
    assert getattr(init, name)(ours, *args) is ours
    getattr(torch.nn.init, name)(theirs, *args)
    assert ours.requires_grad and ours.is_leaf
    assert ours.array.tolist() == theirs.tolist()
