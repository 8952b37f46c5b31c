"""OpenAI's checkpoints: TensorFlow's bundles, written here from the format's description and read by gpt.weights."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt.weights import layouts
from gpt.weights.bundle import _fields, _masked
from gpt.weights.crc32c import crc32c
from gpt.weights.files import open_weights
from gpt.weights.stored import CheckpointError
from parity_tests.test_gpt_checkpoints import (
    CHECKPOINTS,
    ENGINES,
    TINY,
    assert_same,
    configs,
    folder,
    our_model,
    weights,
)

__all__ = ["folder"]
CODES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "bfloat16": 14, "float16": 19}


# ---- a writer ---------------------------------------------------------------------------------------------------

def varint(n: int) -> bytes:
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value) if value else b""              # proto3 leaves zeros out


def block(entries: list[tuple[bytes, bytes]], interval: int) -> bytes:
    out, restarts, last = bytearray(), [], b""
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % interval == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table(entries: dict[bytes, bytes], per_block: int, interval: int) -> bytes:
    out, index = bytearray(), []

    def add(content: bytes) -> bytes:
        handle = varint(len(out)) + varint(len(content))
        out.extend(content + b"\0" + struct.pack("<I", _masked(crc32c(content + b"\0"))))
        return handle

    items = sorted(entries.items())
    for i in range(0, len(items), per_block):
        part = items[i:i + per_block]
        index.append((part[-1][0], add(block(part, interval))))
    meta = add(block([], 1))
    footer = meta + add(block(index, 1))
    return bytes(out) + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def write_bundle(folder: Path, arrays: dict[str, np.ndarray], per_block: int = 7, interval: int = 16, shards: int = 1,
                 checksums: bool = True, dtype: str | None = None, name: str = "model.ckpt") -> None:
    entries = {b"": field(1, shards) + field(3, field(1, 1))}
    files = [bytearray() for _ in range(shards)]
    for i, (key, array) in enumerate(sorted(arrays.items())):
        data, file = array.tobytes(), files[i % shards]
        shape = b"".join(field(2, field(1, n)) if n else field(2, b"") for n in array.shape)
        entries[key.encode()] = (field(1, CODES[dtype or array.dtype.name]) + field(2, shape) + field(3, i % shards)
                                 + field(4, len(file)) + field(5, len(data)))
        if checksums:
            entries[key.encode()] += varint(6 << 3 | 5) + struct.pack("<I", _masked(crc32c(data)))
        file += data
    (folder / f"{name}.index").write_bytes(table(entries, per_block, interval))
    for i, file in enumerate(files):
        (folder / f"{name}.data-{i:05}-of-{shards:05}").write_bytes(file)
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "/somewhere/else/{name}"\n'
                                       f'all_model_checkpoint_paths: "{name}"\n')


def openai(model) -> dict[str, np.ndarray]:
    """A model's tensors as OpenAI named and shaped them."""
    result = {}
    arrays = {name: array for name, array in weights(model).items() if name != "out_head.weight"}
    for name, array in layouts.to_hugging_face(arrays).items():
        *path, end = name.removeprefix("transformer.").split(".")
        kernel = end == "weight" and path[-1].startswith("c_")
        end = {"weight": "g" if path[-1].startswith("ln") else "w", "bias": "b"}[end]
        path = [f"h{path[1]}", *path[2:]] if path[0] == "h" else path
        result["/".join(["model", *path, *([] if path[0] in ("wte", "wpe") else [end])])] = (
            array[None] if kernel else array)
    return result


def write_openai(folder: Path, model, **options) -> None:
    write_bundle(folder, openai(model), **options)
    c = model.config
    (folder / "hparams.json").write_text(json.dumps({"n_vocab": c.vocab_size, "n_ctx": c.context_length,
                                                     "n_embd": c.emb_dim, "n_head": c.n_heads, "n_layer": c.n_layers}))


# ---- the reader -------------------------------------------------------------------------------------------------

OPENAI = replace(TINY, tied=True, init="gpt2", drop_rate=0.1)


@given(configs(qkv_bias=True, tied=True, init="gpt2", drop_rate=0.1, norm_eps=1e-5), ENGINES,
       st.integers(1, 40), st.integers(1, 16), st.integers(1, 3), st.booleans())
def test_openais_folders(folder, config, engine, per_block, interval, shards, checksums):
    model = our_model(engine, config)
    write_openai(path := folder(), model, per_block=per_block, interval=interval, shards=shards, checksums=checksums)
    back = CHECKPOINTS[engine].from_pretrained(path)
    assert back.config == config
    assert_same(weights(back), weights(model))


def test_names_and_shapes_are_openais():
    arrays, C = openai(our_model("numpy", OPENAI)), OPENAI.emb_dim
    assert arrays["model/h0/attn/c_attn/w"].shape == (1, C, 3 * C)
    assert arrays["model/h1/mlp/c_proj/b"].shape == (C,)
    assert {"model/wte", "model/wpe", "model/ln_f/g", "model/ln_f/b", "model/h0/ln_1/g"} < arrays.keys()
    assert len(arrays) == 4 + 12 * OPENAI.n_layers


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=9),
                       st.tuples(st.lists(st.integers(0, 3), max_size=3), st.sampled_from(sorted(CODES))), max_size=20),
       st.integers(1, 5), st.integers(1, 5))
def test_any_bundle(folder, tensors, per_block, interval):
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(-9, 9, shape).astype("uint16" if d == "bfloat16" else d)
              for name, (shape, d) in tensors.items()}
    path = folder()
    for d in {d for _, d in tensors.values()} or {"float32"}:
        part = {name: array for name, array in arrays.items() if tensors[name][1] == d}
        write_bundle(path, part, per_block, interval, dtype=d)
        with open_weights(path) as found:
            assert {name: (list(s.shape), s.dtype) for name, s in found.items()} == {n: tensors[n] for n in part}
            for name, array in part.items():
                np.testing.assert_array_equal(found[name].raw(), array)


def test_fields_of_a_protocol_buffer():
    assert _fields(bytes.fromhex("08 96 01")) == {1: [150]}                      # the format's own example
    assert _fields(bytes.fromhex("12 07 74 65 73 74 69 6e 67")) == {2: [b"testing"]}


# ---- damage -----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def intact(folder) -> Path:
    write_openai(path := folder(), our_model("numpy", OPENAI))
    return path


@given(st.sampled_from(["model.ckpt.index", "model.ckpt.data-00000-of-00001"]), st.booleans(), st.data())
def test_damage_is_one_error_that_names_the_file_and_nothing_is_written(folder, intact, damaged, truncate, data):
    path = folder()
    for file in intact.iterdir():
        content = bytearray(file.read_bytes())
        if file.name == damaged:
            at = data.draw(st.integers(0, len(content) - 1))
            # The 48 bytes at the end of a table are not under a checksum; only what they must say can be checked.
            if truncate or (damaged.endswith("index") and at >= len(content) - 48):
                del content[at:]
            else:
                content[at] ^= 1 << data.draw(st.integers(0, 7))
        (path / file.name).write_bytes(content)
    model = our_model("numpy", OPENAI)
    before = {name: array.copy() for name, array in weights(model).items()}
    with pytest.raises(CheckpointError, match=r"model\.ckpt"):
        CHECKPOINTS["numpy"].load_weights(model, path)
    assert_same(weights(model), before)


@given(st.binary(max_size=200), st.data())
def test_no_index_crashes_the_reader(folder, intact, junk, data):
    content = (intact / "model.ckpt.index").read_bytes()
    at = data.draw(st.integers(0, len(content)))
    end = at + data.draw(st.integers(0, 99))
    (path := folder() / "model.ckpt.index").write_bytes(content[:at] + junk + content[end:])
    (path.parent / "model.ckpt.data-00000-of-00001").write_bytes(
        (intact / "model.ckpt.data-00000-of-00001").read_bytes())
    try:
        with open_weights(path) as tensors:
            assert len(tensors) == len(openai(our_model("numpy", OPENAI)))
    except CheckpointError as error:
        assert "model.ckpt" in str(error)


def test_what_is_missing_is_named(intact, folder):
    path = folder()
    for file in intact.iterdir():
        if "data" not in file.name:
            (path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CheckpointError, match=r"model\.ckpt\.data-00000-of-00001 is not beside it"):
        CHECKPOINTS["numpy"].from_pretrained(path)


# ---- the checksum -----------------------------------------------------------------------------------------------

def test_the_checksum_of_the_standard():
    assert crc32c(b"123456789") == 0xE3069283                                    # RFC 3720, appendix B.4 has these
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@given(st.integers(0, 300_000), st.integers(0, 300_000), st.integers(0, 9))
def test_checksums_join(n, cut, seed):
    data = np.random.default_rng(seed).bytes(n)
    cut = min(cut, n)
    assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)
    if n:
        flipped = bytearray(data)
        flipped[cut % n] ^= 1
        assert crc32c(bytes(flipped)) != crc32c(data)
