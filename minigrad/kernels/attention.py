"""Scaled dot-product attention in blocks of rows: memory grows with T, not with T^2.

    S = scale Q K^T,   P = softmax(S),   O = P V                    rows of S are queries, columns keys
    dV = P^T dO,   dP = dO V^T,   dS = P (dP - rowsum(dO O)),   dQ = scale dS K,   dK = scale dS^T Q

A block of S is made, used and forgotten, and in backward made again; what is kept of it is the logarithm of each row's
sum of exponentials, L, with which P = exp(S - L). Causal: a block of queries ends at its own last key, and only the
last square of it, on the diagonal, needs a mask.

Letters: B batch, H heads, T queries, S keys, D and E their sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from . import blas
from .blocks import BLOCK, each
from .layout import empty_for

ROWS = 128                                   # queries in a block


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, causal: bool) -> tuple[np.ndarray, np.ndarray]:
    """q (B, H, T, D), k (B, H, S, D), v (B, H, S, E) -> (B, H, T, E), laid out as q is, and L (B, H, T, 1)."""
    (B, H, T, _), k, v = q.shape, _for_blas(k), _for_blas(v)
    out = empty_for((B, H, T, v.shape[-1]), q.dtype, q)
    logs = np.empty((B, H, T, 1), q.dtype)

    def work(heads: tuple) -> None:
        qs, ks, vs, outs, sums = (a[heads] for a in (q, k, v, out, logs))
        for rows, keys, later in _blocks(T, k.shape[2], causal):
            scores = _scores(qs[:, rows] * scale, ks[:, keys], later)
            top = np.maximum.reduce(scores, -1, keepdims=True)
            top[top == -math.inf] = 0                                   # a query that looks at nothing gets zeros
            scores -= top
            np.exp(scores, out=scores)
            total = np.add.reduce(scores, -1, keepdims=True)
            total[total == 0] = 1
            np.matmul(scores, vs[:, keys], out=outs[:, rows])
            outs[:, rows] /= total
            sums[:, rows] = np.log(total, out=total) + top

    _over_heads(work, q, k)
    return out, logs


def attend_backward(g: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, causal: bool,
                    out: np.ndarray, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of q, k and v, each laid out as its source is."""
    dq, dk, dv = (empty_for(a.shape, a.dtype, a) for a in (q, k, v))
    g, k, v = _for_blas(g), _for_blas(k), _for_blas(v)

    def work(heads: tuple) -> None:
        qs, ks, vs, gs, os, sums, dqs, dks, dvs = (a[heads] for a in (q, k, v, g, out, logs, dq, dk, dv))
        blocks = list(_blocks(q.shape[2], k.shape[2], causal))
        whole = blocks[0][1].stop == k.shape[2]      # the first block reaches all keys, and need not be added to
        if not whole:
            dks[...] = dvs[...] = 0
        for i, (rows, keys, later) in enumerate(blocks):
            scaled, gb = qs[:, rows] * scale, gs[:, rows]
            p = _scores(scaled, ks[:, keys], later)
            p -= sums[:, rows]
            np.exp(p, out=p)
            _product(p.mT, gb, dvs[:, keys], whole and i == 0)
            ds = np.matmul(gb, vs[:, keys].mT)
            ds -= np.vecdot(gb, os[:, rows])[..., None]
            ds *= p
            np.matmul(ds, ks[:, keys], out=dqs[:, rows])
            dqs[:, rows] *= scale
            _product(ds.mT, scaled, dks[:, keys], whole and i == 0)

    _over_heads(work, q, k)
    return dq, dk, dv


def _blocks(T: int, S: int, causal: bool) -> Iterator[tuple[slice, slice, np.ndarray | None]]:
    """For each block of queries the keys it looks at, the last block first; causal ones with a mask of what comes later
    than the query, for the last of those keys."""
    for start in reversed(range(0, T, ROWS)):
        stop = min(start + ROWS, T)
        if not causal or start >= S:
            yield slice(start, stop), slice(0, S), None
        else:
            end = min(stop, S)
            yield slice(start, stop), slice(0, end), ~np.tri(stop - start, end - start, dtype=bool)


def _scores(q: np.ndarray, k: np.ndarray, later: np.ndarray | None) -> np.ndarray:
    scores = np.matmul(q, k.mT)
    if later is not None:
        np.copyto(scores[..., k.shape[-2] - later.shape[1]:], -math.inf, where=later)
    return scores


def _product(a: np.ndarray, b: np.ndarray, out: np.ndarray, first: bool) -> None:
    if first:
        np.matmul(a, b, out=out)
    else:
        out += np.matmul(a, b)


def _over_heads(work, q: np.ndarray, k: np.ndarray) -> None:
    """work((batch, heads)) for groups of heads whose blocks of scores together are not too large for the cache."""
    B, H, T, D = q.shape
    size = min(T, ROWS) * k.shape[2]
    group = min(max(2 * BLOCK // size, 1), H)
    items = [(b, slice(h, h + group)) for b in range(B) for h in range(0, H, group)]
    with blas.single_threaded():                     # products this small are not worth two of its threads
        each(work, items, B * H * T * k.shape[2])


def _for_blas(x: np.ndarray) -> np.ndarray:
    """BLAS wants rows that are contiguous, and one behind the other."""
    whole = x.strides[-1] == x.itemsize and x.strides[-2] >= x.shape[-1] * x.itemsize
    return x if whole else np.ascontiguousarray(x)
