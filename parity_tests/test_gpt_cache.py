"""The cache of keys and values: what it holds, and that no logits change by it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpt

from .test_gpt2 import ENGINES, TINY, engines, problems


@engines
@given(problem=problems(), data=st.data())
def test_the_cache_changes_nothing(engine, problem, data):
    """Fed in pieces of any length, to rows padded by any numbers, each row's logits are those of its text alone."""
    t, (config, ids) = ENGINES[engine], problem
    t.set_default_dtype(t.float64)
    model, (B, T) = gpt.build(config, engine=engine).eval(), ids.shape
    T -= 1
    ids = ids[:, :T]
    starts = data.draw(st.none() | st.lists(st.integers(0, T - 1), min_size=B, max_size=B))
    cuts = sorted(data.draw(st.sets(st.integers(1, T))) | {0, T})
    cache = model.new_cache(B, capacity=data.draw(st.integers(T, T + 3)), starts=starts)
    with t.no_grad():
        pieces = [model(t.tensor(ids[:, a:b]), cache=cache) for a, b in pairwise(cuts)]
        logits = t.cat(pieces, dim=1).numpy()
        for row in range(B):
            start = starts[row] if starts else 0
            alone = model(t.tensor(ids[row:row + 1, start:])).numpy()[0]
            np.testing.assert_allclose(logits[row, start:], alone, rtol=1e-9, atol=1e-10)
        assert np.isfinite(logits).all()                             # at pads, too
        assert cache.length == T

        rewound = data.draw(st.integers(0, T - 1))
        cache.length = rewound
        again = model(t.tensor(ids[:, rewound:]), cache=cache).numpy()
        np.testing.assert_allclose(again, logits[:, rewound:], rtol=1e-9, atol=1e-10)
        cache.reset(starts)
        np.testing.assert_allclose(model(t.tensor(ids), cache=cache).numpy(), logits, rtol=1e-9, atol=1e-10)


@engines
def test_the_cache_is_taken_once_and_not_copied(engine):
    t, model = ENGINES[engine], gpt.build(TINY, engine=engine).eval()
    cache = model.new_cache(2)
    assert repr(cache) == "KVCache(layers=2, batch=2, heads=3, filled=0/8, head_dim=4)"
    assert cache.keys[0].shape == (2, 3, 8, 4)                       # (B, H, S, D)
    before = [x.data_ptr() for x in (*cache.keys, *cache.values)]
    with t.no_grad():
        keys, values = cache.append(1, t.ones(2, 3, 5, 4), t.ones(2, 3, 5, 4))
        assert (keys.data_ptr(), values.data_ptr()) == (cache.keys[1].data_ptr(), cache.values[1].data_ptr())
        model(t.zeros((2, 3), dtype=t.int64), cache=cache)
        model(t.zeros((2, 1), dtype=t.int64), cache=cache)
    assert [x.data_ptr() for x in (*cache.keys, *cache.values)] == before
    assert cache.length == 4


@engines
def test_one_token_needs_no_mask(engine):
    t, cache = ENGINES[engine], gpt.build(TINY, engine=engine).new_cache()
    assert cache.extend(8)[1] is None                                # the first ones: causal
    cache.length = 5
    positions, mask = cache.extend(1)
    assert (positions.tolist(), mask) == ([5], None)
    assert cache.extend(2)[1].tolist() == [[True] * 6 + [False], [True] * 7]
    assert t.equal(cache.extend(3)[0], t.arange(5, 8))


@engines
def test_what_the_cache_refuses(engine):
    t, model = ENGINES[engine], gpt.build(TINY, engine=engine).eval()
    ids = t.zeros((1, 4), dtype=t.int64)
    with t.no_grad():
        cache = model.new_cache(capacity=6)
        model(ids, cache=cache)
        with pytest.raises(ValueError, match="holds 6 positions, 4 of them filled: there is no room for 4 more"):
            model(ids, cache=cache)
        with pytest.raises(IndexError):
            model(ids[:, :1] + 99, cache=cache)
        assert cache.length == 4                                     # what failed left no trace
        cache = model.new_cache(capacity=100)
        model(t.zeros((1, 7), dtype=t.int64), cache=cache)
        with pytest.raises(ValueError, match="2 tokens after 7 are more than the context's 8"):
            model(ids[:, :2], cache=cache)
    with pytest.raises(ValueError, match=r"starts must have shape \(2,\), .* not \(3,\)"):
        model.new_cache(2, starts=[0, 1, 2])
    with pytest.raises(ValueError, match=r"a cache of 2 rows, and ids of 1"):
        model(ids, cache=model.new_cache(2))
