"""Work in blocks: small enough that a chain of NumPy's loops finds its operands in the cache, and spread over threads.

How work is cut depends on shapes alone, never on the number of threads, and what blocks add up is added in their order:
so results are the same to the bit with any number of threads.

NumPy lets go of the interpreter's lock inside its loops, so threads do run at once. There is one pool of them, made
when it is first needed, with one thread less than set_num_threads says: the caller works, too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue

import numpy as np

from ..host import get_num_threads, in_each_child
from ..modes import Quiet, mode
from . import blas
from .awake import keeper_for

BLOCK = 1 << 17            # elements, at most: a few such arrays of float32 fit in a second-level cache. Half as many
                           # take two threads as long as one, for after each pass both want the interpreter's lock
PASSES = 8                 # of NumPy's loops over each element, if nobody says otherwise
ALONE = 4 * BLOCK          # elements times passes: less is done by the caller, before another thread would wake up
AT_ONCE = 3                # products that are put aside: what more of them read would take memory


def block_rows(rows: int, width: int = 1, blocks: int = 1) -> int:
    """How many of the rows, each of `width` elements, are done at once: all, if they are no more than a block; else
    they are cut evenly, as nearly as may be into an even number of parts of at most that many blocks."""
    if rows * width <= BLOCK:
        return max(rows, 1)
    most = max(1, blocks * BLOCK // width)
    return -(-rows // (2 * -(-rows // (2 * most))))


def in_blocks(work: Callable[[int, int], None], rows: int, width: int = 1, blocks: int = 1,
              passes: int = PASSES) -> None:
    """work(start, stop) for consecutive blocks of rows, each of `width` elements; or for several blocks at once."""
    step = block_rows(rows, width, blocks)
    if rows <= step:
        return work(0, rows) if rows else None
    each(lambda start: work(start, min(start + step, rows)), range(0, rows, step), rows * width, passes)


def each(work: Callable, items: Iterable, size: int, passes: int = PASSES) -> None:
    """work(item) for every item, by the pool if there are several, and `size` elements in all make it worth while: of
    short work there is little to share, for the threads wait for the interpreter's lock."""
    items = list(items)
    threads = min(get_num_threads(), len(items))
    if threads < 2 or size * passes < max(ALONE, len(items) * ALONE // 4):
        for item in items:
            work(item)
    else:
        _pool().run(_Job(work, items), threads - 1)


# ---- on the side --------------------------------------------------------------------------------------------------

class Aside:
    """An array that is filled by a thread of the pool, or by whoever waits for it, if that comes first."""

    __slots__ = ("done", "ended", "error", "out", "process", "taken", "work")

    def __init__(self, work: Callable[[], object], out: np.ndarray):
        self.work, self.out, self.error = work, out, None
        self.process, self.done, self.ended, self.taken = os.getpid(), False, threading.Lock(), threading.RLock()
        self.ended.acquire()

    @property
    def shape(self) -> tuple:
        return self.out.shape

    @property
    def dtype(self) -> np.dtype:
        return self.out.dtype

    def help(self) -> None:
        """Fill it, unless another thread does. An interrupt may come at any moment: then whoever catches it waits
        again, which is why a thread may take what it has taken."""
        if self.taken.acquire(blocking=False) and not self.done:
            self.fill()

    def fill(self) -> None:
        try:
            self.work()
        except BaseException as error:           # whoever asks for the array raises it
            self.error = error
        finally:
            self.work = None                     # and what it holds: the array shall be its receiver's alone
            self.done = True
            self.ended.release()

    def wait(self) -> None:
        if self.process != os.getpid() and self.work is not None:            # who took it was the parent's thread
            self.fill()
        self.help()
        if not self.done:
            self.ended.acquire()

    def result(self) -> np.ndarray:
        """The array, which it gives away: to be asked for once."""
        self.wait()
        if self.error is not None:
            raise self.error
        out, self.out = self.out, None
        return out


class Side:
    """What a walk has put aside: products of matrices, which are made while it goes on with something else. Nobody may
    write to what they read before `wait` has returned, as it has at the walk's end.

    Two products at once, by one thread each, take no longer than one after the other by both, and whatever else there
    is to do fills the time that threads would wait for each other.

    BLAS multiplies with one thread from the first work that is put aside to the next `wait`, not just as long as that
    takes: the last bits of a product may depend on the number of threads, and must not depend on who is faster."""

    def __init__(self):
        self.running, self.single = [], blas.SingleThreaded()

    def put(self, work: Callable[[], object], out: np.ndarray) -> Aside:
        task, pool = Aside(work, out), _pool()
        if not self.running:
            self.single.start()
        self.running.append(task)
        pool.give(task)
        if len(self.running) > AT_ONCE:
            self.running[0].wait()
            del self.running[0]
        return task

    def wait(self) -> None:
        try:
            with Quiet():
                for task in self.running:
                    task.wait()
        finally:
            self.running.clear()
            self.single.end()


def is_busy() -> bool:
    """Whether other threads have products to make that this one has put aside."""
    return bool(mode.side) and bool(mode.side[0].running)


def put_aside(work: Callable[[], object], out: np.ndarray) -> Aside:
    """`out`, which work() will fill before this thread's walk ends."""
    if not mode.side:                            # most walks put nothing aside, and are short
        mode.side.append(Side())
    return mode.side[0].put(work, out)


def finished(x):
    """What is not on its way any more."""
    return x.result() if isinstance(x, Aside) else x


# ---- the pool -----------------------------------------------------------------------------------------------------

class _Job:
    """Items that several threads take from, until none is left or one fails."""

    def __init__(self, work: Callable, items: list):
        self.work, self.items, self.lock = work, iter(items), threading.Lock()
        self.helpers, self.closed, self.finished, self.error = 0, False, threading.Lock(), None
        self.finished.acquire()

    def take_part(self) -> None:
        while True:
            with self.lock:
                item = next(self.items, self) if self.error is None else self
            if item is self:
                return
            try:
                self.work(item)
            except BaseException as error:       # the caller raises it
                self.error = self.error or error

    def help(self) -> None:
        with self.lock:
            if self.closed:                      # came too late: all is done
                return
            self.helpers += 1
        self.take_part()
        with self.lock:
            self.helpers -= 1
            if self.closed and not self.helpers:
                self.finished.release()

    def lead(self) -> None:
        self.take_part()
        with self.lock:
            self.closed = True
            waiting = self.helpers > 0
        if waiting:
            self.finished.acquire()
        if self.error is not None:
            raise self.error


class _Pool:
    """Threads that wait for jobs. They end with the program, or when the pool is closed."""

    def __init__(self, size: int):
        self.size, self.jobs = size, SimpleQueue()
        self.keeper = keeper_for(size + 1)
        for _ in range(size):
            threading.Thread(target=_serve, args=(self.jobs,), name="minigrad", daemon=True).start()

    def give(self, job: _Job | Aside) -> None:
        if self.keeper is not None:
            self.keeper.stay()
        self.jobs.put(job)

    def run(self, job: _Job, helpers: int) -> None:
        with blas.SingleThreaded():              # else each of our threads would wait for BLAS's
            for _ in range(min(helpers, self.size)):
                self.give(job)
            job.lead()

    def close(self) -> None:
        if self.keeper is not None:
            self.keeper.close()
        for _ in range(self.size):
            self.jobs.put(None)


def _serve(jobs: SimpleQueue) -> None:
    with Quiet():
        while (job := jobs.get()) is not None:
            job.help()
            del job                              # or it, and the arrays it holds, would live until the next one comes


_current: _Pool | None = None
_making = threading.Lock()


def _pool() -> _Pool:
    """The pool, of the right size."""
    global _current
    if not _fits(pool := _current):
        with _making:
            if not _fits(pool := _current):      # else somebody else has just made it
                pool, former = _Pool(get_num_threads() - 1), pool
                if former is not None:
                    former.close()
                _current = pool
    return pool


def _fits(pool: _Pool | None) -> bool:
    return pool is not None and pool.size == get_num_threads() - 1


@in_each_child
def _forget_pool() -> None:
    """The parent's pool has no threads here; one of its other threads may have been about to make another."""
    global _current, _making
    _current, _making = None, threading.Lock()
