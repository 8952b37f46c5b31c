"""The Box–Muller transform, to the last bit of torch's CPU build, and the exact a·b + c that it needs.

Two uniforms make two independent normals: r·cos θ and r·sin θ, with r = √(−2·ln(1 − u₁)) and θ = 2πu₂.

torch fills large float32 tensors with vectorised code, in which eight u₁ and then eight u₂ become eight cosines and
eight sines. Its logarithm, sine and cosine are the classic single-precision Cephes polynomials, and the compiler
fused their multiplications with their additions: each step a·b + c is rounded once. NumPy has no fused multiply-add,
but float64 holds the product of two float32 exactly, so a float64 product and sum, rounded to float32, differ from it
only where the float64 sum was itself rounded, and onto a float32 tie. That happens for none of the 2²⁴ possible u₁ and
none of the 2²⁴ possible u₂: the tests compare them all with torch.

What torch computes in float64 goes through the C library, and so does `math`; NumPy's own vectorised logarithm, sine
and cosine may differ from it in the last bit.
"""

import math
from collections.abc import Callable

import numpy as np

BLOCK = 16384        # pairs that a BoxMuller transforms at a time: its scratch memory, 0.5 MB, stays in the L2 cache

_LN = np.float32([7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
                  -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1]).astype(np.float64)
_SIN = np.float32([-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]).astype(np.float64)
_COS = np.float32([2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]).astype(np.float64)
_LN2 = np.float32(0.693359375), np.float32(-2.12194440e-4)                      # ln 2 in two parts, the first one short
_HALF_PI = 2 * (0.78515625 + 2.4187564849853515625e-4 + float(np.float32(3.77489497744594108e-8)))   # Cephes' three
_SQRT_HALF = 0x3F3504F3                                                                       # the bits of float32 √½
_SIGN = np.int32(-2**31)


class BoxMuller:
    """Scratch memory for blocks of up to `size` pairs, and the transform that runs in it."""

    def __init__(self, size: int = BLOCK):
        self._narrow, self._wide = np.empty((4, size), np.float32), np.empty((2, size))

    def __call__(self, words: np.ndarray, out: np.ndarray, mean: float = 0.0, std: float = 1.0) -> None:
        """Fill `out` (float32, a multiple of 16 long) from as many random uint32 words, which are lost."""
        n = words.size // 2
        r, x, y, z = self._narrow[:, :n]
        x64, y64 = self._wide[:, :n]

        words &= np.uint32(0xFFFFFF)                   # a uniform is k/2²⁴, with k the low 24 bits of its word
        pairs = words.view("V32").reshape(-1, 2)       # runs of eight u₁ and eight u₂, which move as one item
        k = x.view(np.int32)
        k.view("V32")[:] = pairs[:, 0]
        _radius(k, r, y, z, x64, y64)
        k.view("V32")[:] = pairs[:, 1]
        cos, sin = words.view(np.float32).reshape(2, n)
        _direction(k, cos, sin, y, z, x64, y64)

        out = out.view("V32").reshape(-1, 2)
        for column, normal in enumerate((cos, sin)):
            normal *= r
            _scale32(normal, mean, std, y64)
            out[:, column] = normal.view("V32")


def _polynomial(coefficients: np.ndarray, x64: np.ndarray, y: np.ndarray, y64: np.ndarray) -> None:
    """y = Horner's rule at x, each step fused and rounded to float32."""
    np.multiply(x64, coefficients[0], out=y64)
    for c in coefficients[1:-1]:
        y64 += c
        y[...] = y64                                   # round to float32 ...
        y64[...] = y
        y64 *= x64
    y64 += coefficients[-1]
    y[...] = y64


def _radius(k, r, x, z, x64, y64) -> None:
    """r = √(−2·ln(1 − k/2²⁴)), by ln(2ᵉ(1 + x)) = e·ln 2 + x − x²/2 + x³·P(x), where √½ ≤ 1 + x < √2. k is lost."""
    np.subtract(1 << 24, k, out=k)
    x[...] = k                                         # 2²⁴(1 − u₁), exactly
    bits = x.view(np.int32)
    bits -= np.int32(_SQRT_HALF + (24 << 23))          # so that the exponent steps at √½, and the 2²⁴ is gone
    np.right_shift(bits, 23, out=k)
    r[...] = k                                         # e
    bits &= np.int32(0x7FFFFF)
    bits += np.int32(_SQRT_HALF)
    x -= np.float32(1)

    y = k.view(np.float32)
    np.multiply(x, x, out=z)
    x64[...] = x
    _polynomial(_LN, x64, y, y64)
    y *= x
    y64[...] = y
    x64[...] = z
    y64 *= x64
    np.multiply(r, _LN2[1], out=y)
    x64[...] = y
    y64 += x64
    y[...] = y64                                       # x³·P(x) + e·(the low part of ln 2)
    z *= np.float32(0.5)
    y -= z
    x += y
    r *= _LN2[0]
    r += x
    r *= np.float32(-2)
    np.sqrt(r, out=r)


def _direction(k, cos, sin, x, z, x64, y64) -> None:
    """The cosine and sine of 2πk/2²⁴, by polynomials in the distance x, at most π/4, to q·π/2. k is lost."""
    x[...] = k
    x *= np.float32(2 * math.pi) * np.float32(2.0**-24)
    k += np.int32(1 << 21)                             # now q, the nearest quarter turn, stands in bits 22 to 24
    q = z.view(np.int32)
    np.right_shift(k, 22, out=q)
    x64[...] = q
    x64 *= -_HALF_PI
    y64[...] = x
    x64 += y64
    x[...] = x64

    np.multiply(x, x, out=z)                           # cos x = 1 − x²/2 + x⁴·P(x²)
    x64[...] = z
    _polynomial(_COS, x64, cos, y64)
    cos *= z
    y64[...] = cos
    y64 -= 0.5
    y64 *= x64
    cos[...] = y64
    cos += np.float32(1)

    _polynomial(_SIN, x64, sin, y64)                   # sin x = x + x³·P(x²)
    sin *= z
    y64[...] = sin
    x64[...] = x
    y64 *= x64
    y64 += x64
    sin[...] = y64

    c, s, swap, t = (a.view(np.int32) for a in (cos, sin, x, z))
    np.left_shift(k, 9, out=t)                         # an odd q exchanges the two
    t >>= 31
    np.bitwise_xor(c, s, out=swap)
    swap &= t
    c ^= swap
    s ^= swap
    np.left_shift(k, 8, out=t)                         # the sine is negative for q = 2, 3
    t &= _SIGN
    s ^= t
    k += np.int32(1 << 22)                             # the cosine for q = 1, 2
    k <<= 8
    k &= _SIGN
    c ^= k


def _scale32(z: np.ndarray, mean: float, std: float, scratch: np.ndarray) -> None:
    """z = fma(z, std, mean), in place."""
    if mean != 0:
        scratch[...] = z
        z[...] = fma32(scratch, np.float32(std), np.float32(mean))
    else:
        if std != 1:
            z *= np.float32(std)
        z += np.float32(mean)                          # −0 + 0 = 0


def box_muller64(u: np.ndarray, mean: float = 0.0, std: float = 1.0) -> np.ndarray:
    """The same transform in float64: a multiple of 16 uniforms to as many normals."""
    u1, u2 = u.reshape(-1, 2, 8).swapaxes(0, 1)
    r = np.sqrt(-2.0 * libm(math.log, 1.0 - u1))
    theta = (2.0 * math.pi) * u2
    z = np.stack([r * libm(math.cos, theta), r * libm(math.sin, theta)], axis=1)
    return fma64(z.ravel(), std, mean)


def polar(u1: np.ndarray, u2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The form that torch uses for one value at a time, in which the two uniforms have changed places."""
    r = np.sqrt(-2.0 * libm(math.log1p, -u2))
    theta = (2.0 * math.pi) * u1
    return r * libm(math.cos, theta), r * libm(math.sin, theta)


def libm(f: Callable[[float], float], x: np.ndarray) -> np.ndarray:
    """A function of `math`, element by element: the C library's value, to the last bit."""
    return np.fromiter(map(f, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)


# ---- a·b + c, rounded once --------------------------------------------------------------------------------------

def fma32(x: np.ndarray, y: np.float32, c: np.float32) -> np.ndarray:
    """fma of float32 values, where x comes as float64, as does the result, which has yet to be rounded to float32.

    The product is exact. The sum, if rounded onto the middle between two float32, must remember on which side of it
    the true value lies."""
    product = x * np.float64(y)
    out = product + np.float64(c)
    ties = np.flatnonzero(out.view(np.int64) & 0x1FFFFFFF == 0x10000000)
    if ties.size:
        _, error = _two_sum(product[ties], np.float64(c))
        out[ties] = _step(out[ties], error)
    return out


def fma64(x: np.ndarray, y: float, c: float) -> np.ndarray:
    """fma of float64 values: product and sum as unevaluated pairs, whose tails are added with rounding to odd, so that
    the last addition sees on which side of a tie the true value lies (Boldo and Melquiond, 2008)."""
    with np.errstate(all="ignore"):
        if c == 0:
            return x * np.float64(y) + np.float64(c)
        product, tail = _two_product(x, np.float64(y))
        high, low = _two_sum(np.float64(c), tail)
        top, rest = _two_sum(product, high)
        odd, error = _two_sum(rest, low)
        odd = np.where(odd.view(np.int64) & 1, odd, _step(odd, error))
        out = top + odd
        return np.where(np.isfinite(out), out, x * np.float64(y) + np.float64(c))        # infinities have no tails


def _step(a: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The neighbour of a in the direction of its error; a itself if it is exact."""
    return np.where(error == 0, a, np.nextafter(a, np.copysign(np.inf, error)))


def _two_sum(a, b):
    """a + b, and what rounding took from it."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _two_product(a, b):
    """a·b, and what rounding took from it."""
    def halves(v):
        t = v * 134217729.0                            # 2²⁷ + 1
        high = t - (t - v)
        return high, v - high
    p = a * b
    (ah, al), (bh, bl) = halves(a), halves(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl
