"""Which of several equal elements torch takes: the unstable algorithms behind its sort, topk, mode and kthvalue.

Values do not depend on how they are sorted, the indices of equal values do. On a CPU torch leaves sorting and selecting
to the C++ library, whose algorithms, as GCC has them, are written down here together with one of torch's own. They work
on lists of ranks (elements that tie have the same), and what counts is the order of comparisons and moves alone.

They run in Python, and therefore only on rows in which ties leave a choice, and only on rows of up to LONGEST elements:
in longer ones equal elements stay in the order in which they came.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LONGEST = 4096
SHORT = 16              # what is no longer than this, the C++ library's sort leaves to insertion, which is stable

Places = list[int]


def settle(x: np.ndarray, order: np.ndarray, dim: int, start: int, stop: int,
           choose: Callable[[list[int]], Places], always: bool = False) -> np.ndarray:
    """The stable order of x along a dimension, with the places from start to stop chosen as choose(ranks) does: in rows
    where ties leave a choice, or always."""
    n = x.shape[dim]
    if n > LONGEST or start == stop:
        return order
    ranked, rows = (np.moveaxis(a, dim, -1) for a in (np.take_along_axis(x, order, dim), order))
    new = np.ones(ranked.shape, bool)                    # where an element does not tie with the one before it
    new[..., 1:] = ranked[..., 1:] != ranked[..., :-1]
    if x.dtype.kind == "f":
        new[..., 1:] &= ~np.isnan(ranked[..., 1:]) | ~np.isnan(ranked[..., :-1])
    undecided = np.full(rows.shape[:-1], True) if always else ~new[..., max(start, 1):stop + 1].all(-1)
    chosen = rows[undecided]
    ranks = np.empty_like(chosen)
    np.put_along_axis(ranks, chosen, np.cumsum(new[undecided], -1), -1)
    for row, rank in zip(chosen, ranks.tolist()):
        row[start:stop] = choose(rank)
    rows[undecided] = chosen
    return order


# ---- what torch calls -------------------------------------------------------------------------------------------

def sorted_places(rank: list[int]) -> Places:
    """The places of the elements in ascending order: quicksort down to short pieces, then insertion."""
    a = list(range(len(rank)))
    _quicksort(a, rank)
    return a


def first_places(rank: list[int], k: int, in_order: bool = True) -> Places:
    """The places of the k smallest: from a heap if they are few, else what a selection leaves before the k-th."""
    a = list(range(len(rank)))
    if 64 * k <= len(a):
        return _unheaped(_smallest(a, rank, k), rank)
    _select(a, rank, k - 1)
    front = a[:k - 1]
    if in_order:
        _quicksort(front, rank)
    return [*front, a[k - 1]]


def place_of_kth(rank: list[int], k: int) -> Places:
    """The place of the k-th smallest (from 0), by a quickselect of torch's own: the median of the first, the middle and
    the last element goes to the front and splits the rest."""
    a, low, high = list(range(len(rank))), 0, len(rank) - 1

    def swap_if_descending(i: int, j: int) -> None:
        if rank[a[i]] > rank[a[j]]:
            a[i], a[j] = a[j], a[i]

    while high > low + 1:
        middle = (low + high) // 2
        a[middle], a[low + 1] = a[low + 1], a[middle]
        swap_if_descending(low + 1, high)
        swap_if_descending(low, high)
        swap_if_descending(low + 1, low)
        i, j, pivot = low + 1, high, rank[a[low]]
        while True:
            i, j = i + 1, j - 1
            while rank[a[i]] < pivot:
                i += 1
            while rank[a[j]] > pivot:
                j -= 1
            if j < i:
                break
            a[i], a[j] = a[j], a[i]
        a[low], a[j] = a[j], a[low]
        if j <= k:
            low = i
        if j >= k:
            high = j - 1
    if high == low + 1:
        swap_if_descending(low, high)
    return [a[k]]


# ---- quicksort and quickselect, which give up on bad luck -------------------------------------------------------

def _patience(n: int) -> int:
    """How many times a row may be split: twice as often as if it were halved each time."""
    return 2 * (n.bit_length() - 1)


def _quicksort(a: Places, rank: list[int]) -> None:
    pieces = [(0, len(a), _patience(len(a)))]
    while pieces:
        low, high, patience = pieces.pop()
        if high - low > SHORT:
            if patience:
                cut = _split(a, rank, low, high)
                pieces += (low, cut, patience - 1), (cut, high, patience - 1)
            else:
                a[low:high] = _unheaped(_smallest(a[low:high], rank, high - low), rank)
    a.sort(key=rank.__getitem__)             # insertion moves nothing past its equals: neither does this


def _select(a: Places, rank: list[int], k: int) -> None:
    """Bring the element that belongs there to place k, smaller ones before it, larger ones behind."""
    low, high, patience = 0, len(a), _patience(len(a))
    while high - low > 3:
        if not patience:
            rest = a[low:high]
            heap = _smallest(rest, rank, k + 1 - low)
            a[low:high] = heap + rest[len(heap):]
            a[low], a[k] = a[k], a[low]
            return
        patience -= 1
        cut = _split(a, rank, low, high)
        low, high = (cut, high) if cut <= k else (low, cut)
    a[low:high] = sorted(a[low:high], key=rank.__getitem__)


def _split(a: Places, rank: list[int], low: int, high: int) -> int:
    """Split a piece at the median of its second, middle and last element; return where the larger ones begin."""
    lesser, greater, last = low + 1, (low + high) // 2, high - 1
    if not rank[a[lesser]] < rank[a[greater]]:
        lesser, greater = greater, lesser
    end = rank[a[last]]
    median = greater if rank[a[greater]] < end else last if rank[a[lesser]] < end else lesser
    a[low], a[median] = a[median], a[low]
    i, j, pivot = low + 1, high - 1, rank[a[low]]
    while True:
        while rank[a[i]] < pivot:
            i += 1
        while pivot < rank[a[j]]:
            j -= 1
        if i >= j:
            return i
        a[i], a[j] = a[j], a[i]
        i, j = i + 1, j - 1


# ---- heaps, the largest element on top --------------------------------------------------------------------------

def _smallest(a: Places, rank: list[int], k: int) -> Places:
    """The k smallest of a row, as a heap; in the row, what has left the heap takes the place of what came for it."""
    heap = a[:k]
    for hole in reversed(range(k // 2)):
        _fill(heap, rank, hole, heap[hole])
    for i in range(k, len(a)):
        if rank[a[i]] < rank[heap[0]]:
            leaving = heap[0]
            _fill(heap, rank, 0, a[i])
            a[i] = leaving
    return heap


def _unheaped(heap: Places, rank: list[int]) -> Places:
    """The elements of a heap in ascending order."""
    a = heap[:]
    for n in range(len(heap) - 1, 0, -1):
        a[n], last = heap[0], heap.pop()
        _fill(heap, rank, 0, last)
    a[:1] = heap
    return a


def _fill(heap: Places, rank: list[int], hole: int, new: int) -> None:
    """Fill a hole: larger children move up until it is at the bottom, from where the new element rises to its place."""
    top, n = hole, len(heap)
    while (child := 2 * hole + 2) < n:
        if rank[heap[child]] < rank[heap[child - 1]]:
            child -= 1
        heap[hole], hole = heap[child], child
    if child == n:                                          # an only child
        heap[hole], hole = heap[n - 1], n - 1
    while hole > top and rank[heap[(hole - 1) // 2]] < rank[new]:
        heap[hole], hole = heap[(hole - 1) // 2], (hole - 1) // 2
    heap[hole] = new
