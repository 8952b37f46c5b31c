"""python -m gpt: what it prints, and what it says to a user who is mistaken."""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gpt
import minigrad
from gpt.__main__ import main
from gpt.config import CONFIGS, GPT2Config
from gpt.sampling import Sampling
from gpt.tokenizers import get_tokenizer, train_bpe

ROOT = Path(gpt.__file__).parent.parent
CONFIG = GPT2Config(vocab_size=300, context_length=32, emb_dim=16, n_heads=2, n_layers=2, qkv_bias=True, tied=True)
save_pretrained = importlib.import_module("gpt.checkpoints").save_pretrained
generate = importlib.import_module("gpt.generate")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "mine"
    minigrad.manual_seed(1)
    model = gpt.build(CONFIG)
    with minigrad.no_grad():
        for p in model.parameters():
            p.mul_(2)
    save_pretrained(model, path)
    train_bpe("the quick brown fox jumps over the lazy dog, héllo 🙂 " * 9, 290).save(path)
    return path


def run(*args: str, capsys) -> str:
    assert main(list(map(str, args))) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(*args: str, capsys) -> str:
    try:
        status = main(list(map(str, args)))
    except SystemExit as exit:                   # argparse's own
        status = exit.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith("python -m gpt")
    assert "Traceback" not in err
    return last


# ---- generate ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("flags", [[], ["--temperature", "1"], ["--top-k", "9", "--top-p", "0.9", "--min-p", "0.01",
                                                                "--repetition-penalty", "1.2"]])
def test_streamed_or_not_cached_or_not_on_either_engine_it_is_the_same_text(folder, flags, capsys):
    def text(*more: str) -> str:
        return run("generate", "--model", folder, "--prompt", "the fox", "a", "--seed", 3, "--max-new-tokens", 40,
                   "--ignore-eot", *flags, *more, capsys=capsys)

    assert text() == text("--stream") == text("--no-cache") == text("--engine", "torch") == text("--slide", 1)
    tokenizer, sampling = get_tokenizer(folder), Sampling(*{0: (), 2: (1.0,), 8: (1.0, 9, 0.9, 0.01, 1.2)}[len(flags)])
    model = importlib.import_module("gpt.checkpoints").from_pretrained(folder)
    minigrad.manual_seed(3)
    one, two = generate.generate_text(model, tokenizer, ["the fox", "a"], 40, sampling)
    assert text() == f"the fox{one}\n---\na{two}\n"
    assert text("--no-echo") == f"{one}\n---\n{two}\n"


def test_json(folder, capsys):
    flags = "generate", "--model", folder, "--prompt", "the fox", "a", "--max-new-tokens", 5, "--json"
    rows = [json.loads(line) for line in run(*flags, capsys=capsys).splitlines()]
    assert [row["prompt"] for row in rows] == ["the fox", "a"]
    assert all(len(row["tokens"]) == 5 for row in rows)
    assert all(get_tokenizer(folder).decode(row["tokens"]) == row["text"] for row in rows)
    pieces = [json.loads(line) for line in run(*flags, "--stream", capsys=capsys).splitlines()]
    for i, row in enumerate(rows):
        assert "".join(p["text"] for p in pieces if p["prompt"] == i) == row["text"]
        assert [p["token"] for p in pieces if p["prompt"] == i] == [*row["tokens"], None]


def test_stops(folder, capsys):
    flags = "generate", "--model", folder, "--prompt", "the", "--max-new-tokens", 30, "--seed", 5, "--temperature", 1
    row = json.loads(run(*flags, "--json", capsys=capsys))
    stop, id = row["text"][10:12], row["tokens"][7]
    cut = run(*flags, "--no-echo", "--stop", stop, "zzzz", "--stream", capsys=capsys)
    assert cut == row["text"][:row["text"].index(stop)] + "\n"
    ended = json.loads(run(*flags, "--stop-token", id, "--json", capsys=capsys))
    assert ended["tokens"] == row["tokens"][:row["tokens"].index(id)]


def test_the_token_that_ends_a_text_ends_it(folder, capsys):
    eot = get_tokenizer(folder).eot_token
    model = importlib.import_module("gpt.checkpoints").from_pretrained(folder, tied=False)
    with minigrad.no_grad():
        model.final_norm.weight.zero_()
        model.final_norm.bias.fill_(1)
        model.out_head.weight.zero_()
        model.out_head.weight[eot] = 1.0
    other = folder.parent / "ended"
    save_pretrained(model, other)
    get_tokenizer(folder).save(other)
    flags = "generate", "--model", other, "--prompt", "the", "--max-new-tokens", 3
    assert run(*flags, capsys=capsys) == "the\n"
    assert run(*flags, "--ignore-eot", capsys=capsys) == "the" + "<|endoftext|>" * 3 + "\n"


def test_a_prompt_from_standard_input_and_none(folder, capsys, monkeypatch):
    flags = "generate", "--model", folder, "--max-new-tokens", 3
    expected = run(*flags, "--prompt", "héllo\n🙂", capsys=capsys)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("héllo\n🙂\n".encode())))
    assert run(*flags, "--prompt", "-", capsys=capsys) == expected
    from_eot = run(*flags, "--prompt", "<|endoftext|>", "--special", "--no-echo", capsys=capsys)
    assert run(*flags, capsys=capsys) == from_eot
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe")))
    assert "not UTF-8" in refused(*flags, "--prompt", "-", capsys=capsys)


def test_without_a_seed_sampling_differs_and_stats_tell_the_seed(folder, capsys):
    flags = "generate", "--model", folder, "--prompt", "a", "--top-k", 200, "--max-new-tokens", 30
    assert run(*flags, capsys=capsys) != run(*flags, capsys=capsys)
    assert main([*map(str, flags), "--stats"]) == 0
    out, err = capsys.readouterr()
    assert "tokens/s" in err
    assert run(*flags, "--seed", err.rpartition(" ")[2].strip(), capsys=capsys) == out


@pytest.mark.parametrize(("flags", "words"), [
    (["--temperature", "-1"], "temperature must be 0, or"), (["--top-k", "0"], "top_k must be a positive"),
    (["--top-p", "2"], "top_p must be in"), (["--repetition-penalty", "0"], "repetition_penalty must be positive"),
    (["--max-new-tokens", "-1"], "--max-new-tokens must be at least 0"), (["--slide", "99"], "slide must be"),
    (["--stop", ""], "stop string"), (["--stop-token", "x"], "neither an id below"), (["--threads", "0"], "--threads"),
    (["--device", "cuda"], "needs --engine torch"), (["--engine", "jax"], "invalid choice"),
    (["--prompt", "<|endoftext|>"], "--special"), (["--prompt", "-", "-"], "once"), (["--seed", "x"], "invalid int"),
    (["--tokenizer", "nothing"], "nothing"), (["--seed", str(2**70)], "64 bits"), (["--typo"], "--typo")])
def test_mistakes_are_told_in_one_line(folder, flags, words, capsys):
    assert words in refused("generate", "--model", folder, "--prompt", "the", *flags, capsys=capsys)


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_devices_that_are_not_there_are_told_in_one_line(folder, device, capsys):
    flags = "--engine", "torch", "--device", device, "--max-new-tokens", 1
    assert "--device " + device in refused("generate", "--model", folder, "--prompt", "the", *flags, capsys=capsys)


def test_models_that_are_not_there_or_damaged(folder, tmp_path, capsys):
    def message(path: Path | str) -> str:
        return refused("generate", "--model", path, "--prompt", "the", capsys=capsys)

    assert "no config.json" in message(tmp_path)
    assert "no checkpoint 'nowhere'" in message("nowhere")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    assert "tokenizer" in message(tmp_path)
    get_tokenizer(folder).save(tmp_path)
    assert "no weights" in message(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    assert str(tmp_path) in message(tmp_path)
    get_tokenizer(folder).with_special_tokens([f"<|{i}|>" for i in range(60)]).save(tmp_path)
    assert "do not belong together" in message(tmp_path)


def test_hugging_faces_folder(folder, tmp_path, capsys):
    model = importlib.import_module("gpt.checkpoints").from_pretrained(folder)
    save_pretrained(model, tmp_path, format="hf")
    get_tokenizer(folder).save(tmp_path)
    flags = "--prompt", "the", "--max-new-tokens", 5
    assert run("generate", "--model", tmp_path, *flags, capsys=capsys) == \
        run("generate", "--model", folder, *flags, capsys=capsys)


# ---- the process ---------------------------------------------------------------------------------------------------

def process(*args: str | Path, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "gpt", *map(str, args)], cwd=ROOT, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": ""},
                            preexec_fn=heed_interrupts, **options)


def heed_interrupts() -> None:
    """A suite that a shell runs in the background ignores SIGINT, and its children would, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupted_it_keeps_what_it_has_printed(folder):
    p = process("generate", "--model", folder, "--prompt", "the fox", "--stream", "--max-new-tokens", 10**7,
                "--ignore-eot")
    start = p.stdout.read(20)
    p.send_signal(signal.SIGINT)
    rest, err = p.communicate(timeout=60)
    assert (p.returncode, err) == (130, b"")
    assert start.startswith(b"the fox")
    assert rest.endswith(b"\n")


def test_a_reader_that_has_seen_enough(folder):
    p = process("generate", "--model", folder, "--prompt", "the fox", "--stream", "--max-new-tokens", 10**7,
                "--ignore-eot")
    assert p.stdout.read(8)
    p.stdout.close()
    assert p.wait(timeout=60) == 141
    assert p.stderr.read() == b""


# ---- info --------------------------------------------------------------------------------------------------------

def test_the_book_model_in_numbers(capsys):
    found = json.loads(run("info", "book-124M", "--json", capsys=capsys))
    assert found["parameters"]["total"] == 163_009_536
    assert found["memory_bytes"]["float32"] == 163_009_536 * 4
    # Each layer has 12 C^2 weights in products, and the head C V.
    assert found["flops_per_token"]["forward_first"] == 2 * (12 * 12 * 768**2 + 768 * 50257)
    assert found["flops_per_token"]["forward_full_context"] - found["flops_per_token"]["forward_first"] == \
        4 * 1024 * 768 * 12
    assert found["kv_cache_bytes"]["per_token"] == 2 * 12 * 768 * 4
    text = run("info", "book-124M", capsys=capsys)
    assert "163,009,536" in text
    assert "621.83 MiB" in text
    assert "247.1 M forward" in text
    assert " 0.0 M" not in run("info", "tiny", capsys=capsys)


@pytest.mark.parametrize("name", CONFIGS)
def test_named_sizes_need_no_files(name, capsys):
    config = CONFIGS[name]
    found = json.loads(run("info", name, "--json", capsys=capsys))
    p, C, V = found["parameters"], config.emb_dim, config.vocab_size
    per_block = 12 * C * C + 4 * C + 6 * C + 3 * C * config.qkv_bias       # weights, norms, biases
    assert p["total"] == V * C * (1 if config.tied else 2) + config.context_length * C + config.n_layers * per_block \
        + 2 * C
    assert sum(p[part] for part in ("embeddings", "blocks", "final_norm", "head")) == p["total"]


def test_flops_are_those_that_torch_counts():
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from gpt.info import facts
    found, model = facts(CONFIG)["flops_per_token"], gpt.build(CONFIG, engine="torch").eval()
    cache = model.new_cache(1, 32)
    with torch.no_grad():
        model(torch.zeros(1, 31, dtype=torch.int64), cache)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as count:
            model(torch.zeros(1, 1, dtype=torch.int64), cache)
    assert count.get_total_flops() == found["forward_full_context"]


def test_info_of_files(folder, tmp_path, capsys):
    found = json.loads(run("info", folder, "--json", capsys=capsys))
    model = importlib.import_module("gpt.checkpoints").from_pretrained(folder)
    total = sum(p.numel() for p in model.parameters())
    assert found["parameters"]["total"] == total
    assert found["files"]["weights"]["numbers_by_dtype"] == {"float32": total}
    assert found["files"]["tokenizer"] == {"kind": "BytePairTokenizer", "tokens": 290}
    assert "290 tokens" in run("info", folder, capsys=capsys)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    assert "none there" in run("info", tmp_path, capsys=capsys)
    assert "Sizes that need no files: book-124M" in refused("info", "nowhere", capsys=capsys)
    (tmp_path / "config.json").write_text("{")
    assert "config.json" in refused("info", tmp_path, capsys=capsys)


def test_help_says_how(capsys):
    for command, words in (("generate", "--temperature"), ("info", "--json")):
        with pytest.raises(SystemExit) as exit:
            main([command, "--help"])
        assert exit.value.code == 0
        out = capsys.readouterr().out
        assert words in out
        assert f"python -m gpt {command}" in out
