"""Timing two things so that the ratio can be trusted on a machine that others use too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pair:
    """Two measurements taken in turn, in microseconds a call, and the median of the pairwise ratios first / second."""

    first: float
    second: float
    ratio: float
    spread: tuple[float, float]


def interleaved(first: Callable[[], object], second: Callable[[], object], rounds: int, seconds: float) -> Pair:
    """Call the two in turn, in batches of about `seconds` each. Medians, and the quartiles of the ratio."""
    calls = [_calls_in(f, seconds) for f in (first, second)]
    times: list[tuple[float, float]] = []
    for i in range(rounds + 1):
        order = ((0, first), (1, second)) if i % 2 else ((1, second), (0, first))
        took = [0.0, 0.0]
        for which, f in order:
            took[which] = _batch(f, calls[which])
        if i:                                   # the first round warms up
            times.append((took[0], took[1]))
    low, ratio, high = quartiles([a / b for a, b in times])
    return Pair(statistics.median(a for a, _ in times) * 1e6, statistics.median(b for _, b in times) * 1e6, ratio,
                (low, high))


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """The first, the median and the third."""
    return tuple(np.quantile(values, (0.25, 0.5, 0.75)).tolist())


def _batch(f: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        f()
    return (time.perf_counter() - start) / calls


def _calls_in(f: Callable[[], object], seconds: float) -> int:
    calls = 1
    while _batch(f, calls) * calls < seconds / 4:
        calls *= 2
    return max(1, round(seconds / _batch(f, calls)))
