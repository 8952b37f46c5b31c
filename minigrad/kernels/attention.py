"""Scaled dot-product attention in tiles: memory grows with T, not with T^2.

    S = scale Q K^T,   P = softmax(S),   O = P V                    rows of S are queries, columns keys
    dV = P^T dO,   dP = dO V^T,   dS = P (dP - rowsum(dO O)),   dQ = scale dS K,   dK = scale dS^T Q

A block of queries meets the keys in tiles of at most 64, for which BLAS has its fastest products. A block of S is
made, used and forgotten, and in backward made again; what is kept of it is the logarithm of each row's sum of
exponentials, L, with which P = exp(S - L). Causal: a block of queries ends at its own last key, and only the last
tiles, on the diagonal, need a mask.

Exponentials are powers of two, which NumPy computes faster: log2(e) goes into the scale. What backward subtracts from
whole rows comes out of the products, too: (Q, -L) (K, 1)^T is S - L, and (dO, -rowsum(dO O)) (V, 1)^T the bracket.

Dropout multiplies P by D, 1 / (1 - p) where a weight is kept and 0 elsewhere, before it meets V; then dP = (dO V^T) D,
and dS is as before. What is kept is drawn by the caller, and comes as a bit for each weight.

Softmax subtracts each row's largest score, so that no exponential overflows. That is a slow reduction, and in heads
where sums of exponentials are neither huge nor tiny nor NaN, it is left out.

Letters: B batch, H heads, T queries, S keys, D and E their sizes; N tiles of W keys each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ..host import get_num_threads
from . import blas
from .blocks import BLOCK, each
from .layout import empty_for

TILE = 64                                    # keys in a tile, at most
ROWS, LONG_ROWS = 64, 128                    # queries in a block, of few keys and of many
LONG = 512                                   # keys that are many
FEW = 16                                     # queries for which the keys are not worth a copy
LARGE = 1e15                                 # a sum below it, and above its reciprocal, leaves room for large values
LOG2E = 1 / math.log(2)


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, causal: bool, kept: np.ndarray | None = None,
           p: float = 0.0) -> tuple[np.ndarray, tuple]:
    """q (B, H, T, D), k (B, H, S, D), v (B, H, S, E) -> (B, H, T, E), and what L is made of: each row's sum, and what
    was subtracted from its scores, None if nothing was. With dropout, `kept` are the bits (B, H, T, S / 8) of what is
    kept, and the result is contiguous, as torch's; without, it is laid out as q."""
    B, H, T, _ = q.shape
    shape = B, H, T, v.shape[3]
    if T == 1 and kept is None and not causal and k.size:
        return _one_query(q, _for_blas(k), _for_blas(v), scale, empty_for(shape, q.dtype, q))
    if causal:
        k, v = k[:, :, :T], v[:, :, :T]                                      # nobody looks at later keys
    out = empty_for(shape, q.dtype, q) if kept is None else np.empty(shape, q.dtype)
    sums, tops, lowered = np.empty((B, H, T, 1), q.dtype), np.zeros((B, H, T, 1), q.dtype), []
    cut, blocks = _blocks(T, k.shape[2], causal, q.dtype)

    def work(heads: tuple) -> None:
        keys, values = _tiles(k[heads], cut), _tiles(v[heads], cut)          # (B, H, N, W, D), (B, H, N, W, E)
        across = _across(keys, T)                                            # (B, H, N, D, W)
        for rows, n, mask in blocks:
            scores = _scores(q[heads], across, scale, rows, n)               # (B, H, N, T, W)
            total = _powers(scores, mask)
            if not (total.min() > 1 / LARGE and total.max() < LARGE):
                lowered.append(heads)
                careful = ~((total > 1 / LARGE) & (total < LARGE)).all(2, keepdims=True)
                larger = _scores(q[heads], across, scale, rows, n)
                total = np.where(careful, _powers_below(larger, mask, tops[heads][:, :, rows], careful), total)
                scores = np.where(careful[:, :, None], larger, scores)
            sums[heads][:, :, rows] = total
            if kept is not None:
                scores *= _bits(kept[heads], rows, n, cut)
                total *= 1 - p
            np.divide(_added(np.matmul(scores, values[:, :, :n])), total, out=out[heads][:, :, rows])

    _over_heads(work, q, k)
    return out, (sums, tops if lowered else None)


def _across(keys: np.ndarray, T: int) -> np.ndarray:
    return keys.mT if T < FEW else np.ascontiguousarray(keys.mT)


def _scores(q: np.ndarray, across: np.ndarray, scale: float, rows: slice, n: int) -> np.ndarray:
    return np.matmul(q[:, :, None, rows] * (scale * LOG2E), across[:, :, :n])


def _powers(scores: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """2^scores, in their place, and the sum of each row."""
    np.exp2(scores, out=scores)
    if mask is not None:
        _cap(scores, mask)
    return _added(np.matmul(scores, np.ones((scores.shape[-1], 1), scores.dtype)))


def _powers_below(scores: np.ndarray, mask: np.ndarray | None, top: np.ndarray, careful: np.ndarray) -> np.ndarray:
    """The same, of scores less each row's largest, which is written to `top` in the heads that are `careful`: where
    powers would overflow or vanish, or something is not a number."""
    if mask is not None:
        _hide(scores, mask, -math.inf)
    largest = np.maximum.reduce(scores, (2, 4), keepdims=True)               # (B, H, 1, T, 1)
    largest[largest == -math.inf] = 0                                        # a query that looks at nothing gets zeros
    scores -= largest
    np.copyto(top, largest[:, :, 0], where=careful)
    total = _powers(scores, None)
    total[total == 0] = 1
    return total


def _one_query(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, out: np.ndarray) -> tuple:
    """One query a head, as in generating a token: two products of a matrix with a vector."""
    scores, top = np.matmul(k, (q * (scale * LOG2E)).mT), None               # (B, H, S, 1)
    weights = np.exp2(scores)
    total = np.add.reduce(weights, 2, keepdims=True)
    sums = total.reshape(-1).tolist()
    if not (min(sums) > 1 / LARGE and max(sums) < LARGE):
        top = np.maximum.reduce(scores, 2, keepdims=True)
        top[top == -math.inf] = 0
        weights = np.exp2(scores - top)
        total = np.add.reduce(weights, 2, keepdims=True)
        total[total == 0] = 1
    np.matmul(weights.mT, v, out=out)                                        # (B, H, 1, E)
    out /= total
    return out, (total, top)


def attend_backward(g: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, causal: bool,
                    out: np.ndarray, aside: tuple, kept: np.ndarray | None = None,
                    p: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of q, k and v, each laid out as its source is."""
    total, top = aside
    logs = np.log2(total) if top is None else np.log2(total) + top
    grads, T = [empty_for(a.shape, a.dtype, a) for a in (q, k, v)], q.shape[2]
    dq, dk, dv = grads
    if causal:
        dk[:, :, T:] = dv[:, :, T:] = 0
        k, v, dk, dv = (x[:, :, :T] for x in (k, v, dk, dv))
    cut, blocks = _blocks(T, k.shape[2], causal, q.dtype)

    def work(heads: tuple) -> None:
        keys, values = _tiles(k[heads], cut), _tiles(v[heads], cut)          # (B, H, N, W, D), (B, H, N, W, E)
        keys_across = _appended(keys.mT, LOG2E, 1, axis=3) if top is None else _across(keys, T)
        values_across = _appended(values.mT, 1, 1, axis=3)                   # (B, H, N, E + 1, W)
        scaled_keys = keys * scale
        dks, dvs = (_room(d[heads], cut) for d in (dk, dv))
        for rows, n, mask in blocks:
            first = rows.stop == T
            qs, gs, outs = (x[heads][:, :, None, rows] for x in (q, g, out))                   # (B, H, 1, T, D)
            delta = np.vecdot(gs, outs)[..., None]
            qs = _appended(qs, scale, -logs[heads][:, :, None, rows], axis=4)                  # (B, H, 1, T, D + 1)
            gs = _appended(gs, 1, -delta if kept is None else 0, axis=4)
            if top is None:
                weights = np.matmul(qs, keys_across[:, :, :n])               # (B, H, N, T, W)
            else:                                                            # exactly the large ones that L is made of
                weights = _scores(q[heads], keys_across, scale, rows, n)
                weights -= logs[heads][:, :, None, rows]
            np.exp2(weights, out=weights)
            if mask is not None and top is None:
                _cap(weights, mask)
            elif mask is not None:
                _hide(weights, mask, 0)
            ds = np.matmul(gs, values_across[:, :, :n])
            met = weights                                                    # what met the values
            if kept is not None:
                noise = _bits(kept[heads], rows, n, cut) * weights.dtype.type(1 / (1 - p))
                ds *= noise
                ds -= delta
                met = noise * weights
            ds *= weights
            dqs = dq[heads][:, :, rows]
            if n == 1:
                np.matmul(ds[:, :, 0], scaled_keys[:, :, 0], out=dqs)
            else:
                np.add.reduce(np.matmul(ds, scaled_keys[:, :, :n]), 2, out=dqs)
            _add_product(met.mT, gs[..., :-1], dvs, n, first)
            _add_product(ds.mT, qs[..., :-1], dks, n, first)
        if k.shape[2] < math.prod(cut):                                      # they are not in their places yet
            for d, found in ((dk[heads], dks), (dv[heads], dvs)):
                d[...] = found.reshape(*d.shape[:2], -1, d.shape[3])[:, :, :d.shape[2]]

    _over_heads(work, q, k)
    return tuple(grads)


# ---- tiles, and blocks of them ----------------------------------------------------------------------------------

@lru_cache(8)
def _blocks(T: int, S: int, causal: bool, dtype: np.dtype) -> tuple[tuple[int, int], list]:
    """How keys are cut, (N, W): N W is S or a little more. And for each block of queries, the last one first, those
    queries, the number of tiles they meet, and a mask for those tiles of which they do not see all, or None."""
    N = 1 if T < FEW and not causal else -(-S // TILE)
    W = -(-S // N)
    step = _rows(S)
    if causal:
        step = max(step // W, 1) * W
    blocks, masks = [], {}
    for start in reversed(range(0, T, step)):
        stop = min(start + step, T)
        n = min(-(-stop // W), N) if causal else N
        whole = min((start + 1 if causal else S) // W, S // W)               # tiles that all of these queries see
        kind = start - whole * W, stop - start, n - whole, min(S - whole * W, (n - whole) * W)
        if whole < n and kind not in masks:                                  # on the diagonal, all are alike
            masks[kind] = _mask(*kind, W, causal, dtype)
        blocks.append((slice(start, stop), n, masks[kind] if whole < n else None))
    return (N, W), blocks


def _rows(keys: int) -> int:
    return ROWS if keys < LONG else LONG_ROWS


def _mask(first: int, queries: int, tiles: int, keys: int, W: int, causal: bool, dtype: np.dtype) -> np.ndarray:
    """(n, T, W), or what becomes that: 0 for a key that comes later than the query, of which the first stands at
    `first`, or after the last key; infinity for others."""
    places = np.arange(tiles * W).reshape(tiles, 1, W)
    seen = places < keys
    if causal:
        seen = seen & (places <= np.arange(first, first + queries)[:, None])
    return np.where(seen, np.inf, 0).astype(dtype)


def _tiles(x: np.ndarray, cut: tuple[int, int]) -> np.ndarray:
    """(B, H, S, D) -> (B, H, N, W, D), filled up with zeros."""
    (B, H, S, D), (N, W) = x.shape, cut
    if S < N * W:
        x, source = np.zeros((B, H, N * W, D), x.dtype), x
        x[:, :, :S] = source
    return _for_blas(x).reshape(B, H, N, W, D)


def _room(x: np.ndarray, cut: tuple[int, int]) -> np.ndarray:
    """The tiles of a gradient that is about to be written, in its own memory if they fill it."""
    (B, H, S, D), (N, W) = x.shape, cut
    return x.reshape(B, H, N, W, D) if S == N * W else np.empty((B, H, N, W, D), x.dtype)


def _add_product(a: np.ndarray, b: np.ndarray, tiles: np.ndarray, n: int, first: bool) -> None:
    """tiles[:, :, :n] += a b; the first one is written over what was in them."""
    if first:
        np.matmul(a, b, out=tiles[:, :, :n])
        tiles[:, :, n:] = 0
    else:
        tiles[:, :, :n] += np.matmul(a, b)


def _appended(x: np.ndarray, factor: float, last: np.ndarray | float, axis: int) -> np.ndarray:
    """A contiguous copy, multiplied, with one more row or column behind. NumPy copies short rows faster than it
    multiplies them."""
    shape, front, end = list(x.shape), [slice(None)] * x.ndim, [slice(None)] * x.ndim
    shape[axis] += 1
    front[axis], end[axis] = slice(-1), slice(-1, None)
    out = np.empty(shape, x.dtype)
    np.copyto(out[tuple(front)], x)
    if factor != 1:
        out[tuple(end)] = 0                                                  # or whatever was there would be multiplied
        out *= factor
    out[tuple(end)] = last
    return out


def _added(parts: np.ndarray) -> np.ndarray:
    """The sum over tiles: (B, H, N, T, E) -> (B, H, T, E)"""
    return parts[:, :, 0] if parts.shape[2] == 1 else np.add.reduce(parts, 2)


def _bits(kept: np.ndarray, rows: slice, n: int, cut: tuple[int, int]) -> np.ndarray:
    """0 or 1 for each weight, (B, H, N, T, W)"""
    bits = np.unpackbits(kept[:, :, rows], axis=-1, count=n * cut[1])
    return bits.reshape(*bits.shape[:3], n, cut[1]).swapaxes(2, 3)


# What is hidden may be infinite by then, and in careful heads not a number, which a minimum would keep.

def _cap(powers: np.ndarray, mask: np.ndarray) -> None:
    """Zeros where the mask has them."""
    last = powers[:, :, -len(mask):]
    np.minimum(last, mask, out=last)


def _hide(scores: np.ndarray, mask: np.ndarray, value: float) -> None:
    """This value where the mask is 0."""
    np.copyto(scores[:, :, -len(mask):], value, where=mask == 0)


def _over_heads(work: Callable, q: np.ndarray, k: np.ndarray) -> None:
    """work((batches, heads)) for groups whose blocks of scores together are not too large for the cache. No head has a
    part in another's result, so here the number of threads may decide how work is cut."""
    (B, H, T, _), S = q.shape, k.shape[2]
    group = max(min(2 * BLOCK // (min(T, _rows(S)) * S), -(-B * H // get_num_threads())), 1)
    heads, batches = min(group, H), max(group // H, 1)
    items = [(slice(b, b + batches), slice(h, h + heads)) for b in range(0, B, batches) for h in range(0, H, heads)]
    with blas.SingleThreaded():                     # products this small are not worth two of its threads
        each(work, items, B * H * T * S)


def _for_blas(x: np.ndarray) -> np.ndarray:
    """BLAS wants rows that are contiguous, and one behind the other."""
    *_, row, step = x.strides
    return x if step == x.itemsize and row >= x.shape[-1] * step else np.ascontiguousarray(x)
