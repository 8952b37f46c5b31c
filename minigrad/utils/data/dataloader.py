"""DataLoader: batches of a data set, in the order and from the random draws of torch's."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import cycle, islice, repeat
from math import ceil
from queue import Empty
from typing import Any, Generic, TypeVar

from ...random import Generator
from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset, fetch
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, draw_seed
from .worker import EXHAUSTED, RESTART, Failure, Worker

T = TypeVar("T")


class _Endless(Sampler[None]):
    """Which sample of a stream? The next. The stream itself says when to stop."""

    def __iter__(self) -> Iterator[None]:
        return repeat(None)


class DataLoader(Generic[T]):
    """Batches of a data set: `for batch in DataLoader(dataset, batch_size=8, shuffle=True): ...`

    The arguments are torch's. Workers are threads (see `worker.py`), so `multiprocessing_context` is checked and not
    used, `pin_memory` has nothing to pin, and batches come in order whatever `in_order` says.
    """

    _initialized = False

    def __init__(
        self,
        dataset: Dataset[T],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[list] | Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[T]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ):
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to load without workers")
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError("prefetch_factor is for workers: set num_workers > 0, or leave prefetch_factor at None")
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        _check_context(multiprocessing_context, num_workers)

        iterable = isinstance(dataset, IterableDataset)
        if iterable:
            for option, value in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
                if value is not None:
                    raise ValueError(f"DataLoader with IterableDataset: expected unspecified {option} option, "
                                     f"but got {option}={value}")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError("batch_sampler option is mutually exclusive with "
                                 "batch_size, shuffle, sampler, and drop_last")
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")

        if sampler is None:
            if iterable:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate

        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.collate_fn = collate_fn
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self._promised_length = None      # of a stream, once len() was asked for
        self._iterator = None             # kept between epochs for persistent workers
        self._initialized = True

    def __setattr__(self, name: str, value: object) -> None:
        if self._initialized and name in ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset",
                                          "persistent_workers"):
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    @property
    def _index_sampler(self) -> Sampler | Iterable:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __iter__(self) -> Iterator:
        if self.num_workers == 0:
            return _SerialIterator(self)
        if not self.persistent_workers:
            return _ThreadedIterator(self)
        if self._iterator is None:
            self._iterator = _ThreadedIterator(self)
        else:
            self._iterator.restart(self)
        return self._iterator

    def __len__(self) -> int:
        if not isinstance(self.dataset, IterableDataset):
            return len(self._index_sampler)
        length = self._promised_length = len(self.dataset)
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else ceil(length / self.batch_size)


def _check_context(context: Any, num_workers: int) -> None:
    if context is None:
        return
    import multiprocessing  # not at the top: it takes a while to import, and few programs need it

    if num_workers == 0:
        raise ValueError("multiprocessing_context can only be used with num_workers > 0, but got num_workers=0")
    methods = multiprocessing.get_all_start_methods()
    if isinstance(context, str):
        if context not in methods:
            raise ValueError(f"multiprocessing_context option should specify a valid start method in {methods!r}, "
                             f"but got multiprocessing_context={context!r}")
    elif not isinstance(context, multiprocessing.context.BaseContext):
        raise TypeError("multiprocessing_context option should be a valid context object or a string specifying the "
                        f"start method, but got multiprocessing_context={context}")


# ---- from indices to a batch -------------------------------------------------------------------------------------
def _make_fetch(dataset: Dataset, batched: bool, drop_last: bool, collate: Callable) -> Callable:
    """A function from an index, or a list of them if `batched`, to a batch."""
    if not isinstance(dataset, IterableDataset):
        if batched:
            return lambda indices: collate(fetch(dataset, indices))
        return lambda index: collate(dataset[index])

    stream = iter(dataset)

    def following(indices: list | None) -> Any:
        nonlocal stream
        if not batched:
            return collate(next(stream))
        samples = list(islice(stream, len(indices)))
        if short := len(samples) < len(indices):
            stream = iter(())                     # it has ended, and is not asked again
        if not samples or (short and drop_last):
            raise StopIteration
        return collate(samples)

    return following


class _Iterator:
    """One epoch of indices, and torch's draws: what iterating with and without workers have in common."""

    def __init__(self, loader: DataLoader):
        if loader.pin_memory:
            warnings.warn("'pin_memory' argument is set as true but no accelerator is found, then device pinned memory "
                          "won't be used.", stacklevel=4)
        self._begin(loader)
        self._base_seed = draw_seed(loader.generator)   # of use to workers only, but drawn without them too

    def _begin(self, loader: DataLoader) -> None:
        self._dataset = loader.dataset
        self._sampler = loader._index_sampler
        self._indices = iter(self._sampler)
        self._promised_length, self._yielded = loader._promised_length, 0

    def __iter__(self) -> Iterator:
        return self

    def __len__(self) -> int:
        return len(self._sampler)

    def __next__(self) -> Any:
        batch = self._next()
        self._yielded += 1
        if self._promised_length is not None and self._yielded > self._promised_length:
            warnings.warn(f"Length of IterableDataset {self._dataset} was reported to be {self._promised_length} (when "
                          f"accessing len(dataloader)), but {self._yielded} samples have been fetched. A stream that "
                          "workers read has to be divided among them: see get_worker_info.", stacklevel=2)
        return batch


class _SerialIterator(_Iterator):
    def __init__(self, loader: DataLoader):
        super().__init__(loader)
        if loader.timeout != 0:
            raise AssertionError(f"a timeout is for workers: with num_workers=0 it must be 0, got {loader.timeout}")
        self._fetch = _make_fetch(loader.dataset, loader.batch_sampler is not None, loader.drop_last, loader.collate_fn)

    def _next(self) -> Any:
        return self._fetch(next(self._indices))


class _ThreadedIterator(_Iterator):
    """Deals indices out to the workers in turn and collects their answers in the same order.

    `_pending` holds, for every index given out, the worker it went to. A worker answers in order, so its next answer
    belongs to its first place in `_pending`.
    """

    def __init__(self, loader: DataLoader):
        super().__init__(loader)
        if loader.prefetch_factor == 0:
            raise AssertionError("prefetch_factor must be greater than 0 with num_workers > 0")
        self._timeout, self._persistent = loader.timeout, loader.persistent_workers
        self._workers: list[Worker] = []
        # Runs when the last batch is out, when the iterator is dropped half-way, or at exit, whichever comes first.
        self._dismiss = weakref.finalize(self, _dismiss, self._workers)
        make_fetch = partial(_make_fetch, batched=loader.batch_sampler is not None, drop_last=loader.drop_last,
                             collate=loader.collate_fn)
        for id in range(loader.num_workers):
            worker = Worker(id, loader.num_workers, self._base_seed, loader.dataset, make_fetch, loader.worker_init_fn)
            worker.start()
            self._workers.append(worker)
        self._prefetch = loader.prefetch_factor * loader.num_workers
        self._begin(loader)             # a second time, as in torch: it shows if a sampler draws in its __iter__
        self._deal_first()

    def _deal_first(self) -> None:
        self._pending: deque[Worker] = deque()
        self._exhausted: set[Worker] = set()
        self._turns = cycle(self._workers)
        for _ in range(self._prefetch):
            self._deal()

    def restart(self, loader: DataLoader) -> None:
        """Another epoch with the same workers, once they are through with what is left of the last one."""
        self._begin(loader)
        while self._pending:
            self._receive()
        for worker in self._workers:
            worker.inbox.put(RESTART)
        self._deal_first()

    def _deal(self) -> None:
        """Give the next index to the next worker whose stream, if it reads one, has not ended."""
        try:
            index = next(self._indices)
        except StopIteration:
            return
        for worker in islice(self._turns, len(self._workers)):
            if worker not in self._exhausted:
                worker.inbox.put(index)
                self._pending.append(worker)
                return

    def _receive(self) -> tuple[Worker, Any]:
        worker = self._pending[0]
        try:
            answer = worker.outbox.get(timeout=self._timeout or None)
        except Empty:
            raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds") from None
        return self._pending.popleft(), answer

    def _next(self) -> Any:
        while self._pending:
            worker, answer = self._receive()
            if answer is EXHAUSTED:
                self._exhausted.add(worker)
            self._deal()
            if isinstance(answer, Failure):
                raise answer.exception()
            if answer is not EXHAUSTED:
                return answer
        if not self._persistent:
            self._dismiss()
        raise StopIteration


def _dismiss(workers: list[Worker]) -> None:
    for worker in workers:
        worker.discharge()
    for worker in workers:
        if worker is not threading.current_thread():    # garbage may be collected by a worker
            worker.join(timeout=5)                      # one that hangs must not hold up the program
