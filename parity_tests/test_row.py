"""A linear layer of one row: the same as of many, whatever its size and however the weight lies in memory."""

from __future__ import annotations

import numpy as np
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
