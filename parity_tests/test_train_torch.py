"""The torch engine of train/ on one device: precisions, compilation, devices, reading ahead. Ranks: see
test_train_distributed.py."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train import checkpoints, data, loop
from train.__main__ import main
from train.config import TrainConfig
from train.engines import torch as torch_engine
from train.engines.distributed import Group
from train.engines.torch import Engine, find_device, find_precision
from train.errors import RankError, UserError
from train.loop import pretrain

TEXT = "".join(f"{a} times {b} is {a * b}.\n" for a in range(30) for b in range(30))
SMALL = TrainConfig(engine="torch", data="text.txt", tokenizer="char", context_length=16, emb_dim=16, n_heads=2,
                    n_layers=1, drop_rate=0.1, init="gpt2", steps=6, batch_size=4, micro_batch=2, lr=1e-2, eval_every=6,
                    eval_windows=4, sample_every=0)
DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("train.engines.measured_peak", lambda matmul: 1e9)
    monkeypatch.setattr("train.metrics.plot", lambda path, *rest: path.touch())
    (tmp_path / "text.txt").write_text(TEXT)


def losses(**changes) -> np.ndarray:
    folder = pretrain(replace(SMALL, **changes)).folder
    return np.array([x[key] for x in lines(folder) for key in ("loss", "val_loss") if key in x])


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# ---- the same run, faster -------------------------------------------------------------------------------------------

def test_what_makes_it_fast_changes_only_the_last_bits(monkeypatch):
    """Dropout included: autocast, the fused AdamW and aot_eager draw as eager torch does."""
    plain = losses()
    np.testing.assert_allclose(losses(engine="numpy"), plain, rtol=1e-5)
    for changes, tolerance in (({"fused": False}, 2e-6), ({"activation_checkpointing": True}, 2e-6),
                               ({"deterministic": True}, 0), ({"precision": "bf16"}, 1e-2),
                               ({"precision": "fp16"}, 2e-3)):
        got = losses(**changes)
        np.testing.assert_allclose(got, plain, rtol=tolerance, err_msg=str(changes))
        assert ("precision" in changes) == (np.abs(got / plain - 1).max() > 2e-6)      # it was indeed computed so
    compiled = []
    compiler = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(compiler, backend="aot_eager", fullgraph=True))
    monkeypatch.setattr(torch_engine.Trained, "compile", lambda self, **how: compiled.append(how) or
                        torch.nn.Module.compile(self, **how))
    np.testing.assert_allclose(losses(compile=True), plain, rtol=1e-5)
    assert compiled == [{"dynamic": False}]


@pytest.mark.skipif(not DEEP, reason="a C++ compiler takes minutes: HYPOTHESIS_PROFILE=deep")
def test_inductor_computes_the_same():
    np.testing.assert_allclose(losses(compile=True, drop_rate=0.0), losses(drop_rate=0.0), rtol=1e-4)


def test_a_compiler_that_fails_is_one_line(monkeypatch, capsys):
    def broken(graph, inputs):
        raise RuntimeError("no C++ compiler")
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend=broken))
    assert main(["pretrain", "--engine", "torch", "--data", "text.txt", "--tokenizer", "char", "--compile"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no C++ compiler" in error and "train without it" in error


def test_a_full_device_is_one_line():
    engine = Engine(SMALL)
    said = engine.explain(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nAnd more"))
    assert isinstance(said, RankError) and "--micro-batch" in str(said) and "\n" not in str(said)
    engine.close()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_resumed_run_is_the_same_bit_for_bit(precision, monkeypatch):
    monkeypatch.setattr(torch.amp.GradScaler, "__init__",
                        partialmethod(torch.amp.GradScaler.__init__, init_scale=2.0 ** 40, growth_interval=2))
    config = replace(SMALL, precision=precision, deterministic=True, steps=40, eval_every=40)
    whole = pretrain(replace(config, out="whole")).folder
    train_step = loop.Run.train_step

    def interrupted(self, model):
        if self.step == 17:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(self, model)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Run, "train_step", interrupted)
        assert pretrain(replace(config, out="parts")).step == 18
    assert pretrain(replace(config, out="parts"), resume=True).finished
    newest = [checkpoints.found(Path(name))[0] for name in ("whole", "parts")]
    for file in ("model.safetensors", "optimizer.safetensors"):
        assert (newest[0] / file).read_bytes() == (newest[1] / file).read_bytes()
    states = [json.loads((path / "state.json").read_text()) for path in newest]
    assert states[0]["engine"] == states[1]["engine"] and states[0]["optimizer_steps"] == states[1]["optimizer_steps"]
    if precision == "fp16":                    # 2**40 overflows: steps are left out until the scale fits
        assert 10 < states[0]["engine"]["skipped"] == 40 - states[0]["optimizer_steps"] < 35
        assert any(x["grad_norm"] is None for x in lines(whole) if "loss" in x)
    else:
        assert states[0]["engine"] == {} and states[0]["optimizer_steps"] == 40


def test_fp16_gives_up_when_no_scale_helps(capsys):
    flags = ["--engine=torch", "--data=text.txt", "--tokenizer=char", "--precision=fp16", "--lr=1e9", "--steps=60",
             "--sample-every=0", "--clip=0", "--n-layers=1", "--batch-size=2", "--out=run"]
    assert main(["pretrain", *flags]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "postmortem-step" in error


# ---- devices --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("flags", "says"), [
    (["--device=nonsense"], "--device nonsense: devices are cpu, cuda"),
    (["--device=meta"], "no such device"),
    (["--device=cuda"], "finds no such device here"),
    (["--device=cuda:3"], "finds no such device here"),
    (["--precision=int8"], "--precision"),
])
def test_a_device_that_is_not_there_is_one_line(flags, says, capsys):
    if "cuda" in flags[0] and torch.cuda.is_available():
        pytest.skip("it is there")
    with pytest.raises(SystemExit) if "int8" in flags[0] else pytest.MonkeyPatch.context():
        assert main(["pretrain", "--engine=torch", "--data=text.txt", *flags]) == 2
        assert not Path("runs").exists()
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error and (error.count("\n") == 1 or "int8" in flags[0])


@given(st.integers(1, 4), st.integers(1, 8), st.data())
def test_each_rank_has_a_gpu_of_its_own(gpus, ranks, draw):
    local = draw.draw(st.integers(0, ranks - 1))
    group = Group(rank=local, ranks=ranks, local_rank=local, local_ranks=ranks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("cuda"))
        patch.setattr(torch.accelerator, "device_count", lambda: gpus)
        assert find_device("cpu", group) == torch.device("cpu")
        for name in ("auto", "cuda"):
            if ranks == 1 or ranks <= gpus:
                assert find_device(name, group) == torch.device("cuda", local if ranks > 1 else 0)
            else:
                with pytest.raises(UserError, match=f"started {ranks} processes on a machine with {gpus} GPUs"):
                    find_device(name, group)
        index = draw.draw(st.integers(0, 5))
        if ranks == 1 and index < gpus:
            assert find_device(f"cuda:{index}", group) == torch.device("cuda", index)
        else:
            with pytest.raises(UserError, match="one device for" if ranks > 1 else f"there (is|are) {gpus}, counted"):
                find_device(f"cuda:{index}", group)
        with pytest.raises(UserError, match="auto, which takes cuda"):
            find_device("mps", group)


def test_bf16_is_what_a_gpu_that_has_it_computes_in(monkeypatch):
    gpu, cpu = torch.device("cuda", 0), torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    for has in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has)     # noqa: B023
        assert find_precision("auto", gpu) == (torch.bfloat16 if has else None)
        assert find_precision("fp16", gpu) == torch.float16 and find_precision("fp32", gpu) is None
        assert find_precision("auto", cpu) is None and find_precision("bf16", cpu) == torch.bfloat16
    with pytest.raises(UserError, match="Tesla T4 has none"):
        find_precision("bf16", gpu)


@pytest.mark.parametrize(("name", "peak"), [
    ("NVIDIA H200", 989e12), ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12),
    ("NVIDIA A100-SXM4-80GB", 312e12), ("NVIDIA A10G", 70e12), ("NVIDIA A10", 125e12), ("NVIDIA L4", 121e12),
    ("NVIDIA L40S", 362e12), ("NVIDIA GeForce RTX 4090", 165e12), ("Tesla T4", 65e12),
    ("NVIDIA RTX A4000", 7.0), ("NVIDIA RTX A1000", 7.0), ("NVIDIA T400", 7.0)])
def test_mfu_is_measured_against_the_gpus_dense_bf16_figure(name, peak, monkeypatch):
    """One that is not in the table is measured."""
    engine = Engine(SMALL)
    engine.device = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch_engine, "measured_bf16", lambda device: 7.0)
    flops, source = engine.peak()
    assert flops == peak and name in source and ("measured" in source) == (peak == 7.0)
    engine.close()


def test_torchs_settings_are_as_before_afterwards():
    getters = (torch.are_deterministic_algorithms_enabled, torch.get_num_threads, torch.get_float32_matmul_precision)
    before = [get() for get in getters]
    engine = Engine(replace(SMALL, deterministic=True, threads=2))
    assert torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == 2
    engine.close()
    assert before == [get() for get in getters]


# ---- reading ahead --------------------------------------------------------------------------------------------------

@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=1, max_size=8), st.booleans())
@settings(max_examples=20)
def test_what_is_read_ahead_is_what_was_asked_for(places, in_order):
    """Also if what is asked for is not what was expected to come."""
    Path("text.txt").write_text(TEXT)
    corpus = data.load(SMALL)
    batches = data.batches(SMALL, corpus, 16)
    engine = Engine(SMALL)
    for step, number in sorted(places) if in_order else places:
        for got, expected in zip(engine.feed(batches, step, number), batches.micro(step, number), strict=True):
            assert (got.numpy() == expected).all() and got.dtype == torch.int64
    engine.close()


def test_a_damaged_shard_is_said_by_the_reader_too():
    corpus = data.load(SMALL)
    batches = data.batches(SMALL, corpus, 16)
    engine = Engine(SMALL)
    with pytest.raises(UserError, match="the file is damaged"):
        engine.feed(replace(batches, train=replace(batches.train, vocab_size=2)), 0, 0)
    engine.close()
