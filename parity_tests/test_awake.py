"""Processors kept awake: by threads that others may push aside, for no longer than there is work, and not at all where
that has a price."""

import os
import sys
import threading
import time

import pytest

import minigrad
from minigrad.kernels import awake, blocks

linux = pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="only Linux has idle threads")
PROCESSORS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def idle() -> list[set[int]]:
    """Of each idle thread of this process: the processors that it may run on."""
    found = []
    for thread in os.listdir("/proc/self/task"):
        try:
            if os.sched_getscheduler(int(thread)) == os.SCHED_IDLE:
                found.append(os.sched_getaffinity(int(thread)))
        except ProcessLookupError:               # it has just ended
            continue
    return found


def keepers() -> int:
    return sum(t.name == "minigrad-awake" for t in threading.enumerate())


def wait_until(true, seconds: float = 20.0) -> bool:
    """On a busy machine an idle thread needs a while to end."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def idle_at_work(keeper: awake.Keeper) -> list[set[int]]:
    """Those that are there while work goes on: once it is one for each processor, or after a while."""
    for _ in range(1000):
        keeper.stay()
        time.sleep(awake.LINGER / 10)
        if (found := sorted(idle(), key=min)) == [{p} for p in PROCESSORS]:
            break
    return found


@pytest.fixture
def keeper():
    former = keepers()
    assert wait_until(lambda: not idle())
    keeper = awake.Keeper(PROCESSORS)
    yield keeper
    keeper.close()
    assert wait_until(lambda: keepers() <= former and not idle())


@linux
def test_it_runs_while_there_is_work(keeper):
    for _ in range(3):
        assert wait_until(lambda: not idle())
        assert idle_at_work(keeper) == [{p} for p in PROCESSORS], "on every processor somebody waits"
        assert os.sched_getscheduler(0) == os.SCHED_OTHER and os.sched_getaffinity(0) == set(PROCESSORS)


@linux
def test_closed_at_any_moment():
    """Also while another thread has the interpreter's lock, for as long as it is given it."""
    former, done = keepers(), threading.Event()

    def work():
        while not done.is_set():
            pass
    busy = threading.Thread(target=work)
    busy.start()
    for i in range(20):
        keeper = awake.Keeper(PROCESSORS)
        keeper.stay()
        time.sleep(awake.LINGER * i / 10)
        keeper.close()
    done.set()
    busy.join()
    assert wait_until(lambda: keepers() <= former and not idle())


@linux
def test_where_idle_threads_are_forbidden():
    keeper = awake.Keeper([100_000, *PROCESSORS])                   # there is no such processor
    assert idle_at_work(keeper) == [{p} for p in PROCESSORS]
    keeper.close()
    assert wait_until(lambda: not idle())


@linux
def test_the_pool_asks_for_it(monkeypatch):
    calls = []

    class Counted:
        stay = staticmethod(lambda: calls.append("stay"))
        close = staticmethod(lambda: calls.append("close"))
    former = minigrad.get_num_threads()
    monkeypatch.setattr(blocks, "keeper_for", lambda threads: Counted)
    try:
        minigrad.set_num_threads(5)              # a pool of another size than any before
        for expected in (1, 2):
            blocks.each(lambda i: None, range(10), blocks.ALONE * 10)
            assert calls.count("stay") >= expected and "close" not in calls
        minigrad.set_num_threads(2)
        blocks.each(lambda i: None, range(10), blocks.ALONE * 10)
        assert calls.count("close") == 1
    finally:
        monkeypatch.undo()
        minigrad.set_num_threads(3)              # the next pool has a keeper of its own
        blocks.each(lambda i: None, range(10), blocks.ALONE * 10)
        minigrad.set_num_threads(former)


@linux
def test_where_no_thread_can_be_started(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert awake.keeper_for(len(PROCESSORS)) is None


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
    ({"a/b/cpu.max": "\xff\0 max"}, True),
])
def test_a_quota_is_found_in_every_layout(tmp_path, files, expected):
    own = tmp_path / "own"
    own.write_text("4:memory:/elsewhere\n1:cpu,cpuacct:/a/b\n0::/a/b\n")
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    assert awake._has_quota.__wrapped__(tmp_path / "root", own) is expected


@pytest.mark.parametrize("text", [b"", b"\n", b"0::/\xff", b"0::/../..", b"no colons", b":", b"0::/a\0b",
                                  b"0::/" + b"a" * 5000])
def test_odd_groups_have_no_quota(tmp_path, text):
    (tmp_path / "own").write_bytes(text)
    for own in (tmp_path / "own", tmp_path / "none"):
        assert awake._has_quota.__wrapped__(tmp_path / "root", own) is False
