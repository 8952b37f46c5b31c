"""The order of additions in torch's sum on a CPU, so that float sums agree to the last bit.

Floating-point addition is not associative: whoever adds in another order gets another result. torch (on one thread)

1. reorders and merges the axes: first those reduced, by ascending stride, then the others, the last one first;
2. lets the first two axes decide how the first one, which is reduced, is summed: with vectors of 32 bytes along it,
   with vectors across it, or element by element;
3. adds what the other reduced axes contribute one by one, the one with the smallest stride fastest.

Sums across take four vectors at a time and cascade: every 16 rows, a partial sum moves up a level, and so on, so that
the rounding error hardly grows with the number of rows. Sums along do the same with four interleaved partial sums of
vectors; columns that are left over after groups of four do it with four interleaved partial sums of rows.

`np.add.reduce` adds row after row, in order, as long as the elements of a row lie closer together in memory than the
rows do: that is what makes this exact. Only with axes of stride 0 does torch's order remain its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def cascade_sum(x: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """The sum of a float array over the given axes, none negative, as torch adds it; float16 is added in float32."""
    if x.dtype == np.float16:
        with np.errstate(over="ignore"):
            return cascade_sum(x.astype(np.float32), axes).astype(np.float16)
    if x.dtype.kind != "f":
        raise TypeError(f"a floating-point array is needed, not {x.dtype}")
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    shape = tuple(x.shape[axis] for axis in kept)
    if x.size == 0:
        return np.zeros(shape, x.dtype)
    reduced = _merged(x, sorted(axes, key=lambda axis: (x.strides[axis], -axis))) or [(1, x.itemsize)]
    sizes, strides = zip(*reduced, *_merged(x, reversed(kept)))
    with np.errstate(all="ignore"):
        total = _first_axis(np.lib.stride_tricks.as_strided(x, sizes, strides, writeable=False))
        for _ in reduced[1:-1]:        # all other reduced axes become one, on which the smallest stride is the fastest
            total = total.swapaxes(0, 1).reshape(-1, *total.shape[2:])
        if len(reduced) > 1:
            total = _one_by_one(total)
    return np.asarray(total.reshape(shape[::-1], order="F").T, order="C")        # in total, the last axis came first


def _merged(x: np.ndarray, axes: Iterable[int]) -> list[tuple[int, int]]:
    """(size, stride) of the axes, after those that continue each other have become one."""
    merged: list[tuple[int, int]] = []
    for axis in axes:
        size, stride = x.shape[axis], x.strides[axis]
        if size == 1:
            continue
        if merged and merged[-1][0] * merged[-1][1] == stride:
            size, stride = merged[-1][0] * size, merged.pop()[1]
        merged.append((size, stride))
    return merged


def _first_axis(x: np.ndarray) -> np.ndarray:
    """The sum over axis 0; the second axis, reduced or not, has a say in how."""
    lanes = 32 // x.itemsize
    along = x.strides[0]
    across = x.strides[1] if x.ndim > 1 else np.inf
    if along == x.itemsize and len(x) >= lanes:
        whole = len(x) // lanes * lanes
        vectors = _interleaved(x[:whole].reshape(-1, lanes, *x.shape[1:]))
        return _one_by_one([*x[whole:], *vectors])
    if along < across:
        return _interleaved(x)
    columns = 4 * lanes if across == x.itemsize and x.shape[1] >= lanes else 4
    whole = x.shape[1] // columns * columns
    return np.concatenate([_cascade(x[:, :whole]), _interleaved(x[:, whole:])])


def _cascade(rows: np.ndarray) -> np.ndarray:
    """The sum of the rows in four levels."""
    step = 1 << max(4, (len(rows) - 1).bit_length() // 4)
    levels = []
    for groups in (len(rows) // step, len(rows) // step**2, len(rows) // step**3, 0):
        levels.append(_in_order(rows[groups * step :], axis=0))
        if not groups:
            break
        rows = _in_order(rows[: groups * step].reshape(groups, step, *rows.shape[1:]), axis=1)
    return _one_by_one(levels)


def _interleaved(rows: np.ndarray) -> np.ndarray:
    """The sums of rows 0, 4, 8 ..., of rows 1, 5, 9 ..., and so on; the first also takes the rows left over."""
    quarter = len(rows) // 4
    first, *others = _cascade(rows[: 4 * quarter].reshape(quarter, 4, *rows.shape[1:]))
    return _one_by_one([first, *rows[4 * quarter :], *others])


def _in_order(rows: np.ndarray, axis: int) -> np.ndarray:
    return np.add.reduce(rows, axis=axis)


def _one_by_one(terms: Iterable[np.ndarray]) -> np.ndarray:
    total = 0        # as torch does: zeros of either sign add up to +0
    for term in terms:
        total = total + term
    return total
