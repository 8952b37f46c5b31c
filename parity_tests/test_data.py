"""minigrad.utils.data against torch.utils.data: the same batches from the same draws, with workers and without.

A scenario is a function of the engine. It runs on minigrad and on torch, each seeded alike; what it returns (or the
class of what it raises) and the state of the default generator afterwards must be equal.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
import warnings
from collections import OrderedDict, UserDict, UserList, namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.data
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad
import minigrad.utils.data
from minigrad.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

Point = namedtuple("Point", "x y")

@pytest.fixture(scope="module", autouse=True)
def forking() -> Iterator[None]:
    """torch's workers are processes, which are given a test's local classes. From Python 3.14 on, they are not forks
    unless they are asked to be."""
    former = multiprocessing.get_start_method()
    multiprocessing.set_start_method("fork", force=True)
    yield
    multiprocessing.set_start_method(former, force=True)


# Each takes some 0.1 s an example.
forks = settings(max_examples=max(10, settings.default.max_examples // 5))


def plain(value: Any) -> Any:
    """A value without its engine: tensors as dtype, shape and numbers, containers with their class."""
    if isinstance(value, torch.Tensor | minigrad.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, np.ndarray | np.generic):
        return type(value), value.tolist()
    if isinstance(value, Mapping):
        return type(value), [(key, plain(value[key])) for key in value]
    if isinstance(value, list | tuple | UserList):
        return type(value), [plain(item) for item in value]
    return value


def outcome(engine: Any, scenario: Callable, *args: Any) -> tuple:
    engine.manual_seed(5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = plain(scenario(engine, *args))
        except Exception as error:
            result = type(error)
    # torch also warns of more workers than cores; threads may be more. And once in a process that lists of arrays are
    # slow to convert, a matter of its own speed; and of a str as an index, which both refuse. Python warns of forks.
    known = ("worker processes in total", "list of numpy.ndarrays is extremely slow", "Using a non-tuple sequence",
             "use of fork() may lead to deadlocks")
    warned = [w.category for w in caught if not any(text in str(w.message) for text in known)]
    return result, warned, engine.get_rng_state().numpy().tobytes()


def assert_same(scenario: Callable, *args: Any) -> None:
    assert outcome(minigrad, scenario, *args) == outcome(torch, scenario, *args)


# ---- DataLoader: batches and draws -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Plan:
    samples: str
    size: int
    order: str
    count: int  # num_samples, of the samplers that have it
    batch_size: int | None
    drop_last: bool
    seed: int | None  # of a generator of one's own
    epochs: list[int | None]  # how many batches are taken before the loop is left; None: all
    options: dict[str, Any]


def plans(**options: st.SearchStrategy) -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan,
        samples=st.sampled_from(["numbers", "tensors", "split", "joined"]),
        size=st.integers(1, 40),
        order=st.sampled_from(
            ["given", "shuffle", "random", "replacement", "subset", "weighted", "unweighted", "eager", "batches"]
        ),
        count=st.integers(1, 90),
        batch_size=st.none() | st.integers(1, 12),
        drop_last=st.booleans(),
        seed=st.none() | st.integers(0, 2**63),
        epochs=st.lists(st.none() | st.integers(0, 5), min_size=1, max_size=3),
        options=st.fixed_dictionaries(options),
    )


def dataset_of(engine: Any, plan: Plan, generator: Any) -> Any:
    data = engine.utils.data
    numbers = list(range(plan.size))
    if plan.samples == "numbers":
        return numbers
    if plan.samples == "split":
        return data.random_split(numbers, [0.75, 0.25], generator=generator or engine.default_generator)[0]
    if plan.samples == "joined":
        return data.Subset(numbers, numbers[1:]) + data.Subset(numbers, numbers[:1])
    x = engine.arange(float(2 * plan.size)).reshape(plan.size, 2)
    return data.TensorDataset(x, engine.arange(plan.size))


def sampler_of(engine: Any, plan: Plan, dataset: Any, generator: Any) -> dict:
    data, size = engine.utils.data, len(dataset)
    weights = [1.0 + i % 3 for i in range(size)]

    class Eager:
        """Draws when iteration begins, not when the first index is asked for."""

        def __iter__(self) -> Iterator[int]:
            return iter(engine.randperm(size, generator=generator).tolist())

        def __len__(self) -> int:
            return size

    match plan.order:
        case "given":
            return {}
        case "shuffle":
            return {"shuffle": True}
        case "random":
            return {"sampler": data.RandomSampler(dataset, num_samples=plan.count, generator=generator)}
        case "replacement":
            return {"sampler": data.RandomSampler(dataset, replacement=True, num_samples=plan.count)}
        case "subset":
            return {"sampler": data.SubsetRandomSampler(range(0, size, 2), generator=generator)}
        case "weighted":
            return {"sampler": data.WeightedRandomSampler(weights, plan.count, generator=generator)}
        case "unweighted":
            return {"sampler": data.WeightedRandomSampler(weights, size, replacement=False)}
        case "eager":
            return {"sampler": Eager()}
        case "batches":
            inner = data.SubsetRandomSampler(range(size), generator=generator)
            return {"batch_sampler": data.BatchSampler(inner, plan.batch_size or 1, plan.drop_last)}


def load(engine: Any, plan: Plan) -> list:
    generator = None if plan.seed is None else engine.Generator().manual_seed(plan.seed)
    dataset = dataset_of(engine, plan, generator)
    options = plan.options | sampler_of(engine, plan, dataset, generator)
    if "batch_sampler" not in options:
        options |= {"batch_size": plan.batch_size, "drop_last": plan.drop_last and plan.batch_size is not None}
    loader = engine.utils.data.DataLoader(dataset, generator=generator, **options)
    epochs = [list(islice(loader, take)) for take in plan.epochs]
    return [len(loader), epochs, generator and generator.get_state()]


@given(plans())
def test_loads_the_same_batches_from_the_same_draws(plan):
    assert_same(load, plan)


@forks
@given(
    plans(
        num_workers=st.integers(1, 3), prefetch_factor=st.none() | st.integers(1, 3), persistent_workers=st.booleans()
    )
)
def test_workers_change_neither_batches_nor_draws(plan):
    assert_same(load, plan)


def test_a_shuffled_epoch():
    """One example that can be read: a seed, and the order that it has always given."""
    minigrad.manual_seed(123)
    batches = [batch.tolist() for batch in DataLoader(range(6), batch_size=4, shuffle=True)]
    torch.manual_seed(123)
    assert batches == [batch.tolist() for batch in torch.utils.data.DataLoader(range(6), batch_size=4, shuffle=True)]
    assert sorted(chain(*batches)) == [0, 1, 2, 3, 4, 5]


# ---- arguments ---------------------------------------------------------------------------------------------------
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "batch_size": st.sampled_from([None, 1, 2, 0, -1, True, 1.5]),
            "shuffle": st.sampled_from([None, False, True]),
            "sampler": st.sampled_from([None, [2, 0, 1]]),
            "batch_sampler": st.sampled_from([None, [[2, 0], [1]]]),
            "num_workers": st.sampled_from([0, 0, -1]),
            "drop_last": st.sampled_from([False, True, 1]),
            "timeout": st.sampled_from([0, 1, -1]),
            "prefetch_factor": st.sampled_from([None, 2, -1]),
            "persistent_workers": st.booleans(),
            "multiprocessing_context": st.sampled_from([None, "fork"]),
            "pin_memory": st.booleans(),
        },
    ),
    st.sampled_from([[0, 1, 2], []]),
    st.booleans(),
)
def test_refuses_what_torch_refuses(options, numbers, stream):
    def scenario(engine):
        dataset = Stream(engine)(numbers, 1) if stream else numbers
        return list(engine.utils.data.DataLoader(dataset, **options))

    assert_same(scenario)


def Stream(engine: Any) -> type:
    class Stream(engine.utils.data.IterableDataset):
        """Some numbers, divided among the workers in one of two ways."""

        def __init__(self, numbers: list, shares: int, length: int | None = None):
            self.numbers, self.shares, self.length = numbers, shares, length

        def __iter__(self) -> Iterator:
            info = engine.utils.data.get_worker_info()
            return iter(self.numbers[info.id :: self.shares] if info else self.numbers)

        def __len__(self) -> int:
            if self.length is None:
                raise TypeError
            return self.length

    return Stream


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # torch's __del__, of what never began
@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": 1, "prefetch_factor": -1},
        {"num_workers": 1, "prefetch_factor": 0},
        {"num_workers": 1, "multiprocessing_context": "spoon"},
        {"num_workers": 1, "multiprocessing_context": 3},
    ],
    ids=str,
)
def test_refuses_wrong_options_for_workers(options):
    assert_same(lambda engine: list(engine.utils.data.DataLoader([1, 2], **options)))


@pytest.mark.parametrize(
    "name",
    [
        "batch_size",
        "batch_sampler",
        "sampler",
        "drop_last",
        "dataset",
        "persistent_workers",
        "collate_fn",
        "num_workers",
    ],
)
def test_what_may_be_set_afterwards(name):
    assert_same(lambda engine: setattr(engine.utils.data.DataLoader([1, 2]), name, None))


count = st.sampled_from([None, 0, -1, 1, 3, True, 2.0])
flag = st.sampled_from([True, False, None, 1])


@given(st.integers(0, 4), count, flag)
def test_samplers_refuse_what_torch_refuses(size, number, flag):
    for build in (
        lambda data: data.RandomSampler(range(size), flag, number),
        lambda data: data.WeightedRandomSampler([1.0] * size, number, flag),
        lambda data: data.WeightedRandomSampler([[1.0]] * size, 2),
        lambda data: data.BatchSampler(range(size), number, flag),
        lambda data: data.SequentialSampler(range(size)),
    ):

        def scenario(engine, build=build):
            sampler = build(engine.utils.data)
            return [len(sampler), list(sampler)]

        assert_same(scenario)


# ---- data sets ---------------------------------------------------------------------------------------------------
@given(
    st.integers(0, 30),
    st.lists(st.integers(0, 12), min_size=1, max_size=4)
    | st.lists(st.integers(0, 10).map(lambda tenths: tenths / 10), min_size=1, max_size=4)
    | st.sampled_from([[0.5, 0.5], [1 / 3, 1 / 3, 1 / 3], [0.7, 0.2, 0.1], [1.5, -0.5], [1], [0.3, 0.3, 0.4]]),
    st.booleans(),
)
def test_random_split(size, lengths, complete):
    if complete and all(isinstance(length, int) for length in lengths):
        size = sum(lengths)
    assert_same(lambda engine: [list(part) for part in engine.utils.data.random_split(range(size), lengths)])


@given(st.lists(st.integers(0, 4), max_size=4), st.integers(-20, 20))
def test_concatenated(lengths, index):
    def scenario(engine):
        whole = engine.utils.data.ConcatDataset(list(range(10 * i, 10 * i + n)) for i, n in enumerate(lengths))
        return [len(whole), whole[index]]

    assert_same(scenario)


@given(st.lists(st.integers(0, 4), max_size=3), st.booleans(), st.integers(0, 4))
def test_stacked(lengths, named, index):
    def scenario(engine):
        data = engine.utils.data
        columns = [data.Subset(list(range(10)), list(range(n))) for n in lengths]
        stacked = data.StackDataset(**dict(zip("abc", columns))) if named else data.StackDataset(*columns)
        return [len(stacked), stacked[index], list(data.DataLoader(stacked, batch_size=2))]

    assert_same(scenario)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=3))
def test_tensor_dataset(lengths):
    def scenario(engine):
        rows = engine.utils.data.TensorDataset(*(engine.arange(2.0 * n).reshape(n, 2) for n in lengths))
        return [len(rows), [rows[i] for i in range(len(rows))], rows[1:], rows[engine.tensor([0, 0])]]

    assert_same(scenario)


def test_what_data_sets_refuse():
    for scenario in (
        lambda engine: engine.utils.data.Dataset()[0],
        lambda engine: len(engine.utils.data.Dataset()),
        lambda engine: list(engine.utils.data.Sampler()),
        lambda engine: engine.utils.data.StackDataset(),
        lambda engine: engine.utils.data.StackDataset([1], a=[1]),
        lambda engine: engine.utils.data.ConcatDataset([Stream(engine)([], 1)]),
        lambda engine: list(engine.utils.data.ChainDataset([[1, 2]])),
        lambda engine: type("Sub", (engine.utils.data.Subset,), {"__getitem__": lambda self, i: 0})([1], [0]),
        lambda engine: list(Stream(engine)([1, 2], 1) + Stream(engine)([3], 1)),
        lambda engine: len(Stream(engine)([1, 2], 1, 2) + Stream(engine)([3], 1, 1)),
    ):
        assert_same(scenario)


@given(st.integers(0, 12), st.none() | st.integers(1, 5), st.booleans(), st.none() | st.integers(0, 8))
def test_streams(size, batch_size, drop_last, promised):
    def scenario(engine):
        dataset = Stream(engine)(list(range(size)), 1, promised)
        loader = engine.utils.data.DataLoader(dataset, batch_size, drop_last=drop_last)
        return [promised is not None and len(loader), list(loader), list(loader)]

    assert_same(scenario)


@forks
@given(
    st.integers(0, 12),
    st.none() | st.integers(1, 4),
    st.booleans(),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
)
def test_streams_of_workers(size, batch_size, drop_last, workers, shares, persistent):
    """Shares of unequal length, some empty: workers run out at different times, and the others go on in turn."""

    def scenario(engine):
        dataset = Stream(engine)(list(range(size)), shares)
        loader = engine.utils.data.DataLoader(
            dataset, batch_size, drop_last=drop_last, num_workers=workers, persistent_workers=persistent
        )
        return [list(loader), list(islice(loader, 1)), list(loader)]

    assert_same(scenario)


# ---- collating ---------------------------------------------------------------------------------------------------
# A kind of sample is the name of a leaf, or the name of a container with the kinds of its parts.
LEAVES: dict[str, Callable[[Any, np.random.Generator], Any]] = {
    "int": lambda engine, rng: int(rng.integers(-5, 5)),
    "float": lambda engine, rng: float(rng.normal()),
    "bool": lambda engine, rng: bool(rng.integers(2)),
    "str": lambda engine, rng: "ab"[rng.integers(2)],
    "bytes": lambda engine, rng: b"a",
    "None": lambda engine, rng: None,
    "int16": lambda engine, rng: np.int16(rng.integers(-5, 5)),
    "float32": lambda engine, rng: np.float32(rng.normal()),
    "float64": lambda engine, rng: np.float64(rng.normal()),
    "bool_": lambda engine, rng: np.bool_(rng.integers(2)),
    "str_": lambda engine, rng: np.str_("a"),
    "array": lambda engine, rng: rng.normal(size=(2, 1)),
    "array of int": lambda engine, rng: rng.integers(9, size=3),
    "array of no shape": lambda engine, rng: np.array(rng.normal()),
    "array of str": lambda engine, rng: np.array(["a"]),
    "array of objects": lambda engine, rng: np.array([None]),
    "tensor": lambda engine, rng: engine.tensor([[rng.normal()], [1.0]]),
    "tensor of int": lambda engine, rng: engine.tensor(int(rng.integers(9))),
    "ragged array": lambda engine, rng: np.zeros(rng.integers(1, 3)),
    "ragged list": lambda engine, rng: [0] * rng.integers(1, 3),
    "ragged dict": lambda engine, rng: {"a": 1, "b": 2} if rng.integers(2) else {"a": 1},
    "range": lambda engine, rng: range(3),
    "set": lambda engine, rng: {1, 2},
}
CONTAINERS: dict[str, Callable[[list], Any]] = {
    "tuple": tuple,
    "list": list,
    "UserList": UserList,
    "dict": lambda parts: dict(zip("pqr", parts)),
    "OrderedDict": lambda parts: OrderedDict(zip("pqr", parts)),
    "UserDict": lambda parts: UserDict(zip("pqr", parts)),
    "mapping": lambda parts: MappingProxyType(dict(zip("pqr", parts))),
    "Point": lambda parts: Point(*(parts * 2 or [0, 0])[:2]),
}
kinds = st.recursive(
    st.sampled_from(list(LEAVES)),
    lambda parts: st.tuples(st.sampled_from(list(CONTAINERS)), st.lists(parts, max_size=3)),
    max_leaves=4,
)


def sample_of(kind: Any, engine: Any, rng: np.random.Generator) -> Any:
    if isinstance(kind, str):
        return LEAVES[kind](engine, rng)
    container, parts = kind
    return CONTAINERS[container]([sample_of(part, engine, rng) for part in parts])


@given(kinds, st.integers(0, 3), st.integers(0, 99))
def test_collate(kind, size, seed):
    def scenario(engine):
        rng = np.random.default_rng(seed)
        return engine.utils.data.default_collate([sample_of(kind, engine, rng) for _ in range(size)])

    assert_same(scenario)


@given(st.lists(st.sampled_from(["tuple", "list", "dict", "mapping", *LEAVES]), min_size=1, max_size=3))
def test_collate_samples_that_do_not_match(mixed):
    def scenario(engine):
        rng = np.random.default_rng(0)
        samples = [CONTAINERS[k]([1]) if k in CONTAINERS else LEAVES[k](engine, rng) for k in mixed]
        return engine.utils.data.default_collate(samples)

    assert_same(scenario)


@given(kinds, st.integers(0, 99))
def test_convert(kind, seed):
    assert_same(lambda engine: engine.utils.data.default_convert(sample_of(kind, engine, np.random.default_rng(seed))))


def test_collate_keeps_the_attributes_of_a_container():
    class Labelled(dict):
        label = None

    sample = Labelled(x=1)
    sample.label = "kept"
    batch = minigrad.utils.data.default_collate([sample, Labelled(x=2)])
    assert type(batch) is Labelled and batch.label == "kept" and batch["x"].tolist() == [1, 2] and sample["x"] == 1


# ---- workers -----------------------------------------------------------------------------------------------------
class Slow(Dataset):
    """Sample i takes a while, another while for each i."""

    def __init__(self, size: int):
        self.size = size

    def __getitem__(self, i: int) -> int:
        time.sleep(0.001 * (7 * i % 5))
        return i

    def __len__(self) -> int:
        return self.size


def workers_alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("minigrad-data-worker")]


@given(st.integers(0, 30), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_batches_come_in_order_whichever_is_ready_first(size, batch_size, workers, prefetch, in_order):
    loader = DataLoader(Slow(size), batch_size, num_workers=workers, prefetch_factor=prefetch, in_order=in_order)
    assert list(chain(*(batch.tolist() for batch in loader))) == list(range(size))


@given(
    st.integers(1, 20), st.integers(0, 8), st.booleans(), st.sampled_from([None, "loop", "sample", "collate", "init"])
)
def test_no_thread_is_left_behind(size, stop, persistent, error):
    def fail(*args: Any) -> None:
        raise LookupError("on purpose")

    class Failing(Slow):
        __getitem__ = fail

    def run() -> None:
        loader = DataLoader(
            Failing(size) if error == "sample" else Slow(size),
            num_workers=2,
            collate_fn=fail if error == "collate" else None,
            worker_init_fn=fail if error == "init" else None,
            persistent_workers=persistent,
        )
        for i, _ in enumerate(loader):
            if i == stop:
                if error == "loop":
                    fail()
                break

    if error is None:
        run()
    elif error != "loop" or stop < size:
        with pytest.raises(LookupError, match="on purpose"):
            run()
    assert not workers_alive()


def test_no_thread_is_left_behind_by_an_iterator_that_fails_to_start():
    class Broken:
        def __init__(self):
            self.calls = 0

        def __iter__(self) -> Iterator[int]:
            self.calls += 1
            return iter([1]) if self.calls == 1 else 1 / 0

    with pytest.raises(ZeroDivisionError):
        iter(DataLoader([1, 2], None, num_workers=2, sampler=Broken()))
    assert not workers_alive()


def test_workers_persist_between_epochs_if_asked_to():
    for persistent in (False, True):
        loader = DataLoader(range(4), num_workers=2, persistent_workers=persistent)
        names = []
        for _ in range(2):
            list(islice(loader, 3))
            names.append({thread.ident for thread in workers_alive()})
        assert names[0] == names[1] and len(names[0]) == (2 if persistent else 0)
    del loader
    assert not workers_alive()


class Odd(Exception):
    def __init__(self, one: int, two: int):
        super().__init__(one, two)


@pytest.mark.parametrize(
    "error",
    [ValueError("bad"), KeyError("bad"), IndexError(), Odd(1, 2), UnicodeDecodeError("utf8", b"", 0, 1, "bad")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_in_a_worker_is_raised_again_and_loading_goes_on(error):
    def scenario(engine):
        class Failing(engine.utils.data.Dataset):
            def __getitem__(self, i: int) -> int:
                if i == 1:
                    raise error
                return i

            def __len__(self) -> int:
                return 4

        batches, seen = iter(engine.utils.data.DataLoader(Failing(), num_workers=2)), []
        while "StopIteration" not in seen:
            try:
                seen.append(next(batches))
            except StopIteration:
                seen.append("StopIteration")
            except Exception as caught:
                seen.append((type(caught), "__getitem__" in str(caught) and "raise error" in str(caught)))
        return seen

    assert_same(scenario)


def test_a_worker_that_exits_does_not_end_the_program():
    def leave(batch: list) -> None:
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match="Caught SystemExit in DataLoader worker thread 0"):
        list(DataLoader([1], num_workers=1, collate_fn=leave))


def test_the_error_of_a_worker_reads_well():
    def fail(batch: list) -> None:
        raise KeyError("missing")

    with pytest.raises(KeyError) as caught:
        next(iter(DataLoader([1], num_workers=1, collate_fn=fail)))
    lines = str(caught.value).splitlines()
    assert lines[0] == "Caught KeyError in DataLoader worker thread 0."
    assert lines[1] == "Original Traceback (most recent call last):"
    assert lines[-1] == "KeyError: 'missing'"


def test_a_worker_that_takes_too_long():
    with pytest.raises(RuntimeError, match=r"timed out after 0\.05 seconds"):
        list(DataLoader([0.3], num_workers=1, collate_fn=lambda batch: time.sleep(batch[0]), timeout=0.05))


@forks
@given(st.integers(1, 3), st.booleans(), st.integers(0, 2**63 - 1))
def test_workers_draw_what_torch_workers_draw(workers, persistent, seed):
    """From the default generator, in samples and in worker_init_fn; the main thread's stays as it is."""

    def scenario(engine):
        def init(worker: int) -> None:
            info = engine.utils.data.get_worker_info()
            info.dataset.shift = float(engine.rand(1)) + worker

        class Noisy(engine.utils.data.Dataset):
            shift = 0.0

            def __getitem__(self, i: int) -> Any:
                info = engine.utils.data.get_worker_info()
                start = [i, info.id, info.num_workers, self.shift, engine.initial_seed() == info.seed]
                return engine.tensor([*start, *engine.randn(20).tolist()])

            def __len__(self) -> int:
                return 7

        engine.manual_seed(seed)
        loader = engine.utils.data.DataLoader(
            Noisy(), 2, num_workers=workers, worker_init_fn=init, persistent_workers=persistent
        )
        return [list(islice(loader, 2)), engine.rand(3), list(loader), Noisy.shift]

    assert_same(scenario)


@pytest.mark.parametrize("enabled", [False, True])
def test_workers_record_gradients_if_the_reader_does(enabled):
    def scenario(engine):
        def collate(batch: list) -> bool:
            return engine.is_grad_enabled()

        with engine.set_grad_enabled(enabled):
            return list(engine.utils.data.DataLoader(range(3), num_workers=2, collate_fn=collate))

    assert_same(scenario)


def test_a_worker_whose_start_fails_fails_every_batch_and_every_epoch():
    def init(worker: int) -> None:
        if worker == 1:
            raise LookupError("no licence")

    loader, seen = DataLoader(range(4), num_workers=2, worker_init_fn=init, persistent_workers=True), []
    for _ in range(2):
        batches = iter(loader)
        for _ in range(4):
            try:
                seen.append(next(batches).item())
            except LookupError:
                seen.append("no licence")
    assert seen == 2 * [0, "no licence", 2, "no licence"]


def test_generators_of_a_worker_are_those_of_torch_workers():
    def ours(batch: list) -> list:
        rng = get_worker_info().rng
        return [rng.random_generator.random(), rng.numpy_generator.random(), minigrad.rand(1).item()]

    def theirs(batch: list) -> list:
        import random

        return [random.random(), np.random.random(), torch.rand(1).item()]

    minigrad.manual_seed(7)
    torch.manual_seed(7)
    assert list(DataLoader(range(4), num_workers=2, collate_fn=ours)) == list(
        torch.utils.data.DataLoader(range(4), num_workers=2, collate_fn=theirs)
    )
    assert get_worker_info() is None


def test_each_worker_has_its_own_copy_of_the_data_set():
    class Counter(IterableDataset):
        start = 0

        def __iter__(self) -> Iterator[int]:
            return iter(range(self.start, self.start + 2))

    def place(worker: int) -> None:
        get_worker_info().dataset.start = 10 * worker

    dataset = Counter()
    assert [x.item() for x in DataLoader(dataset, num_workers=2, worker_init_fn=place)] == [0, 10, 1, 11]
    assert dataset.start == 0
