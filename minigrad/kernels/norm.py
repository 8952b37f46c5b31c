"""Layer and RMS normalisation of rows, a block of rows at a time.

    y = (x - m) r w + b,   m = mean(x),   r = 1 / sqrt(var(x) + eps)
    dx = r (h - mean(h) - (x - m) r^2 mean(h (x - m))),   h = g w

What is added up over rows or columns are products of a matrix with a vector, BLAS's. RMS normalisation is the same
without the mean, and without b. Kept for backward are r and m.

Centred rows are copied to where their result shall be, and changed there: NumPy takes longer to subtract a column, or
to multiply by a row, if it writes the result to memory that is not in the cache yet.

A sum is rounded, and with it the mean. Where deviations are so small beside the mean that this counts among them, the
mean is taken once more, of what is left when a row's first number is subtracted: then equal numbers leave 0.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from . import blas
from .blocks import BLOCK, block_rows, in_blocks
from .late import Rows

FAR = 2                         # deviations: a mean that is farther from 0 is taken once more
SHORT = 1 << 13                 # numbers in a row: the sum of more may depend on the number of OpenBLAS's threads


def standardise(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, eps: float,
                centred: bool) -> tuple[np.ndarray, tuple]:
    """x (rows, width), contiguous; weight and bias (width,). The result, and what backward needs."""
    rows, width = x.shape
    y, mean, r = np.empty_like(x), np.empty((rows, 1), x.dtype), np.empty((rows, 1), x.dtype)
    ones = _ones(width, x.dtype)[:, None]

    def work(start: int, stop: int) -> None:
        part, out, rb = x[start:stop], y[start:stop], r[start:stop]
        if centred:
            np.copyto(out, part)
            m = _centre(out, ones, mean[start:stop])
            _inverse_deviation(out, eps, rb)
            far = np.flatnonzero(np.abs(m) * rb > FAR)
            if len(far):
                first, others = part[far, :1], part[far]
                others -= first
                m[far] = first + _centre(others, ones, np.empty_like(first))
                rb[far] = _inverse_deviation(others, eps, np.empty_like(first))
                out[far] = others
            out *= rb
        else:
            np.multiply(part, _inverse_deviation(part, eps, rb), out=out)
        if weight is not None:
            out *= weight
        if bias is not None:
            out += bias

    with blas.SingleThreaded():                  # sums this short are not worth two of its threads
        in_blocks(work, rows, width)
    return y, (mean if centred else None, r)


def _centre(rows: np.ndarray, ones: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Subtract its mean from each row. Return the means, in an array that is there."""
    blas.dot(rows, ones, out=mean)
    mean /= len(ones)
    rows -= mean
    return mean


def _inverse_deviation(rows: np.ndarray, eps: float, r: np.ndarray) -> np.ndarray:
    np.vecdot(rows, rows, out=r[:, 0])
    r /= rows.shape[1]
    r += eps
    np.sqrt(r, out=r)
    return np.divide(1, r, out=r)


def sum_of_squares(x: np.ndarray | Rows) -> np.floating:
    """x . x, of a contiguous array: of each block of rows by BLAS, and of the blocks in double precision."""
    if x.size <= BLOCK or x.size > BLOCK * len(x):           # little; or rows that are longer than a block
        x = x.reshape(-1)
    if x.size <= BLOCK:
        return x.dot(x)
    (rows, width), sparse = (len(x), x.size // len(x)), isinstance(x, Rows)
    step = block_rows(rows, width, 2)            # of shorter blocks, two threads sum no more than one
    sums = np.zeros(-(-rows // step), x.dtype)

    def work(start: int, stop: int) -> None:
        if not sparse or len(x.within(start, stop)[0]):
            part = (x.part(start, stop) if sparse else x[start:stop]).reshape(-1)
            sums[start // step] = part.dot(part)

    in_blocks(work, rows, width, 2, passes=1)
    return sums.sum(dtype=np.float64).astype(x.dtype)


def standardise_one(row: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, eps: float,
                    centred: bool) -> tuple[np.ndarray, tuple]:
    """The same of a single row, as in generating a token: there each call of NumPy counts, and an array without
    dimensions costs it less than a number of Python's."""
    width, dtype, mean = len(row), row.dtype, None
    if centred:
        mean = np.asarray(row.dot(_ones(width, dtype)) / width, dtype)
        whole, row = row, row - mean
    var = float(row.dot(row)) / width + eps
    r = np.asarray(1 / math.sqrt(var) if var > 0 else math.inf if var == 0 else math.nan, dtype)
    if centred and abs(mean) * r > FAR and whole[0]:
        y, (mean, r) = standardise_one(whole - whole[0], weight, bias, eps, True)
        return y, (mean + whole[0], r)
    y = row * r
    if weight is not None:
        y *= weight
    if bias is not None:
        y += bias
    return y, (mean, r)


@lru_cache(8)                                # few, for what it keeps may be large
def _ones(width: int, dtype: np.dtype) -> np.ndarray:
    return np.ones(width, dtype)


def standardise_backward(g: np.ndarray, x: np.ndarray, weight: np.ndarray | None, aside: tuple,
                         needed: tuple) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """The gradients of x, weight and bias, as far as they are needed."""
    (rows, width), step = x.shape, block_rows(*x.shape)
    mean, r = (a if a is None else a.reshape(-1, 1) for a in aside)        # a single row's have no dimensions
    g, dx = np.ascontiguousarray(g), np.empty_like(x) if needed[0] else None
    w, blocks = _ones(width, x.dtype) if weight is None else weight, -(-rows // step)
    dw, db = (np.empty((blocks, width), x.dtype) if n else None for n in needed[1:])      # summed by block

    def work(start: int, stop: int) -> None:
        gb, rb, block = g[start:stop], r[start:stop], start // step
        centred = x[start:stop] if mean is None else x[start:stop] - mean[start:stop]
        product = gb * centred
        if db is not None:
            blas.dot(_ones(stop - start, x.dtype), gb, out=db[block])
        if dw is not None:
            blas.dot(rb[:, 0], product, out=dw[block])
        if dx is None:
            return
        out, wide = dx[start:stop], rb.astype(np.float64)          # double precision: h nearly cancels what this makes
        slope = blas.dot(product, w)[:, None] * (wide * wide) / width         # h (x - m), added up over each row
        np.multiply(centred, slope.astype(x.dtype), out=product if mean is None else centred)
        np.copyto(out, gb)
        if weight is not None:
            out *= weight                                                   # h
        out -= product if mean is None else centred
        if mean is not None:
            out -= blas.dot(gb, w)[:, None] / width
        out *= rb

    with blas.SingleThreaded():
        in_blocks(work, rows, width)
    return dx, *(d if d is None else np.add.reduce(d, 0, np.float64).astype(x.dtype) for d in (dw, db))
