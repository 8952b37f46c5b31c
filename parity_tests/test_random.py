"""The random stream against torch's, bit for bit, and the generator's state after every draw."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigrad.random import Generator

DTYPES = {torch.float16: np.float16, torch.float32: np.float32, torch.float64: np.float64}
BLOCK = 1 << 15                                        # the kernels' block size: what is larger takes several

floating = st.sampled_from(list(DTYPES))
seeds = st.integers(-2**63, 2**64 - 1) | st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1, -1])
sizes = st.sampled_from([0, 1, 2, 15, 16, 17, 31, 32, 33, 311, 312, 624, 625]) | st.integers(0, 2000)
large = st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 16, 3 * BLOCK + 5])
finite = st.floats(-1000, 1000, allow_subnormal=False)
positive = st.floats(1e-3, 1000)
probabilities = st.floats(0, 1) | st.sampled_from([0.1, 0.5, 1 / 3])


def pair(seed: int) -> tuple[Generator, torch.Generator]:
    return Generator().manual_seed(seed), torch.Generator().manual_seed(seed)


def same(ours: np.ndarray, theirs: torch.Tensor) -> None:
    """Equal to the last bit, the sign of zero included."""
    theirs = theirs.numpy()
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    if ours.tobytes() != theirs.tobytes():
        i = np.flatnonzero((ours != theirs).ravel() | (np.signbit(ours) != np.signbit(theirs)).ravel())
        pytest.fail(f"{i.size} of {ours.size} values differ, the first at {i[0]}: "
                    f"{ours.ravel()[i[0]]!r}, torch {theirs.ravel()[i[0]]!r}")


def same_state(ours: Generator, theirs: torch.Generator) -> None:
    assert ours.state_bytes().tobytes() == theirs.get_state().numpy().tobytes()


# ---- draws ------------------------------------------------------------------------------------------------------
# Each is a pair of functions: one of our generator, one of torch's, of the same arguments.

def _fill(method: str):
    return lambda g, n, dtype, *args: getattr(torch.empty(n, dtype=dtype), method)(*args, generator=g)


DRAWS = {
    "uniform": (lambda g, n, d, *a: g.uniform((n,), *a, dtype=DTYPES[d]), _fill("uniform_"),
                st.tuples(finite, finite).map(sorted)),
    "rand": (lambda g, n, d: g.uniform((n,), dtype=DTYPES[d]),
             lambda g, n, d: torch.rand(n, dtype=d, generator=g), st.just(())),
    "normal": (lambda g, n, d, *a: g.normal((n,), *a, dtype=DTYPES[d]), _fill("normal_"),
               st.tuples(finite | st.just(0.0), positive | st.just(0.0))),
    "randn": (lambda g, n, d: g.normal((n,), dtype=DTYPES[d]),
              lambda g, n, d: torch.randn(n, dtype=d, generator=g), st.just(())),
    "exponential": (lambda g, n, d, *a: g.exponential((n,), *a, dtype=DTYPES[d]), _fill("exponential_"),
                    st.tuples(positive)),
    "log_normal": (lambda g, n, d, *a: g.log_normal((n,), *a, dtype=DTYPES[d]), _fill("log_normal_"),
                   st.tuples(st.floats(-3, 3), st.floats(0.01, 2))),
    "cauchy": (lambda g, n, d, *a: g.cauchy((n,), *a, dtype=DTYPES[d]), _fill("cauchy_"),
               st.tuples(finite, positive)),
    "geometric": (lambda g, n, d, *a: g.geometric((n,), *a, dtype=DTYPES[d]), _fill("geometric_"),
                  st.tuples(st.floats(0.01, 0.99))),
    "bernoulli": (lambda g, n, d, *a: g.bernoulli((n,), *a, dtype=DTYPES[d]), _fill("bernoulli_"),
                  st.tuples(probabilities)),
    "integers": (lambda g, n, d, *a: g.integers((n,), *a),
                 lambda g, n, d, *a: torch.randint(*a, (n,), generator=g),
                 st.tuples(st.integers(-2**63, 2**63 - 1), st.integers(-2**63, 2**63 - 1)).map(sorted)
                 .filter(lambda a: a[0] < a[1])
                 | st.tuples(st.integers(-100, 100), st.sampled_from([101, 2**16, 2**28 - 100, 2**28, 2**32]))),
    "permutation": (lambda g, n, d: g.permutation(n),
                    lambda g, n, d: torch.randperm(n, generator=g), st.just(())),
}
draws = st.sampled_from(list(DRAWS)).flatmap(lambda name: st.tuples(st.just(name), DRAWS[name][2]))


def draw_both(name, args, dtype, n, ours, theirs):
    mine, reference, _ = DRAWS[name]
    same(mine(ours, n, dtype, *args), reference(theirs, n, dtype, *args))
    same_state(ours, theirs)


@given(seeds, st.lists(st.tuples(draws, floating, sizes), max_size=8))
def test_any_sequence_of_draws(seed, program):
    """Draws of all kinds in any order: what one leaves behind (words, half a pair) the next takes up."""
    ours, theirs = pair(seed)
    same_state(ours, theirs)
    for (name, args), dtype, n in program:
        draw_both(name, args, dtype, n, ours, theirs)


@given(seeds, draws, floating, large)
def test_large_draws(seed, draw, dtype, n):
    name, args = draw
    draw_both(name, args, dtype, n, *pair(seed))


# ---- state ------------------------------------------------------------------------------------------------------

@given(seeds, st.integers(0, 1300), st.booleans())
def test_state_moves_between_the_engines(seed, words, half_a_pair):
    ours, theirs = pair(seed)
    torch.empty(words, dtype=torch.uint8).random_(generator=theirs)
    if half_a_pair:
        torch.randn(1, generator=theirs)
    ours.set_state_bytes(theirs.get_state().numpy())
    same_state(ours, theirs)
    draw_both("randn", (), torch.float32, 3, ours, theirs)
    ours.words32(words)
    theirs.set_state(torch.from_numpy(ours.state_bytes()))
    draw_both("rand", (), torch.float64, 700, ours, theirs)
