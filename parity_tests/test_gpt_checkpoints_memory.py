"""Loading holds the model and one tensor, whatever the file's form: the peak of a process that loads a gigabyte.

The files are sparse: their tensors are zeros that no disk holds, but whose pages count as any others' once read.
"""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gpt.checkpoints import no_init
from gpt.config import GPT2Config
from gpt.gpt2 import GPT2
from gpt.weights import layouts
from parity_tests import test_gpt_checkpoints_bundle as bundle

ROOT = Path(__file__).parent.parent
SLACK = 16 << 20                   # the allocators' own, in either direction
CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}

LOAD = """
import sys
from gpt.checkpoints import from_pretrained

def field(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))

folder, small, engine = sys.argv[1:]
from_pretrained(small, engine)                              # what is imported at the first time is imported
open("/proc/self/clear_refs", "w").write("5")               # the peak so far is forgotten
before = field("VmRSS")
model = from_pretrained(folder, engine)
print(field("VmHWM") - before, field("VmRSS") - before, sum(p.numel() for p in model.parameters()) * 4)
"""


def config_of(gigabytes: float) -> GPT2Config:
    """Four layers take 4 · 12 C² of 4 bytes, and as much again as one the embeddings."""
    C = int(math.sqrt(gigabytes * 2**30 / 4 / 60)) // 64 * 64
    return GPT2Config(vocab_size=12 * C, context_length=64, emb_dim=C, n_heads=8, n_layers=4, qkv_bias=True, tied=True)


def shapes(config: GPT2Config) -> dict[str, tuple[int, ...]]:
    """As Hugging Face has them: transposed, and query, key and value in one, which costs a loader most."""
    tiny = {name: np.broadcast_to(np.float32(0), shape) for name, shape in ours(config).items()}
    return {name: array.shape for name, array in layouts.to_hugging_face(tiny).items()}


def ours(config: GPT2Config) -> dict[str, tuple[int, ...]]:
    with no_init():
        return {name: tuple(p.shape) for name, p in GPT2(config).named_parameters()}


def write_sparse(path: Path, tensors: dict[str, tuple[int, ...]], dtype: str) -> None:
    header, at = {}, 0
    for name, shape in tensors.items():
        size = math.prod(shape) * (4 if dtype == "float32" else 2)
        header[name] = {"dtype": CODES[dtype], "shape": shape, "data_offsets": [at, at + size]}
        at += size
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        file.truncate(file.tell() + at)


def write(folder: Path, config: GPT2Config, form: str, dtype: str) -> int:
    """Returns the size of the largest tensor as the model holds it."""
    tensors = shapes(config)
    (folder / "config.json").write_text(json.dumps(layouts.to_hf_config(config)))
    if form == "single":
        write_sparse(folder / "model.safetensors", tensors, dtype)
    elif form == "sharded":
        names = sorted(tensors)
        weight_map = {name: f"model-{i % 3}.safetensors" for i, name in enumerate(names)}
        for shard in set(weight_map.values()):
            write_sparse(folder / shard, {n: tensors[n] for n in names if weight_map[n] == shard}, dtype)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    elif form == "bundle":
        write_openai(folder, config)
    else:
        torch.save({name: torch.zeros(shape, dtype=getattr(torch, dtype)) for name, shape in tensors.items()},
                   folder / "pytorch_model.bin")
    return max(4 * math.prod(shape) for shape in tensors.values())


def write_openai(folder: Path, config: GPT2Config) -> None:
    with no_init():
        model = GPT2(config)
    for parameter in model.parameters():
        parameter.data.zero_()
    bundle.write_openai(folder, model, checksums=False)
    (folder / "config.json").unlink()


def check(folder: Path, engine: str, form: str, dtype: str, gigabytes: float) -> None:
    (small := folder / "small").mkdir()
    write(small, config_of(0.001), form, dtype)
    largest = write(folder, config_of(gigabytes), form, dtype)
    run = subprocess.run([sys.executable, "-c", LOAD, str(folder), str(small), engine], cwd=ROOT, capture_output=True,
                         text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert run.returncode == 0, run.stderr
    peak, after, model = map(int, run.stdout.split())
    assert model > 0.9 * gigabytes * 2**30
    assert peak <= model + largest + SLACK, f"{peak / model:.3f} models; the largest tensor is {largest / model:.3f}"
    assert model - SLACK <= after <= model + SLACK, "what was read is still there, or what should be is not"


linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
CASES = [("numpy", "single", "float32"), ("numpy", "sharded", "bfloat16"), ("torch", "single", "float16")]


@linux
@pytest.mark.parametrize(("engine", "form", "dtype"), CASES)
def test_a_gigabyte(engine, form, dtype, tmp_path):
    check(tmp_path, engine, form, dtype, 1.0)


@linux
@pytest.mark.parametrize(("engine", "form", "dtype"), [
    ("numpy", "archive", "bfloat16"), ("torch", "archive", "float32"), ("numpy", "bundle", "float32")])
def test_a_quarter_of_other_forms(engine, form, dtype, tmp_path):
    check(tmp_path, engine, form, dtype, 0.25)


@linux
@pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "deep", reason="three gigabytes: HYPOTHESIS_PROFILE=deep")
@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("form", ["single", "sharded", "archive"])
@pytest.mark.parametrize("dtype", sorted(CODES))
def test_three_gigabytes(engine, form, dtype, tmp_path):
    check(tmp_path, engine, form, dtype, 3.0)
