"""Checkpoints that are truncated, damaged, or made to do harm: each ends in one clear error.

Never in code that runs, in memory beyond a multiple of the file's own size, in a hang, or in half a model.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import textwrap
import zipfile
from collections import OrderedDict
from pickle import UnpicklingError

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigrad.serialization import load, load_safetensors
from minigrad.serialization.unpickler import GLOBALS
from minigrad.size import Size
from parity_tests.test_serialization import assert_same, own_bytes, patched, rezip, torch_bytes

DAMAGED = (RuntimeError, UnpicklingError, EOFError)      # exactly these classes, and none derived from them

SAMPLE = OrderedDict(w=torch.arange(6.0).reshape(2, 3), b=torch.tensor([True, False]),
                     p=torch.nn.Parameter(torch.ones(2)),
                     meta={"step": 3, "name": "x", "list": [1.5, None, (1, 2)], "big": 2**40})
ZIP = torch_bytes(SAMPLE)
OLD = torch_bytes(SAMPLE, _use_new_zipfile_serialization=False)
OWN = own_bytes(load(io.BytesIO(ZIP)))
SAFE = safetensors.torch.save({"w": torch.arange(6.0), "b": torch.tensor([True, False])}, {"format": "pt"})


def outcome(data: bytes, read=load):
    """What loading gives: the object, or the one clear error."""
    try:
        return read(io.BytesIO(data))
    except DAMAGED as error:
        assert type(error) in DAMAGED and str(error).startswith("<BytesIO>: ") and str(error).isprintable()
        return error


# ---- accidents --------------------------------------------------------------------------------------------------

EACH = pytest.mark.parametrize("data, read", [(ZIP, load), (OWN, load), (OLD, load), (SAFE, load_safetensors)],
                               ids=["zip", "own", "old", "safetensors"])


@EACH
def test_truncated_anywhere(data, read):
    for length in range(len(data)):
        assert isinstance(outcome(data[:length], read), DAMAGED), length


@pytest.mark.parametrize("data", [ZIP, OWN], ids=["zip", "own"])
def test_a_flipped_bit_is_found_or_harmless(data):
    """torch's zip carries checksums. What has none (dates, padding) has no meaning either."""
    found = 0
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        result = outcome(bytes(flipped))
        if isinstance(result, DAMAGED):
            found += 1
        else:
            assert_same(result, SAMPLE)
    records = zipfile.ZipFile(io.BytesIO(data)).infolist()
    assert found >= sum(record.file_size for record in records if re.search(r"/data|/byteorder", record.filename))


@EACH
@given(patches=st.lists(st.tuples(st.integers(0, 2**16), st.binary(min_size=1, max_size=9)), min_size=1, max_size=3))
def test_overwritten_bytes_end_in_a_value_or_an_error(data, read, patches):
    broken = bytearray(data)
    for at, patch in patches:
        at %= len(broken)
        broken[at:at + len(patch)] = patch
    outcome(bytes(broken), read)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x80\x02", b"PK\3\4", OLD[:100]]))
def test_random_bytes_end_in_an_error(data, start):
    assert isinstance(outcome(start + data), DAMAGED)
    assert isinstance(outcome(struct.pack("<Q", len(data)) + data, load_safetensors), DAMAGED)


# ---- files made to do harm: the tools ---------------------------------------------------------------------------

STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuK\2tQ"      # data/0, two floats
EXECUTE = b"X\x0b\0\0\0touch pwned\x85"


def program(body: bytes) -> bytes:
    """An archive with this pickle, right in every other respect."""
    return rezip(OWN, **{"data.pkl": b"\x80\x02" + body + b".", "data/0": np.float32([1, 2]).tobytes()})


def name_of(full_name: str) -> bytes:
    module, _, name = full_name.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def call(full_name: str, arguments: bytes) -> bytes:
    return name_of(full_name) + arguments + b"R"


def string(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def integer(n: int) -> bytes:
    raw = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def tensor(offset: bytes = b"K\0", size: bytes = b"K\2\x85", stride: bytes = b"K\1\x85", end: bytes = b"\x89N",
           storage: bytes = STORAGE) -> bytes:
    return call("torch._utils._rebuild_tensor_v2", b"(" + storage + offset + size + stride + end + b"t")


def ordered_dict(attribute: str) -> bytes:
    """An OrderedDict with an attribute."""
    return call("collections.OrderedDict", b")") + b"}" + string(attribute) + b"Nsb"


# Pieces of programs that are well-formed each, in orders that are not.
VALUES = [b"K\0", b"K\1", b"K\2", b"N", b"X\1\0\0\0a", b"J\xff\xff\xff\xff", b"G?\xf0\0\0\0\0\0\0", b"\x8a\1\xff",
          b"q\0", b"q\1", b"h\0", b"h\1", STORAGE, tensor(), b"\x80\2", b"\x88", b"\x89", b"\x85", b"\x86", b"\x87"]
PIECES = st.sampled_from(VALUES + [bytes([opcode]) for opcode in b"()]}\x8f"])
OPCODES = st.sampled_from([bytes([opcode]) for opcode in b"((tt))]}\x8feaasuRRRbQ\x81"])
NAMES = st.sampled_from([*map(name_of, GLOBALS), b"cos\nsystem\n"])


@given(st.lists(PIECES | OPCODES | NAMES, max_size=25))
def test_random_programs_end_in_a_value_or_an_error(pieces):
    result = outcome(program(b"]K\0" + b"".join(pieces)))
    if not isinstance(result, DAMAGED):
        own_bytes(result)                       # plain through and through, or it could not be saved


@given(st.lists(PIECES | NAMES, max_size=7))
def test_random_calls_end_in_a_value_or_an_error(pieces):
    body = b"(" + b"".join(pieces) + b"t"
    for name in GLOBALS:
        result = outcome(program(call(name, body)))
        if not isinstance(result, DAMAGED):
            own_bytes(result)


# ---- files made to do harm: the files, and what each must end in ------------------------------------------------

def hostile_globals() -> dict:
    names = [
        "os.system", "posix.system", "builtins.eval", "builtins.exec", "builtins.getattr",
        "builtins.__import__", "__builtin__.eval", "subprocess.Popen", "functools.partial",
        "operator.attrgetter", "copyreg._reconstructor", "types.CodeType", "pickle.loads",
        "numpy.core.multiarray._reconstruct", "torch.load", "torch.hub.load", "torch.nn.modules.linear.Linear",
        "torch.storage._load_from_bytes", "torch._utils._rebuild_tensor_v2.__globals__",
        "collections.OrderedDict.__init__", "minigrad.serialization.load", "minigrad.serialization.atomic_write"]
    files = {name: program(call(name, EXECUTE)) for name in names} | {
        "NEWOBJ": program(b"cos\nsystem\n)\x81"),
        "in the old stream": b"\x80\x02" + call("os.system", EXECUTE) + b".",
        "in the old stream's keys": old_stream(b"N", call("os.system", EXECUTE)),
    }
    return {name: (data, UnpicklingError, r"GLOBAL '.*' was not an allowed global") for name, data in files.items()}


def hostile_opcodes() -> dict:
    bodies = {
        "INST": b"(" + EXECUTE + b"ios\nsystem\n", "OBJ": b"(N" + EXECUTE + b"o",
        "STACK_GLOBAL": b"\x8c\2os\x8c\6system\x93", "EXT1": b"\x82\1", "PERSID": b"Pstorage\n",
        "LONG4": b"\x8b\xff\xff\xff\x7f", "STRING": b"S'a'\n",
        "NEWOBJ of an allowed global": b"ccollections\nOrderedDict\n)\x81", "BINUNICODE8": b"\x8d" + b"\xff" * 8,
        "FRAME": b"\x95" + b"\xff" * 8, "protocol 4": pickle.dumps({"a": 1}, 4)[2:-1],
    }
    files = {name: program(body) for name, body in bodies.items()}
    files |= {"tar": b"data/0".ljust(512, b"\0"), "an empty zip": b"PK\5\6" + b"\0" * 18}
    return {name: (data, UnpicklingError, "Unsupported operand") for name, data in files.items()}


def hostile_programs() -> dict:
    numbers = b"".join(b"M" + struct.pack("<H", i) for i in range(50_000))
    sets = b"](" + numbers + b"eq\0" + name_of("builtins.set") + b"q\1("
    texts = string("a" * 100_000) + b"q\0" + string("latin1") + b"q\1" + name_of("_codecs.encode") + b"q\2("
    alike = [integer(i * (2**61 - 1)) for i in range(100_000)]
    deep = b")" + b"\x85" * 200_000
    bodies = {
        "nothing": (b"", "malformed"), "no memo": (b"h\7", "malformed"), "empty stack": (b"R", "malformed"),
        "no mark": (b"t", "malformed"), "not UTF-8": (b"X\1\0\0\0\xff", "malformed"),
        "BUILD alone": (b"b", "malformed"),
        "endless name": (b"c" + b"a" * 10_000, "name does not end"),
        "terminal codes": (call("\x1b[2J.system", b")"), r"'\\x1b\[2J\.system'"),
        # What may be called, and with what.
        "call a dtype": (b"ctorch\nfloat32\n)R", "not a constructor"),
        "call a tensor": (tensor() + b")R", "not a constructor"),
        "call with a list": (b"ctorch\nSize\n]R", "not a constructor"),
        "call without arguments": (call("torch._utils._rebuild_tensor_v2", b")"), "unexpected arguments"),
        "bytearray of a number": (call("builtins.bytearray", b"J\xff\xff\xff\x7f\x85"), "unexpected arguments"),
        "bytes of a number": (call("builtins.bytes", b"J\xff\xff\xff\x7f\x85"), "unexpected arguments"),
        "Size of strings": (call("torch.Size", string("a") + b"\x85\x85"), "must be of ints"),
        "pairs without keys": (call("collections.OrderedDict", b"]]]]\x86aa\x85"), "not pairs|a key must be"),
        "another encoding": (call("_codecs.encode", string("a") + string("rot13") + b"\x86"), "latin1"),
        "not latin1": (call("_codecs.encode", b"X\3\0\0\0\xe2\x82\xac" + string("latin1") + b"\x86"), "latin-1"),
        "parameter of a list": (call("torch._utils._rebuild_parameter", b"]\x88N\x87"), "unexpected arguments"),
        "another device": (call("torch.device", string("\x1b[2J") + b"\x85"), "not a device"),
        # What may be changed.
        "BUILD on a tensor": (tensor() + b"}" + string("array") + b"Nsb", "Can only build"),
        "BUILD on a list": (b"]}b", "Can only build"),
        "BUILD with slots": (call("collections.OrderedDict", b")") + b"N}\x86b", "Can only build"),
        "BUILD over a method": (ordered_dict("items"), "Can only build"),
        "BUILD of a class": (ordered_dict("__class__"), "Can only build"),
        "append to a dict": (b"}K\1a", "Can only append"), "append to a tuple": (b")(K\1e", "Can only append"),
        "item of a list": (b"]K\1K\1s", "Can only set"), "key without value": (b"}(K\1u", "Can only set"),
        # What may be hashed: nothing deep, and nothing that collides at will.
        "list as key": (b"}]K\1s", "a key must be"), "tensor as key": (b"}" + tensor() + b"K\1s", "a key must be"),
        "deep key": (b"}" + deep + b"K\1s", "a key must be"),
        "deep element": (call("builtins.set", b"]" + deep + b"a\x85"), "set's elements"),
        "colliding keys": (b"}(" + b"".join(key + b"N" for key in alike) + b"u", "the same hash"),
        "colliding keys, one by one": (b"}" + b"".join(key + b"Ns" for key in alike), "the same hash"),
        "colliding pairs": (call("collections.OrderedDict", b"](" + b"N\x86".join(alike) + b"N\x86e\x85"), "same hash"),
        "colliding elements": (call("builtins.set", b"](" + b"".join(alike) + b"e\x85"), "different hashes"),
        # What would be larger than the file.
        "sets over and over": (sets + b"h\1h\0\x85R" * 50_000 + b"t", "more than the file holds"),
        "bytes over and over": (texts + b"h\2h\0h\1\x86R" * 50_000 + b"t", "more than the file holds"),
        # What may be in the result.
        "a constructor": (b"]ctorch._utils\n_rebuild_tensor_v2\na", "bare Constructor"),
        "a storage": (STORAGE + b"\x85", "bare Storage"),
        "a storage type": (ordered_dict("x") + b"}" + string("y") + b"ctorch\nFloatStorage\nsb", "bare StorageType"),
        # Tensors.
        "hooks": (tensor(end=b"\x89}K\1K\1s"), "hooks"), "metadata": (tensor(end=b"\x89N}K\1K\1s"), "metadata"),
        "size of strings": (tensor(size=string("a") + b"\x85"), "do not describe"),
        "size of bools": (tensor(size=b"\x88\x85"), "do not describe"),
        "more strides than sizes": (tensor(stride=b"K\1K\1\x86"), "do not describe"),
        "negative offset": (tensor(offset=b"J\xff\xff\xff\xff"), "do not describe"),
        "negative stride": (tensor(stride=b"J\xff\xff\xff\xff\x85"), "do not describe"),
        "size of 2**63": (tensor(size=integer(2**63) + b"\x85"), "do not describe"),
        "size of 2**40": (tensor(size=integer(2**40) + b"\x85"), "reach beyond"),
        "offset beyond": (tensor(offset=b"K\1"), "reach beyond"),
        "stride beyond": (tensor(stride=b"K\2\x85"), "reach beyond"),
        "2**64 elements": (tensor(size=integer(2**32) * 2 + b"\x86", stride=b"K\0K\0\x86"), "_rebuild_tensor_v2"),
        "100 axes": (tensor(size=b"(" + b"K\1" * 100 + b"t", stride=b"(" + b"K\1" * 100 + b"t"), "_rebuild_tensor_v2"),
        "ints that want gradients": (tensor(end=b"\x88N", storage=STORAGE.replace(b"Float", b"Int")), "floating point"),
        # Storages.
        "storage of -1": (STORAGE.replace(b"K\2", b"J\xff\xff\xff\xff"), "unexpected values"),
        "storage without a type": (STORAGE.replace(b"ctorch\nFloatStorage\n", b"N"), "unexpected values"),
        "storage with two types": (STORAGE + STORAGE.replace(b"Float", b"Int"), "two types"),
        "another persistent id": (string("module") + b"\x85Q", "Only persistent_load of storage"),
        "a number as persistent id": (b"K\1Q", "Only persistent_load of storage"),
    }
    return {name: (program(body), UnpicklingError, fragment) for name, (body, fragment) in bodies.items()} | {
        "string of 4 GiB": (program(b"X\xff\xff\xff\xffa"), EOFError, "ends in the middle"),
        "half an int": (program(b"J\1"), EOFError, "ends in the middle"),
        "storage of 2**60": (program(STORAGE.replace(b"K\2", integer(2**60))), RuntimeError, "are expected"),
        "storage elsewhere": (program(STORAGE.replace(b"X\1\0\0\x000", string("../../0"))), RuntimeError, "no record"),
    }


def hostile_archives() -> dict:
    def entry(at: int, new: bytes) -> bytes:
        """Change a field of data/0 in the central directory."""
        start = OWN.rindex(b"PK\1\2", 0, OWN.rindex(b"archive/data/0")) + at
        return OWN[:start] + new + OWN[start + len(new):]

    bomb = rezip(OWN, zipfile.ZIP_DEFLATED, **{"data/0": b"\0" * 10**8})
    assert len(bomb) < 10**6
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("archive/data.pkl", b"\x80\x02N.")
        file.writestr("archive/data.pkl", b"\x80\x02K\1.")
    files = {
        "deflated": (rezip(OWN, zipfile.ZIP_DEFLATED), "compressed"),
        "bzip2": (rezip(OWN, zipfile.ZIP_BZIP2), "compressed"),
        "zip bomb": (bomb, "compressed"), "zip bomb in a zip": (rezip(OWN, **{"data/0": bomb}), "are expected"),
        "size of 4 GiB": (entry(20, b"\xff" * 8), "overlap"),
        "size of 2 GiB": (entry(20, b"\0\0\0\x80" * 2), "overlap"),
        "size over the next": (entry(20, b"\xff\0\0\0" * 2), "overlap"),
        "two sizes": (entry(24, b"\xff\0\0\0"), "compressed"), "encrypted": (entry(8, b"\1"), "encrypted"),
        "wrong checksum": (entry(16, b"\1\2\3\4"), "checksum"),
        "another's header": (entry(42, b"\0\0\0\0"), "does not match"),
        "header beyond the file": (entry(42, b"\xf0\xff\xff\0"), "central directory"),
        "a name twice": (twice.getvalue(), "twice"),
        "a path upwards": (patched(OWN, b"archive/data/0", b"../../../etc/0"), "top folder"),
        "not UTF-8": (patched(OWN, b"archive/data/0", b"archive/data/\xff"), "central directory"),
        "fewer records than claimed": (OWN[:-14] + b"\xfe\xff\xfe\xff" + OWN[-10:], "claims 65534"),
        "directory of 4 GiB": (OWN[:-10] + b"\xfe\xff\xff\xff" + OWN[-6:], "central directory"),
        "only an end": (b"PK\3\4" + b"PK\5\6" + b"\0" * 12 + b"\4" + b"\0" * 5, "0 records"),
        "something behind": (OWN + b"x", "central directory"),
        "no pickle": (rezip(OWN).replace(b"data.pkl", b"beta.pkl"), "no record 'data.pkl'"),
        "no storage": (rezip(OWN).replace(b"data/0", b"beta/0"), "no record 'data/0'"),
        "TorchScript": (rezip(OWN, **{"constants.pkl": b""}), "TorchScript"),
        "another byte order": (rezip(OWN, byteorder=b"middle"), "endianness"),
        "a bool that is 2": (rezip(OWN, **{"data/1": b"\2\0"}), "bool"),
    }
    return {name: (data, RuntimeError, fragment) for name, (data, fragment) in files.items()}


def old_stream(*bodies: bytes, tail: bytes = b"") -> bytes:
    """torch's older format: its first three pickles, then these, then `tail`."""
    head = OLD[:OLD.index(b".", OLD.index(b"type_sizes")) + 1]
    return head + b"".join(b"\x80\x02" + body + b"." for body in bodies) + tail


def hostile_streams() -> dict:
    def storage(numel: bytes = b"K\2", view: bytes = b"N") -> bytes:
        return tensor(storage=STORAGE.replace(b"K\2t", numel + view + b"t"))

    keys, tail = b"]" + string("0") + b"a", struct.pack("<q", 2) + np.float32([1, 2]).tobytes()
    assert outcome(old_stream(storage(), keys, tail=tail)).array.tolist() == [1, 2]
    return {
        "empty": (b"", EOFError, "empty"),
        "another pickle": (b"\x80\x02K\1.", RuntimeError, "Invalid magic number"),
        "another version": (patched(OLD, b"M\xe9\3", b"M\xe8\3"), RuntimeError, "Invalid protocol version: 1000"),
        "no byte order": (patched(OLD, b"little_endian", b"middle_endian"), RuntimeError, "byte order"),
        "storage of 2**40": (old_stream(storage(numel=integer(2**40)), keys, tail=tail), RuntimeError, "larger than"),
        "view": (old_stream(storage(view=b"K\0K\0K\0\x87"), keys, tail=tail), UnpicklingError, "before version 0.4"),
        "no storages": (old_stream(storage()), EOFError, "ends in the middle"),
        "no keys": (old_stream(storage(), b"]", tail=tail), RuntimeError, "names of the storages"),
        "key twice": (old_stream(storage(), keys + string("0") + b"a", tail=tail * 2), RuntimeError, "names of the"),
        "other keys": (old_stream(storage(), b"](K\1NNe", tail=tail), RuntimeError, "names of the storages"),
        "another length": (old_stream(storage(), keys, tail=b"\3" + tail[1:]), RuntimeError, "are expected"),
        "half a storage": (old_stream(storage(), keys, tail=tail[:-1]), EOFError, "truncated"),
    }


def hostile_safetensors() -> dict:
    def a(begin=0, end=8, dtype="F32", shape=(2,), **more) -> dict:
        return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]} | more

    def file(header: object, data: bytes = b"\0" * 8, length: int | None = None) -> bytes:
        text = (header if isinstance(header, str) else json.dumps(header)).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    assert list(outcome(file({"a": a()}), load_safetensors)) == ["a"]
    one = json.dumps(a())
    headers = {
        "not JSON": ("{", "Expecting"), "a list": ("[]", "not an object"), "a number": ("1", "not an object"),
        "a name twice": (f'{{"a":{one},"a":{one}}}', "appears twice"),
        "a field twice": (f'{{"a":{one[:-1]},"dtype":"F32"}}}}', "appears twice"),
        "deep": ('{"a":' * 50_000, "recursion|Expecting"), "deep list": ("[" * 500_000, "recursion|overflow"),
        "a long number": ("9" * 5000, "digits"),
        "metadata of numbers": ({"__metadata__": {"a": 1}, "a": a()}, "strings only"),
        "metadata as a list": ({"__metadata__": [], "a": a()}, "strings only"),
        "float8": ({"a": a(dtype="F8_E4M3", shape=(8,))}, "'F8_E4M3', and minigrad has only"),
        "dtype in a list": ({"a": a(dtype=["F32"])}, "dtype"), "no fields": ({"a": {}}, "not described"),
        "another field": ({"a": a(x=1)}, "not described"), "not fields": ({"a": 1}, "not described"),
        "float shape": ({"a": a(shape=(2.0,))}, "shape"), "bool shape": ({"a": a(shape=(True, 2))}, "shape"),
        "negative shape": ({"a": a(shape=(-1, -2))}, "shape"), "huge shape": ({"a": a(shape=(2**64,))}, "shape"),
        "100 axes": ({"a": a(shape=(1,) * 98 + (2,))}, "shape"), "other shape": ({"a": a(shape=(3,))}, "does not fill"),
        "shape that wraps": ({"a": a(shape=(2**61, 2**61, 2))}, "does not fill"),
        "negative offset": ({"a": a(-8, 0)}, "data_offsets"), "reversed": ({"a": a(8, 0)}, "does not fill"),
        "three offsets": ({"a": a(data_offsets=[0, 8, 8])}, "data_offsets"),
        "2 TiB": ({"a": a(0, 2**41, shape=(2**39,))}, "and the file at"), "no tensor": ({}, "and the file at"),
        "gap before": ({"a": a(4, 8, shape=(1,))}, "begins at"),
        "gap behind": ({"a": a(0, 4, shape=(1,))}, "the file at"),
        "gap between": ({"a": a(0, 2, "F16", (1,)), "b": a(4, 8, shape=(1,))}, "begins at"),
        "overlap": ({"a": a(), "b": a(4, 8, shape=(1,))}, "begins at"),
        "same place": ({"a": a(), "b": a()}, "begins at"),
        "terminal codes": ({"\x1b[2J": 1}, r"'\\x1b\[2J'"), "a long name": ({"a" * 10**6: 1}, "not described"),
    }
    return {name: (file(header), RuntimeError, fragment) for name, (header, fragment) in headers.items()} | {
        "header of 2**63": (file({}, length=2**63), RuntimeError, "the most is"),
        "header beyond the file": (file({}, length=10**6), EOFError, "truncated"),
        "header cut short": (file({"a": a()}, length=20), RuntimeError, "invalid safetensors header"),
        "not UTF-8": (struct.pack("<Q", 3) + b"{\xff}", RuntimeError, "invalid safetensors header"),
        "no header": (b"\0" * 8, RuntimeError, "invalid safetensors header"),
        "empty": (b"", EOFError, "truncated"), "half a length": (b"\0" * 4, EOFError, "truncated"),
        "a bool that is 2": (file({"a": a(dtype="BOOL", shape=(8,))}, b"\2" * 8), RuntimeError, "bool"),
    }


# Loads every file in a folder, in a process that may use 10 seconds and 1 GiB more than it has, and that dies of
# anything that a loader has no business to do.
JAIL = """
    import json, os, resource, sys
    import minigrad.autograd
    from minigrad.serialization import load

    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))

    folder, outcomes = sys.argv[1], {}
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]

    def guard(event, arguments):
        family = event.partition(".")[0]
        if (family in ("exec", "compile", "subprocess", "socket", "ctypes", "shutil", "marshal", "pickle", "code")
                or event in ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "os.rename", "os.chmod")
                or event == "open" and arguments[0] != path):
            os.write(2, f"{path}: {event} {arguments}".encode())
            os._exit(3)

    path = paths[0]
    load_first = lambda: load(path)
    try:
        load_first()             # whatever is imported late, is imported now
    except Exception:
        pass
    sys.addaudithook(guard)
    for path in paths:
        try:
            outcomes[os.path.basename(path)] = "", repr(type(load(path)))
        except BaseException as error:
            outcomes[os.path.basename(path)] = type(error).__name__, str(error)
    print(json.dumps(outcomes))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limits and /proc are Linux's")
@pytest.mark.parametrize("kind", [hostile_globals, hostile_opcodes, hostile_programs, hostile_archives, hostile_streams,
                                  hostile_safetensors])
def test_hostile_files(tmp_path, kind):
    suffix = ".safetensors" if kind is hostile_safetensors else ".pth"
    cases = {f"{i:02}{suffix}": (name, *case) for i, (name, case) in enumerate(kind().items())}
    for file, (_, data, _, _) in cases.items():
        (tmp_path / file).write_bytes(data)
    root = os.path.dirname(os.path.dirname(__file__))
    jail = subprocess.run([sys.executable, "-c", textwrap.dedent(JAIL), str(tmp_path)], capture_output=True, text=True,
                          timeout=60, cwd=tmp_path, env=os.environ | {"PYTHONPATH": root, "OPENBLAS_NUM_THREADS": "1"})
    assert jail.returncode == 0, jail.stderr
    assert set(os.listdir(tmp_path)) == set(cases)
    outcomes = json.loads(jail.stdout)
    for file, (name, _, error, fragment) in cases.items():
        got, message = outcomes[file]
        assert got == error.__name__ and re.search(fragment, message), (name, got, message)
        assert message.startswith(f"{tmp_path / file}: "), message
        assert message.isprintable() and len(message) < 600, (name, message)         # one line, and no control codes


def test_pickles_of_odd_form_that_do_no_harm():
    assert outcome(program(b"K\1r\xff\xff\xff\xff")) == 1                       # the last place in the memo
    assert outcome(program(call("torch.Size", b"K\1K\2\x86\x85"))) == Size((1, 2))
    assert outcome(program(tensor(size=integer(2**40) + b"\x85", stride=b"K\0\x85"))).array.shape == (2**40,)
    deep = outcome(program(b"(" * 100_000 + b"t" * 100_000))
    for _ in range(99_999):
        deep, = deep
    assert deep == ()
