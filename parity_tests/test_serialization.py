"""Checkpoints against torch and the safetensors package, in both directions."""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
import struct
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pickle import UnpicklingError

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from minigrad import dtypes
from minigrad.autograd import Variable, new_tensor
from minigrad.serialization import (
    archive,
    atomic_write,
    load,
    load_json,
    load_metadata,
    load_safetensors,
    save,
    save_json,
    save_safetensors,
)

DTYPES = [getattr(torch, d.name) for d in dtypes.ALL]
DEVICES = [torch.device("cpu"), torch.device("cuda", 1)]


# ---- what torch can save, and what is the same -----------------------------------------------------------------

SCALARS = (st.none() | st.booleans() | st.integers() | st.integers(-2**600, 2**600) | st.floats() | st.text(max_size=8)
           | st.binary(max_size=8) | st.complex_numbers())
KEYS = (st.text(max_size=8) | st.integers(-2**63, 2**63) | st.booleans() | st.floats(allow_nan=False)
        | st.binary(max_size=4))
FLAT_KEYS = KEYS | st.tuples(KEYS, KEYS)


@st.composite
def torch_storages(draw) -> list[torch.Tensor]:
    """A few flat tensors, as the memory that the tensors of an object are windows of."""
    def flat(dtype: torch.dtype, numel: int, seed: int) -> torch.Tensor:
        raw = np.random.default_rng(seed).integers(0, 256, numel * dtype.itemsize, dtype=np.uint8)
        return torch.from_numpy(raw % 2 if dtype is torch.bool else raw).view(dtype)
    return draw(st.lists(st.builds(flat, st.sampled_from(DTYPES), st.integers(1, 30), st.integers(0, 99)),
                         min_size=1, max_size=3))


@st.composite
def torch_objects(draw):
    """Nested containers of values and of tensors that share storages, objects that appear twice included."""
    pool = draw(torch_storages())

    @st.composite
    def windows(draw) -> torch.Tensor:
        flat = draw(st.sampled_from(pool))
        dims = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=3))
        size, stride = [n for n, _ in dims], [s for _, s in dims]
        reach = sum((n - 1) * s for n, s in dims) if 0 not in size else -1
        assume(reach < flat.numel())
        offset = draw(st.integers(0, flat.numel() - reach - 1))
        t = flat.as_strided(size, stride, offset)
        kind = draw(st.sampled_from(["tensor", "leaf", "parameter", "frozen"])) if t.is_floating_point() else "tensor"
        if kind == "leaf":
            return t.detach().requires_grad_()
        return t if kind == "tensor" else torch.nn.Parameter(t, requires_grad=kind == "parameter")

    tensors = draw(st.lists(windows(), max_size=4))
    leaves = SCALARS | st.builds(bytearray, st.binary(max_size=4)) | st.sampled_from([*DTYPES, *DEVICES])
    leaves |= st.builds(torch.Size, st.lists(st.integers(0, 5), max_size=3))
    leaves |= st.sets(FLAT_KEYS, max_size=3) | st.builds(Counter, st.text(max_size=5))
    if tensors:
        leaves |= st.sampled_from(tensors)
    return draw(st.recursive(leaves, lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(FLAT_KEYS, inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4).map(OrderedDict)
        | inner.map(lambda x: [x, x])), max_leaves=12))


def values(t) -> np.ndarray:
    """A tensor of either engine as an array; bfloat16 as the float32 that it is part of."""
    if isinstance(t, Variable):
        return t.array
    return (t.float() if t.dtype is torch.bfloat16 else t).detach().numpy()


def assert_same(mine, theirs, strided: bool = True) -> None:
    if isinstance(theirs, torch.Tensor):
        assert isinstance(mine, (Variable, torch.Tensor))
        a, b = values(mine), values(theirs)
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        assert mine.requires_grad == theirs.requires_grad
        assert type(mine).__name__ == type(theirs).__name__        # Tensor, or Parameter
        if strided and a.size:
            strides = a.strides if isinstance(mine, Variable) else tuple(s * a.itemsize for s in mine.stride())
            assert strides == tuple(s * a.itemsize for s in theirs.stride())
    elif isinstance(theirs, torch.Size):
        assert type(mine).__name__ == "Size" and tuple(mine) == tuple(theirs)
    elif isinstance(theirs, (torch.dtype, torch.device)):
        assert repr(mine) == repr(theirs)
    elif isinstance(theirs, dict):
        assert type(mine) is type(theirs) and [*map(repr, mine)] == [*map(repr, theirs)]
        for key in theirs:
            assert_same(mine[key], theirs[key], strided)
    elif isinstance(theirs, (list, tuple)):
        assert type(mine) is type(theirs) and len(mine) == len(theirs)
        for a, b in zip(mine, theirs):
            assert_same(a, b, strided)
    elif isinstance(theirs, set):
        assert type(mine) is set and mine == theirs
    else:
        assert type(mine) is type(theirs) and repr(mine) == repr(theirs)


def tensors_in(x) -> list:
    if isinstance(x, (torch.Tensor, Variable)):
        return [x]
    inner = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else ()
    return [t for y in inner for t in tensors_in(y)]


def sharing(x) -> list[tuple[int, int]]:
    """For each non-empty tensor in an object: which is the first that is the same object, or has the same memory."""
    tensors = [t for t in tensors_in(x) if values(t).size]

    def memory(t):
        if isinstance(t, torch.Tensor):
            return t.untyped_storage().data_ptr()
        root = t.array
        while isinstance(root.base, np.ndarray):
            root = root.base
        return root.ctypes.data
    addresses = [memory(t) for t in tensors]
    return [(next(i for i, other in enumerate(tensors) if other is t), addresses.index(memory(t))) for t in tensors]


def torch_bytes(obj, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(obj, buffer, **options)
    return buffer.getvalue()


def own_bytes(obj) -> bytes:
    buffer = io.BytesIO()
    save(obj, buffer)
    return buffer.getvalue()


def rezip(data: bytes, compression: int = zipfile.ZIP_STORED, **changed: bytes) -> bytes:
    """An archive again with right checksums, after some of its records were changed."""
    records = {}
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        for info in old.infolist():
            start = info.header_offset
            name_length, extra_length = struct.unpack_from("<2H", data, start + 26)
            at = start + 30 + name_length + extra_length
            records[info.filename.partition("/")[2]] = data[at:at + info.file_size]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as new:
        for name, content in (records | changed).items():
            new.writestr("archive/" + name, content)
    return buffer.getvalue()


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data and len(old) == len(new)
    return data.replace(old, new)


def saved_by_torch(obj, new_format: bool = True) -> bytes:
    try:
        return torch_bytes(obj, _use_new_zipfile_serialization=new_format)
    except RuntimeError as error:                # one memory, two dtypes: checked in a test of its own
        assert "different types" in str(error)
        assume(False)


# ---- both ways --------------------------------------------------------------------------------------------------

@given(torch_objects(), st.booleans())
def test_reads_what_torch_writes(obj, new_format):
    loaded = load(io.BytesIO(saved_by_torch(obj, new_format)))
    assert_same(loaded, obj)
    assert sharing(loaded) == sharing(obj)


@given(torch_objects())
def test_torch_reads_what_minigrad_writes(obj):
    mine = load(io.BytesIO(saved_by_torch(obj)))
    data = own_bytes(mine)
    theirs = torch.load(io.BytesIO(data), weights_only=True)
    assert_same(mine, theirs)
    assert sharing(theirs) == sharing(mine)
    again = load(io.BytesIO(data))
    assert_same(again, theirs)
    assert sharing(again) == sharing(mine)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None


@given(st.sampled_from(["float32", "int64", "uint8", "bool"]), st.lists(st.integers(1, 4), min_size=1, max_size=3),
       st.data())
def test_saves_whatever_view_numpy_can_make(name, shape, data):
    """Reversed and transposed arrays, slices with steps, broadcast ones, and views with an unaligned base."""
    base = np.arange(np.prod(shape)).astype(name).reshape(shape)
    view = base.transpose(data.draw(st.permutations(range(base.ndim))))
    view = view[tuple(slice(None, None, data.draw(st.sampled_from([1, 2, -1, -2]))) for _ in shape)]
    if data.draw(st.booleans()):
        view = np.broadcast_to(view, (2, *view.shape))
    copies = np.asfortranarray(view), np.frombuffer(b"." + view.tobytes(), view.dtype, offset=1)
    arrays = [view, base, *copies, base[..., 0]]
    loaded = torch.load(io.BytesIO(own_bytes([new_tensor(a) for a in arrays])), weights_only=True)
    for a, t in zip(arrays, loaded):
        assert values(t).dtype == a.dtype and values(t).tobytes() == a.tobytes() and t.shape == a.shape


def test_every_storage_begins_at_a_multiple_of_64():
    data = own_bytes([new_tensor(np.arange(n, dtype=np.float32)) for n in range(5)])
    assert load(io.BytesIO(data))[4].array.tolist() == [0, 1, 2, 3]
    source = io.BytesIO(data)
    for name in zipfile.ZipFile(source).namelist():
        offset = torch._C.PyTorchFileReader(io.BytesIO(data)).get_record_offset(name.partition("/")[2])
        assert offset % 64 == 0, name


def test_archives_beyond_32_bits(monkeypatch):
    """The 64-bit fields, used from the first byte on instead of from the four thousand millionth."""
    obj = {"w": new_tensor(np.arange(5.0)), "n": 3}
    monkeypatch.setattr(archive, "ZIP64_FROM", 1)
    data = own_bytes(obj)
    monkeypatch.undo()
    assert data.count(b"\1\0\x10\0") >= 3 and b"PK\6\6" in data
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    for loaded in (load(io.BytesIO(data)), torch.load(io.BytesIO(data), weights_only=True)):
        assert values(loaded["w"]).tolist() == [0, 1, 2, 3, 4] and loaded["n"] == 3


def test_state_dicts_of_a_module_and_its_optimizer():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(module.parameters(), lr=torch.tensor(0.01), amsgrad=True)
    module(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    checkpoint = {"model": module.state_dict(), "optimizer": optimizer.state_dict(), "step": 1}
    mine = load(io.BytesIO(torch_bytes(checkpoint)))
    assert_same(mine, checkpoint)
    assert mine["model"]._metadata == module.state_dict()._metadata

    theirs = torch.load(io.BytesIO(own_bytes(mine)), weights_only=True)
    assert_same(theirs, checkpoint)
    assert theirs["model"]._metadata == module.state_dict()._metadata
    optimizer.load_state_dict(theirs["optimizer"])
    module.load_state_dict(theirs["model"])


def test_tied_weights_stay_tied(tmp_path):
    """The readable example: a weight under two names, and a slice of it."""
    weight = new_tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    save({"wte": weight, "lm_head": weight, "row": new_tensor(weight.array[1])}, tmp_path / "model.pth")
    loaded = load(tmp_path / "model.pth")
    assert loaded["wte"] is loaded["lm_head"]
    loaded["wte"].array[1] = 7
    assert loaded["row"].array.tolist() == [7, 7, 7]


def test_cycles_and_deep_nesting():
    loop = {"a": []}
    loop["a"].append(loop)
    for data in (torch_bytes(loop), own_bytes(loop)):
        loaded = load(io.BytesIO(data))
        assert loaded["a"][0] is loaded
    deep = 0
    for _ in range(20_000):
        deep = [deep]
    loaded = load(io.BytesIO(own_bytes(deep)))
    for _ in range(20_000):
        loaded, = loaded
    assert loaded == 0
    inside = []
    outside = (inside,)
    inside.append(outside)
    with pytest.raises(ValueError, match=r"obj\[0\]\[0\] is a tuple that contains itself"):
        own_bytes(outside)


def test_bfloat16_widens_exactly():
    bits = torch.arange(2**16).to(torch.uint16).view(torch.bfloat16)        # all of them, NaNs included
    for new_format in (True, False):
        data = torch_bytes({"w": bits}, _use_new_zipfile_serialization=new_format)
        assert load(io.BytesIO(data))["w"].array.view(np.uint32).tolist() == [n << 16 for n in range(2**16)]
    with pytest.raises(UnpicklingError, match=r"torch\.uint16|_rebuild_tensor_v3"):
        load(io.BytesIO(torch_bytes(bits.view(torch.uint16))))


def test_big_endian_files():
    for new_format in (True, False):
        data = torch_bytes(torch.tensor([1.0, -2.5]), _use_new_zipfile_serialization=new_format)
        data = data.replace(np.float32([1, -2.5]).tobytes(), np.array([1, -2.5], ">f4").tobytes())
        if new_format:
            data = rezip(data, byteorder=b"big")
        else:
            data = patched(data, b"little_endianq\x02\x88", b"little_endianq\x02\x89")
        assert load(io.BytesIO(data)).array.tolist() == [1, -2.5]


# ---- options, as in torch --------------------------------------------------------------------------------------

def test_files_paths_and_positions(tmp_path):
    obj = {"w": new_tensor(np.arange(3))}
    path = tmp_path / "w.pth"
    save(obj, str(path))
    with open(path, "rb") as file, open(path, "rb", buffering=0) as raw:
        behind = io.BytesIO(b"ahead" + path.read_bytes())
        behind.seek(5)
        for f in (path, str(path), file, raw, behind):
            assert load(f)["w"].array.tolist() == [0, 1, 2]
    with open(path, "wb", buffering=0) as raw:
        save(obj, raw)
    assert torch.load(path)["w"].tolist() == [0, 1, 2]

    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.pth")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    for not_a_file in (3, None):
        for engine in (torch, sys.modules["minigrad.serialization"]):
            with pytest.raises(AttributeError):
                engine.load(not_a_file)
            with pytest.raises(AttributeError):
                engine.save({}, not_a_file)


def test_mmap(tmp_path):
    """Mapped tensors are lazy and writable, and the file never changes."""
    obj = {"w": new_tensor(np.arange(1000, dtype=np.float32)), "b": new_tensor(np.ones(3, bool))}
    for name in ("m.pth", "m.safetensors"):
        save(obj, tmp_path / name)
        before = (tmp_path / name).read_bytes()
        loaded = load(tmp_path / name, mmap=True)
        assert not loaded["w"].array.flags.owndata and loaded["w"].array.flags.aligned
        assert loaded["w"].array.tolist() == list(range(1000)) and loaded["b"].array.all()
        loaded["w"].array[:] = 0
        assert (tmp_path / name).read_bytes() == before
        save(loaded, tmp_path / "again.pth")                     # a mapped storage is saved alone, not its whole file
        assert (tmp_path / "again.pth").stat().st_size < 7000
    for engine in (torch.load, load):
        with pytest.raises(ValueError, match="f must be a file path in order to use the mmap argument"):
            engine(io.BytesIO((tmp_path / "m.pth").read_bytes()), mmap=True)
        (tmp_path / "old.pth").write_bytes(torch_bytes(torch.ones(2), _use_new_zipfile_serialization=False))
        with pytest.raises(RuntimeError, match="mmap can only be used with files saved with"):
            engine(tmp_path / "old.pth", mmap=True)


@pytest.mark.parametrize("new_format", [True, False])
def test_map_location(new_format):
    data = torch_bytes(torch.ones(2), _use_new_zipfile_serialization=new_format)
    for where in (None, "cpu", torch.device("cpu"), {"cuda:0": "cpu"}, lambda storage, location: storage,
                  lambda storage, location: None):
        assert load(io.BytesIO(data), where).array.tolist() == [1, 1]
    for where in ("cuda", {"cpu": "cuda:1"}):
        for engine in (torch.load, load):
            with pytest.raises(RuntimeError, match="Attempting to deserialize object on"):
                engine(io.BytesIO(data), map_location=where)
    from_gpu = data.replace(b"X\3\0\0\0cpu", b"X\3\0\0\0mps")
    from_gpu = rezip(from_gpu) if new_format else from_gpu
    for engine in (torch.load, load):
        with pytest.raises(RuntimeError, match="map_location='cpu'" if engine is load else None):
            engine(io.BytesIO(from_gpu))
        assert values(engine(io.BytesIO(from_gpu), map_location="cpu")).tolist() == [1, 1]


def test_load_is_restricted_whatever_is_asked():
    data = torch_bytes(defaultdict(int))
    for options in ({}, {"weights_only": False}):
        with pytest.raises(UnpicklingError, match=r"GLOBAL 'collections.defaultdict' was not an allowed global"):
            load(io.BytesIO(data), **options)
    with pytest.raises(UnpicklingError):
        torch.load(io.BytesIO(data))
    for engine in (torch.load, load):
        with pytest.raises(RuntimeError, match="Can not safely load weights when explicit pickle_module is specified"):
            engine(io.BytesIO(data), pickle_module=pickle, weights_only=True)
    for options in ({"pickle_protocol": 4}, {"pickle_module": json}, {"_use_new_zipfile_serialization": False}):
        with pytest.raises(ValueError, match="pickle protocol 2"):
            save({}, io.BytesIO(), **options)


def test_files_without_checksums():
    torch.serialization.set_crc32_options(False)
    try:
        data = torch_bytes({"w": torch.arange(3)})
    finally:
        torch.serialization.set_crc32_options(True)
    assert load(io.BytesIO(data))["w"].array.tolist() == [0, 1, 2]


# ---- what is refused on the way out -----------------------------------------------------------------------------

class Model:
    pass


@pytest.mark.parametrize("x, hint", [
    (np.float64(1), "item"), (np.zeros(2), "from_numpy"), (frozenset([1]), "set"), (defaultdict(int), "dict"),
    (range(3), "list"), (Model(), "leave it out"), (len, "leave it out"), (Ellipsis, "leave it out")])
def test_save_names_what_it_refuses_and_where(tmp_path, x, hint):
    path = tmp_path / "m.pth"
    path.write_bytes(b"old")
    with pytest.raises(TypeError, match=rf"cannot save obj\['model'\]\[3\] of type .*{type(x).__name__}: .*{hint}"):
        save({"model": [0, 1, 2, x]}, path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["m.pth"]


def test_save_refuses_keys_and_ints_that_torch_would_not_read():
    with pytest.raises(TypeError, match=r"obj\['a'\] has a key of type frozenset"):
        own_bytes({"a": {frozenset(): 1}})
    with pytest.raises(TypeError, match=r"obj\[0\] is a set of"):
        own_bytes([{frozenset()}])
    with pytest.raises(OverflowError, match=r"obj\[1\] is an int of 291 bytes"):
        own_bytes([0, 10**700])
    flat = np.zeros(4, np.float32)
    both = [flat, flat.view(np.int32)]
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        torch_bytes([torch.from_numpy(flat), torch.from_numpy(flat).view(torch.int32)])
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        own_bytes([new_tensor(a) for a in both])


# ---- atomic writing ---------------------------------------------------------------------------------------------

def test_atomic_write_replaces_in_one_step(tmp_path):
    path = tmp_path / "state.json"
    with atomic_write(path) as file:
        file.write(b"old")
        assert not path.exists()
    os.chmod(path, 0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    with atomic_write(link, "w") as file:
        file.write("né\n")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == "né\n".encode() and link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link", "state.json"]
    with pytest.raises(ValueError, match="mode"), atomic_write(path, "ab"):
        pass
    with atomic_write(os.devnull) as file:
        file.write(b"gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.parametrize("writer", [
    lambda path: save({"w": new_tensor(np.zeros(10))}, path),
    lambda path: save_safetensors({"w": new_tensor(np.zeros(10))}, path),
    lambda path: save_json({"step": 1}, path)])
@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, writer, failing):
    def full(*args):
        raise OSError(28, "No space left on device")
    path = tmp_path / "checkpoint"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space left"):
        writer(path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["checkpoint"]


# ---- safetensors ------------------------------------------------------------------------------------------------

TENSORS = st.dictionaries(st.text(max_size=8).filter(lambda name: name != "__metadata__"), st.builds(
    lambda dtype, shape: torch.from_numpy(np.random.default_rng(0).integers(0, 2, shape)).to(dtype),
    st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3)), max_size=5)
METADATA = st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)


@given(TENSORS, METADATA)
def test_safetensors_both_ways(tensors, metadata):
    assume(tensors or metadata != {})           # of these the package makes a file that it cannot read
    data = safetensors.torch.save(tensors, metadata)
    loaded = load_safetensors(io.BytesIO(data))
    assert_same(dict(sorted(loaded.items())), dict(sorted(tensors.items())))
    assert load_metadata(io.BytesIO(data)) == (metadata or {})

    buffer = io.BytesIO()
    save_safetensors(loaded, buffer, metadata)
    again = safetensors.torch.load(buffer.getvalue())
    assert_same(dict(sorted(loaded.items())), dict(sorted(again.items())))
    buffer.seek(0)
    assert load_metadata(buffer) == (metadata or {})


def test_safetensors_are_written_as_the_package_writes_them(tmp_path):
    arrays = {"b": np.arange(3, dtype=np.int8), "a": np.ones((2, 2)), "c": np.float32([1, 2])}
    save({name: new_tensor(a) for name, a in arrays.items()}, tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == safetensors.numpy.save(arrays)
    assert load(tmp_path / "m.safetensors")["b"].array.tolist() == [0, 1, 2]


def test_safetensors_refuses_what_it_cannot_keep():
    w = np.arange(12.0).reshape(3, 4)
    for views in ({"a": w, "b": w}, {"a": w, "b": w[1]}, {"a": w[0], "b": np.ones(2), "c": w.T}):
        with pytest.raises(RuntimeError, match="share memory"):
            save_safetensors({name: new_tensor(a) for name, a in views.items()}, io.BytesIO())
    columns = {"q": new_tensor(w[:, :2]), "k": new_tensor(w[:, 2:])}
    buffer = io.BytesIO()
    save_safetensors(columns, buffer)
    buffer.seek(0)
    assert load_safetensors(buffer)["k"].array.tolist() == w[:, 2:].tolist()
    for wrong in ([], {"a": 1}, {3: new_tensor(w)}, {"__metadata__": new_tensor(w)}, {"a": w}):
        with pytest.raises(TypeError, match=r"safetensors|name"):
            save_safetensors(wrong, io.BytesIO())
    with pytest.raises(TypeError, match="metadata must map str to str"):
        save_safetensors({}, io.BytesIO(), {"step": 1})


# ---- JSON -------------------------------------------------------------------------------------------------------

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(st.none() | st.booleans() | NUMBERS | st.text(),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


@given(JSON)
def test_json_is_exact(obj):
    buffer = io.BytesIO()
    save_json(obj, buffer)
    buffer.seek(0)
    loaded = load_json(buffer)
    assert repr(loaded) == repr(obj)


def test_json_refuses_what_it_would_change(tmp_path):
    for obj in ({"betas": (0.9, 0.95)}, {1: "a"}, [float("nan")], [float("inf")]):
        with pytest.raises(ValueError):
            save_json(obj, io.BytesIO())
    for text in ('{"a": 1, "a": 2}', "[NaN]", "[1", "", "[" * 100_000, "9" * 10_000):
        (tmp_path / "s.json").write_text(text)
        with pytest.raises(RuntimeError, match=r"s\.json: not valid JSON") as error:
            load_json(tmp_path / "s.json")
        assert type(error.value) is RuntimeError and "\n" not in str(error.value)
