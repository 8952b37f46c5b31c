"""Products of matrices: which threads make them.

BLAS shares a large product among threads of its own. Of a batch it sees one product after the other, which may be too
small for that: a batch is shared by the threads of our pool, each of which multiplies a part of it alone. So is
everything else, where BLAS's threads would get in their way (`restless` in blas.py)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..host import get_num_threads
from ..modes import mode
from . import blas
from .blocks import Aside, each, is_busy, put_aside

SHARED = 1 << 18           # multiplications: of as many OpenBLAS's threads do a part each, if there are several
ASIDE = 1 << 21            # of as many another thread makes the product, while this one does something else
WORTH_WHILE = 1 << 24      # of as many a thread of the pool makes a part, while this one makes another
WHOLE = slice(None)


def multiply(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, bias: np.ndarray | None = None) -> np.ndarray:
    """a b, of two (batches of) matrices; plus a number for each column."""
    a, b = for_blas(a), for_blas(b)
    alone = a.ndim == b.ndim == 2                                    # no batch: the usual case, which asks for little
    if max(a.size * b.shape[-1], b.size * a.shape[-2]) < SHARED:
        small = alone and out is None and len(b) > 1                 # see blas.dot for the last
        out = a.dot(b) if small else np.matmul(a, b, out=out, order="C")
        return out if bias is None else np.add(out, bias, out=out)
    if out is None:
        batch = () if alone else np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        out = np.empty((*batch, a.shape[-2], b.shape[-1]), a.dtype if a.dtype is b.dtype else np.result_type(a, b))

    def part(*where: slice) -> None:
        x, y, z, here = a, b, bias, out
        if where:
            x, y, here = _part(a, (*where[:-1], WHOLE)), _part(b, (*where[:-2], WHOLE, where[-1])), out[where]
            z = bias if bias is None else bias[where[-1]]
        np.matmul(x, y, out=here)
        if z is not None:
            np.add(here, z, out=here)
    _share(part, out.shape, out.size * a.shape[-1])
    return out


def add_product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """out += a b, of matrices."""
    def part(rows: slice = WHOLE, columns: slice = WHOLE) -> None:
        blas.add_product(a[rows], b[:, columns], out[rows, columns])
    _share(part, out.shape, out.size * a.shape[-1])


def aside(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray | Aside:
    """`out`, once it is a b, of matrices. That is put aside if it is worth while, and somebody is there who waits for
    it. With more threads than two some would have nothing to do: there they share each product."""
    if mode.side is None or a.size * b.shape[-1] < ASIDE or get_num_threads() != 2 or not blas.can_be_told():
        return multiply(a, b, out)
    return put_aside(lambda: np.matmul(for_blas(a), for_blas(b), out=out), out)


def for_blas(x: np.ndarray) -> np.ndarray:
    """BLAS takes rows or columns that are contiguous; for others NumPy has only a slow loop of its own."""
    return x if x.itemsize in x.strides[-2:] else np.ascontiguousarray(x)


def _share(work: Callable[..., None], shape: tuple, size: int) -> None:
    """work(*where) for parts of a product of that shape, which takes `size` multiplications; or work() for all of it.
    It is cut along the batch; or, where that is short, between rows or columns, so that all threads read the smaller
    operand."""
    threads = get_num_threads()
    *batch, rows, columns = shape
    most = max(batch, default=1)
    enough = most % threads == 0 or most >= 8 * threads              # for all threads to have equally many
    if threads < 2 or size < SHARED or is_busy() or not (enough or blas.restless):
        return work()
    if size < WORTH_WHILE:
        with blas.SingleThreaded():
            return work()
    axis = batch.index(most) if enough else len(batch) + (columns > rows)
    step = -(-shape[axis] // threads)
    if axis >= len(batch):
        step = -(-step // 16) * 16                                   # BLAS's kernels make 16 numbers at once
    before, behind = (WHOLE,) * axis, (WHOLE,) * (len(shape) - axis - 1)
    parts = [(*before, slice(i, i + step), *behind) for i in range(0, shape[axis], step)]
    return each(lambda where: work(*where), parts, size)


def _part(x: np.ndarray, where: tuple) -> np.ndarray:
    """x[where], of an operand that may be broadcast along the batch."""
    return x[tuple([WHOLE if n == 1 else s for n, s in zip(x.shape, where[len(where) - x.ndim:], strict=True)])]
