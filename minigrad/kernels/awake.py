"""Processors of a virtual machine, kept awake while threads hand work to each other.

A thread that waits lets its processor go idle. A virtual machine gives an idle processor back to its host, which may be
late to return it, by more than a product of small matrices takes. OpenMP's threads never let go of theirs: they ask for
work over and over. Those of our pool cannot, for each question takes the interpreter's lock.

So each processor gets one more thread, of the priority of idle ones: it runs only while nobody else of the same session
or control group wants to. It never runs Python, where it could be pushed aside with the interpreter's lock in its
hands: all it does is to wait for a lock of the kind that is asked for over and over, in C. A keeper makes these threads
when there is work, and opens their locks, at which they end, soon after the last.

Measured with 2 processors of an Intel Xeon at 2.5 GHz in a Firecracker machine, 2026-11-22, against torch in the same
run: while the host is busy, a training step of `bench train` takes 1.6 times torch's in place of 3.4 (char) and 1.1 in
place of 1.5 to 1.8 (small); while it is not, it takes as long as without.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from functools import cache
from pathlib import Path
from time import monotonic, sleep

LINGER = 0.05              # seconds after the last work
MOST = 8                   # processors: more have not been measured
BITS = 8 * ctypes.sizeof(ctypes.c_ulong)
NEEDED = "pthread_create", "pthread_join", "pthread_setaffinity_np", "pthread_setschedparam", "pthread_spin_lock"


class Keeper:
    """Makes idle threads at `stay`, and ends them when nobody has called it for a while."""

    def __init__(self, processors: list[int]):
        self.until, self.wanted, self.open, self.processors = 0.0, threading.Event(), True, processors
        self.words = (ctypes.c_int * len(processors))()
        self.locks = [ctypes.byref(self.words, i * ctypes.sizeof(ctypes.c_int)) for i in range(len(processors))]
        for lock in self.locks:
            _libc().pthread_spin_init(lock, 0)
            _libc().pthread_spin_lock(lock)
        threading.Thread(target=self._keep, name="minigrad-awake", daemon=True).start()

    def stay(self) -> None:
        self.until = monotonic() + LINGER
        if not self.wanted.is_set():
            self.wanted.set()

    def close(self) -> None:
        self.open, self.until = False, 0.0
        self.wanted.set()

    def _keep(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())     # which idle threads inherit
        while self.open:
            self.wanted.wait()
            idle = [(lock, thread) for lock, processor in zip(self.locks, self.processors, strict=True)
                    if (thread := _wait_for(lock, processor)) is not None]
            while (left := self.until - monotonic()) > 0:
                sleep(left)
            self.wanted.clear()
            for lock, _ in idle:
                _libc().pthread_spin_unlock(lock)
            for _, thread in idle:
                _join(thread)


def _wait_for(lock, processor: int) -> ctypes.c_ulong | None:
    """An idle thread on this processor. It ends once it has the lock, and leaves it taken for the next one."""
    libc, thread, mask = _libc(), ctypes.c_ulong(), (ctypes.c_ulong * (processor // BITS + 1))()
    mask[processor // BITS] = 1 << processor % BITS
    if libc.pthread_create(ctypes.byref(thread), None, libc.pthread_spin_lock, lock):
        return None
    if (libc.pthread_setschedparam(thread, os.SCHED_IDLE, ctypes.byref(ctypes.c_int(0)))
            or libc.pthread_setaffinity_np(thread, ctypes.c_size_t(ctypes.sizeof(mask)), mask)):
        libc.pthread_spin_unlock(lock)           # forbidden: then it would be in the way
        _join(thread)
        return None
    return thread


@cache
def _libc() -> ctypes.PyDLL:
    """Functions that return at once, and are not worth to let go of the interpreter's lock."""
    return ctypes.PyDLL(None)


def _join(thread: ctypes.c_ulong) -> None:
    ctypes.CDLL(None).pthread_join(thread, None)


def keeper_for(threads: int) -> Keeper | None:
    """Of all processors, if so many threads use them all; or None where that has no use, or a price. What
    OMP_WAIT_POLICY tells OpenMP of waiting, active or passive, counts here too."""
    policy = os.environ.get("OMP_WAIT_POLICY", "").strip().lower()
    if not sys.platform.startswith("linux") or policy == "passive" or not all(hasattr(_libc(), n) for n in NEEDED):
        return None
    processors = sorted(os.sched_getaffinity(0))
    if not 1 < len(processors) <= min(threads, MOST) or policy != "active" and (not _is_virtual() or _has_quota()):
        return None
    try:
        return Keeper(processors)
    except RuntimeError:                         # no more threads can be started
        return None


@cache
def _is_virtual() -> bool:
    return " hypervisor" in _text(Path("/proc/cpuinfo"))


@cache
def _has_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> bool:
    """Whether the group of this process, or one around it, may use only so much time: idle threads' counts, too."""
    for line in _text(own).split("\n"):
        group = Path(line.split(":", 2)[-1].lstrip("/"))
        for inside in (group, *group.parents):
            for file in (root / inside / "cpu.max", root / "unified" / inside / "cpu.max",
                         root / "cpu" / inside / "cpu.cfs_quota_us"):
                if _text(file).split()[:1] not in ([], ["max"], ["-1"]):
                    return True
    return False


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "surrogateescape")
    except (OSError, ValueError):                # there is none, or there cannot be one of this name
        return ""
