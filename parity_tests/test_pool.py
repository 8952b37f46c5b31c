"""The pool of threads: every piece of work is done once, errors reach whoever waits, and nothing is left over."""

from __future__ import annotations

import gc
import os
import threading
from contextlib import nullcontext

import numpy as np
import pytest

import minigrad
from minigrad.kernels import blas, blocks


@pytest.fixture
def threads(monkeypatch):
    """Everything by the pool."""
    monkeypatch.setattr(blocks, "ALONE", 0)
    former = minigrad.get_num_threads()
    yield minigrad.set_num_threads
    minigrad.set_num_threads(former)


def test_blas_follows(threads):
    """set_num_threads is for NumPy's products, too; where our own threads make them, each does so alone."""
    functions = blas._functions()
    if functions is None:
        pytest.skip("NumPy's BLAS here is not OpenBLAS")
    get, _ = functions
    for number in (1, 2):
        threads(number)
        assert get() == number
        with blas.SingleThreaded(), blas.SingleThreaded():
            assert get() == 1
        assert get() == number


def test_every_item_once(threads):
    for number in (1, 2, 5):
        threads(number)
        for n in (0, 1, 2, 100):
            seen = []
            blocks.each(seen.append, range(n), 1)
            assert sorted(seen) == list(range(n))


def test_several_threads_work(threads):
    threads(3)
    meet = threading.Barrier(3, timeout=20)            # passes only if three are inside at once
    blocks.each(lambda i: meet.wait(), range(3), 1)


def test_an_error_reaches_the_caller(threads):
    threads(2)

    def fail(i):
        if i == 3:
            raise ValueError("three")
    for _ in range(3):
        with pytest.raises(ValueError, match="three"):
            blocks.each(fail, range(10), 1)
    blocks.each(lambda i: None, range(10), 1)


def test_small_work_stays_with_the_caller():
    seen = set()
    blocks.each(lambda i: seen.add(threading.get_ident()), range(50), blocks.ALONE - 1)
    assert seen == {threading.get_ident()}


def _ours() -> int:
    return sum(t.name == "minigrad" and t.is_alive() for t in threading.enumerate())


def test_no_thread_is_left_over(threads):
    for number in (4, 2, 3, 2):
        threads(number)
        blocks.each(lambda i: None, range(10), 1)
    for t in threading.enumerate():
        if t.name == "minigrad" and _ours() > 1:
            t.join(0.5)
    assert _ours() == 1


def test_work_inside_work(threads):
    threads(2)
    seen = []
    blocks.each(lambda i: blocks.each(lambda j: seen.append((i, j)), range(4), 1), range(4), 1)
    assert len(set(seen)) == 16


def test_callers_in_several_threads(threads, at_once):
    threads(3)
    results = [[] for _ in range(4)]
    at_once([lambda r=r: blocks.each(r.append, range(50), 1) for r in results])
    assert all(sorted(r) == list(range(50)) for r in results)


def test_callers_at_once_make_one_pool(threads, at_once):
    for number in (2, 3) * 10:
        threads(number)
        meet, pools = threading.Barrier(4), []
        at_once([lambda m=meet, p=pools: (m.wait(), p.append(blocks._pool()))] * 4)
        assert len(pools) == 4 and len(set(pools)) == 1


def test_nothing_outlives_the_work(threads):
    threads(2)
    array = np.zeros(10)
    seen = [0]
    blocks.each(lambda i: seen.append(array[i]), range(10), 1)
    blocks.each(lambda i: None, range(10), 1)
    gc.collect()
    assert len(gc.get_referrers(array)) <= 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork(threads, in_child):
    threads(3)
    blocks.each(lambda i: None, range(10), 1)

    def work() -> bool:
        seen = []
        blocks.each(seen.append, range(10), 1)
        return sorted(seen) == list(range(10)) and _ours() == 2
    for meanwhile in (nullcontext(), blocks._making):         # another thread makes a pool
        with meanwhile:
            assert in_child(work)
