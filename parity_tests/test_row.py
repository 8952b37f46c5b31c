"""What is computed of one row, as in generating a token, has ways of its own: it must be as torch's, and as of many."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.nn import functional as F


@given(st.sampled_from([(1, 1), (1,), ()]), st.sampled_from([(3, 7), (300, 97), (97, 300), (4001, 300), (1200, 1100)]),
       st.sampled_from(["float32", "float64", "float16"]), st.sampled_from("CF"), st.booleans(), st.integers(1, 3))
def test_one_row_is_as_torchs(lead, size, dtype, order, biased, threads):
    rng = np.random.default_rng(0)
    (m, n), former = size, minigrad.get_num_threads()
    x = rng.standard_normal((*lead, n)).astype(dtype)
    weight = np.asarray(rng.standard_normal((m, n)).astype(dtype), order=order)
    arrays = [x, weight, *([rng.standard_normal(m).astype(dtype)] if biased else [])]
    minigrad.set_num_threads(threads)
    try:
        ours = F.linear(*map(minigrad.from_numpy, arrays))
    finally:
        minigrad.set_num_threads(former)
    theirs = torch.nn.functional.linear(*map(torch.from_numpy, arrays))
    assert tuple(ours.shape) == tuple(theirs.shape)
    tolerance = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=tolerance, atol=tolerance)


@given(st.sampled_from(["layer_norm", "rms_norm"]), st.sampled_from([
    ((5,), 1), ((1, 5), 1), ((3, 5), 1), ((1, 2, 5), 2), ((2, 5), 2), ((1,), 1), ((0,), 1), ((2, 0), 1), ((0, 5), 1),
    ((1, 0, 5), 2), ((1, 1, 70_000), 1)]),
    st.sampled_from([0.0, 3.0, 1e6, np.nan, np.inf, "random"]), st.sampled_from([0.0, 1e-5, -1.0]),
    st.sampled_from(["float32", "float64"]), st.booleans())
def test_norms_are_as_torchs(function, layout, fill, eps, dtype, affine):
    """Rows of equal numbers, of none, of what is no number: values and gradients. layer_norm of large equal numbers is
    that of zeros: torch is asked for the latter, for it takes the mean out of a gradient only at the end."""
    (shape, dims), rng = layout, np.random.default_rng(0)
    x = rng.standard_normal(shape) if fill == "random" else np.full(shape, fill)
    arrays = [x, *(rng.standard_normal(shape[-dims:]) for _ in range(2 if function == "layer_norm" else 1))]
    arrays = [a.astype(dtype) for a in (arrays if affine else arrays[:1])]
    found = []
    for engine in (minigrad, torch):
        if engine is torch and function == "layer_norm" and fill == 1e6:
            arrays[0] = np.zeros_like(arrays[0])
        tensors = [engine.tensor(a, requires_grad=True) for a in arrays]
        y = getattr(engine.nn.functional, function)(tensors[0], shape[-dims:], *tensors[1:], eps=eps)
        (y * engine.tensor(np.cos(np.arange(x.size)).reshape(shape).astype(dtype))).sum().backward()
        found.append([t.detach().numpy() for t in (y, *(t.grad for t in tensors))])
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        if eps > 0 or fill == "random" and x.size > 1 or fill != fill:      # else sums that are 0, or nearly, divide
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("function", ["layer_norm", "rms_norm"])
def test_a_long_row_does_not_show_the_number_of_threads(function):
    found, former = [], minigrad.get_num_threads()
    try:
        for threads in (1, 2):
            minigrad.set_num_threads(threads)
            x = minigrad.from_numpy(np.random.default_rng(0).standard_normal((1, 200_000))).requires_grad_()
            y = getattr(F, function)(x, (200_000,))
            (y * y.cos()).sum().backward()
            found.append((y.tolist(), x.grad.tolist()))
    finally:
        minigrad.set_num_threads(former)
    assert found[0] == found[1]
