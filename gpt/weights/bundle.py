"""TensorFlow's checkpoints ("tensor bundles"), in which OpenAI published GPT-2, read without TensorFlow.

    checkpoint                      text: model_checkpoint_path: "model.ckpt"
    model.ckpt.index                a sorted table (LevelDB's format): tensor name -> BundleEntryProto
    model.ckpt.data-00000-of-00001  the tensors' bytes, back to back

A table is a row of blocks, each followed by a byte for its compression and a checksum, and then a footer of 48
bytes, which tells where the block is that tells where the others are. In a block, an entry is

    varint shared, varint own, varint size, the key but for its first `shared` bytes, which are the last key's; value

and a list of restarts, entries with shared = 0, which serves searches and not us.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from gpt.weights.crc32c import crc32c
from gpt.weights.stored import Stored, mapped

INDEX = ".index"
TABLE_MAGIC = 0xDB4775248B80FB57
FOOTER = 48
DTYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64", 10: "bool",
          14: "bfloat16", 19: "float16"}                                     # of enum DataType
ITEMSIZE = {"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "float16": 2, "bfloat16": 2, "int32": 4, "float32": 4,
            "int64": 8, "float64": 8}


def index_file(folder: Path) -> Path | None:
    """The index of the checkpoint that a folder holds: the one that `checkpoint` names, or the only one."""
    state = folder / "checkpoint"
    if state.is_file():
        named = re.search(r'^model_checkpoint_path:\s*"([^"]*)"', state.read_text("utf-8", "replace"), re.MULTILINE)
        # The path may be one of the machine that wrote it; the files moved together.
        if named and (index := folder / f"{Path(named[1]).name}{INDEX}").is_file():
            return index
    found = sorted(folder.glob(f"*.ckpt*{INDEX}"))
    return found[0] if len(found) == 1 else None


def open_bundle(index: Path, files: contextlib.ExitStack) -> dict[str, Stored]:
    entries = dict(_read_table(index.read_bytes()))
    header = _fields(entries.pop(b"", b""))
    count = header.get(1, [0])[0]
    if count < 1 or header.get(2, [0])[0] != 0:
        raise RuntimeError("not the index of a TensorFlow checkpoint, or written on a big-endian machine")
    shards = {}
    tensors = {}
    for key, value in entries.items():
        name = key.decode("utf-8")
        fields = _fields(value)
        shard = fields.get(3, [0])[0]
        if shard not in shards:
            path = index.with_name(f"{index.name.removesuffix(INDEX)}.data-{shard:05}-of-{count:05}")
            if not path.is_file():
                raise RuntimeError(f"{path.name} is not beside it")
            shards[shard] = files.enter_context(path.open("rb")), path.stat().st_size, path.name
        tensors[name] = _tensor(name, fields, *shards[shard])
    return tensors


def _tensor(name: str, fields: dict[int, list[Any]], file: Any, size: int, path: str) -> Stored:
    code, offset, length = (fields.get(number, [0])[0] for number in (1, 4, 5))
    shape = tuple(_signed(_fields(dim).get(1, [0])[0]) for dim in _fields(fields.get(2, [b""])[0]).get(2, []))
    if code not in DTYPES or 7 in fields:
        return Stored(shape, f"TensorFlow's type {code}", _refuse)         # strings, slices: not weights
    count = 1
    for n in shape:
        count *= n
    if any(n < 0 for n in shape) or count * ITEMSIZE[DTYPES[code]] != length or offset + length > size:
        raise RuntimeError(f"tensor {name[:80]!a} of shape {shape} should be {length} bytes at {offset} in {path}, "
                           f"which has {size}: it is truncated or damaged, fetch it again")
    _verify(name, path, file, offset, length, fields.get(6, [None])[0])
    return Stored(shape, DTYPES[code], partial(mapped, file, offset, DTYPES[code], shape))


def _verify(name: str, path: str, file: Any, offset: int, length: int, expected: int | None) -> None:
    if expected is None:
        return
    found = 0
    for start in range(0, length, 1 << 24):
        found = crc32c(mapped(file, offset + start, "uint8", (min(1 << 24, length - start),)), found)
    if _masked(found) != expected:
        raise RuntimeError(f"the checksum of tensor {name[:80]!a} in {path} does not match: it is damaged, fetch it "
                           "again")


def _refuse() -> Any:
    raise RuntimeError("not a tensor of numbers")


# ---- the table --------------------------------------------------------------------------------------------------

def _read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(data) < FOOTER or struct.unpack_from("<Q", data, len(data) - 8)[0] != TABLE_MAGIC:
        raise RuntimeError("not the index of a TensorFlow checkpoint, or truncated: its last bytes are not a table's")
    footer = data[-FOOTER:]
    *_, at = _handle(footer, 0)                              # the meta index, which is empty
    offset, size, _ = _handle(footer, at)
    for _, value in _entries(_block(data, offset, size)):
        offset, size, _ = _handle(value, 0)
        yield from _entries(_block(data, offset, size))


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return offset, size, at


def _block(data: bytes, offset: int, size: int) -> bytes:
    end = offset + size
    if end + 5 > len(data) - FOOTER or size < 4:
        raise EOFError("the index is truncated or damaged: a block lies beyond its end")
    compression, checksum = data[end], struct.unpack_from("<I", data, end + 1)[0]
    if _masked(crc32c(data[offset:end + 1])) != checksum:
        raise RuntimeError("the checksum of a block of the index does not match: it is damaged, fetch it again")
    if compression:
        raise RuntimeError("the index is compressed, and TensorFlow writes it as it is")
    restarts, = struct.unpack_from("<I", data, end - 4)
    if 4 * restarts + 4 > size:
        raise RuntimeError("a block of the index is damaged")
    return data[offset:end - 4 - 4 * restarts]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, key = 0, b""
    while at < len(block):
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        size, at = _varint(block, at)
        if shared > len(key) or at + own + size > len(block):
            raise RuntimeError("an entry of the index is damaged")
        key = key[:shared] + block[at:at + own]
        yield key, block[at + own:at + own + size]
        at += own + size


def _masked(crc: int) -> int:
    """Checksums are stored rotated and shifted, since a checksum of data that holds checksums is a poor one."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


# ---- protocol buffers -------------------------------------------------------------------------------------------

def _fields(data: bytes) -> dict[int, list[Any]]:
    """A message's values by field number: ints, and bytes for what is nested."""
    result: dict[int, list[Any]] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
        else:
            if wire == 2:
                size, at = _varint(data, at)
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
            else:
                raise RuntimeError("an entry of the index is damaged: not a protocol buffer")
            if at + size > len(data):
                raise EOFError("an entry of the index is cut short")
            value, at = data[at:at + size], at + size
            if wire != 2:
                value = int.from_bytes(value, "little")
        result.setdefault(number, []).append(value)
    return result


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise EOFError("the index is truncated or damaged: a number does not end")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
