"""Several processes train as one does: DDP and FSDP2 by torchrun, two ranks with gloo on the CPU.

One launch makes all the runs (a process that imports torch takes seconds): this file is its script, see `on_each_rank`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from minigrad.serialization import load_safetensors
from train import checkpoints, engines, loop, metrics
from train.__main__ import main
from train.config import TrainConfig
from train.errors import LostRankError
from train.loop import pretrain

TEXT = "".join(f"{a} times {b} is {a * b}.\n" for a in range(30) for b in range(30))
SMALL = TrainConfig(engine="torch", data="text.txt", tokenizer="char", context_length=16, emb_dim=16, n_heads=2,
                    n_layers=2, drop_rate=0.1, tied=True, steps=6, batch_size=8, micro_batch=2, lr=1e-2, eval_every=3,
                    eval_windows=5, save_every=3, sample_every=6, sample_tokens=4)
FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in
         ((name, getattr(SMALL, name)) for name in ("engine", "data", "tokenizer", "context_length", "emb_dim",
                                                    "n_heads", "n_layers", "steps", "batch_size"))]
OURS = {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
WRONG = [("ddp holds a run already", "--out=ddp"),                 # rank 0 sees it
         ("--data 'two-ranks.txt'", "--data=two-ranks.txt"),
         ("not a multiple of 2", "--batch-size=3"),                # each sees it
         ("--steps must be at least 0", "--steps=-1"),
         ("unrecognized arguments", "--no-such-flag"),
         ("--device nonsense", "--device=nonsense")]
DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"


# ---- what each of the two ranks does --------------------------------------------------------------------------------

def on_each_rank() -> int:
    rank = int(os.environ["RANK"])
    faulthandler.dump_traceback_later(150, exit=True)              # what hangs says where, and ends
    torch.set_num_threads(1)
    metrics.plot = lambda path, *rest: path.touch()                # neither is tested here, and both take time
    engines.measured_peak = lambda matmul: 1e9
    dist.init_process_group("gloo")              # one for all runs: torchrun's store serves one
    for parallel in ("ddp", "fsdp"):
        config = replace(SMALL, parallel=parallel)
        assert pretrain(replace(config, out=parallel)).finished
        # One rank gets the signal, both stop; the next processes go on, sharded otherwise.
        with before_step(3, lambda: rank == 1 and os.kill(os.getpid(), signal.SIGTERM)):
            stopped = pretrain(replace(config, out=f"{parallel}-stopped"))
        assert (stopped.finished, stopped.signal, stopped.step) == (False, signal.SIGTERM, 4)
        assert pretrain(replace(config, out=f"one-then-{parallel}"), resume=True).finished
        if parallel == "fsdp" or DEEP:
            assert pretrain(replace(config, out=f"{parallel}-fp16", precision="fp16")).finished
        if DEEP:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend="aot_eager"))
                assert pretrain(replace(config, out=f"{parallel}-compiled", compile=True)).finished

    for _, wrong in WRONG:
        try:
            assert main(["pretrain", *FLAGS, wrong]) == 2
        except SystemExit as end:
            assert end.code == 2
    Path(f"rank-{rank}-came-to-the-end").touch()
    try:
        with before_step(2, lambda: rank == 1 and os.kill(os.getpid(), signal.SIGKILL)):
            return main(["pretrain", *FLAGS, "--out=lost", "--save-every=1", "--sample-every=0"])
    finally:
        Path(f"rank-{rank}-was-told").touch()


@contextlib.contextmanager
def before_step(step: int, act) -> Iterator[None]:
    train_step = loop.Run.train_step

    def acting(self, model):
        if self.step == step:
            act()
        return train_step(self, model)

    loop.Run.train_step = acting
    try:
        yield
    finally:
        loop.Run.train_step = train_step


# ---- and what came of it --------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """The folder of the runs, torchrun's exit status and what was printed."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "text.txt").write_text(TEXT)
    environment = os.environ | OURS | {"MINIGRAD_CACHE": str(folder / "cache")}
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIGRAD_CACHE", str(folder / "cache"))
        assert pretrain(replace(SMALL, out="one")).finished
        for parallel in ("ddp", "fsdp"):
            with before_step(3, lambda: os.kill(os.getpid(), signal.SIGTERM)):
                assert pretrain(replace(SMALL, engine="numpy", out=f"one-then-{parallel}")).step == 4
        done = subprocess.run([*TORCHRUN, __file__], env=environment, capture_output=True, text=True, timeout=180)
        assert Path("rank-0-came-to-the-end").exists() and Path("rank-1-came-to-the-end").exists(), done.stderr[-9000:]
        for parallel in ("ddp", "fsdp"):                # what two ranks began, one ends, on the other engine
            assert pretrain(replace(SMALL, engine="numpy", out=f"{parallel}-stopped"), resume=True).finished
    return folder, done


def numbers(folder: Path) -> np.ndarray:
    """Each loss and gradient norm, in order."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return np.array([x[key] for x in lines for key in ("loss", "grad_norm", "val_loss", "train_loss") if key in x])


@pytest.mark.parametrize("run", ["ddp", "fsdp", "ddp-stopped", "fsdp-stopped", "one-then-ddp", "one-then-fsdp",
                                 *(["ddp-compiled", "fsdp-compiled"] if DEEP else [])])
def test_ranks_make_the_run_of_one_process(launch, run):
    """The same batches, micro-batches and dropout; gradients are summed in another order, so the last bits differ.

    An evaluation is of 5 windows in 3 micro-batches: one of the two ranks computes one that is not counted."""
    folder, _ = launch
    one = numbers(folder / "one")
    assert one.shape == (2 * 6 + 2 * 3,) and len(set(one)) == 18
    np.testing.assert_allclose(numbers(folder / run), one, rtol=2e-5)
    parts = [checkpoints.found(folder / name)[0] for name in ("one", run)]
    assert parts[0].name == parts[1].name == "step-00000006"
    for file in ("model.safetensors", "optimizer.safetensors"):
        ours, theirs = (load_safetensors(part / file) for part in parts)
        assert list(ours) == list(theirs) and len(ours) >= 30
        for name in ours:
            np.testing.assert_allclose(ours[name].array, theirs[name].array, rtol=2e-3, atol=2e-6, err_msg=name)


def test_checkpoints_are_the_same_files(launch):
    folder, _ = launch
    listing = lambda run: sorted(str(p.relative_to(folder / run)) for p in (folder / run).rglob("*"))
    assert listing("ddp") == listing("fsdp") == listing("one")
    states = [json.loads((checkpoints.found(folder / run)[0] / "state.json").read_text()) for run in ("one", "fsdp")]
    for state in states:
        del state["files"], state["best"], state["sum"], state["config"]["out"], state["config"]["parallel"]
    assert states[0] == states[1]


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"] if DEEP else ["fsdp"])
def test_fp16_scales_its_gradients_on_all_ranks(launch, parallel):
    folder, _ = launch
    np.testing.assert_allclose(numbers(folder / f"{parallel}-fp16"), numbers(folder / "one"), rtol=5e-2)
    state = json.loads((checkpoints.found(folder / f"{parallel}-fp16")[0] / "state.json").read_text())
    assert state["engine"]["scaler"]["scale"] == 65536 and state["optimizer_steps"] == 6


def test_only_rank_0_speaks(launch):
    _, done = launch
    assert done.stdout.count("parameters, context") == done.stdout.count("peak: ") == (11 if DEEP else 8)
    assert len(WRONG) == 6
    for wrong, _ in WRONG:
        assert sum(wrong in line for line in done.stderr.splitlines()) == 1, wrong
    assert "rank 1" not in done.stderr.partition("lost another")[0]


def test_a_rank_that_dies_ends_the_run(launch):
    """Nobody waits for it, and what was saved can be gone on from."""
    folder, done = launch
    assert done.returncode == 1 and (folder / "rank-0-was-told").exists()
    assert "rank 0 of 2 lost another one" in done.stderr and "--resume" in done.stderr
    checkpoint = checkpoints.newest(folder / "lost", print)
    assert checkpoint.step == 2


def test_numpy_does_not_train_twice(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["pretrain"]) == 2
    assert "--engine torch" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_rank_that_speaks_is_the_first_to_end(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    for rank in "0", "1":
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert main(["pretrain", "--data", "nowhere"]) == 2
        with pytest.raises(SystemExit):
            main(["pretrain", "--steps", "x"])
    assert len(waited) == 2 and capsys.readouterr().err.count("nowhere") == 1


def test_torch_knows_what_a_lost_rank_looks_like():
    from train.engines.torch import Engine
    engine = Engine(SMALL)
    gloo = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]")
    assert engine.explain(gloo) is gloo                                # alone, there is nobody to lose
    engine.group.ranks = 2
    assert isinstance(engine.explain(gloo), LostRankError)
    assert isinstance(engine.explain(torch.distributed.DistBackendError("NCCL error")), LostRankError)
    engine.group.ranks = 1
    engine.close()


@pytest.mark.skipif(not DEEP, reason="two more launches: HYPOTHESIS_PROFILE=deep")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_torchrun_passes_signals_on(tmp_path, number):
    """Slurm ends a job with SIGTERM to torchrun: all ranks save and leave."""
    (tmp_path / "text.txt").write_text(TEXT)
    command = [*TORCHRUN, "-m", "train", "pretrain", *FLAGS, "--steps=100000", "--save-every=100000", "--out=run"]
    environment = os.environ | OURS | {"MINIGRAD_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    while process.poll() is None and '"loss"' not in (Path(tmp_path / "run/metrics.jsonl").read_text()
                                                      if (tmp_path / "run/metrics.jsonl").exists() else ""):
        time.sleep(0.1)
    process.send_signal(number)
    said, errors = process.communicate(timeout=120)
    assert "and saved. Go on with" in said, errors
    assert checkpoints.newest(tmp_path / "run", print).step > 0


if __name__ == "__main__":
    sys.exit(on_each_rank())
