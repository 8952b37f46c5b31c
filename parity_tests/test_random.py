"""The random stream against torch's, bit for bit, and the generator's state after every draw."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

import minigrad.random as random
from minigrad import dtypes
from minigrad.kernels.normal import BoxMuller, fma32, fma64
from minigrad.random import Generator
from minigrad.tensor import Tensor

DTYPES = {torch.float16: np.float16, torch.float32: np.float32, torch.float64: np.float64}
BLOCK = 1 << 15                                        # the kernels' block size: what is larger takes several

floating = st.sampled_from(list(DTYPES))
seeds = st.integers(-2**63, 2**64 - 1) | st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1, -1])
sizes = st.sampled_from([0, 1, 2, 15, 16, 17, 31, 32, 33, 311, 312, 624, 625]) | st.integers(0, 2000)
large = st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 16, 5 * BLOCK + 5])
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


# ---- the kernel, for every value it can meet --------------------------------------------------------------------

def untempered(words: np.ndarray) -> np.ndarray:
    """The engine's inner state that makes it hand out these words."""
    x = words.copy()
    x ^= x >> 18
    x ^= (x << 15) & 0xEFC60000
    y = x.copy()
    for _ in range(4):
        y = x ^ ((y << 7) & 0x9D2C5680)
    x = y ^ (y >> 11)
    return y ^ (x >> 11)


def test_every_float32_normal():
    """All 2²⁴ radii and all 2²⁴ angles. torch gets them as the state of its engine, 608 words at a time."""
    k = np.arange(1 << 24, dtype=np.uint32)
    u1, u2 = k, (k * np.uint32(0x9E3779B1)) & np.uint32(0xFFFFFF)       # every k once in each, in another order
    words = np.stack([u1.reshape(-1, 8), u2.reshape(-1, 8)], axis=1).reshape(-1)
    words = np.concatenate([words, words[:-words.size % 608]]).reshape(-1, 608)
    state = torch.Generator().get_state().numpy().view(np.uint64)
    state[1:3] = 624 | 1 << 32, 0
    feed, theirs = torch.Generator(), np.empty(words.shape, np.float32)
    inner = untempered(words)
    into = torch.from_numpy(theirs)
    for i in range(len(words)):
        state[3:611] = inner[i]
        feed.set_state(torch.from_numpy(state.view(np.uint8)))
        into[i].normal_(generator=feed)
    ours, transform = np.empty(words.size, np.float32), BoxMuller()
    for start in range(0, words.size, BLOCK):
        transform(words.reshape(-1)[start:start + BLOCK].copy(), ours[start:start + BLOCK])
    same(ours.reshape(theirs.shape), torch.from_numpy(theirs))


@given(st.integers(-(2**24), 2**24), st.integers(-(2**24), 2**24), st.integers(-(2**40), 2**40), st.integers(-30, 30))
def test_fma_of_integers(x, y, c, scale):
    """Python's integers know the exact result; float() and float32 of an integer round it once."""
    exact = x * y + c
    assert fma64(np.array([float(x)]), float(y), float(c))[0] == float(exact)
    c = int(np.float32(c))
    rounded = fma32(np.array([float(x)]), np.float32(y), np.float32(c)).astype(np.float32)[0]
    assert rounded == round_to_float32(x * y + c)


def round_to_float32(n: int) -> float:
    """By the definition: 24 bits, to nearest, ties to even."""
    excess = max(abs(n).bit_length() - 24, 0)
    q, r = divmod(n, 1 << excess)
    half = 1 << excess >> 1
    return float((q + (r > half or (r == half != 0 and q % 2 == 1))) << excess)


# ---- tensors ----------------------------------------------------------------------------------------------------

@st.composite
def layouts(draw, max_dims=3):
    """A function that takes a contiguous array to a view of it, and the array's shape."""
    shape = draw(st.lists(st.integers(1, 7) | st.sampled_from([16, 17]), max_size=max_dims) | st.just([0]))
    axes = draw(st.permutations(range(len(shape))))
    steps = *(slice(None, None, draw(st.sampled_from([1, 1, 2]))) for _ in shape), ...
    return tuple(shape), lambda a: a[steps].transpose(axes) if isinstance(a, np.ndarray) else a[steps].permute(axes)


def both(shape, dtype, view, fill=0):
    """The same view of the same memory in both engines, and that memory."""
    ours = np.full(shape, fill, torch.zeros(0, dtype=dtype).numpy().dtype)
    theirs = torch.from_numpy(ours.copy())
    return Tensor(view(ours)), view(theirs), ours, theirs


any_dtype = st.sampled_from([torch.float16, torch.float32, torch.float64, torch.int64, torch.int32, torch.int16,
                             torch.int8, torch.uint8, torch.bool])
IN_PLACE = {
    "uniform_": st.tuples(finite, finite).map(sorted),
    "normal_": st.tuples(finite, positive),
    "exponential_": st.tuples(positive),
    "log_normal_": st.tuples(st.floats(-3, 3), st.floats(0.01, 2)),
    "cauchy_": st.tuples(finite, positive),
    "geometric_": st.tuples(st.floats(0.01, 0.99)),
    "bernoulli_": st.tuples(probabilities) | st.just(()),
    "random_": st.just(()) | st.tuples(st.integers(1, 200)) | st.tuples(st.integers(-200, 0), st.integers(1, 200))
    | st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1) | st.none())
    | st.tuples(st.integers(-3, 3).map(lambda k: 2**24 + k), st.integers(2**25, 2**63 - 1)),
}


def outcome(f):
    """What f() returns or raises (the class and the first words), and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = f()
        except Exception as error:
            result = error
    return result, [str(w.message).split(".")[0] for w in caught]


@given(seeds, layouts(), any_dtype, st.sampled_from(list(IN_PLACE)).flatmap(
    lambda name: st.tuples(st.just(name), IN_PLACE[name])))
def test_in_place(seed, layout, dtype, call):
    """Values in the order of memory, whatever the strides; the same errors and warnings, with nothing drawn."""
    (shape, view), (name, args) = layout, call
    assume(0 not in shape or dtype.is_floating_point or name == "uniform_")     # torch does not look at the dtype then
    assume(not (name == "geometric_" and not dtype.is_floating_point and args[0] < 0.2))     # too large for the dtype
    a, b, ours, theirs = both(shape, dtype, view)
    random.manual_seed(seed)
    torch.manual_seed(seed)
    mine, warned = outcome(lambda: getattr(random, name)(a, *args))
    reference, expected = outcome(lambda: getattr(b, name)(*args))
    if isinstance(reference, Exception):
        assert type(mine) is type(reference) and str(mine)[:80] == str(reference)[:80]
    else:
        assert mine is a
    assert warned == expected
    same(ours, theirs)
    assert random.get_rng_state().array.tobytes() == torch.get_rng_state().numpy().tobytes()


LIKE = {"rand_like": (), "randn_like": (), "randint_like": (-3, 100)}


@given(seeds, layouts(), floating, st.sampled_from(list(LIKE)), st.data())
def test_like(seed, layout, dtype, name, data):
    """New tensors are laid out like the one they are like; expanded dimensions (stride 0) get memory of their own."""
    shape, view = layout
    a, b, *_ = both(shape, dtype, view)
    wide = [n if n != 1 else data.draw(st.sampled_from([1, 4])) for n in b.shape]
    b = b.expand(wide)
    # NumPy's broadcast_to forgets the strides of all dimensions of size 1.
    a = Tensor(as_strided(a.array, wide, [s * a.array.itemsize for s in b.stride()]))
    random.manual_seed(seed)
    torch.manual_seed(seed)
    mine, reference = getattr(random, name)(a, *LIKE[name]), getattr(torch, name)(b, *LIKE[name])
    same(mine.array, reference)
    strides = [s * mine.array.itemsize for s in reference.stride()]
    assert all(s == t for n, s, t in zip(wide, mine.array.strides, strides) if n > 1)
    assert random.get_rng_state().array.tobytes() == torch.get_rng_state().numpy().tobytes()


@given(seeds, layouts(), floating, any_dtype)
def test_bernoulli_by_tensor(seed, layout, p_dtype, dtype):
    shape, view = layout
    random.manual_seed(seed)
    torch.manual_seed(seed)
    p, q, ours, theirs = both(shape, p_dtype, view)
    ours[...] = theirs[...] = torch.rand(shape)
    random.manual_seed(seed)
    torch.manual_seed(seed)
    same(random.bernoulli(p).array, torch.bernoulli(q))
    same(random.bernoulli(p, 0.3).array, torch.bernoulli(q, 0.3))
    a, b, ours, theirs = both(shape, dtype, view)
    random.bernoulli_(a, p)
    b.bernoulli_(q)
    same(ours, theirs)
    assert random.get_rng_state().array.tobytes() == torch.get_rng_state().numpy().tobytes()


@given(seeds, st.sampled_from([(5,), (1,), (40,), (6, 9), (3, 300)]), floating, st.integers(1, 50), st.booleans(),
       st.sampled_from([lambda a: a, lambda a: a.transpose(0, -1), lambda a: a[..., ::2]]))
def test_multinomial(seed, shape, dtype, n, replacement, view):
    theirs = view(torch.rand(shape, generator=torch.Generator().manual_seed(seed)).to(dtype))
    assume(replacement or n <= theirs.shape[-1])
    # Which of equal numbers comes first is up to torch's sort, and of float16 many are equal.
    assume(replacement or n == 1 or dtype != torch.float16)
    random.manual_seed(seed)
    torch.manual_seed(seed)
    same(random.multinomial(Tensor(theirs.numpy()), n, replacement).array, torch.multinomial(theirs, n, replacement))
    assert random.get_rng_state().array.tobytes() == torch.get_rng_state().numpy().tobytes()


@pytest.mark.parametrize("p", [[0.0, 0.0], [1.0, -1.0], [1.0, float("inf")], [1.0, float("nan")],
                               [[1.0, 1.0], [0.0, 0.0]], [[[1.0]]], [1, 2], 1.0], ids=str)
@pytest.mark.parametrize("n", [-1, 0, 1, 2, 3])
@pytest.mark.parametrize("replacement", [False, True])
def test_multinomial_refuses(p, n, replacement):
    p = torch.tensor(p)
    mine, _ = outcome(lambda: random.multinomial(Tensor(p.numpy()), n, replacement))
    reference, _ = outcome(lambda: torch.multinomial(p, n, replacement))
    assert isinstance(reference, RuntimeError)
    assert (type(mine), str(mine)) == (type(reference), str(reference))


@given(seeds, st.sampled_from([(), (4,), (3, 1), (1, 8), (3, 8), (20, 3, 8)]),
       st.sampled_from([(), (8,), (3, 1), (3, 8)]), floating, floating)
def test_normal_of_tensors(seed, shape, other, mean_dtype, std_dtype):
    draw = torch.Generator().manual_seed(seed)
    mean, std = torch.randn(shape, generator=draw).to(mean_dtype), torch.rand(other, generator=draw).to(std_dtype)
    assume(other[-1:] != (8,) or shape[-1:] != (4,))
    assume(shape != (4,) or other in ((), (3, 1)))
    random.manual_seed(seed)
    torch.manual_seed(seed)
    m, s = Tensor(mean.numpy()), Tensor(std.numpy())
    same(random.normal(m, s).array, torch.normal(mean, std))
    same(random.normal(m).array, torch.normal(mean))
    same(random.normal(m, 0.7).array, torch.normal(mean, 0.7))
    same(random.normal(0.3, s).array, torch.normal(0.3, std))
    same(random.normal(0.3, 2, (3, 7)).array, torch.normal(0.3, 2, (3, 7)))
    assert random.get_rng_state().array.tobytes() == torch.get_rng_state().numpy().tobytes()


@given(seeds, st.lists(st.integers(0, 9), max_size=3), floating)
def test_new_tensors(seed, size, dtype):
    ours, theirs = pair(seed)
    ours_dtype = dtypes.of(np.dtype(DTYPES[dtype]))
    same(random.rand(size, generator=ours, dtype=ours_dtype).array, torch.rand(size, generator=theirs, dtype=dtype))
    same(random.randn(*size or [()], generator=ours, dtype=ours_dtype).array,
         torch.randn(*size or [()], generator=theirs, dtype=dtype))
    same(random.randint(7, size, generator=ours).array, torch.randint(7, size, generator=theirs))
    same(random.randint(-5, 7, tuple(size), dtype=ours_dtype, generator=ours).array,
         torch.randint(-5, 7, tuple(size), dtype=dtype, generator=theirs))
    same(random.randperm(sum(size), generator=ours, dtype=ours_dtype).array,
         torch.randperm(sum(size), generator=theirs, dtype=dtype))
    same_state(ours, theirs)


BAD_CALLS = {
    "rand(2, -3)": lambda e: e.rand(2, -3),
    "rand(2.0)": lambda e: e.rand(2.0),
    "rand(True)": lambda e: e.rand(True),
    "rand()": lambda e: e.rand(),
    "rand int64": lambda e: e.rand(2, dtype=e.int64),
    "randn int64": lambda e: e.randn(2, dtype=e.int64),
    "randint(5, 5)": lambda e: e.randint(5, 5, (2,)),
    "randint without size": lambda e: e.randint(5, 9),
    "randint(2**63)": lambda e: e.randint(2**63, (2,)),
    "randint(1.5)": lambda e: e.randint(1.5, (2,)),
    "randint(300) uint8": lambda e: e.randint(300, (2,), dtype=e.uint8),
    "randint requires_grad": lambda e: e.randint(3, (2,), requires_grad=True),
    "randperm(-1)": lambda e: e.randperm(-1),
    "randperm float16": lambda e: e.randperm(2050, dtype=e.float16),
    "randperm bool": lambda e: e.randperm(2, dtype=e.bool),
    "normal(0, -1)": lambda e: e.normal(0, -1, (2,)),
    "normal without size": lambda e: e.normal(0.0, 1.0),
    "manual_seed(2**64)": lambda e: e.manual_seed(2**64),
    "manual_seed(-2**63 - 1)": lambda e: e.manual_seed(-(2**63) - 1),
    "manual_seed(None)": lambda e: e.manual_seed(None),
    "Generator.manual_seed(1.0)": lambda e: e.Generator().manual_seed(1.0),
    "Generator.manual_seed(True)": lambda e: e.Generator().manual_seed(True),
    "set_state(None)": lambda e: e.Generator().set_state(None),
    "set_state float": lambda e: e.Generator().set_state(e.rand(5056)),
    "set_state short": lambda e: e.Generator().set_state(e.randint(5, (5,), dtype=e.uint8)),
    "set_state zeros": lambda e: e.Generator().set_state(e.randint(1, (5056,), dtype=e.uint8)),
    "get_offset": lambda e: e.Generator().get_offset(),
}


@pytest.mark.parametrize("call", BAD_CALLS)
def test_refuses_what_torch_refuses(call):
    reference, _ = outcome(lambda: BAD_CALLS[call](torch))
    mine, _ = outcome(lambda: BAD_CALLS[call](_Ours))
    assert isinstance(reference, Exception)
    assert type(mine) is type(reference)
    if not isinstance(mine, TypeError):                # of these, torch's say what C++ functions there are
        assert str(mine).startswith(str(reference))


class _Ours:
    """minigrad, as far as it is needed here."""
    rand, randn, randint, randperm, normal = random.rand, random.randn, random.randint, random.randperm, random.normal
    manual_seed, Generator = random.manual_seed, Generator
    int64, uint8, float16, bool = dtypes.int64, dtypes.uint8, dtypes.float16, dtypes.bool


# ---- autograd ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_draws_are_constants(name):
    args = (0.5,) if name == "geometric_" else ()
    leaf, theirs = Tensor(np.ones(3, np.float32), True), torch.ones(3, requires_grad=True)
    random.manual_seed(1)
    before = random.get_rng_state().array
    for t, f in ((leaf, getattr(random, name)), (theirs, getattr(torch.Tensor, name))):
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place"):
            f(t, *args)
    assert (random.get_rng_state().array == before).all()
    mine = getattr(random, name)(random.normal(leaf), *args)
    reference = getattr(torch.Tensor, name)(torch.normal(theirs), *args)
    assert mine.grad_fn.name() == reference.grad_fn.name()
    mine.backward(Tensor(np.ones(3, np.float32)))
    assert leaf.grad.array.tolist() == [0, 0, 0]


def test_bernoulli_has_a_gradient_of_zero():
    p = Tensor(np.full(3, 0.5, np.float32), True)
    out = random.bernoulli(p)
    assert out.grad_fn.name() == torch.bernoulli(torch.full((3,), 0.5, requires_grad=True)).grad_fn.name()
    out.backward(Tensor(np.ones(3, np.float32)))
    assert p.grad.array.tolist() == [0, 0, 0]


# ---- the default generator --------------------------------------------------------------------------------------

def test_default_generator():
    assert random.manual_seed(42) is random.default_generator
    assert random.initial_seed() == 42 == random.default_generator.initial_seed()
    assert repr(random.default_generator.device) == repr(torch.default_generator.device)
    torch.manual_seed(42)
    same(random.rand(3).array, torch.rand(3))
    state = random.get_rng_state()
    with random.fork_rng():
        once = random.rand(5).array
    assert (random.rand(5).array == once).all()
    random.set_rng_state(state)
    clone = random.default_generator.clone_state()
    assert (random.rand(5).array == random.rand(5, generator=clone).array).all()
    with random.fork_rng(enabled=False):
        random.rand(1)
    assert random.get_rng_state().array.tobytes() != clone.get_state().array.tobytes()
    assert random.seed() == random.initial_seed() != 42
    assert Generator().initial_seed() == torch.Generator().initial_seed()


def test_a_thread_may_have_a_generator_of_its_own():
    random.manual_seed(0)
    before = random.get_rng_state().array
    own = Generator().manual_seed(7)
    with random.thread_generator(own):
        assert random.thread_safe_generator() is own
        same(random.rand(4).array, torch.rand(4, generator=torch.Generator().manual_seed(7)))
    assert random.thread_safe_generator() is None
    assert (random.get_rng_state().array == before).all()
