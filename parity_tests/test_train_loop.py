"""Training does what was asked, and survives what comes: signals, kill -9, full disks, damage, other people."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad
from minigrad.serialization import load_safetensors
from train import checkpoints, loop, metrics
from train.__main__ import main
from train.config import TrainConfig, from_dict, read_settings
from train.errors import DiskError, UserError
from train.loop import pretrain

PLOT = metrics.plot
TEXT = "".join(f"{a} times {b} is {a * b}.\n" for a in range(30) for b in range(30))
SMALL = TrainConfig(tokenizer="char", context_length=16, emb_dim=16, n_heads=2, n_layers=1, drop_rate=0.1, steps=24,
                    batch_size=4, lr=1e-2, warmup=4, eval_every=8, eval_windows=6, save_every=5, sample_every=0,
                    data="text.txt")


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text(TEXT)
    monkeypatch.setattr(metrics, "plot", lambda path, *rest, **more: path.touch())      # a second each


@pytest.fixture
def plots(workplace, monkeypatch):
    """The plots of this test are drawn."""
    monkeypatch.setattr(metrics, "plot", PLOT)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The run that all others are compared with."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "text.txt").write_text(TEXT)
    before = os.getcwd()
    os.chdir(folder)
    try:
        assert pretrain(replace(SMALL, out="run")).finished
    finally:
        os.chdir(before)
    return folder / "run"


def numbers(folder: Path) -> list:
    """Everything that metrics.jsonl says but how long it took."""
    return [{k: v for k, v in line.items() if k not in ("tokens_per_s", "mfu")}
            for line in metrics.read(folder / "metrics.jsonl")]


def same_run(a: Path, b: Path) -> bool:
    newest = [checkpoints.found(folder)[0] for folder in (a, b)]
    files = ("model.safetensors", "optimizer.safetensors")
    return (newest[0].name == newest[1].name and numbers(a) == numbers(b)
            and all((newest[0] / f).read_bytes() == (newest[1] / f).read_bytes() for f in files)
            and (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes())


# ---- the steps -----------------------------------------------------------------------------------------------------

def test_a_run_learns_and_says_what_it_did(capsys, plots):
    config = replace(SMALL, steps=60, drop_rate=0.0, sample_every=30, sample_prompt="7 times 8", sample_tokens=20)
    result = pretrain(config)
    assert result.finished and result.folder == Path("runs/text-1")
    said, lines = capsys.readouterr().out, numbers(result.folder)
    losses = [x["loss"] for x in lines if "loss" in x]
    evaluations = {x["step"]: x["val_loss"] for x in lines if "val_loss" in x}
    assert len(losses) == 60 and list(evaluations) == [*range(0, 60, 8), 60]
    assert evaluations[60] < 0.7 * evaluations[0] and np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert "unigrams" in said and "    | 7 times 8" in said and "python -m gpt generate --model runs/text-1" in said
    assert (result.folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert from_dict(read_settings(result.folder / "config.toml")) == replace(config, out="runs/text-1")
    rates = [x["lr"] for x in lines if "lr" in x]
    assert rates[0] == config.lr / 4 and rates[3] == config.lr and rates[-1] == config.min_lr

    from gpt.checkpoints import from_pretrained
    from gpt.tokenizers import get_tokenizer
    for folder in (result.folder, *checkpoints.found(result.folder)):            # each is a model's folder
        assert from_pretrained(folder).config.vocab_size == get_tokenizer(folder).n_vocab
    assert loop.free_folder(config) == Path("runs/text-2")


@given(st.sampled_from([1, 2, 3, 6]), st.booleans())
@settings(max_examples=8)
def test_accumulated_gradients_are_the_large_batchs(micro, clip):
    """In double precision nothing but rounding is between them."""
    minigrad.set_default_dtype(minigrad.float64)
    got = []
    for size in (6, micro):
        run = made(replace(SMALL, drop_rate=0.0, batch_size=6, micro_batch=size, clip=0.5 if clip else 0.0))
        loss = run.train_step(run.model)
        norm = run.engine.gradient_norm(run.model, run.optimizer, run.config.clip)
        got.append([np.array([loss, norm]), *(p.grad.array.copy() for p in run.model.parameters())])
    for a, b in zip(*got):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def made(config: TrainConfig) -> loop.Run:
    """A run with its model, before the first step."""
    Path("text.txt").write_text(TEXT)
    corpus = loop.data.load(config)
    shape = loop.model_config(config, corpus.tokenizer.n_vocab)
    engine = loop.engines.start(config)
    run = loop.Run(config, shape, corpus, loop.data.batches(config, corpus, shape.context_length), engine, Path("x"))
    run.step, run.evaluated, run.best = 0, -1, None
    run.model = engine.build(shape, config.seed, config.activation_checkpointing)
    run.optimizer = engine.optimizer(run.model, config)
    return run


def test_only_matrices_decay():
    run = made(SMALL)
    decays = {name: group["weight_decay"] for group in run.optimizer.param_groups for p in group["params"]
              for name, q in run.model.named_parameters() if q is p}
    assert {name: bool(d) for name, d in decays.items()} == \
        {name: p.ndim == 2 for name, p in run.model.named_parameters()}


def test_recomputed_activations_change_nothing():
    """Dropout included: a block that is run again draws what it drew."""
    runs = [made(replace(SMALL, activation_checkpointing=on)) for on in (False, True)]
    losses = [run.train_step(run.model) for run in runs]
    assert losses[0] == losses[1]
    for a, b in zip(*(run.model.parameters() for run in runs)):
        assert np.array_equal(a.grad.array, b.grad.array)


def test_an_evaluation_leaves_no_trace_in_the_run(uninterrupted):
    pretrain(replace(SMALL, out="other", eval_every=3, save_every=4, sample_every=7))
    rest = [[line for line in numbers(f) if "loss" in line] for f in (uninterrupted, Path("other"))]
    assert rest[0] == rest[1]


def test_both_engines_make_the_same_run():
    runs = {}
    for engine in ("numpy", "torch"):
        pretrain(replace(SMALL, engine=engine, out=engine))
        runs[engine] = [x["loss"] for x in numbers(Path(engine)) if "loss" in x]
    np.testing.assert_allclose(runs["numpy"], runs["torch"], rtol=2e-5)


# ---- interruptions -----------------------------------------------------------------------------------------------

def in_a_process(config: TrainConfig, resume: bool) -> int:
    """Train in a copy of this process, which can be killed."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        with open(os.devnull, "w") as sys.stdout:
            status = 0 if pretrain(config, resume).finished else 3
    finally:
        os._exit(status)


def test_kill_9_at_twenty_random_moments():
    """Whatever a moment leaves behind: the run goes on from it, and ends at the same bits."""
    config, rng = replace(SMALL, out="run", steps=120, eval_every=30, save_every=1, keep=3), random.Random(20)
    assert pretrain(replace(config, out="whole", save_every=50)).finished
    kept: set[str] = set()
    for _ in range(20):
        before = checkpoints.found(Path("run"))
        child = in_a_process(config, resume=bool(before))
        while checkpoints.found(Path("run"))[:1] == before[:1]:           # until it is under way
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        for path in checkpoints.found(Path("run")):
            assert checkpoints.read(path).step == int(path.name[5:])      # each that has its name is whole
        kept.add(checkpoints.found(Path("run"))[0].name)
    assert len(kept) == 20
    child = in_a_process(config, resume=True)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert same_run(Path("run"), Path("whole"))
    assert not list(Path("run").rglob(".*.partial")) and not list(Path("run").rglob("*.tmp"))


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_and_leave(number, status, uninterrupted):
    flags = [f for name in ("tokenizer", "context_length", "emb_dim", "n_heads", "n_layers", "drop_rate", "steps",
                            "batch_size", "lr", "warmup", "eval_every", "eval_windows", "save_every", "sample_every",
                            "data") for f in ("--" + name.replace("_", "-"), str(getattr(SMALL, name)))]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    run = subprocess.Popen([sys.executable, "-m", "train", "pretrain", "--out", "run", *flags, "--save-every", "1000"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    while run.poll() is None and not (Path("run/metrics.jsonl").exists() and numbers(Path("run"))):
        time.sleep(0.002)
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    if run.returncode == 0:
        pytest.skip("the run was over before the signal came")
    assert run.returncode == status and "Traceback" not in err
    assert "--resume run" in out and checkpoints.found(Path("run"))
    assert main(["pretrain", "--resume", "run"]) == 0
    assert same_run(Path("run"), uninterrupted)


def test_a_second_signal_ends_at_once_unless_it_is_the_first_passed_on():
    pretrain_until(3, replace(SMALL, out="run"))
    heeded = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN              # nohup's setting is left alone
    with loop.stopping(Path("run")) as stop:
        stop._note(signal.SIGTERM, None)
        stop._note(signal.SIGINT, None)
        assert stop.signal == signal.SIGTERM and (signal.getsignal(signal.SIGHUP) == stop._note) == heeded
        stop.SAME = -1.0
        with pytest.raises(KeyboardInterrupt, match="run goes on from step-00000003") as left:
            stop._note(signal.SIGTERM, None)
        assert left.value.signal == signal.SIGTERM


@pytest.mark.parametrize("way", ["a pipe that nobody reads", "a full disk", "closed", "ascii"])
def test_a_run_does_not_end_with_its_reader(way, monkeypatch):
    if way == "a pipe that nobody reads":
        reader, writer = os.pipe()
        os.close(reader)
        stream = os.fdopen(writer, "w", buffering=1)
    elif way == "a full disk":
        if not os.path.exists("/dev/full"):
            pytest.skip("there is no /dev/full here")
        stream = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", buffering=1)
    else:
        stream = os.fdopen(os.open("said", os.O_WRONLY | os.O_CREAT), "w", encoding="ascii") if way == "ascii" else None
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    Path("t\u00e9xt.txt").write_text(TEXT)
    flags = ["--data", "t\u00e9xt.txt", "--tokenizer", "char", "--steps", "2", "--out", "run"]
    assert main(["pretrain", *flags]) == 0 and sys.stdout is stream
    if stream:
        stream.close()                                          # which says nothing, either
    assert way != "ascii" or "t?xt.txt: " in Path("said").read_text()
    assert checkpoints.read(Path("run/checkpoints/step-00000002")).step == 2


def test_a_run_goes_on_across_engines(uninterrupted):
    pretrain_until(10, replace(SMALL, out="run"))
    assert pretrain(replace(SMALL, out="run", engine="torch"), resume=True).finished
    losses = [[x["loss"] for x in numbers(f) if "loss" in x] for f in (uninterrupted, Path("run"))]
    np.testing.assert_allclose(*losses, rtol=2e-5)


def test_torch_resumes_to_the_bit_too():
    config = replace(SMALL, engine="torch", deterministic=True)
    import torch
    try:
        assert pretrain(replace(config, out="whole")).finished
        pretrain_until(7, replace(config, out="parts"))
        assert pretrain(replace(config, out="parts"), resume=True).finished
    finally:
        torch.use_deterministic_algorithms(False)
    assert same_run(Path("whole"), Path("parts"))


def pretrain_until(step: int, config: TrainConfig) -> None:
    """SIGTERM before step `step`."""
    train_step = loop.Run.train_step

    def counted(self, model):
        if self.step == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(self, model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Run, "train_step", counted)
        result = pretrain(config)
    assert not result.finished and result.signal == signal.SIGTERM and result.step == step


# ---- disks, damage, others -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("full, file", [({1, 3}, 0), ({0, 1, 4}, 1), ({2}, 2), ({4}, 2)])
def test_a_full_disk_costs_checkpoints_not_the_run(full, file):
    """Each write of a checkpoint of some saves fails; what was kept stays, and the run ends as if nothing had been."""
    saves, written = [-1], [0]
    write, arrays, save_json = checkpoints.write, checkpoints.save_arrays, checkpoints.save_json

    def counted(*args):
        saves[0] += 1
        written[0] = 0
        write(*args)

    def maybe(real):
        def failing(what, path, *rest):
            if saves[0] in full and written[0] == file:
                Path(path).write_bytes(b"half")
                raise OSError(errno.ENOSPC, "No space left on device")
            written[0] += 1
            real(what, path, *rest)
        return failing

    config = replace(SMALL, out="run", keep=9, eval_every=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "write", counted)
        patch.setattr(checkpoints, "save_arrays", maybe(arrays))
        patch.setattr(checkpoints, "save_json", maybe(save_json))
        if 4 in full:                                      # the last one: an error, and a way on
            with pytest.raises(DiskError, match=r"No space left on device.*make room, and go on with --resume run"):
                pretrain(config)
        else:
            pretrain(config)
    kept = {p.name for p in checkpoints.found(Path("run"))}
    assert kept == {f"step-{s:08d}" for i, s in enumerate((5, 10, 15, 20, 24)) if i not in full}
    for path in checkpoints.found(Path("run")):
        checkpoints.read(path)
    assert not list(Path("run").rglob(".*.partial"))
    if kept and 4 in full:
        assert pretrain(config, resume=True).finished


def test_a_disk_that_is_full_for_metrics(monkeypatch, tmp_path):
    lines = metrics.Metrics(tmp_path, 0, False)
    real, full = open, [False]

    def opening(path, mode="r", *args, **kwargs):
        file = real(path, mode, *args, **kwargs)
        if full[0] and "a" in mode:
            file.write('{"step": 1, "lo')
            file.close()
            raise OSError(errno.ENOSPC, "No space left on device")
        return file

    monkeypatch.setattr(metrics, "open", opening, raising=False)
    for step in range(4):
        full[0] = step in (1, 2)
        lines.add({"step": step, "loss": float(step)})
        lines.close()
    assert [x["step"] for x in metrics.read(tmp_path / "metrics.jsonl")] == [0, 1, 2, 3]


def test_a_device_that_is_full(capsys):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    os.makedirs("run")
    os.symlink("/dev/full", "run/config.toml")
    flags = ["--data", "text.txt", "--tokenizer", "char", "--steps", "1", "--out", "run"]
    assert main(["pretrain", *flags]) == 1
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no state", "half a state", "another state"])
def test_the_checkpoint_before_a_damaged_one_is_used(damage, capsys, uninterrupted):
    pretrain_until(13, replace(SMALL, out="run"))
    newest, before = checkpoints.found(Path("run"))[:2]
    assert (newest.name, before.name) == ("step-00000013", "step-00000010")
    weights, state = newest / "model.safetensors", newest / "state.json"
    whole = weights.read_bytes()
    if damage == "truncated":
        weights.write_bytes(whole[:len(whole) // 2])
    elif damage == "flipped":
        weights.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    elif damage == "no state":
        state.unlink()
    elif damage == "another state":
        state.write_text(state.read_text().replace('"step": 13', '"step": 99'))
    else:
        state.write_text(state.read_text()[:99])
    capsys.readouterr()
    assert main(["pretrain", "--resume", "run"]) == 0
    said = capsys.readouterr().out
    assert f"{newest} is damaged" in said and "resumed run at step 10" in said
    assert same_run(Path("run"), uninterrupted)


def test_no_checkpoint_that_is_whole(capsys):
    pretrain_until(3, replace(SMALL, out="run"))
    (checkpoints.found(Path("run"))[0] / "optimizer.safetensors").unlink()
    assert main(["pretrain", "--resume", "run"]) == 2
    assert main(["pretrain", "--resume", "nowhere"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 2 and "a new --out" in error


def test_another_configuration_is_refused_with_the_difference(capsys):
    pretrain_until(3, replace(SMALL, out="run"))
    assert main(["pretrain", "--resume", "run", "--lr", "0.5", "--n-layers", "2", "--eval-every", "3"]) == 2
    error = capsys.readouterr().err
    assert "n_layers was 1 and is 2; lr was 0.01 and is 0.5" in error and "eval_every" not in error
    Path("text.txt").write_text(TEXT + "more")
    assert main(["pretrain", "--resume", "run"]) == 2
    assert "the tokens of text.txt are not those" in capsys.readouterr().err


def test_a_second_run_in_the_folder_is_refused(capsys, in_child):
    flags = ["--data", "text.txt", "--tokenizer", "char", "--steps", "1", "--out", "run"]
    with checkpoints.locked(Path("run")):
        assert in_child(lambda: main(["pretrain", *flags]) == 2)            # a lock is between processes
        assert list(os.listdir("run")) == [".lock"]
    assert main(["pretrain", *flags]) == 0
    assert main(["pretrain", *flags]) == 2                      # nor is a finished one written over
    assert "holds a run already" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["model.safetensors", "metrics.jsonl", "config.json", "tokenizer.meta.json"])
def test_nothing_of_others_is_written_over(name, capsys):
    Path("mine").mkdir()
    Path("mine", name).write_text("precious")
    flags = ["--data", "text.txt", "--tokenizer", "char", "--steps", "1", "--out", "mine"]
    assert main(["pretrain", *flags]) == 2
    assert f"mine has {name} already" in capsys.readouterr().err
    assert os.listdir("mine") == [name] and Path("mine", name).read_text() == "precious"


def test_what_ended_before_its_first_checkpoint_is_begun_anew():
    made(SMALL)
    with checkpoints.locked(Path("run")):
        for name in ("config.toml", "config.json", "metrics.jsonl"):
            Path("run", name).write_text("{}")
    assert pretrain(replace(SMALL, out="run", steps=4)).finished


def test_without_validation_the_training_set_decides():
    result = pretrain(replace(SMALL, out="run", val_fraction=0.0, steps=4))
    assert result.finished and {x["val_loss"] for x in numbers(Path("run")) if "val_loss" in x} == {None}
    assert Path("run/model.safetensors").exists() and pretrain(replace(SMALL, out="none", steps=0, warmup=0)).finished


def test_the_best_is_among_what_is_kept():
    """Although nothing was better than what had not learnt."""
    result = pretrain(replace(SMALL, out="run", lr=10.0, eval_every=1, steps=4))
    losses = {x["step"]: x["val_loss"] for x in numbers(Path("run")) if "val_loss" in x}
    best = min([1, 2, 3, 4], key=losses.get)
    assert result.finished and losses[0] < losses[best] == checkpoints.newest(Path("run"), print).state["best"][0]
    assert same_file("run/model.safetensors", f"run/checkpoints/step-{best:08d}/model.safetensors")
    assert not [*Path("run").glob(".*.tmp")]


def same_file(a: str, b: str) -> bool:
    return Path(a).read_bytes() == Path(b).read_bytes()


def test_old_checkpoints_go_but_the_best_stays(monkeypatch):
    config = replace(SMALL, out="run", eval_every=4, save_every=4, keep=2, lr=1e-2)
    evaluate = loop.Run.evaluate

    def best_at_8(self):
        loss = evaluate(self)
        self.best = (1.0, 8) if self.step >= 8 else (2.0, self.step)
        return loss

    monkeypatch.setattr(loop.Run, "evaluate", best_at_8)
    pretrain(config)
    assert [p.name for p in checkpoints.found(Path("run"))] == ["step-00000024", "step-00000020", "step-00000008"]
    best = Path("run/checkpoints/step-00000008/model.safetensors")
    assert Path("run/model.safetensors").read_bytes() == best.read_bytes()


def test_a_checkpoint_is_tensors_and_json(uninterrupted):
    newest = checkpoints.read(checkpoints.found(uninterrupted)[0])
    state = json.loads((newest.path / "state.json").read_text())
    assert state["step"] == 24 and state["config"]["lr"] == SMALL.lr and state["random"]["seed"] == SMALL.seed
    assert state["position"]["window"] == 24 * SMALL.batch_size and state["model"]["architecture"] == "gpt2"
    weights, moments = load_safetensors(newest.path / "model.safetensors"), newest.moments()
    assert set(moments) == {f"{key}.{name}" for name in weights for key in ("exp_avg", "exp_avg_sq")}


# ---- numbers that are none ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_loss_that_is_no_number_is_looked_into(engine, monkeypatch, capsys):
    """A weight that overflows, a layer that divides by zero in the forward pass, one that does so in the backward."""
    def breaking(how):
        train_step = loop.Run.train_step

        def broken(self, model):
            if self.step == 3:
                how(self)
            return train_step(self, model)
        return broken

    def nan_weight(run):
        with run.engine.torch.no_grad():
            run.model.pos_emb.weight[0, 0] = float("nan")

    def bad_forward(run):
        run.model.trf_blocks[0].ff.layers[1].forward = lambda x: x / (x - x)

    def bad_backward(run):
        run.model.final_norm.register_forward_hook(lambda m, args, out: out + 0 * (out - out).sqrt())

    flags = ["--engine", engine, "--data", "text.txt", "--tokenizer", "char", "--steps", "9", "--sample-every", "0"]
    for i, (how, says) in enumerate(((nan_weight, "weights pos_emb.weight were not finite"),
                                     (bad_forward, "trf_blocks.0.ff.layers.1 (GELU, DivBackward0)"),
                                     (bad_backward, "SqrtBackward0"))):
        with monkeypatch.context() as patch:
            patch.setattr(loop.Run, "train_step", breaking(how))
            assert main(["pretrain", *flags, "--out", f"run{i}"]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "step 3: the " in error and says in error
        post = Path(f"run{i}/postmortem-step-00000003")
        assert checkpoints.read(post).step == 3


def test_a_model_that_is_broken_from_the_start(monkeypatch, capsys):
    build = loop.Engine.build

    def broken(self, *args):
        model = build(self, *args)
        with self.torch.no_grad():
            model.tok_emb.weight[0] = float("nan")
        return model

    monkeypatch.setattr(loop.Engine, "build", broken)
    assert main(["pretrain", "--data", "text.txt", "--tokenizer", "char", "--steps", "2", "--out", "run"]) == 1
    assert "step 0: the loss is nan. The weights tok_emb.weight" in capsys.readouterr().err


def test_the_last_step_is_looked_at_too(capsys):
    """It leaves weights that are no numbers: they are not published as the best."""
    flags = ["--data", "text.txt", "--tokenizer", "char", "--steps", "1", "--lr", "1e300", "--out", "run"]
    assert main(["pretrain", *flags]) == 1
    error = capsys.readouterr().err
    assert "step 1: the loss is nan. The weights" in error and "--resume" not in error
    assert not Path("run/model.safetensors").exists() and not checkpoints.found(Path("run"))


def test_too_little_memory_is_a_line(monkeypatch, capsys):
    def build(self, *args):
        minigrad.empty(1 << 60)

    monkeypatch.setattr(loop.Engine, "build", build)
    assert main(["pretrain", "--data", "text.txt", "--tokenizer", "char", "--out", "run"]) == 2
    error = capsys.readouterr().err
    assert "too little memory" in error and "--micro-batch" in error and error.count("\n") == 1


def test_what_cannot_be_kept_is_said_before_anything_is_written(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    flags = ["--data", "text.txt", "--tokenizer", "char", "--out", "run"]
    assert main(["pretrain", *flags, "--tensorboard"]) == 2 and not Path("run").exists()
    assert "pip install torch tensorboard" in capsys.readouterr().err


@pytest.mark.parametrize("prompt, says", [("7 times 8", "7 times 8"), ("The", "0 times 0 is")])
def test_the_next_command_has_a_prompt_that_the_vocabulary_knows(prompt, says):
    assert made(replace(SMALL, sample_prompt=prompt)).prompt() == says


def test_misuse_is_a_line(capsys):
    for flags, says in ((["--device", "cuda"], "--engine torch"), (["--precision", "bf16"], "fp32"),
                        (["--compile"], "nothing to compile"), (["--batch-size", "0"], "at least 1"),
                        (["--data", "text.txt", "--context-length", "99999"], "too short"),
                        (["--tokenizer", "nowhere"], "no tokenizer"), (["--resume"], "no run in runs/")):
        assert main(["pretrain", *flags]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1
    assert not Path("runs").exists()
    assert main(["pretrain", "--data", "text.txt", "--out", "text.txt/run"]) == 2          # not a folder
    assert "cannot be written to" in capsys.readouterr().err
    with pytest.raises(UserError, match="no such folder"):
        pretrain(replace(SMALL, out="x"), resume=True)


def test_compare_shows_both_curves(capsys, plots):
    flags = [f for name in ("tokenizer", "context_length", "emb_dim", "n_heads", "n_layers", "batch_size", "data")
             for f in ("--" + name.replace("_", "-"), str(getattr(SMALL, name)))]
    assert main(["compare", *flags, "--steps", "6", "--out", "both"]) == 0
    said = capsys.readouterr().out
    assert "largest difference of the loss: " in said and "largest difference of the val_loss: " in said
    assert Path("both/compare.png").read_bytes().startswith(b"\x89PNG")
    differences = [float(line.split()[5].rstrip(",")) for line in said.splitlines() if line.startswith("largest")]
    assert max(differences) < 1e-4
    assert main(["compare", *flags, "--out", "both"]) == 2
