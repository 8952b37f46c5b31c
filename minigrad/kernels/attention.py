"""Scaled dot-product attention in blocks of rows: memory grows with T, not with T^2.

    S = scale Q K^T,   P = softmax(S),   O = P V                    rows of S are queries, columns keys
    dV = P^T dO,   dP = dO V^T,   dS = P (dP - rowsum(dO O)),   dQ = scale dS K,   dK = scale dS^T Q

A block of S is made, used and forgotten, and in backward made again; what is kept of it is the logarithm of each row's
sum of exponentials, L, with which P = exp(S - L). Causal: a block of queries ends at its own last key, and only the
last square of it, on the diagonal, needs a mask.

Dropout multiplies P by D, 1 / (1 - p) where a weight is kept and 0 elsewhere, before it meets V; then dP = (dO V^T) D,
and dS is as before. What is kept is drawn by the caller, and comes as a bit for each weight.

Softmax subtracts each row's largest score, so that no exponential overflows. That is a slow reduction, and where all
scores of a block are moderate, which one fast pass tells, it is left out. There the mask can be a factor, too.

Letters: B batch, H heads, T queries, S keys, D and E their sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from . import blas
from .blocks import BLOCK, each
from .layout import empty_for

ROWS, LONG_ROWS = 64, 128                   # queries in a block, of few keys and of many
LONG = 512                                  # keys that are many
MODERATE = 40.0                              # e^80 is still a number in single precision
LARGE = 1e30                                 # a sum below it, and above its reciprocal, has lost nothing


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, causal: bool, kept: np.ndarray | None = None,
           p: float = 0.0) -> tuple[np.ndarray, np.ndarray | tuple]:
    """q (B, H, T, D), k (B, H, S, D), v (B, H, S, E) -> (B, H, T, E) and L (B, H, T, 1), or what it is made of. With
    dropout, `kept` are the bits (B, H, T, S / 8) of what is kept, and the result is contiguous, as torch's; without,
    it is laid out as q."""
    k, v = _for_blas(k), _for_blas(v)
    B, H, T, _ = q.shape
    shape = B, H, T, v.shape[3]
    if T == 1 and kept is None and not causal and k.size:
        return _one_query(q, k, v, scale, empty_for(shape, q.dtype, q))
    out = empty_for(shape, q.dtype, q) if kept is None else np.empty(shape, q.dtype)
    logs = np.empty((B, H, T, 1), q.dtype)
    blocks = _blocks(q.shape[2], k.shape[2], causal, q.dtype)

    def work(heads: tuple) -> None:
        qs, ks, vs, outs, sums = (a[heads] for a in (q, k, v, out, logs))
        for rows, keys, visible in blocks:
            scores = np.matmul(qs[:, :, rows] * scale, ks[:, :, keys].mT)
            top = None
            if scores.max() < MODERATE and scores.min() > -MODERATE:
                np.exp(scores, out=scores)
                if visible is not None:
                    scores[..., -visible.shape[1]:] *= visible
            else:
                _hide(scores, visible)
                top = np.maximum.reduce(scores, -1, keepdims=True)
                top[top == -math.inf] = 0                               # a query that looks at nothing gets zeros
                scores -= top
                np.exp(scores, out=scores)
            total = np.matmul(scores, np.ones((scores.shape[-1], 1), q.dtype))
            total[total == 0] = 1
            if kept is not None:
                scores *= _bits(kept[heads], rows, keys)
            part = np.matmul(scores, vs[:, :, keys], out=outs[:, :, rows])
            part /= total if kept is None else total * (1 - p)
            np.log(total, out=sums[:, :, rows])
            if top is not None:
                sums[:, :, rows] += top

    _over_heads(work, q, k)
    return out, logs


def _one_query(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, out: np.ndarray) -> tuple:
    """One query a head, as in generating a token: two products of a matrix with a vector. Here the sums say whether
    the scores were moderate."""
    scores, top = np.matmul(k, (q * scale).mT), None                         # (B, H, S, 1)
    weights = np.exp(scores)
    total = np.add.reduce(weights, 2, keepdims=True)
    sums = total.reshape(-1).tolist()
    if not (min(sums) > 1 / LARGE and max(sums) < LARGE):
        top = np.maximum.reduce(scores, 2, keepdims=True)
        top[top == -math.inf] = 0
        weights = np.exp(scores - top)
        total = np.add.reduce(weights, 2, keepdims=True)
        total[total == 0] = 1
    np.matmul(weights.mT, v, out=out)                                        # (B, H, 1, E)
    out /= total
    return out, (total, top)


def attend_backward(g: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, causal: bool,
                    out: np.ndarray, logs: np.ndarray | tuple, kept: np.ndarray | None = None,
                    p: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of q, k and v, each laid out as its source is."""
    if isinstance(logs, tuple):                      # of a single query: the sum, and what was subtracted before
        total, top = logs
        logs = np.log(total) if top is None else np.log(total) + top
    dq, dk, dv = (empty_for(a.shape, a.dtype, a) for a in (q, k, v))
    g, k, v = _for_blas(g), _for_blas(k), _for_blas(v)
    blocks = _blocks(q.shape[2], k.shape[2], causal, q.dtype)
    whole = blocks[0][1].stop == k.shape[2]          # the first block reaches all keys, and need not be added to others

    def work(heads: tuple) -> None:
        qs, ks, vs, gs, outs, sums, dqs, dks, dvs = (a[heads] for a in (q, k, v, g, out, logs, dq, dk, dv))
        if not whole:
            dks[...] = dvs[...] = 0
        for i, (rows, keys, visible) in enumerate(blocks):
            scaled, gb, first = qs[:, :, rows] * scale, gs[:, :, rows], whole and i == 0
            weights = np.matmul(scaled, ks[:, :, keys].mT)
            moderate = weights.max() - sums[:, :, rows].min() < 2 * MODERATE
            if not moderate:
                _hide(weights, visible)
            weights -= sums[:, :, rows]
            np.exp(weights, out=weights)
            if moderate and visible is not None:
                weights[..., -visible.shape[1]:] *= visible
            ds = np.matmul(gb, vs[:, :, keys].mT)
            if kept is None:
                _product(weights.mT, gb, dvs[:, :, keys], first)
            else:
                factor = _bits(kept[heads], rows, keys) * weights.dtype.type(1 / (1 - p))
                ds *= factor
                factor *= weights
                _product(factor.mT, gb, dvs[:, :, keys], first)
            ds -= np.vecdot(gb, outs[:, :, rows])[..., None]
            ds *= weights
            part = np.matmul(ds, ks[:, :, keys], out=dqs[:, :, rows])
            part *= scale
            _product(ds.mT, scaled, dks[:, :, keys], first)

    _over_heads(work, q, k)
    return dq, dk, dv


def _blocks(T: int, S: int, causal: bool, dtype: np.dtype) -> list[tuple[slice, slice, np.ndarray | None]]:
    """For each block of queries the keys it looks at, the last block first; a causal one with 1 for what is visible of
    the last of those keys, and 0 for what comes later than the query."""
    blocks, step = [], _rows(S)
    for start in reversed(range(0, T, step)):
        stop = min(start + step, T)
        end = min(stop, S) if causal else S
        visible = np.tri(stop - start, end - start, dtype=dtype) if causal and start < S else None
        blocks.append((slice(start, stop), slice(0, end), visible))
    return blocks


def _rows(keys: int) -> int:
    return ROWS if keys < LONG else LONG_ROWS


def _bits(kept: np.ndarray, rows: slice, keys: slice) -> np.ndarray:
    return np.unpackbits(kept[:, :, rows], axis=-1, count=keys.stop)


def _hide(scores: np.ndarray, visible: np.ndarray | None) -> None:
    if visible is not None:
        np.copyto(scores[..., -visible.shape[1]:], -math.inf, where=visible == 0)


def _product(a: np.ndarray, b: np.ndarray, out: np.ndarray, first: bool) -> None:
    if first:
        np.matmul(a, b, out=out)
    else:
        out += np.matmul(a, b)


def _over_heads(work: Callable, q: np.ndarray, k: np.ndarray) -> None:
    """work((batches, heads)) for groups whose blocks of scores together are not too large for the cache."""
    B, H, T, _ = q.shape
    group = max(min(4 * BLOCK // (min(T, _rows(k.shape[2])) * k.shape[2]), B * H // 4), 1)
    heads, batches = min(group, H), max(group // H, 1)
    items = [(slice(b, b + batches), slice(h, h + heads)) for b in range(0, B, batches) for h in range(0, H, heads)]
    with blas.single_threaded():                     # products this small are not worth two of its threads
        each(work, items, B * H * T * k.shape[2])


def _for_blas(x: np.ndarray) -> np.ndarray:
    """BLAS wants rows that are contiguous, and one behind the other."""
    *_, row, step = x.strides
    return x if step == x.itemsize and row >= x.shape[-1] * step else np.ascontiguousarray(x)
