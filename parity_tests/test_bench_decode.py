"""python -m bench decode on a tiny shape: what it counts, and what it refuses to count. Its times are not looked at."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

import gpt.gpt2
from bench import __main__ as bench
from bench import decode
from gpt.config import CONFIGS, GPT2Config

TINY = GPT2Config(vocab_size=50, context_length=32, emb_dim=8, n_heads=2, n_layers=1)
SHAPE = ["--layers", "1", "--width", "8", "--heads", "2", "--vocabulary", "50", "--context", "32"]


def run(monkeypatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", ["bench", "decode", *SHAPE, *args])
    with pytest.raises(SystemExit) as exit:
        bench.main()
    return exit.value.code


@pytest.mark.parametrize("config", ["book-124M", "gpt2"])
def test_a_report(config, monkeypatch, capsys, tmp_path):
    file = tmp_path / "figures.json"
    status = run(monkeypatch, "--configs", config, "--prompt", "4", "--new", "9", "--turn", "2", "--uncached", "2",
                 "--threads", "1", "--json", str(file))
    found = json.loads(file.read_text())[config]
    assert found["same_tokens"]
    assert status == (0 if found["ok"] else 1)
    assert {len(turns) for turns in found["seconds_per_token_by_turn"].values()} == {2}
    assert set(found["tokens_per_second"]) == {"minigrad", "torch", "bound"}
    assert set(found["uncached_tokens_per_second"]) == {"minigrad", "torch"}
    out = capsys.readouterr().out
    assert "minigrad / bound" in out
    assert "VOID" not in out


@pytest.mark.parametrize("tied", [False, True])
def test_both_sides_have_one_memory_and_a_token_reads_all_but_the_embeddings(tied):
    config = replace(TINY, tied=tied)
    sides = decode.models(config)
    for ours, theirs in zip(sides["minigrad"].parameters(), sides["torch"].parameters(), strict=False):
        assert np.shares_memory(ours.detach().numpy(), theirs.detach().numpy())
    embeddings = 32 * 8 if tied else (32 + 50) * 8
    total = sum(p.numel() for p in sides["minigrad"].parameters())
    assert sum(w.size for w in decode.read_weights(sides["minigrad"])) == total - embeddings
    rows = sides["minigrad"].tok_emb.weight.detach().numpy()
    assert len(np.unique(rows, axis=0)) == 50


def test_other_tokens_void_the_measurement(monkeypatch):
    real = gpt.gpt2.GPT2.features
    monkeypatch.setattr(gpt.gpt2.GPT2, "features",
                        lambda self, *args: -real(self, *args) if self.__module__ == "gpt.gpt2" else real(self, *args))
    figures = decode.measure(TINY, 4, 9, 2, 1, 1)
    assert not figures.same
    assert not figures.ok()


@pytest.mark.parametrize(("args", "words"), [
    (["--configs", "huge"], "choose from book-124M"), (["--heads", "3"], "divisible"), (["--prompt", "30"], "context"),
    (["--turn", "0"], "--turn: expected a whole number of at least 1"), (["--turn", "9"], "--new must be at least 11"),
    (["--threads", "two"], "got 'two'"), (["--json", "nowhere/figures.json"], "there is no folder 'nowhere'")])
def test_wrong_arguments_are_named(args, words, monkeypatch, capsys):
    assert run(monkeypatch, "--new", "10", *args) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert set(CONFIGS) >= {"book-124M", "gpt2"}
