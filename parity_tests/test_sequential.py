"""Sums must agree with torch bit by bit, on one thread, whatever the shape, the axes and the strides."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigrad.kernels.sequential import cascade_sum


def assert_same_bits(t: torch.Tensor, axes: tuple[int, ...]) -> None:
    ours, theirs = cascade_sum(t.numpy(), axes), t.sum(axes).numpy()
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.flags.c_contiguous
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.signbit(ours), np.signbit(theirs))


@given(st.data())
def test_any_shape_and_axes(data: st.DataObject) -> None:
    sizes = st.integers(0, 9) | st.sampled_from([15, 16, 17, 31, 32, 33, 40, 63, 64, 65, 100, 256])
    shape = data.draw(st.lists(sizes, min_size=1, max_size=4).filter(lambda s: np.prod(s) < 300_000))
    axes = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64, torch.float16]))
    t = torch.randn(shape, dtype=dtype).permute(data.draw(st.permutations(range(len(shape)))))
    if data.draw(st.booleans()):
        axis = data.draw(st.integers(0, len(shape) - 1))
        t = t.narrow(axis, t.shape[axis] // 3, t.shape[axis] - t.shape[axis] // 3)[..., :: data.draw(st.integers(1, 3))]
    assert_same_bits(t, tuple(sorted(axes)))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("axes", [axes for n in (1, 2, 3) for axes in itertools.combinations(range(3), n)])
@pytest.mark.parametrize("sliced", [False, True])
def test_any_strides(order: tuple[int, ...], axes: tuple[int, ...], sliced: bool) -> None:
    t = torch.randn(37, 44, 53)
    assert_same_bits((t[1:, ::2, 2:] if sliced else t).permute(order), axes)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((3_000_000,), (0,)), ((600_000, 5), (0,)), ((1_100_000, 3), (0,)), ((20, 40_000), (1,)), ((70_000, 33), (0, 1))],
)
def test_long_sums(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    assert_same_bits(torch.randn(shape), axes)


@given(st.lists(st.sampled_from([0.0, -0.0, 1e38, 3e38, -3e38, np.inf, -np.inf, np.nan]), min_size=1, max_size=40))
def test_zeros_and_overflow(values: list[float]) -> None:
    ours = cascade_sum(np.array(values, np.float32), (0,))
    theirs = torch.tensor(values).sum(0).numpy()
    np.testing.assert_array_equal(ours, theirs)
    assert np.isnan(theirs) or np.signbit(ours) == np.signbit(theirs)
