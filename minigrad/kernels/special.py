"""erf, erfc and erfinv: the functions of the normal distribution, which NumPy lacks.

In float64, a polynomial carries the centre and a rational function the tail:

    |x| < 1:    erf x  = x + x·E(x²)                            |E| < 0.16
     x ≥ 1:     erfc x = exp(−x²)·(c + v²·T(v)) / x             v = 1/x, c = 1/√π

Each is a known term plus a small correction, in which rounding errors count for little. The centre serves erfc as well,
as (1 − x) − x·E(x²), and nothing cancels: where 1 − x is small, it is exact.

In float32, speed counts, because GELU trains with erf. NumPy's vectorised tanh saves the distinction of cases, and
where erf saturates, it forgives errors in its argument, so that a fraction with seven numbers is enough for every x:

    erf x = tanh(x + x·G(x²))

The coefficients are least-squares fits on Chebyshev nodes, solved with 90 digits. The weights w turn the error of the
fitted function f into a relative error of the result. For a fraction P/Q with Q(0) = 1, the equations w·(P − f·Q)/R = 0
are linear in P and Q; R is the Q of the round before, at first 1. The tests derive all numbers again, from

    E(t) = erf(x)/x − 1,  x = √t            0 ≤ t ≤ 1       degree 12       relative error of the result 2⁻⁶²
    T(v) = x²·(x·exp(x²)·erfc(x) − c)       1/28 ≤ v ≤ 1    degree 8/10                                  2⁻⁶⁰
    G(t) = artanh(erf x)/x − 1,  x = √t     0 ≤ t ≤ 15      degree 3/3                                   2⁻²⁷
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi, sqrt

import numpy as np

_BLOCK = 1 << 15        # elements at a time: the temporaries of a block stay in the L2 cache

# Polynomials begin with their constant.
_E = (
    0.1283791670955126, -0.3761263890318375, 0.11283791670954854, -0.02686617064507231, 0.0052239776247753195,
    -0.0008548326978430694, 0.00012055331025793798, -1.4925593245923501e-05, 1.6460968721975601e-06,
    -1.634998274189769e-07, 1.4657600165778558e-08, -1.1364607520605601e-09, 5.943508233981782e-11,
)
_T_NUMERATOR = (
    -0.2820947917779762, -4.159205489163664, -32.01872025619297, -159.96507359395162, -558.6941059951988,
    -1388.5155344025886, -2402.225013009333, -2671.2696119459038, -1499.278263986942,
)
_T_DENOMINATOR = (
    1.0, 14.743999574049234, 115.00340790209464, 589.1774260890021, 2149.2740099338853, 5750.638267515019,
    11321.399778474455, 16079.904848927434, 15683.546475280393, 9444.823159315114, 2657.4015869873,
)
# G(t) = g + t·b₁/(t + a₁ + b₂/(t + a₂ + b₃/(t + a₃))): as a continued fraction it takes the fewest operations.
_G = 0.12837917, 63.790012, 4.685997, 4.0561104, 5.5561204, -135.21837, 37.374233        # g, a₁ ..., b₁ ...


def erf(x: np.ndarray) -> np.ndarray:
    """The error function, 2/√π · ∫₀ˣ exp(−s²) ds."""
    if x.dtype == np.float64:
        return _blockwise(_erf, x)
    scratch = np.empty((2, min(x.size, _BLOCK)), np.float32)
    return _blockwise(lambda block, out: _single_erf(block, *scratch[:, : block.size], out), x, np.float32)


def erfc(x: np.ndarray) -> np.ndarray:
    """1 − erf(x), but accurate where erf(x) is close to 1."""
    return _blockwise(_erfc, x)


def erfinv(y: np.ndarray) -> np.ndarray:
    """The x with erf(x) = y: ±inf for ±1, nan beyond."""
    return _blockwise(_erfinv, y)


def _blockwise(kernel: Callable[[np.ndarray, np.ndarray], None], x: np.ndarray, work: type = np.float64) -> np.ndarray:
    """Calls kernel(block of x in the dtype `work`, its place in the result); the result is laid out like x."""
    if x.dtype.kind != "f":
        raise TypeError(f"a floating-point array is needed, not {x.dtype}")
    result = np.asarray(np.positive(x))        # a copy without gaps, in the layout that any ufunc gives its result
    flat = result.ravel(order="K")        # therefore a view
    with np.errstate(all="ignore"):
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK]
            kernel(block.astype(work, copy=False), block)        # these two may be the same memory
    return result


def _single_erf(x: np.ndarray, t: np.ndarray, u: np.ndarray, out: np.ndarray) -> None:
    g, a1, a2, a3, b1, b2, b3 = _G
    np.multiply(x, x, out=t)
    if not t.max() < 1e6:        # an inf would make inf·0 below; a nan also gets here, and stays
        np.minimum(t, 1e6, out=t)
    np.add(t, a3, out=u)
    for b, a in ((b3, a2), (b2, a1)):
        np.divide(b, u, out=u)
        np.add(u, t, out=u)
        np.add(u, a, out=u)
    np.divide(b1, u, out=u)
    np.multiply(u, t, out=u)
    np.add(u, g, out=u)
    np.multiply(u, x, out=u)
    np.add(u, x, out=u)
    np.tanh(u, out=out)


def _erf(x: np.ndarray, out: np.ndarray) -> None:
    _by_size(
        lambda x: x + _excess(x),
        lambda x: np.copysign(1 - _tail(np.abs(x)), x),
        x, out=out,
    )


def _erfc(x: np.ndarray, out: np.ndarray) -> None:
    _by_size(
        lambda x: (1 - x) - _excess(x),
        lambda x: np.where(x < 0, 2 - _tail(np.abs(x)), _tail(np.abs(x))),
        x, out=out,
    )


def _erfinv(y: np.ndarray, out: np.ndarray) -> None:
    """A start from erf²x ≈ 1 − exp(−x²·(4/π + ax²)/(1 + ax²)), solved for x, then twice Taylor's series of erfinv.

    With x′ = √π/2·exp(x²), x″ = 2x·x′² and x‴ = (8x² + 2)·x′³, a residual r = y − erf x and h = r·x′ lead to
    x + h + x·h² + (4x² + 1)/3·h³. What is left is of fourth order: errors fall from 10⁻² to 10⁻⁶ to those of rounding.
    """
    y_ = np.abs(y)
    a = 8 * (pi - 3) / (3 * pi * (4 - pi))        # makes the start agree with erfinv in y³, too
    log = np.log1p(-y_ * y_)
    k = 2 / (pi * a) + log / 2
    x = np.sqrt(-log / a / (np.sqrt(k * k - log / a) + k))
    r = np.empty_like(x)
    for _ in range(2):
        # x − y and 1 − y are exact where the result depends on it, so that r is known far better than erf x.
        _by_size(
            lambda x, y: (y - x) - _excess(x),
            lambda x, y: _tail(x) - (1 - y),
            x, y_, out=r,
        )
        h = r * (sqrt(pi) / 2) * np.exp(x * x)
        x += h * (1 + h * (x + h * (4 * x * x + 1) / 3))
    np.copysign(np.where(y_ == 1, np.inf, x), y, out=out)


def _by_size(centre: Callable, tail: Callable, x: np.ndarray, *others: np.ndarray, out: np.ndarray) -> None:
    """centre(x, *others) where |x| < 1, tail(x, *others) elsewhere."""
    inside = np.abs(x) < 1
    for function, region in (centre, np.flatnonzero(inside)), (tail, np.flatnonzero(~inside)):
        out[region] = function(x[region], *(other[region] for other in others))


def _excess(x: np.ndarray) -> np.ndarray:
    """erf(x) − x for |x| < 1."""
    return x * _polynomial(_E, x * x)


def _tail(x: np.ndarray) -> np.ndarray:
    """erfc(x) for x ≥ 1."""
    x = np.minimum(x, 28.0)        # erfc(28) is 0
    v = 1 / x
    correction = v * v * _polynomial(_T_NUMERATOR, v) / _polynomial(_T_DENOMINATOR, v)
    # x² needs more than 53 bits: that of the upper half of x is exact, and exp(z² − x²) = 1 + d joins the correction.
    z = x.astype(np.float32).astype(np.float64)
    d = np.expm1((z - x) * (z + x))
    c = 1 / sqrt(pi)
    return np.exp(-z * z) * (c + (correction + d * (c + correction))) / x


def _polynomial(coefficients: Sequence[float], t: np.ndarray) -> np.ndarray:
    """Horner's rule."""
    value = np.full_like(t, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value *= t
        value += c
    return value
