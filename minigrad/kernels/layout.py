"""Where torch puts the elements of a result in memory: in the order in which those of the operands lie.

NumPy's order K follows the same idea, but differs where operands disagree (NumPy then takes C's order; torch lets the
first one decide) and where something was expanded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def owner(array: np.ndarray) -> np.ndarray:
    """The array whose memory `array` looks at: the one that is not itself a view of an array."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def flat(root: np.ndarray) -> np.ndarray:
    """All the memory under `root`, whatever the order of its axes, as one flat array that shares it."""
    dense = root.transpose(sorted(range(root.ndim), key=lambda d: -root.strides[d]))
    if dense.flags.c_contiguous:
        return dense.reshape(-1)
    lowest = root[tuple(slice(None, None, -1 if step < 0 else 1) for step in root.strides)]
    low, high = np.lib.array_utils.byte_bounds(root)
    return np.lib.stride_tricks.as_strided(lowest, ((high - low) // root.itemsize,), (root.itemsize,))


def dims_by_stride(shape: Sequence[int], steps: Sequence[Sequence[int]]) -> list[int]:
    """The dimensions, outermost first, for operands with these strides, of which 0 says nothing: the first operand
    that tells two dimensions apart decides. Not all pairs can be told apart, so the order depends on how one sorts: by
    insertion, from the last dimension on."""
    def inner(a: int, b: int) -> int:
        """1 if dimension a belongs inside of b, -1 if b inside of a, 0 if nothing tells."""
        for step in steps:
            if step[a] and step[b]:
                if step[a] != step[b]:
                    return 1 if step[a] < step[b] else -1
                if shape[a] < shape[b]:
                    return 1
        return 0

    if len(steps) == 1 and 0 not in steps[0]:                 # told apart by one operand all the way: any sort will do
        step, = steps
        return sorted(range(len(shape)), key=lambda d: (step[d], shape[d], -d))[::-1]

    order = list(range(len(shape)))[::-1]                     # innermost first
    for i in range(1, len(order)):
        for j in reversed(range(i)):
            told = inner(order[i], order[j])
            if told < 0:
                break
            if told > 0:
                order[i], order[j] = order[j], order[i]
                i = j
    return order[::-1]


def strides_within(array: np.ndarray, shape: tuple[int, ...]) -> list[int]:
    """An operand's strides where it is broadcast to a shape."""
    lead = len(shape) - array.ndim
    return [0] * lead + [0 if n != m else abs(step) for n, m, step in zip(array.shape, shape[lead:], array.strides)]


def empty_for(shape: tuple[int, ...], dtype: np.dtype, *operands: np.ndarray) -> np.ndarray:
    """Memory for the result of an elementwise op of these operands."""
    first = operands[0]
    if len(operands) == 1 and first.shape == shape and first.dtype == dtype and 0 not in first.strides:
        if first.flags.c_contiguous:                             # without gaps: its strides, of sides of 1, too
            out = np.empty(shape, dtype)
            return out if out.strides == first.strides else np.ndarray(shape, dtype, out, 0, first.strides)
        if 1 not in shape and len(set(first.strides)) == first.ndim:         # nothing to decide: NumPy's order will do
            return np.empty_like(first)
    return empty_in(dims_by_stride(shape, [strides_within(x, shape) for x in operands]), shape, dtype)


def empty_in(order: Sequence[int], shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Memory in which the dimensions lie in that order, outermost first."""
    return np.empty([shape[d] for d in order], dtype).transpose(sorted(range(len(order)), key=order.__getitem__))


def arranged(value: np.ndarray, operands: Sequence) -> np.ndarray:
    """The result of an elementwise op of these operands (what is not an array has no say), where torch would have put
    it."""
    if value.ndim < 2:
        return value
    strides, shape = value.strides, value.shape
    for x in operands:
        if isinstance(x, np.ndarray) and x.strides != strides:
            break
    else:
        return value
    if value.flags.c_contiguous:              # the flags say nothing of sides of 1, whose strides count in broadcasting
        for x in operands:
            if isinstance(x, np.ndarray) and not (x.flags.c_contiguous and (
                    x.shape == shape or 1 not in shape or 1 not in x.shape)):
                break
        else:
            return value
    out = empty_for(value.shape, value.dtype, *[x for x in operands if isinstance(x, np.ndarray)])
    if all(a == b or n == 1 for a, b, n in zip(out.strides, value.strides, value.shape)):
        return value
    out[...] = value
    return out


def copied(array: np.ndarray) -> np.ndarray:
    """A copy in the same order, without gaps and repetitions."""
    return arranged(array.copy(order="K"), (array,))


def gathered(value: np.ndarray, source: np.ndarray, index: tuple) -> np.ndarray:
    """source[index], where torch would have put it: as an elementwise op of the source and the arrays of the index,
    in whose dimensions the source has no stride."""
    arrays = [i for i in index if not isinstance(i, slice)]
    if value.ndim < 2 or all(x.flags.c_contiguous for x in (source, *arrays)):
        return np.asarray(value, order="C")           # (not ascontiguousarray, which has at least one dimension)
    used = [d for d, i in enumerate(index) if not isinstance(i, slice)]
    if arrays[0].dtype.kind == "b":                            # a mask, alone: its dimensions become one
        used, shape, arrays = list(range(used[0], used[0] + arrays[0].ndim)), (1,), []
    else:
        shape = np.broadcast_shapes(*[i.shape for i in arrays])
    front = used[0] if used[-1] - used[0] < len(used) else 0   # else they come first
    kept = [abs(step) for d, step in enumerate(source.strides) if d not in used]
    own = [0] * front, [0] * (len(kept) - front)
    order = dims_by_stride(value.shape, [[*kept[:front], *[0] * len(shape), *kept[front:]],
                                         *([*own[0], *strides_within(i, shape), *own[1]] for i in arrays)])
    out = empty_in(order, value.shape, value.dtype)
    out[...] = value
    return out
