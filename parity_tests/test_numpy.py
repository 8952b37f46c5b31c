"""NumPy's functions and operators on tensors, and copies of what shares memory, as torch has them."""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad

from .opinfo import Engine, assert_same_output, same_family

ENGINE = Engine(minigrad)
OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul, operator.mod,
             operator.floordiv, operator.pow, operator.eq, operator.gt]
FUNCTIONS = [np.sin, np.exp, np.abs, np.isnan, np.negative, np.add.reduce, np.transpose]


def outcome(call: Callable, *args: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                         # torch's protocols are older than NumPy 2
        try:
            return call(*args)
        except Exception as error:  # judged by its class
            return error


def agree(call: Callable, *args: Any) -> None:
    expected, actual = outcome(call, *args), outcome(call, *ENGINE.convert(list(args), {}))
    if isinstance(expected, Exception):
        assert isinstance(actual, Exception) and same_family(actual, expected), (actual, expected)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(actual, expected, strict=True)
    else:
        assert_same_output(ENGINE, actual, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: op.__name__)
def test_operators_with_arrays(op: Callable, requires_grad: bool, dtype: torch.dtype) -> None:
    """To the left of the sign, and to its right. minigrad also takes some of what torch refuses, as if the array were a
    tensor."""
    t = torch.tensor([1, 2, 3], dtype=dtype, requires_grad=requires_grad and dtype.is_floating_point)
    array = np.array([3.0, 2.0, 1.0])
    for pair in ((t, array), (array, t)):
        if not isinstance(outcome(op, *pair), Exception):
            agree(op, *pair)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f"{f.__name__}{getattr(f, '__self__', '')}")
def test_functions_of_tensors(function: Callable) -> None:
    for t in (torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor(2.0), torch.tensor([1, -2])):
        agree(function, t)


@pytest.mark.parametrize("recording", [False, True])
@pytest.mark.parametrize("convert", [
    lambda t: t.numpy(), lambda t: t.numpy(force=True), np.asarray, np.array, np.from_dlpack, lambda t: t.tolist(),
    lambda t: (t * 2).numpy(), np.sin], ids=range(8))
def test_arrays_of_what_wants_a_gradient(convert: Callable, recording: bool) -> None:
    theirs = torch.tensor([1.0, 2.0], requires_grad=True)
    ours = minigrad.tensor([1.0, 2.0], requires_grad=True)
    with torch.set_grad_enabled(recording), minigrad.set_grad_enabled(recording):
        expected, actual = outcome(convert, theirs), outcome(convert, ours)
    assert type(actual).__name__ == type(expected).__name__ and str(actual) == str(expected)


@given(st.sampled_from([torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool, torch.float16]),
       st.sampled_from([(), (3,), (2, 3), (0, 2)]), st.booleans())
def test_dlpack_shares_memory(dtype: torch.dtype, shape: tuple, transposed: bool) -> None:
    t = torch.arange(6).reshape(-1)[:int(np.prod(shape))].reshape(shape).to(dtype)
    t = t.T if transposed and t.ndim == 2 else t
    u = minigrad.from_dlpack(t)
    for v in (torch.from_dlpack(u), minigrad.from_dlpack(u), minigrad.from_dlpack(np.from_dlpack(u))):
        assert str(v.dtype) == str(dtype) and v.tolist() == t.tolist() and v.shape == t.shape
        if t.numel():
            assert v.stride() == t.stride() and v.data_ptr() == t.data_ptr()
            v.fill_(1)
            assert t.eq(1).all()
    assert minigrad.from_dlpack(u, copy=True).data_ptr() != u.data_ptr() or not t.numel()


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy], ids=lambda f: f.__name__)
def test_copies(copied: Callable) -> None:
    """What shared memory goes on sharing it, at the same places; deepcopy leaves the originals alone."""
    for engine in (torch, minigrad):
        base = engine.arange(12.0).reshape(3, 4)
        column, row = base[:, 1], base[2]
        x, y, z = [copied(t) for t in (base, column, row)] if copied is copy.copy else copied([base, column, row])
        x[2, 1] = -1
        assert y[2].item() == z[1].item() == -1
        assert y.stride() == (4,)
        assert base[2, 1].item() == (-1 if copied is copy.copy else 9)
        with pytest.raises(RuntimeError):
            copy.deepcopy(engine.ones(2, requires_grad=True) * 2)


NUMBERS = [0.1, -1.5, 2**53 + 1, 2**24 + 1, -1, 300, True, 1e300, float("inf"), float("nan"), np.float16(0.1),
           np.float32(1 / 3), np.float64(1 / 3), np.int8(-3), np.uint8(200), np.int32(2**31 - 1), np.int64(2**53 + 1)]
TARGETS = ["float64", "float32", "float16", "int64", "int16", "uint8", "bool"]


@given(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3), st.sampled_from(TARGETS))
def test_each_number_of_a_mixed_list_is_converted_for_itself(numbers, target):
    """[0.1, np.int16(0)] in float64 holds 0.1, not the float32 next to it, which both would be without a dtype."""
    def made(engine):
        return outcome(lambda: engine.tensor(numbers, dtype=getattr(engine, target)).numpy())

    expected, actual = made(torch), made(minigrad)
    if isinstance(expected, Exception):
        assert isinstance(actual, type(expected)), (actual, expected)
    else:
        np.testing.assert_array_equal(actual, expected, strict=True)
