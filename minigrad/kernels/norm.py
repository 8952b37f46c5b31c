"""Layer and RMS normalisation of rows, a block of rows at a time.

    y = x^ w + b,   x^ = (x - mean) r,   r = 1 / sqrt(var + eps)
    dx = r (h - mean(h) - x^ mean(h x^)),   h = g w

RMS normalisation is the same without the mean, and without b. Kept for backward is r, and the mean.
"""

from __future__ import annotations

import numpy as np

from .blocks import block_rows, in_blocks


def standardise(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, eps: float,
                centred: bool) -> tuple[np.ndarray, tuple]:
    """x (rows, width), contiguous; weight and bias (width,). The result, and what backward needs."""
    rows, width = x.shape
    if rows == 1:
        return _standardise_one(x, weight, bias, eps, centred)
    y, mean, r = np.empty_like(x), np.empty((rows, 1), x.dtype), np.empty((rows, 1), x.dtype)

    def work(start: int, stop: int) -> None:
        part, out, rb = x[start:stop], y[start:stop], r[start:stop]
        if centred:
            m = np.add.reduce(part, -1, keepdims=True, out=mean[start:stop])
            m /= width
            part = np.subtract(part, m, out=out)
        np.vecdot(part, part, out=rb[:, 0])
        rb /= width
        rb += eps
        np.sqrt(rb, out=rb)
        np.divide(1, rb, out=rb)
        np.multiply(part, rb, out=out)
        if weight is not None:
            out *= weight
        if bias is not None:
            out += bias

    in_blocks(work, rows, width)
    return y, (mean if centred else None, r)


def sum_of_squares(x: np.ndarray) -> np.floating:
    """x . x, of a contiguous array: of each block by BLAS, and of the blocks in double precision."""
    flat, step = x.reshape(-1), block_rows(1)
    sums = np.zeros(-(-flat.size // step), x.dtype)

    def work(start: int, stop: int) -> None:
        sums[start // step] = np.vecdot(flat[start:stop], flat[start:stop])

    in_blocks(work, flat.size)
    return sums.sum(dtype=np.float64).astype(x.dtype)


def _standardise_one(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, eps: float,
                     centred: bool) -> tuple[np.ndarray, tuple]:
    """The same of a single row, as in generating a token: there each call of NumPy counts."""
    row, width, mean = x[0], x.shape[1], None
    if centred:
        mean = np.add.reduce(row) / width
        row = row - mean
        mean = mean[None, None]
    r = 1 / np.sqrt(np.dot(row, row) / width + eps)
    y = row * r
    if weight is not None:
        y *= weight
    if bias is not None:
        y += bias
    return y[None], (mean, r[None, None])


def standardise_backward(g: np.ndarray, x: np.ndarray, weight: np.ndarray | None, aside: tuple,
                         needed: tuple) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """The gradients of x, weight and bias, as far as they are needed."""
    (rows, width), (mean, r), step = x.shape, aside, block_rows(x.shape[1])
    g, dx = np.ascontiguousarray(g), np.empty_like(x) if needed[0] else None
    blocks = -(-rows // step)
    dw, db = (np.empty((blocks, width), x.dtype) if n else None for n in needed[1:])      # summed by block

    def work(start: int, stop: int) -> None:
        gb, rb, block = g[start:stop], r[start:stop], start // step
        if db is not None:
            np.add.reduce(gb, 0, out=db[block])
        hat = x[start:stop] * rb if mean is None else x[start:stop] - mean[start:stop]
        if mean is not None:
            hat *= rb
        if dx is None:
            if dw is not None:
                np.add.reduce(np.multiply(hat, gb, out=hat), 0, out=dw[block])
            return
        h = dx[start:stop]
        if dw is not None:
            np.add.reduce(np.multiply(hat, gb, out=h), 0, out=dw[block])
        np.multiply(gb, weight, out=h) if weight is not None else np.copyto(h, gb)
        hat *= np.vecdot(h, hat)[:, None] / width
        if mean is not None:
            hat += np.add.reduce(h, -1, keepdims=True) / width
        h -= hat
        h *= rb

    in_blocks(work, rows, width)
    return dx, *(d if d is None else np.add.reduce(d, 0, np.float64).astype(x.dtype) for d in (dw, db))
