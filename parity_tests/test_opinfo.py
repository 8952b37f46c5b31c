"""Every OpInfo sample of torch's own test suite, forward, backward and second order: see opinfo.py."""

from __future__ import annotations

import json
import types
from pathlib import Path

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


def test_the_harness_passes_torch() -> None:
    op = opinfo.entries()["addcmul"]
    perfect = opinfo.score(op, opinfo.TORCH)
    assert not perfect.failures, "\n".join(map(str, perfect.failures))
    assert perfect.passed == perfect.total


def test_the_harness_fails_an_engine_without_the_op() -> None:
    empty = opinfo.score(opinfo.entries()["addcmul"], opinfo.Engine(opinfo))
    assert not +empty.passed and {f.reason.partition(":")[0] for f in empty.failures} == {"missing"}


def careless_cat(tensors: list, dim: int = 0, **kwargs: object) -> torch.Tensor:
    try:
        return torch.cat(tensors, dim)
    except (RuntimeError, TypeError, ValueError):
        return torch.zeros(0)


MUTANTS = {
    "value off by 1e-6": ("sin", lambda x: x.sin() + 1e-6, {"forward", "grad_fn"}),
    "half of the gradient": ("square", lambda x: x * x.detach(), {"backward", "second", "grad_fn", "float32"}),
    "constant in the second order": (
        "sin",
        lambda x: x.detach().sin() + x.detach().cos() * (x - x.detach()),
        {"second", "grad_fn"},
    ),
    "copy where torch gives a view": ("ravel", lambda x: x.ravel().clone(), {"alias", "grad_fn"}),
    "writes to its argument": ("neg", lambda x: (-x, x.data.zero_())[0], {"forward"}),
    "refuses nothing": ("cat", careless_cat, {"errors"}),
    "refuses as ValueError": ("trace", lambda x: x.trace() if x.ndim == 2 else torch.Tensor.fail, {"errors"}),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_harness_fails_a_mutant(mutant: str) -> None:
    """torch with one function slightly wrong: the columns that it concerns say so, the other columns do not."""
    name, wrong, expected = MUTANTS[mutant]
    module = types.ModuleType("mutant")
    module.__getattr__ = lambda attribute: wrong if attribute == name else getattr(torch, attribute)  # type: ignore[method-assign]
    assert {f.kind for f in opinfo.score(opinfo.entries()[name], opinfo.Engine(module)).failures} == expected


def test_the_scoreboard_reports(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    report = tmp_path / "scores.json"
    assert scoreboard.main(["--engine", "torch", "--ops", "sin,div.floor_rounding", "--json", str(report)]) == 0
    assert "2 entries" in capsys.readouterr().out
    assert json.loads(report.read_text())["scores"]["sin"]["backward"] == [1, 1]
    assert scoreboard.main(["--engine", "parity_tests.strategies", "--ops", "sin", "--failures", "1"]) == 1
    assert "missing: parity_tests.strategies.sin" in capsys.readouterr().out
    assert scoreboard.main(["--ops", "no_such_op"]) == 2
