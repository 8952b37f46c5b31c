"""Settings: one dataclass, its flags, its files; and the learning rate that they describe."""

from __future__ import annotations

import math
import tomllib
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.__main__ import main
from train.config import TrainConfig, differences, flag, from_dict, model_config, read_settings, to_dict, to_toml
from train.errors import UserError
from train.schedule import learning_rate

RUNS = st.integers(2, 500).flatmap(lambda steps: st.tuples(st.just(steps), st.integers(0, steps)))
RATES = st.floats(1e-6, 1.0)


@given(RUNS, RATES, RATES, RATES, st.sampled_from(["cosine", "linear", "constant"]))
def test_the_ends_of_a_schedule_are_exact(run, lr, min_lr, start_lr, schedule):
    steps, warmup = run
    at = lambda step: learning_rate(step, steps=steps, lr=lr, min_lr=min_lr, start_lr=start_lr, warmup=warmup,
                                    schedule=schedule)
    assert at(max(warmup - 1, 0)) == pytest.approx(lr, rel=1e-15)
    if warmup > 1:
        assert at(0) == pytest.approx(start_lr + (lr - start_lr) / warmup, rel=1e-12)
    if warmup < steps:
        assert at(steps - 1) == at(steps) == (lr if schedule == "constant" else min_lr)


@given(RUNS, RATES, RATES)
def test_schedules_are_their_closed_forms(run, lr, min_lr):
    """Written another way: warm-up as a straight line, decay as a function of the share of the way that is behind."""
    steps, warmup = run
    for step in range(steps):
        get = {name: learning_rate(step, steps=steps, lr=lr, min_lr=min_lr, warmup=warmup, schedule=name)
               for name in ("cosine", "linear", "constant")}
        if step < warmup:
            assert all(value == pytest.approx(lr * (step + 1) / warmup, rel=1e-12) for value in get.values())
            continue
        top = max(warmup - 1, 0)
        left = (steps - 1 - step) / (steps - 1 - top) if steps - 1 > top else 1.0
        assert get["constant"] == lr
        assert get["linear"] == pytest.approx(min_lr + (lr - min_lr) * left, rel=1e-9, abs=1e-15)
        cosine = math.cos(math.pi / 2 * (1 - left)) ** 2                       # (1 + cos 2x) / 2 = cos^2 x
        assert get["cosine"] == pytest.approx(min_lr + (lr - min_lr) * cosine, rel=1e-9, abs=1e-12)


def test_a_schedule_to_read():
    rates = [learning_rate(s, steps=7, lr=4.0, min_lr=0.0, warmup=4, schedule="linear") for s in range(7)]
    assert rates == pytest.approx([1, 2, 3, 4, 8 / 3, 4 / 3, 0])


def test_every_field_is_a_flag_with_help(capsys):
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for f in fields(TrainConfig):
        assert flag(f.name) in text and f.metadata["help"]


def test_the_help_fits_a_screen(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert stop.value.code == 0 and len(lines) <= 24 and max(map(len, lines)) <= 80


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_and_back(text):
    assert from_dict(tomllib.loads(to_toml(TrainConfig(sample_prompt=text)))) == TrainConfig(sample_prompt=text)


def test_a_flag_does_not_hide_what_is_wrong_in_a_file(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("steps = 'many'")
    assert main(["pretrain", "--config", str(tmp_path / "c.toml"), "--steps", "3"]) == 2
    assert "steps must be of type int" in capsys.readouterr().err


def test_a_file_and_back(tmp_path):
    config = TrainConfig(steps=7, stride=3, tied=True, data="a \"quoted\" name", lr=0.5)
    (tmp_path / "c.toml").write_text(to_toml(config))
    assert from_dict(read_settings(tmp_path / "c.toml")) == config == from_dict(to_dict(config))
    (tmp_path / "d.toml").write_text("seed = 1\n[optimizer]\nbatch-size = 8\nlr = 1\n")
    assert from_dict(read_settings(tmp_path / "d.toml")) == TrainConfig(seed=1, batch_size=8, lr=1.0)


@pytest.mark.parametrize("text, says", [
    ("stepz = 3", "no setting 'stepz'"), ("steps = 'many'", "steps must be of type int, not 'many'"),
    ("steps = ", "not valid TOML"), ("batch_size = 0", "--batch-size must be at least 1, not 0"),
    ("batch_size = 6\nmicro_batch = 4", "multiple of --micro-batch"), ("beta1 = 1.0", "less than 1"),
    ("warmup = 5\nsteps = 4", "--warmup must be at most --steps"), ("schedule = 'sawtooth'", "one of cosine"),
    ("lr = -1.0", "--lr must be at least 0"), ("lr = nan", "--lr must be at least 0"), ("tied = 1", "type bool"),
    ("seed = 99999999999999999999", "--seed must be at most"), ("temperature = 1e-300", "--temperature must be 0, or"),
    ("batch-size = 1\nbatch_size = 2", "sets batch_size twice"), ("[a]\nlr = 1\n[b]\nlr = 2", "sets lr twice"),
    ("a=" + "[" * 9999, "not valid TOML"), ('data = "a\\u0000b"', "without the byte 0"),
])
def test_what_cannot_be_set_is_said_in_a_line(text, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(text)
    assert main(["pretrain", "--config", "c.toml"]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_models_by_name_file_and_flag(tmp_path):
    (tmp_path / "m.toml").write_text("emb_dim = 48\nn_heads = 3\nn_layers = 1\ncontext_length = 8\n")
    model = model_config(TrainConfig(model=str(tmp_path / "m.toml"), n_layers=2, drop_rate=0.0), 99)
    assert (model.emb_dim, model.n_layers, model.vocab_size, model.drop_rate) == (48, 2, 99, 0.0)
    assert model_config(TrainConfig(model="gpt2-medium"), 50257).emb_dim == 1024
    for config, says in ((TrainConfig(model="huge"), "neither a named size"), (TrainConfig(n_heads=7), "divisible"),
                         (TrainConfig(model=str(tmp_path / "none.json")), "cannot be read")):
        with pytest.raises(UserError, match=says):
            model_config(config, 99)


def test_differences_name_what_makes_a_run():
    old = to_dict(TrainConfig())
    assert differences(old, to_dict(TrainConfig(engine="torch", eval_every=3, threads=2, out="x"))) == []
    changed = differences(old, to_dict(TrainConfig(lr=0.5, seed=9)))
    assert changed == ["seed was 123 and is 9", "lr was 0.001 and is 0.5"]
