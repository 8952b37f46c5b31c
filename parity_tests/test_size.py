"""minigrad's Size against torch.Size."""

import copy
import operator
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigrad.size import Size

dims = st.lists(st.integers(0, 1000), max_size=6)
bounds = st.none() | st.integers(-8, 8)


def assert_same(ours: object, theirs: object) -> None:
    """Equal, of corresponding types, and printed alike."""
    assert type(ours) is (Size if type(theirs) is torch.Size else type(theirs))
    assert ours == theirs and repr(ours) == repr(theirs)


@given(dims)
def test_size_is_a_tuple_with_a_name(values):
    ours, theirs = Size(values), torch.Size(values)
    assert_same(ours, theirs)
    assert ours == tuple(values) and hash(ours) == hash(tuple(values)) == hash(theirs)
    assert f"{ours}" == str(theirs)
    assert tuple(ours) == tuple(values) and list(ours) == values and len(ours) == len(values)


@given(st.lists(st.integers(0, 1000), max_size=6))
def test_numel(values):
    assert Size(values).numel() == torch.Size(values).numel()


@given(dims, bounds, bounds, bounds.filter(lambda step: step != 0))
def test_slices_stay_sizes(values, start, stop, step):
    where = slice(start, stop, step)
    assert_same(Size(values)[where], torch.Size(values)[where])


@given(dims.filter(bool), st.data())
def test_items_are_ints(values, data):
    i = data.draw(st.integers(-len(values), len(values) - 1))
    assert_same(Size(values)[i], torch.Size(values)[i])
    assert_same(Size(values)[np.int64(i)], torch.Size(values)[np.int64(i)])


@given(dims, dims, st.integers(-1, 3))
def test_joined_and_repeated_sizes_stay_sizes(left, right, count):
    for ours, theirs in (
        (Size(left) + Size(right), torch.Size(left) + torch.Size(right)),
        (Size(left) + tuple(right), torch.Size(left) + tuple(right)),
        (tuple(left) + Size(right), tuple(left) + torch.Size(right)),
        (Size(left) * count, torch.Size(left) * count),
        (count * Size(left), count * torch.Size(left)),
    ):
        assert_same(ours, theirs)


@given(dims, dims)
def test_comparisons_are_those_of_tuples(left, right):
    for compare in (operator.eq, operator.ne, operator.lt, operator.le):
        assert compare(Size(left), Size(right)) == compare(torch.Size(left), torch.Size(right))
        assert compare(Size(left), tuple(right)) == compare(torch.Size(left), tuple(right))


@given(dims)
def test_copies_and_pickles(values):
    size = Size(values)
    copies = [copy.copy(size), copy.deepcopy([size])[0]]
    copies += [pickle.loads(pickle.dumps(size, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    for other in copies:
        assert_same(other, torch.Size(values))


@pytest.mark.parametrize(
    "values",
    [(), [True, 2], (n for n in (1, 2)), {3: 4}, np.array([2, 3]), [np.int64(3), np.uint8(4)], [-1, 2], range(3)],
    ids=["tuple", "bool", "generator", "dict", "array", "numpy ints", "negative", "range"],
)
def test_whatever_yields_ints_makes_a_size(values):
    values = list(values)
    size = Size(iter(values))
    assert size == torch.Size(values)
    assert all(type(n) is int for n in size)


@pytest.mark.parametrize(
    "make",
    [
        lambda S: S(5),
        lambda S: S([2.0]),
        lambda S: S(["a"]),
        lambda S: S([1, None]),
        lambda S: S([[1]]),
        lambda S: S([1, torch.tensor(2.0)]),
        lambda S: S([2]) + (2.5,),
        lambda S: ("a",) + S([2]),
        lambda S: S([1, 2])[5],
    ],
)
def test_errors_say_what_torch_says(make):
    with pytest.raises((TypeError, IndexError)) as theirs:
        make(torch.Size)
    with pytest.raises(theirs.type) as ours:
        make(Size)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda S: S([2]) + [1],
        lambda S: [1] + S([2]),
        lambda S: S([2]) + None,
        lambda S: S([2]) * 2.0,
        lambda S: 2.0 * S([2]),
        lambda S: S([2]) * S([2]),
        lambda S: S(1, 2),
        lambda S: S([1])["a"],
    ],
)
def test_what_torch_refuses_is_refused(make):
    for size in (torch.Size, Size):
        with pytest.raises(TypeError):
            make(size)


def test_example():
    shape = Size([2, 3, 4])
    assert repr(shape) == "torch.Size([2, 3, 4])"
    assert repr(shape[:-1] + (5,)) == "torch.Size([2, 3, 5])"
    assert shape.numel() == 24
