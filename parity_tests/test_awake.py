"""Processors kept awake: by threads that anybody may push aside, for no longer than there is work, and not at all where
that has a price."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from minigrad.kernels import awake

linux = pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="only Linux has idle threads")


def ours() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == awake.NAME]


@pytest.fixture
def keeper():
    former = set(ours())
    keeper = awake.Keeper(sorted(os.sched_getaffinity(0)))
    yield keeper
    keeper.close()
    assert wait_until(lambda: set(ours()) <= former), "every thread ends with its keeper"


def wait_until(true, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def runnable() -> list[bool]:
    """Of each of its idle threads: whether it wants a processor, which others may keep from it."""
    idle = [t.native_id for t in ours() if os.sched_getscheduler(t.native_id) == os.SCHED_IDLE]
    return [Path(f"/proc/self/task/{i}/stat").read_text().rpartition(")")[2].split()[0] == "R" for i in idle]


@linux
def test_it_runs_while_there_is_work_and_then_sleeps(keeper):
    processors = len(os.sched_getaffinity(0))
    for _ in range(3):
        assert wait_until(lambda: len(runnable()) >= processors and not any(runnable()))
        end = time.monotonic() + 3 * awake.LINGER
        while time.monotonic() < end:
            keeper.stay()
            time.sleep(awake.LINGER / 10)
        assert sum(runnable()) >= processors, "on every processor somebody waits"


@linux
def test_its_threads_give_way_to_all_others(keeper):
    keeper.stay()
    time.sleep(awake.LINGER)
    kinds = [os.sched_getscheduler(t.native_id) for t in ours()]
    assert kinds.count(os.SCHED_IDLE) >= len(os.sched_getaffinity(0)) and kinds.count(os.SCHED_OTHER) >= 1
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@linux
def test_closed_in_the_middle_of_work():
    former = len(ours())
    for pause in (0, 0.001, awake.LINGER / 2, 2 * awake.LINGER):
        keeper = awake.Keeper(sorted(os.sched_getaffinity(0)))
        keeper.stay()
        time.sleep(pause)
        keeper.close()
    assert wait_until(lambda: len(ours()) <= former)


@linux
def test_where_it_has_a_use(monkeypatch):
    processors = len(os.sched_getaffinity(0))
    made = []
    monkeypatch.setattr(awake, "Keeper", lambda processors: made.append(processors) or "keeper")
    monkeypatch.setattr(awake, "MOST", processors)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)

    def found(threads: int = processors, virtual: bool = True, quota: bool = False) -> bool:
        monkeypatch.setattr(awake, "_is_virtual", lambda: virtual)
        monkeypatch.setattr(awake, "_has_quota", lambda: quota)
        return awake.keeper_for(threads) is not None
    if processors > 1:
        assert found() and made == [sorted(os.sched_getaffinity(0))]
    assert not found(processors - 1), "some processors are for others"
    assert not found(virtual=False) and not found(quota=True)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert found(virtual=False) == found(quota=True) == (processors > 1)
    monkeypatch.setenv("OMP_WAIT_POLICY", "Passive")
    assert not found()
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not found()


@pytest.mark.parametrize(("files", "expected"), [
    ({}, False),
    ({"a/b/cpu.max": "max 100000"}, False),
    ({"a/b/cpu.max": "150000 100000"}, True),
    ({"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, True),
    ({"cpu.max": "50000 100000"}, True),                            # in a container, whose own group is the root
    ({"unified/a/cpu.max": "50000 100000"}, True),
    ({"cpu/a/cpu.cfs_quota_us": "-1"}, False),
    ({"cpu/a/cpu.cfs_quota_us": "50000"}, True),
    ({"a/c/cpu.max": "50000 100000"}, False),                       # somebody else's
    ({"a/b/cpu.max": ""}, False),
])
def test_a_quota_is_found_in_every_layout(tmp_path, files, expected):
    own = tmp_path / "own"
    own.write_text("4:memory:/elsewhere\n1:cpu,cpuacct:/a/b\n0::/a/b\n")
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    assert awake._has_quota.__wrapped__(tmp_path / "root", own) is expected
    assert awake._has_quota.__wrapped__(tmp_path / "root", tmp_path / "none") is False
