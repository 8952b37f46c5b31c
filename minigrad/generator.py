"""torch's CPU random stream, to the last bit (torch 2.13).

One Mersenne Twister (MT19937) serves every draw on the CPU, word by word and in the order of memory, so the stream
does not depend on the number of threads. NumPy has the same engine: `RandomState.randint` over the full range of
uint32 or uint64 hands out its words in bulk, in torch's order (of a 64-bit word the high half first), and NumPy has
frozen RandomState's stream for good.

A Generator's draws return NumPy arrays; torch's functions of Tensors, in minigrad/random.py, stand on them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np

from .creation import CPU, check_device
from .graph import Tensor, Variable, new_tensor
from .host import get_num_threads
from .kernels.normal import BLOCK, BoxMuller, box_muller64, fma32, fma64, libm, polar

DEFAULT_SEED = 67280421310721
STATE_BYTES = 5056
WIDE_RANGE = 1 << 28             # a range of integers this large takes two words a draw


class Generator:
    """A stream of random numbers: the engine, its seed, and one normal left over from a pair."""

    def __init__(self, device=None):
        check_device(device)
        self._engine = None
        self._seed_with(DEFAULT_SEED)

    @property
    def _words(self) -> np.random.RandomState:
        """The engine, made at the first draw: numpy.random takes a while to import."""
        if self._engine is None:
            self._engine = np.random.RandomState(np.random.MT19937(0))
            self._engine.seed(self._seed & 0xFFFFFFFF)            # the engine takes 32 bits of the seed
        return self._engine

    @property
    def device(self):
        return CPU

    # ---- seed and state -----------------------------------------------------------------------------------------

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream over from a seed in [−2⁶³, 2⁶⁴); a negative one counts back from 2⁶⁴."""
        if type(seed) is not int:
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        if not -2**63 <= seed < 2**64:
            raise ValueError(f"Overflow when unpacking long long: a seed lies in [-2**63, 2**64), got {seed}")
        return self._seed_with(seed % 2**64)

    def seed(self) -> int:
        """Start over from a seed that the operating system picks, and return it."""
        self._seed_with(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        return self._seed

    def _seed_with(self, seed: int) -> Generator:
        self._seed = seed
        self._engine = None
        self._fresh, self._spare = True, None
        return self

    def get_state(self) -> Tensor:
        """The state as torch keeps it, a uint8 tensor of 5056 bytes."""
        return new_tensor(self.state_bytes())

    def set_state(self, new_state: Tensor) -> Generator:
        """Continue from a state that get_state returned, here or in torch."""
        if not isinstance(new_state, Variable):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        if new_state.array.dtype != np.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        self.set_state_bytes(new_state.array)
        return self

    def clone_state(self) -> Generator:
        """Another generator, which continues where this one is."""
        clone = Generator()
        clone.set_state_bytes(self.state_bytes())
        return clone

    def state_bytes(self) -> np.ndarray:
        """seed; words left before the next refill, and a flag; position; 624 words of 8 bytes; the spare normal among
        numbers that are always 0; whether there is one; a flag for a spare float32, which the CPU never has."""
        _, key, position, _, _ = self._words.get_state()
        left, position = (1, 0) if self._fresh else (625 - position, position)
        state = np.zeros(STATE_BYTES // 8, np.uint64)
        state[:3] = self._seed, left | 1 << 32, position
        state[3:627] = key
        state[630] = self._spare is not None
        state.view(np.float64)[628] = self._spare or 0.0
        return state.view(np.uint8)

    def set_state_bytes(self, state: np.ndarray) -> None:
        if state.size != STATE_BYTES:
            raise RuntimeError(f"Expected a CPUGeneratorImplState of size {STATE_BYTES} but found the input RNG state "
                               f"size to be {state.size}")
        state = np.frombuffer(state.tobytes(), np.uint64)
        left, seeded, position = int(state[1]) & 0xFFFFFFFF, int(state[1]) >> 32 & 0xFF, int(state[2])
        fresh = (left, position) == (1, 0)
        if not seeded or not (fresh or (1 <= position <= 624 and left + position == 625)):
            raise RuntimeError("Invalid mt19937 state")
        self._seed, self._fresh = int(state[0]), fresh
        self._words.set_state(("MT19937", state[3:627].astype(np.uint32), 624 if fresh else position))
        self._spare = float(state.view(np.float64)[628]) if int(state[630]) & 0xFFFFFFFF else None

    def get_offset(self) -> int:
        raise RuntimeError("CPU Generator does not use offset")

    def set_offset(self, offset: int) -> None:
        raise RuntimeError("CPU Generator does not use offset")

    # ---- words --------------------------------------------------------------------------------------------------

    def words32(self, n: int) -> np.ndarray:
        if n:
            self._fresh = False
        return self._words.randint(0, 1 << 32, size=n, dtype=np.uint32)

    def words64(self, n: int) -> np.ndarray:
        if n:
            self._fresh = False
        return self._words.randint(0, 1 << 64, size=n, dtype=np.uint64)

    def unit32(self, n: int) -> np.ndarray:
        """float32 uniforms: the low 24 bits of a word."""
        k = self.words32(n)
        k &= np.uint32((1 << 24) - 1)
        u = k.view(np.int32).astype(np.float32)
        u *= np.float32(2.0**-24)
        return u

    def unit64(self, n: int) -> np.ndarray:
        """float64 uniforms: the low 53 bits of two words."""
        k = self.words64(n)
        k &= np.uint64((1 << 53) - 1)
        u = k.view(np.int64).astype(np.float64)
        u *= 2.0**-53
        return u

    # ---- real numbers -------------------------------------------------------------------------------------------

    def uniform(self, shape: Sequence[int], low: float = 0.0, high: float = 1.0, dtype=np.float32) -> np.ndarray:
        """fma(u, high − low, low); what rounding brings up to `high`, which is excluded, becomes `low`."""
        dtype, n = np.dtype(dtype), math.prod(shape)
        out = np.empty(n, dtype)
        wide = dtype == np.float64
        real = np.float64 if wide else np.float32      # float16 is drawn in float32
        low, high = real(low), real(high)
        extent = high - low
        for start in range(0, n, 2 * BLOCK):
            part = out[start:start + 2 * BLOCK]
            u = self.unit64(part.size) if wide else self.unit32(part.size)
            if low != 0:
                u = fma64(u, extent, low) if wide else fma32(u.astype(np.float64), extent, low).astype(np.float32)
            elif extent != 1:
                u *= extent
            part[...] = u
            if low != 0 or extent != 1 or dtype == np.float16:
                part[part == dtype.type(high)] = low
        return out.reshape(shape)

    def normal(self, shape: Sequence[int], mean: float = 0.0, std: float = 1.0, dtype=np.float32,
               contiguous: bool = True) -> np.ndarray:
        """fma(z, std, mean). torch draws in blocks of 16 if the tensor is contiguous and has so many, else by one."""
        dtype, n = np.dtype(dtype), math.prod(shape)
        if n < 16 or not contiguous:
            return _narrow(fma64(self._normals_by_one(n), std, mean), dtype).reshape(shape)
        out = np.empty(n, np.float64 if dtype == np.float64 else np.float32)
        fill = self._fill_normal64 if dtype == np.float64 else self._fill_normal32
        whole, rest = n - n % 16, n % 16
        fill(out[:whole], mean, std)
        if rest:                                       # the last sixteen, most of them drawn already, are drawn anew
            if dtype != np.float16:                    # after, except in float16, the uniforms of the rest
                self.words32(rest if dtype == np.float32 else 2 * rest)
            fill(out[n - 16:], mean, std)
        return _narrow(out, dtype).reshape(shape)

    def _fill_normal64(self, out: np.ndarray, mean: float, std: float) -> None:
        for start in range(0, out.size, 2 * BLOCK):
            part = out[start:start + 2 * BLOCK]
            part[...] = box_muller64(self.unit64(part.size), mean, std)

    def _fill_normal32(self, out: np.ndarray, mean: float, std: float) -> None:
        """Threads take turns to draw the words of the next block, and then transform it, each its own."""
        starts, turn = iter(range(0, out.size, 2 * BLOCK)), Lock()

        def work(_=None):
            transform = BoxMuller(min(out.size // 2, BLOCK))
            while True:
                with turn:
                    start = next(starts, None)
                    if start is None:
                        return
                    part = out[start:start + 2 * BLOCK]
                    words = self.words32(part.size)
                transform(words, part, mean, std)

        threads = min(get_num_threads(), out.size // (4 * BLOCK))
        if threads < 2:
            work()
        else:
            from concurrent.futures import ThreadPoolExecutor  # takes long to import, and is rarely needed
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, range(threads)))

    def _normals_by_one(self, n: int) -> np.ndarray:
        """Standard normals in float64, drawn in pairs: the second of a pair is kept for the next call."""
        if n == 0:
            return np.empty(0)
        kept = [] if self._spare is None else [self._spare]
        u = self.unit64((n - len(kept) + 1) // 2 * 2)
        z = np.concatenate([kept, np.stack(polar(u[0::2], u[1::2]), axis=1).ravel()])
        self._spare = float(z[n]) if z.size > n else None
        return z[:n]

    def exponential(self, shape: Sequence[int], lambd: float = 1.0, dtype=np.float32) -> np.ndarray:
        """−ln(1 − u)/lambd, in float64."""
        u = self.unit64(math.prod(shape))
        np.negative(u, out=u)
        scale = -1.0 / lambd
        if dtype == np.float64:
            return (scale * libm(math.log1p, u)).reshape(shape)
        # NumPy's log1p is within a few units of the last place of the C library's, and after rounding to float32 the
        # same, unless a tie of float32 is that near: there the C library decides.
        out = scale * np.log1p(u)
        near = np.flatnonzero(np.abs((out.view(np.int64) & 0x1FFFFFFF) - 0x10000000) < 16)
        if near.size:
            out[near] = scale * libm(math.log1p, u[near])
        return _narrow(out, dtype).reshape(shape)

    def log_normal(self, shape: Sequence[int], mean: float = 1.0, std: float = 2.0, dtype=np.float32) -> np.ndarray:
        z = self._normals_by_one(math.prod(shape))
        return _narrow(libm(_exp, fma64(z, std, mean)), dtype).reshape(shape)

    def cauchy(self, shape: Sequence[int], median: float = 0.0, sigma: float = 1.0, dtype=np.float32) -> np.ndarray:
        u = self.unit64(math.prod(shape))
        return _narrow(fma64(libm(math.tan, math.pi * (u - 0.5)), sigma, median), dtype).reshape(shape)

    def geometric(self, shape: Sequence[int], p: float, dtype=np.float32) -> np.ndarray:
        u = self.unit64(math.prod(shape))
        return _narrow(np.ceil(libm(_log, u) / math.log1p(-p)), dtype).reshape(shape)

    # ---- integers -----------------------------------------------------------------------------------------------

    def integers(self, shape: Sequence[int], low: int, high: int, dtype=np.int64,
                 wide: bool | None = None) -> np.ndarray:
        """low + word mod (high − low); with the full range of 64 bits, the word itself. Wide ranges take two words."""
        extent, n = high - low, math.prod(shape)
        if extent >= WIDE_RANGE if wide is None else wide:
            v = self.words64(n)
            if extent < 1 << 64:
                v %= np.uint64(extent)
                v += np.uint64(low % 2**64)            # modulo 2⁶⁴, as two's complement
            v = v.view(np.int64)
        else:
            v = self.words32(n)
            v %= np.uint32(extent)
            v = v.astype(np.int64)
            v += low
        return v.astype(dtype, copy=False).reshape(shape)

    def permutation(self, n: int) -> np.ndarray:
        """0 … n−1 in random order: for i = 0 … n−2, element i changes places with one of i … n−1."""
        if n >= (2**32 - 1) // 20:
            raise NotImplementedError("randperm of more than 214 million: torch has another algorithm for these")
        if n < 2:
            return np.arange(n)
        partner = self.words32(n - 1)
        partner %= np.arange(n, 1, -1, dtype=np.uint32)
        partner += np.arange(n - 1, dtype=np.uint32)
        return _swap_all(partner, n)

    # ---- choices ------------------------------------------------------------------------------------------------

    def bernoulli(self, shape: Sequence[int], p: float = 0.5, dtype=np.float32) -> np.ndarray:
        """u < p for float64 u, decided on the integers: k/2⁵³ < p."""
        n = math.prod(shape)
        out = np.empty(n, dtype)
        limit = np.uint64(math.ceil(math.ldexp(p, 53)))
        for start in range(0, n, BLOCK):
            part = out[start:start + BLOCK]
            k = self.words64(part.size)
            k &= np.uint64((1 << 53) - 1)
            np.less(k, limit, out=part, casting="unsafe")
        return out.reshape(shape)

    def bernoulli_each(self, p: np.ndarray, dtype=None) -> np.ndarray:
        """u < p for each p, with u as fine as p's dtype: two words for a float64, one for others."""
        u = self.unit64(p.size) if p.dtype == np.float64 else self.unit32(p.size)
        return (u.reshape(p.shape) < p).astype(dtype or p.dtype)

    def multinomial(self, p: np.ndarray, num_samples: int, replacement: bool = False) -> np.ndarray:
        """Indices drawn by the weights p along the last axis: (..., num_samples)."""
        if replacement and num_samples > 1:
            rows = [self._search(row, num_samples) for row in p.reshape(-1, p.shape[-1])]
            return np.array(rows, np.int64).reshape(*p.shape[:-1], num_samples)
        if not (np.isfinite(p) & (p >= 0)).all():
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        if not p.any(-1).all():
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        # A race: p/Exp(1) is the largest with a probability in proportion to p, and so on among those that are left.
        q = in_memory_order(p, lambda shape: self.exponential(shape, dtype=p.dtype))
        with np.errstate(all="ignore"):
            np.divide(p, q, out=q)
        if num_samples == 1:
            return q.argmax(-1, keepdims=True)
        # The largest first, NaN before all; among equals the lower index.
        order = q.shape[-1] - 1 - np.argsort(q[..., ::-1], axis=-1, kind="stable")[..., ::-1]
        return order[..., :num_samples]

    def _search(self, weights: np.ndarray, n: int) -> np.ndarray:
        """n indices with replacement: where uniforms fall in the distribution function of one row of weights."""
        bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        if bad.size:
            what = "< 0" if not weights[bad[0]] >= 0 else "= infinity or NaN"
            raise RuntimeError(f"invalid multinomial distribution (encountering probability entry {what})")
        cdf = np.cumsum(weights, dtype=np.float64 if weights.dtype == np.float64 else np.float32)
        if not cdf[-1] > 0:
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        cdf /= cdf[-1]
        cdf[-1] = 1
        return np.searchsorted(cdf.astype(np.float64), self.unit64(n), "left")


def _narrow(a: np.ndarray, dtype) -> np.ndarray:
    """Cast what was computed in float64; on its way to float16 torch rounds it to float32."""
    with np.errstate(all="ignore"):
        return (a.astype(np.float32) if dtype == np.float16 else a).astype(dtype, copy=False)


def _exp(x: float) -> float:
    return math.exp(x) if x < 709.78 else math.inf if x > 709.79 else float(np.exp(x))


def _log(x: float) -> float:
    return math.log(x) if x else -math.inf


def _swap_all(partner: np.ndarray, n: int) -> np.ndarray:
    """The array 0 … n−1 after element i has changed places with element partner[i] ≥ i, for i = 0, 1, … in turn.

    Swap i leaves at i what stood at p = partner[i], for good, and puts at p what stood at i. So what stands at p then
    is p itself if no swap had p for a partner yet, else what the last of those, m, put there, which is what had
    stood at m at time m. That in turn is m itself, or what the last swap before with partner m put there: chains of
    swaps, ever earlier, which are followed for all elements at once, in steps that double."""
    if n <= 200:
        a = list(range(n))
        for i, p in enumerate(partner.tolist()):
            a[i], a[p] = a[p], a[i]
        return np.array(a)
    swaps = np.arange(n - 1)
    by_partner = np.sort(partner.astype(np.int64) << 32 | swaps)             # by partner, then by time
    target, time = (by_partner >> 32).astype(np.int32), by_partner.astype(np.int32)
    again = np.flatnonzero(target[1:] == target[:-1])
    before = np.full(n, -1, np.int32)                  # before[i]: the last swap before i with i's partner
    before[time[again + 1]] = time[again]
    last = np.full(n, -1, np.int32)                    # last[p]: the last swap before p with partner p
    last[target] = time                                # (of equal targets, the last assignment counts)
    own = np.flatnonzero(last[:-1] == swaps)           # a swap of p with itself, at time p, comes too late
    last[own] = before[own]

    source = np.where(last < 0, np.arange(n, dtype=np.int32), last)          # what stood at p at time p: follow it
    moving = np.flatnonzero(last >= 0)
    while moving.size:
        here = source[moving]
        there = source[here]
        source[moving] = there
        moving = moving[here != there]
    out = np.empty(n, np.int64)
    out[:-1] = np.where(before[:-1] < 0, partner, source[before[:-1]])
    out[-1] = source[-1]
    return out


def in_memory_order(like: np.ndarray, draw: Callable[[tuple[int, ...]], np.ndarray]) -> np.ndarray:
    """draw(shape) of a contiguous array, laid out as `like` is, so that the values follow its memory."""
    order = axes_by_stride(like)
    return draw(tuple(like.shape[axis] for axis in order)).transpose(np.argsort(order))


def dense_like(like: np.ndarray, dtype=None) -> np.ndarray:
    """An empty array laid out as `like` is, but without gaps."""
    return in_memory_order(like, lambda shape: np.empty(shape, dtype or like.dtype))


def axes_by_stride(a: np.ndarray) -> list[int]:
    """The axes of an array, the one with the largest stride first. Expanded axes, which have no stride, stay where
    torch's insertion sort leaves them: it starts from the innermost axis and compares them with none."""
    if a.flags.c_contiguous:
        return list(range(a.ndim))
    order = list(range(a.ndim))[::-1]                  # innermost first
    for i in range(1, a.ndim):
        for j in range(i - 1, -1, -1):
            inner, outer = order[j], order[i]
            if a.strides[inner] and a.strides[outer]:
                if a.strides[inner] < a.strides[outer]:
                    break
                if (a.strides[inner], a.shape[inner]) > (a.strides[outer], a.shape[outer]):
                    order[j], order[i], i = outer, inner, j
    return order[::-1]
