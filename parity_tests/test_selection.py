"""Which of equal elements sort, topk, kthvalue, median, mode and unique take: torch's, for rows of up to 4096."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import minigrad
from minigrad.kernels import selection

NAN, INF = float("nan"), float("inf")
DTYPES = [np.int64, np.int32, np.uint8, np.float64, np.float32, np.float16]


@st.composite
def rows(draw: st.DrawFn, nan: bool = True) -> tuple[np.ndarray, int]:
    """An array and a dimension of up to 200 (rarely 4096) elements, most of which tie; zeros are of either sign."""
    shape = draw(npst.array_shapes(min_dims=0, max_dims=2, max_side=4))
    dim = draw(st.integers(0, len(shape)))
    n = draw(st.one_of(st.integers(1, 200), st.just(selection.LONGEST) if len(shape) == 0 else st.integers(1, 20)))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    x = rng.integers(0, draw(st.sampled_from([1, 2, 5, 20, 200])), (*shape[:dim], n, *shape[dim:])).astype(dtype)
    if dtype.kind == "f":
        x *= rng.choice(np.array([-1, 1], dtype), x.shape)
        if nan:
            x[rng.random(x.shape) < draw(st.sampled_from([0, 0.1, 0.6]))] = NAN
    return x, dim


def assert_same(name: str, x: np.ndarray, *args: object, **kwargs: object) -> None:
    """Values, signs of zero and indices agree."""
    expected = getattr(torch, name)(torch.from_numpy(x), *args, **kwargs)
    actual = getattr(minigrad, name)(minigrad.from_numpy(x), *args, **kwargs)
    if isinstance(expected, torch.Tensor):
        expected, actual = (expected,), (actual,)
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected):
        a, e = a.numpy(), e.numpy()
        np.testing.assert_array_equal(a, e, strict=True)
        if e.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(a[~np.isnan(a)]), np.signbit(e[~np.isnan(e)]))


@given(rows(), st.booleans(), st.sampled_from([None, False, True]))
def test_sort(case: tuple, descending: bool, stable: bool | None) -> None:
    x, dim = case
    assert_same("sort", x, dim=dim, descending=descending, **({} if stable is None else {"stable": stable}))
    assert_same("argsort", x, dim, descending)
    assert_same("msort", x)


@given(rows(), st.floats(0, 1), st.booleans(), st.booleans(), st.booleans())
def test_topk(case: tuple, share: float, few: bool, largest: bool, in_order: bool) -> None:
    x, dim = case
    n = x.shape[dim]
    assert_same("topk", x, round(share * (n // 64 if few else n)), dim, largest, in_order)


@given(rows(), st.floats(0, 1), st.booleans())
def test_kthvalue(case: tuple, share: float, keepdim: bool) -> None:
    x, dim = case
    assert_same("kthvalue", x, 1 + round(share * (x.shape[dim] - 1)), dim, keepdim)


@given(rows(), st.booleans())
def test_median(case: tuple, keepdim: bool) -> None:
    x, dim = case
    assert_same("median", x, dim, keepdim)
    if not np.isnan(x).all(dim).any():        # of NaNs alone, which one is named means nothing
        assert_same("nanmedian", x, dim, keepdim)


@given(rows(nan=False), st.booleans())        # torch compares NaNs with <, by which nothing can be sorted
def test_mode(case: tuple, keepdim: bool) -> None:
    x, dim = case
    assert_same("mode", x, dim, keepdim)


@given(rows(), st.booleans(), st.booleans())
def test_unique(case: tuple, return_inverse: bool, return_counts: bool) -> None:
    x, _ = case
    assume(x.size <= selection.LONGEST)
    assert_same("unique", x, True, return_inverse, return_counts)
    assert_same("unique_consecutive", x, return_inverse=return_inverse, return_counts=return_counts)


@pytest.mark.parametrize("x", [[3], [0.0, -0.0], [-0.0, 0.0], [NAN, NAN, 1.0], []])
def test_unique_of_few(x: list) -> None:
    assert_same("unique", np.array(x), True, True, True)
    assert_same("unique_consecutive", np.array(x), return_inverse=True, return_counts=True)


# ---- rows on which quicksort and quickselect lose patience ------------------------------------------------------

game: list = []            # the elements without a rank, in the order in which they were compared


class Undecided:
    """An element that the adversary has not yet given a rank: larger than all those that have one. Of two without, the
    pivot (the one compared last) gets the next rank, so that a pivot splits off as little as possible."""

    def __init__(self) -> None:
        self.rank: int | None = None

    def __lt__(self, other: Undecided) -> bool:
        if self.rank is other.rank is None:
            (self if game[-1:] == [self] else other).rank = len(game)
        game.extend(x for x in (self, other) if x.rank is None)
        return (INF if self.rank is None else self.rank) < (INF if other.rank is None else other.rank)

    def __gt__(self, other: Undecided) -> bool:
        return other < self


def unlucky(choose: Callable, n: int) -> np.ndarray:
    """A row on which an algorithm does as badly as it can, from playing against it. Ranks then tie in pairs."""
    game.clear()
    elements = [Undecided() for _ in range(n)]
    choose(elements)
    return np.unique([INF if e.rank is None else e.rank for e in elements], return_inverse=True)[1] // 2


@pytest.mark.parametrize("n", [100, 300, 1000])
@pytest.mark.parametrize("name", ["sort", "topk"])
def test_bad_luck(name: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    k, heap, given_up = n // 2, selection._smallest, []
    x = unlucky(selection.sorted_places if name == "sort" else lambda ranks: selection.first_places(ranks, k), n)
    monkeypatch.setattr(selection, "_smallest", lambda *args: given_up.append(1) or heap(*args))
    if name == "sort":
        assert_same("sort", x)
    else:
        assert_same("topk", x, k, largest=False)
    assert given_up


def test_longer_rows_keep_the_order_of_equals() -> None:
    x = np.random.default_rng(0).integers(0, 5, selection.LONGEST + 1)
    np.testing.assert_array_equal(minigrad.sort(minigrad.from_numpy(x))[1].numpy(), np.argsort(x, kind="stable"))


def test_a_quicksort_is_not_stable() -> None:
    x = [0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 0]
    order = torch.tensor(x).sort()[1].tolist()
    assert minigrad.tensor(x).sort()[1].tolist() == order != sorted(range(len(x)), key=x.__getitem__)
