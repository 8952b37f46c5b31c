"""Adding values to an array at places that may repeat: what np.add.at does, faster."""

from __future__ import annotations

import math

import numpy as np


def write_at(array: np.ndarray, value, index: tuple, accumulate: bool) -> None:
    """array[index] = value or, accumulating, array[index] += value for every time that the index names an element."""
    if not accumulate:
        array[index] = value
    elif index[-1].dtype.kind == "b":
        array[index] += value
    elif not array.flags.c_contiguous or not _adjacent(index):
        np.add.at(array, index, value)
    else:
        _add_at(array, index, value)


def _adjacent(index: tuple) -> bool:
    places = [d for d, i in enumerate(index) if not isinstance(i, slice)]
    return places[-1] - places[0] + 1 == len(places)


def _add_at(array: np.ndarray, index: tuple, value) -> None:
    """What np.add.at does, for a run of indexed dimensions: they become one, and the rows that go to the same place are
    brought together and summed. np.add.at itself is fast only where there is nothing else than that dimension."""
    first = next(d for d, i in enumerate(index) if not isinstance(i, slice))
    arrays = np.broadcast_arrays(*index[first:])
    place = np.zeros(arrays[0].shape, np.int64)
    for i, n in zip(arrays, array.shape[first:], strict=False):
        place = place * n + np.where(i < 0, i + n, i)
    before, behind = array.shape[:first], array.shape[len(index):]
    if not place.size or not array.size:
        return
    count = math.prod(array.shape[first:len(index)])
    flat = array.reshape(math.prod(before), count, math.prod(behind))
    rows = np.broadcast_to(value, before + place.shape + behind).reshape(len(flat), place.size, -1)
    place = place.reshape(-1)
    if flat.shape[0] == flat.shape[2] == 1:
        np.add.at(flat.reshape(-1), place, rows.reshape(-1))
        return
    places, sums = summed_by_place(place, rows, array.dtype)
    flat[:, places] += sums


def summed_by_place(place: np.ndarray, rows: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Of rows (k, n, m), that belong to n places, those of one place as their sum, in their order: the places, each
    once and ascending, and the sums."""
    order = np.argsort(place, kind="stable")
    place = place[order]
    starts = np.flatnonzero(np.concatenate(([True], place[1:] != place[:-1])))
    return place[starts], np.add.reduceat(rows[:, order], starts, axis=1, dtype=dtype)
