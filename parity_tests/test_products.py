"""Products of matrices: whichever threads make them, and however the matrices lie in memory, they are NumPy's."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.kernels import blas, blocks, products

DTYPES = st.sampled_from([np.float32, np.float64, np.int64])


def _factor(rng: np.random.Generator, dtype: type, *shape: int) -> np.ndarray:
    """Of small integers, of which products are exact, in one of several layouts."""
    a = rng.integers(-9, 9, [2 * side for side in shape]).astype(dtype)
    a = a if rng.random() < 0.5 else np.asfortranarray(a)
    return a[tuple(slice(None, side) if rng.random() < 0.7 else slice(None, None, 2) for side in shape)]


@contextmanager
def _eager(threads: int) -> Iterator[None]:
    """So many, for whom everything is worth while."""
    former = minigrad.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "SHARED", 1)
        patch.setattr(products, "WORTH_WHILE", 1)
        patch.setattr(blocks, "ALONE", 1)
        minigrad.set_num_threads(threads)
        yield
        assert not blas._inside
        minigrad.set_num_threads(former)


@pytest.fixture(scope="module", params=[1, 2, 3])
def threads(request):
    with _eager(request.param):
        yield request.param


@given(seed=st.integers(0, 2**32 - 1), dtype=DTYPES, restless=st.booleans(), batch=st.integers(0, 2),
       bias=st.booleans(), into=st.booleans())
def test_products(threads, seed, dtype, restless, batch, bias, into):
    """Of matrices, and of batches, which may be broadcast."""
    rng = np.random.default_rng(seed)
    m, k, n = (int(i) for i in rng.integers(0, 40, 3))
    sides = [int(i) for i in rng.integers(0, 6, batch)]
    a, b = (_factor(rng, dtype, *(1 if rng.random() < 0.2 else side for side in sides[rng.integers(0, batch + 1):]),
                    *matrix) for matrix in ((m, k), (k, n)))
    c = _factor(rng, dtype, n) if bias else None
    expected = a @ b if c is None else a @ b + c
    out = np.full(expected.shape, -1, dtype) if into else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blas, "restless", restless)
        result = products.multiply(a, b, out, c)
    assert result is out or not into
    np.testing.assert_array_equal(result, expected, strict=True)
    assert result.flags.c_contiguous


@given(*3 * [st.integers(1, 4)], st.sampled_from([0.0, np.inf]), st.sampled_from([0.0, np.inf, 1.0]),
       st.sampled_from(["float32", "float64"]))
def test_zero_times_infinity_is_no_number(rows, inner, columns, value, way, dtype):
    """As in torch, also in gradients: BLAS passes over a single zero."""
    found = []
    for engine in (minigrad, torch):
        kind = {"dtype": getattr(engine, dtype), "requires_grad": True}
        a = engine.full((rows, inner), value, **kind)
        b = engine.full((columns, inner), np.inf if value == 0 else 0.0, **kind)
        results = [engine.nn.functional.linear(a, b), a @ b.T, a @ b[0], a[0] @ b.T, a[0] @ b[0]]
        for y in results:
            y.backward(engine.full_like(y, way), retain_graph=True)
            results = [*results, a.grad.clone(), b.grad.clone()]
            a.grad = b.grad = None
        found.append([y.tolist() for y in results])
    np.testing.assert_equal(*found)


@given(seed=st.integers(0, 2**32 - 1), dtype=DTYPES, restless=st.booleans())
def test_products_that_are_added(threads, seed, dtype, restless):
    """Whether or not BLAS can read the factors as they lie."""
    rng = np.random.default_rng(seed)
    m, k, n = (int(i) for i in rng.integers(0, 40, 3))
    out = _factor(rng, dtype, m, n).copy(order=str(rng.choice(["C", "F"])))
    a, b = _factor(rng, dtype, m, k), _factor(rng, dtype, k, n)
    expected = out + a @ b
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blas, "restless", restless)
        products.add_product(a, b, out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("shapes, restless, expected", [
    (((4, 5, 6), (4, 6, 7)), False, [(2, 5, 7)] * 2), (((2, 1, 5, 6), (12, 6, 7)), False, [(2, 6, 5, 7)] * 2),
    (((3, 5, 6), (3, 6, 7)), False, [(3, 5, 7)]), (((100, 6), (6, 80)), False, [(100, 80)]),
    (((100, 6), (6, 80)), True, [(64, 80), (36, 80)]), (((80, 6), (6, 100)), True, [(80, 64), (80, 36)])])
def test_how_products_are_cut(monkeypatch, shapes, restless, expected):
    """For two threads: along the batch, if both have as much to do; single ones where BLAS's threads are restless."""
    cut, kept = [], np.matmul
    monkeypatch.setattr(np, "matmul", lambda a, b, **how: (cut.append(how["out"].shape), kept(a, b, **how))[1])
    monkeypatch.setattr(blas, "restless", restless)
    with _eager(2):
        products.multiply(*map(np.ones, shapes))
    assert sorted(cut, reverse=True) == expected


AFTER_A_PRODUCT = """
import os, sys, threading, time
import numpy as np
import minigrad
from minigrad.kernels import blas

minigrad.set_num_threads(2)
a = np.random.default_rng(0).standard_normal((500, 500))
first = a @ a
other = threading.Event()
if sys.argv[1] == "beside another thread":
    threading.Thread(target=other.wait).start()
minigrad.optim.SGD([minigrad.ones(1, requires_grad=True)])
second = a @ a
busy = time.process_time()
time.sleep(0.02)
busy = time.process_time() - busy
other.set()
if hasattr(os, "fork"):
    child = os.fork()
    if not child:
        os._exit(int((a @ a != first).any()))
    assert os.waitpid(child, 0)[1] == 0
assert (first == second).all() and (first == a @ a).all()
print(os.environ.get("OPENBLAS_THREAD_TIMEOUT"), blas.restless)
assert os.environ.get("OPENBLAS_THREAD_TIMEOUT") != "12" or busy < 0.01
"""


@pytest.mark.skipif(not blas.can_be_told(), reason="NumPy's BLAS here is not OpenBLAS")
@pytest.mark.parametrize("how, variable", [("alone", None), ("alone", "26"), ("beside another thread", None)])
def test_blas_lets_go_of_the_processors(how, variable):
    """Once there is an optimizer, its threads sleep between products, or the pool multiplies: unless the user objects.
    OpenBLAS cannot be told to while other threads may be multiplying, nor at all in its newer builds."""
    given = {"OPENBLAS_NUM_THREADS": "2"} | ({"OPENBLAS_THREAD_TIMEOUT": variable} if variable else {})
    kept = {k: v for k, v in os.environ.items() if k != "OPENBLAS_THREAD_TIMEOUT"}
    done = subprocess.run([sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", AFTER_A_PRODUCT, how],
                          env=kept | given, capture_output=True, text=True, timeout=60)
    told = how == "alone" and blas._function("blas_thread_shutdown_", ctypes.c_int) is not None
    expected = "26 False" if variable else "12 False" if told else "None True"
    assert (done.stdout.strip(), done.stderr, done.returncode) == (expected, "", 0)
