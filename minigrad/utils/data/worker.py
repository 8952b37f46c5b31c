"""A worker: a thread that turns indices into batches, for a DataLoader with num_workers > 0.

Threads see one memory: what torch ships between processes is simply handed over here, and NumPy gives up the
interpreter's lock while it works. Every worker has its own shallow copy of the data set and its own random numbers,
which are those of torch's worker with the same id. The global generators of `random` and `numpy.random` are not a
worker's own; `get_worker_info().rng` has a pair that is, seeded as torch seeds a worker's.
"""

from __future__ import annotations

import copy
import random
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np

from ...modes import is_grad_enabled, set_grad_enabled
from ...random import Generator, thread_generator
from .dataset import Dataset, IterableDataset


@dataclass(frozen=True, slots=True)
class WorkerRNG:
    """Generators that belong to one worker."""

    random_generator: random.Random
    torch_generator: Generator                    # what the worker draws from by default, too
    numpy_generator: np.random.RandomState

    @classmethod
    def seeded(cls, base_seed: int, worker: int) -> WorkerRNG:
        seed = base_seed + worker
        words = np.random.SeedSequence([worker, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]).generate_state(4)
        return cls(random.Random(seed), Generator().manual_seed(seed), np.random.RandomState(words))


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Which worker this is, of how many, and what it works with."""

    id: int
    num_workers: int
    seed: int
    dataset: Dataset
    rng: WorkerRNG
    worker_method: str = "thread"


_here = threading.local()


def get_worker_info() -> WorkerInfo | None:
    """The worker that this code runs in; None outside of workers."""
    return getattr(_here, "info", None)


RESTART = object()      # a request: read the data set from its beginning again; it has no answer
STOP = object()         # a request: come home; it has no answer either (None would not do: it asks a stream for more)
EXHAUSTED = object()    # an answer: the stream has ended


class Failure:
    """An exception of a worker, to be raised again where the batch was asked for.

    Its class is kept and its traceback becomes text, as torch does between processes. (The exception itself would keep
    the frames of the worker, and all that they hold, alive.)
    """

    def __init__(self, error: BaseException, where: str):
        self._type = type(error)
        self._message = f"Caught {self._type.__name__} {where}.\nOriginal {''.join(traceback.format_exception(error))}"

    def exception(self) -> Exception:
        # SystemExit and its like end the worker, not the program that reads from it.
        kind = self._type if issubclass(self._type, Exception) else RuntimeError
        try:
            return kind(_ReadableKey(self._message) if kind is KeyError else self._message)
        except Exception:                               # it wants other arguments than a message
            return RuntimeError(self._message)


class _ReadableKey(str):
    """KeyError prints the repr of its argument; this one keeps its line breaks."""

    __slots__ = ()
    __repr__ = str.__str__


class Worker(threading.Thread):
    """Answers every index in its inbox with a batch, a Failure or EXHAUSTED in its outbox, first come, first served.

    It holds no reference to the DataLoader or its iterator, or neither would ever be freed.
    """

    def __init__(self, id: int, num_workers: int, base_seed: int, dataset: Dataset,
                 make_fetch: Callable[[Dataset], Callable], init: Callable[[int], None] | None):
        super().__init__(name=f"minigrad-data-worker-{id}", daemon=True)
        own = copy.copy(dataset) if isinstance(dataset, Dataset) else dataset
        self._info = WorkerInfo(id, num_workers, base_seed + id, own, WorkerRNG.seeded(base_seed, id))
        self._make_fetch, self._init = make_fetch, init
        self._grad = is_grad_enabled()        # as it is for whoever iterates
        self._discharged = False
        self.inbox, self.outbox = SimpleQueue(), SimpleQueue()

    def run(self) -> None:
        _here.info = self._info
        with thread_generator(self._info.rng.torch_generator), set_grad_enabled(self._grad):
            fetch = self._guarded(self._start)
            while (request := self.inbox.get()) is not STOP and not self._discharged:
                failed = isinstance(fetch, Failure)
                if request is not RESTART:
                    self.outbox.put(fetch if failed else self._guarded(fetch, request))
                elif not failed:
                    fetch = self._guarded(self._make_fetch, self._info.dataset)

    def _start(self) -> Callable:
        if self._init is not None:
            self._init(self._info.id)
        return self._make_fetch(self._info.dataset)

    def _guarded(self, f: Callable, *args: Any) -> Any:
        try:
            return f(*args)
        except BaseException as error:
            if isinstance(error, StopIteration) and isinstance(self._info.dataset, IterableDataset):
                return EXHAUSTED
            return Failure(error, f"in DataLoader worker thread {self._info.id}")

    def discharge(self) -> None:
        """Have it finish the batch in hand, and nothing more."""
        self._discharged = True
        self.inbox.put(STOP)
