"""Every OpInfo sample of torch's own test suite, forward, backward and second order: see opinfo.py."""

from __future__ import annotations

import pytest
import torch

import minigrad

from . import opinfo, scoreboard

# Refusals that minigrad does not share, as "entry #sample": why. At most 2 % of all, and each must still be one.
KNOWN_MISSES: dict[str, str] = {}

# What torch 2.13 defines for the op list. An op that vanished from the run would otherwise look like a success.
TOTALS = {"forward": 4136, "backward": 2614, "second": 1471, "float32": 4136, "int64": 2965, "errors": 265}

ENGINE = opinfo.Engine(minigrad)
SCORES: dict[str, opinfo.Score] = {}


@pytest.mark.parametrize("entry", opinfo.entries())
def test_entry(entry: str) -> None:
    """All checks of one entry pass, apart from the named misses, which must fail."""
    SCORES[entry] = opinfo.score(opinfo.entries()[entry], ENGINE)
    misses = {f"{f.entry} #{f.sample}" for f in SCORES[entry].failures if f.kind == "errors"}
    wrong = [str(f) for f in SCORES[entry].failures if f.kind != "errors" or f"{entry} #{f.sample}" not in KNOWN_MISSES]
    assert not wrong, f"{len(wrong)} failed:\n" + "\n".join(wrong[:20])
    stale = {name for name in KNOWN_MISSES if name.rpartition(" #")[0] == entry} - misses
    assert not stale, f"passes now, so take it off KNOWN_MISSES: {sorted(stale)}"


def test_all_samples_were_there() -> None:
    if len(SCORES) < len(opinfo.entries()):
        pytest.skip("needs the scores of every entry: run the whole file in one process")
    if torch.__version__.split(".")[:2] != ["2", "13"]:
        pytest.skip(f"the totals are those of torch 2.13, this is {torch.__version__}")
    assert {kind: sum(s.total[kind] for s in SCORES.values()) for kind in TOTALS} == TOTALS
    assert not scoreboard.missed(list(SCORES.values()), list(opinfo.BARS))


def test_the_harness_itself() -> None:
    """With torch as the engine everything passes, with an empty module nothing does."""
    op = opinfo.entries()["addcmul"]
    perfect = opinfo.score(op, opinfo.TORCH)
    assert perfect.passed == perfect.total and not perfect.failures

    empty = opinfo.score(op, opinfo.Engine(opinfo))
    assert not +empty.passed and {f.reason.partition(":")[0] for f in empty.failures} == {"missing"}
