"""What the bench of training says of its task is so, and its sides do the same."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import gpt
from bench import __main__ as bench
from bench import peers, profile, task, train, trainee
from gpt.config import GPT2Config

TINY = GPT2Config(vocab_size=11, context_length=6, emb_dim=8, n_heads=2, n_layers=2, drop_rate=0.0)


@pytest.mark.parametrize("config", [TINY, GPT2Config(vocab_size=9, context_length=5, emb_dim=4, n_heads=1, n_layers=1,
                                                     qkv_bias=True, tied=True)], ids=["untied", "tied"])
def test_parameters(config):
    assert task.parameters(config) == sum(p.numel() for p in gpt.build(config).parameters())


def test_flops():
    """Forward, backward by the weight and by the input: six for each weight and token; and attention."""
    matrices = TINY.n_layers * 12 * TINY.emb_dim**2 + TINY.emb_dim * TINY.vocab_size
    T = TINY.context_length
    attention = 7 * 2 * TINY.n_layers * 3 * TINY.emb_dim * T * (T + 1) / 2
    assert task.flops(TINY, 3) == 6 * matrices * 3 * T + attention


def test_sides_learn_alike():
    names = ["minigrad", "torch", "torch-chunked", *(n for n in peers.PEERS if peers.missing(n) is None)]
    sides = [train.Side.__new__(train.Side) for _ in names]
    for side, name in zip(sides, names, strict=True):
        step = trainee.SIDES[name](TINY, 3, name.startswith(("minigrad", "torch")))
        side.name, side.losses = name, [step() for _ in range(5)]
    train.check_losses(sides)
    sides[1].losses[3] *= 1.01
    with pytest.raises(SystemExit, match="after 3 steps"):
        train.check_losses(sides)


def test_processes_take_turns():
    ours, bound = train.measure(TINY, 2, ["minigrad", "bound"], rounds=3, steps=2, threads=1)
    assert len(ours.losses) == 8 and ours.peak_bytes > bound.peak_bytes / 2 > 1e6 and ours.ratio is None


@pytest.mark.parametrize("side", ["bound", "torch-bound"])
def test_bound_is_the_work_of_the_task(side, monkeypatch):
    """As many multiplications as flops() says, but for the diagonal of attention's scores, by either engine."""
    import torch
    made = []
    for engine in (np, torch):
        def matmul(a, b, out, real=engine.matmul):
            made.append(2 * a.shape[-2] * a.shape[-1] * b.shape[-1] * (len(a) if a.ndim == 3 else 1))
            return real(a, b, out=out)
        monkeypatch.setattr(engine, "matmul", matmul)
    trainee.SIDES[side](TINY, 3, False)()
    T = TINY.context_length
    half = 7 * 2 * TINY.n_layers * 3 * TINY.emb_dim * T * ((T + 1) // 2 - (T + 1) / 2)
    assert sum(made) == task.flops(TINY, 3) + half


def test_profile():
    ops = profile.step_ops(TINY, 2)
    for op in ops:
        profile.measure(op, 1, task.parameters(TINY))
        assert set(op.ms) == {"minigrad", "torch"} and op.best(1e9, 1e9) > 0
    profile.show(ops, 1e11, 1e10)


@pytest.mark.parametrize("args, words", [
    ("train --configs tiny", "there is no 'tiny': choose from char, small, book"), ("train --sides jax", "no 'jax'"),
    ("train --rounds 0", "at least 1, got '0'"), ("train --plot x.png", "give --scale"),
    ("train --dropout 1", "from 0 to below 1"), ("train --scale --plot x.jpg", "must end in .png or .svg"),
    ("profile --plot .", "it is a folder"), ("profile --rounds x", "got 'x'"), ("ops --rounds 0", "at least 1")])
def test_wrong_arguments_are_named(args, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", *args.split()])
    with pytest.raises(SystemExit, match="2"):
        bench.main()
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_every_point_is_in_the_plot(tmp_path):
    import matplotlib.pyplot as plt
    points = [{"value": n, "results": [{"side": side, "seconds": n * slow, "peak_bytes": n * 1e6 * slow}
                                       for side, slow in (("minigrad", 1), ("torch", 3))]} for n in (1, 2, 4)]
    train._plot_scale({"context": points, "width": points[:2]}, str(tmp_path / "scale.png"))
    for axes in plt.gcf().axes:
        bottom, top = axes.get_ylim()
        assert bottom == 0 and all(top >= line.get_ydata().max() for line in axes.lines)
        assert [line.get_label() for line in axes.lines] == ["minigrad", "torch"]
    plt.close("all")
