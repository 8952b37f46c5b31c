"""The log-probability that softmax gives to each row's class, alone and behind a linear layer.

    l_i = x_{i c_i} - log sum_j e^{x_ij}        dl_i/dx_ij = [j = c_i] - softmax(x_i)_j
"""

from __future__ import annotations

import numpy as np

from . import memory
from .blocks import in_blocks
from .products import add_product, multiply

CHUNK = 1 << 24            # elements of logits that are held at once
SLICE = 1 << 14            # classes in one product for the weights' gradient: OpenBLAS packs 36 MB for 50,257 of them


def log_likelihood(x: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x (rows, classes), a class for each row -> l (rows,), and the logarithms of all probabilities."""
    x = np.ascontiguousarray(x)
    logs, out = np.empty_like(x), np.empty(len(x), x.dtype)

    def work(start: int, stop: int) -> None:
        part, own = logs[start:stop], classes[start:stop]
        np.subtract(x[start:stop], np.maximum.reduce(x[start:stop], -1, keepdims=True), out=part)
        part -= np.log(np.add.reduce(np.exp(part), -1, keepdims=True))
        out[start:stop] = part[np.arange(len(own)), own]

    in_blocks(work, *x.shape)
    return out, logs


def log_likelihood_backward(g: np.ndarray, logs: np.ndarray, classes: np.ndarray) -> np.ndarray:
    dx = np.empty_like(logs)

    def work(start: int, stop: int) -> None:
        part, own, gb = dx[start:stop], classes[start:stop], g[start:stop]
        np.exp(logs[start:stop], out=part)
        part *= -gb[:, None]
        part[np.arange(len(own)), own] += gb

    in_blocks(work, *logs.shape)
    return dx


def linear_log_likelihood(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, classes: np.ndarray,
                          factors: np.ndarray, wanted: tuple[bool, ...]) -> tuple[np.ndarray, list]:
    """sum_i factor_i l_i of the logits x W^T + b; and its gradients by x, W and b, as far as they are wanted.

    Everything is done to a chunk of rows while its logits are there: what is left for backward to do is to multiply by
    a number. So the logits never exist as a whole, and are computed once. Rows with a factor of 0 do not count,
    whatever they hold."""
    (rows, _), width = x.shape, len(weight)
    dx, dw, db = (memory.empty(a.shape, a.dtype) if a is not None and w else None
                  for a, w in zip((x, weight, bias), wanted, strict=True))
    chunks = max(1, -(-rows // max(1, CHUNK // max(width, 1))))
    step = max(1, -(-rows // chunks))                # chunks of one size need the least memory
    total = 0.0
    with memory.borrowed((step, width), x.dtype) as logits:
        for start in range(0, rows, step):
            part = slice(start, min(start + step, rows))
            z = multiply(x[part], weight.T, logits[:part.stop - start], bias)
            total += _to_gradient(z, classes[part], factors[part], any(wanted))
            if dx is not None:
                multiply(z, weight, dx[part])
            if dw is not None:
                _add_by_class(z, x[part], dw, start == 0)
            if db is not None:
                sums = np.add.reduce(z, 0, np.float64)
                db[...] = sums if start == 0 else db + sums
    if not rows:
        for d in (dw, db):
            if d is not None:
                d[...] = 0
    return np.asarray(total, x.dtype), [dx, dw, db]


def _add_by_class(z: np.ndarray, x: np.ndarray, dw: np.ndarray, first: bool) -> None:
    """dw += z^T x, or the first summand."""
    for i in range(0, len(dw), SLICE):
        some = slice(i, i + SLICE)
        if first:
            multiply(z[:, some].T, x, dw[some])
        else:
            add_product(z[:, some].T, x, dw[some])


def _to_gradient(z: np.ndarray, classes: np.ndarray, factors: np.ndarray, wanted: bool) -> float:
    """The sum of factor_i l_i; in the place of the logits z, its gradient, if that is wanted."""
    terms = np.empty(len(z))

    def work(start: int, stop: int) -> None:
        part, own, f = z[start:stop], classes[start:stop], factors[start:stop]
        place = np.arange(len(own)), own
        part -= np.maximum.reduce(part, -1, keepdims=True)
        chosen = part[place]
        np.exp(part, out=part)
        sums = np.add.reduce(part, -1)
        terms[start:stop] = np.where(f == 0, 0, f * (chosen - np.log(sums)))
        if wanted:
            part *= np.where(f == 0, 0, -f / sums)[:, None]
            part[place] += f
            if not f.all():
                part[f == 0] = 0

    in_blocks(work, *z.shape, 2)                 # in one array: its blocks may be longer
    return float(np.add.reduce(terms))
