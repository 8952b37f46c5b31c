"""Memory that the next step uses again: malloc's settings, and rooms for gradients that are too large for these."""

from __future__ import annotations

import gc
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.kernels import memory

F = minigrad.nn.functional


def test_memory_is_kept_by_glibc_alone(monkeypatch):
    """What is set is malloc's, and not against the user's will."""
    keep = memory.keep_freed_memory.__wrapped__
    if not sys.platform.startswith("linux"):
        assert not keep()
    monkeypatch.setenv("MINIGRAD_MALLOC", "system")
    assert not keep()


def _forget(how: str, model, optimizer) -> None:
    if how in ("optimizer", "module"):
        (optimizer if how == "optimizer" else model).zero_grad()
    for p in model.parameters():
        if how == "None":
            p.grad = None
        else:
            del p.grad


HOLD = {"nothing": lambda g: None, "the tensor": lambda g: g, "its memory": lambda g: g.detach(),
        "a view": lambda g: g[:1], "the array": lambda g: g.numpy(), "a buffer": lambda g: memoryview(g.numpy())}


class Tiny(minigrad.nn.Module):
    """Words, a layer, and the loss of the next word."""

    def __init__(self, tied: bool):
        super().__init__()
        self.words, self.inner = minigrad.nn.Embedding(11, 6), minigrad.nn.Linear(6, 6)
        self.head = minigrad.nn.Linear(6, 11, bias=False)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, ids, fused: bool):
        x = self.inner(self.words.weight[ids] if fused else self.words(ids))
        return (F.linear_cross_entropy(x, self.head.weight, ids.flip(0)) if fused else
                F.cross_entropy(self.head(x), ids.flip(0)))


@given(st.lists(st.tuples(st.sampled_from(["optimizer", "module", "None", "del"]), st.sampled_from(sorted(HOLD)),
                          st.booleans(), st.integers(1, 2)), min_size=1, max_size=4), st.booleans())
def test_gradients_may_lie_where_former_ones_lay(steps, tied):
    """With rooms for all gradients, as with none, a model learns the same; what somebody holds is not written over."""
    found = []
    for setting in ("", "system"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory, "LARGEST", 0)
            patch.setenv("MINIGRAD_MALLOC", setting)
            minigrad.manual_seed(0)
            model = Tiny(tied)
            optimizer, losses, held = minigrad.optim.AdamW(model.parameters(), lr=0.1), [], []
            for how, what, fused, times in steps:
                for _ in range(times):
                    loss = model(minigrad.randint(11, (7,)), fused)
                    loss.backward()
                losses.append(loss.item())
                optimizer.step()
                held += [(h, np.array(h)) for p in model.parameters() if (h := HOLD[what](p.grad)) is not None]
                _forget(how, model, optimizer)
                assert all(p.grad is None for p in model.parameters())
                assert not memory._rooms if setting else memory._rooms or what != "nothing"
            assert all(np.array_equal(h, then) for h, then in held)
            found.append((losses, [p.tolist() for p in model.parameters()]))
            del model, optimizer, held, loss
        gc.collect()
        assert not memory._rooms                             # they live no longer than the weights
    assert found[0] == found[1]


@pytest.mark.parametrize("fused", [True, False])
def test_a_large_gradient_is_written_where_the_last_one_was(monkeypatch, fused):
    monkeypatch.setattr(memory, "LARGEST", 0)
    model, places = Tiny(tied=False), []
    for _ in range(3):
        model(minigrad.arange(8), fused).backward()
        places.append({p.grad.data_ptr() for p in (model.words.weight, model.head.weight)})
        model.zero_grad()
    assert places[0] == places[1] == places[2]


def test_what_is_borrowed_is_given_back(monkeypatch):
    monkeypatch.setattr(memory, "LARGEST", 0)
    weights, room = np.zeros(12, np.float32), np.arange(12, dtype=np.float32)
    kind = room.shape, room.dtype
    assert memory.taken_room(*kind) is None
    memory.keep_room(np.zeros(13), weights)
    assert not memory._rooms                                 # nobody has asked for such a one
    memory.keep_room(room, weights)
    for shape, dtype, expected in [((2, 5), np.float32, True), ((13,), np.float32, False), ((3,), np.float64, False)]:
        with memory.borrowed(shape, np.dtype(dtype)) as x:
            assert (x.shape, x.dtype, np.shares_memory(x, room)) == (shape, dtype, expected)
            assert (not memory._rooms) == expected
    assert memory.zeros(*kind) is room and not room.any()
    assert memory.taken_room(*kind) is None
    memory.keep_room(room, weights)
    with memory.borrowed((3,), weights.dtype):
        del weights
    assert not memory._rooms


def test_a_room_is_not_given_back_after_an_error(monkeypatch):
    """A thread of the pool may be still at work in it."""
    monkeypatch.setattr(memory, "LARGEST", 0)
    weights = np.zeros(12, np.float32)
    assert memory.taken_room(weights.shape, weights.dtype) is None
    memory.keep_room(np.zeros_like(weights), weights)
    with pytest.raises(KeyboardInterrupt), memory.borrowed((3,), weights.dtype):
        raise KeyboardInterrupt
    assert not memory._rooms


def test_rooms_go_to_one_thread_each(monkeypatch, at_once):
    monkeypatch.setattr(memory, "LARGEST", 0)
    kind = (4,), np.dtype(np.float32)
    memory.taken_room(*kind)
    owners, twice = [np.zeros(*kind) for _ in range(3)], []
    for w in owners:
        memory.keep_room(np.zeros(*kind), w)

    def work(number: int) -> None:
        for i in range(2000):
            room = memory.taken_room(*kind)
            if room is not None:
                room.fill(number)
                with memory.borrowed((3,), kind[1]) as other:
                    other.fill(-1)
                    if (room != number).any():
                        twice.append(i)
                memory.keep_room(room, owners[i % 3])
    former = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        at_once([partial(work, n) for n in range(1, 5)])
    finally:
        sys.setswitchinterval(former)
    assert not twice
    owners.clear()
    del w
    assert not memory._rooms
