"""safetensors and .pth files, as tensors that are read when they are asked for. No code runs."""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np

from gpt.weights import bundle
from gpt.weights.stored import CheckpointError, Stored, mapped
from minigrad.serialization import load, load_json
from minigrad.serialization.archive import MAGIC, Reader
from minigrad.serialization.files import Source
from minigrad.serialization.safetensors import read_header
from minigrad.serialization.storages import Storage
from minigrad.serialization.unpickler import Unpickler

INDEX = ".index.json"
WEIGHTS = ("model.safetensors", f"model.safetensors{INDEX}", "pytorch_model.bin", f"pytorch_model.bin{INDEX}",
           "model.pth", "model.pt")               # in a folder, the first that is there
WRAPPERS = ("model_state_dict", "state_dict", "model")      # the keys under which training scripts put weights
PIECE = 1 << 24


def weights_file(path: Path) -> Path | None:
    """The file that holds a folder's weights, or the index of those that do; None where there is none."""
    if path.is_file():
        return path
    found = (path / name for name in WEIGHTS if (path / name).is_file())
    return next(found, None) or bundle.index_file(path)


def shards(index: Path) -> dict[str, str]:
    """Which file beside the index holds which tensor."""
    values = load_json(index)
    weight_map = values.get("weight_map") if type(values) is dict else None
    if type(weight_map) is not dict or not weight_map or not all(type(name) is str for name in weight_map.values()):
        raise RuntimeError(f"{index}: there is no 'weight_map' from tensors to files in it")
    for name in set(weight_map.values()):
        if Path(name).name != name or name in ("", ".", ".."):
            raise RuntimeError(f"{index}: {name!a} is not the name of a file beside it")
    return weight_map


@contextlib.contextmanager
def open_weights(path: Path) -> Iterator[dict[str, Stored]]:
    """The tensors at `path`, a folder or a file, by the names that they have there. They are read inside `with`."""
    file = weights_file(path)
    if file is None:
        if not path.exists():
            raise FileNotFoundError(f"there is no file or folder {str(path)!r}")
        raise FileNotFoundError(f"no weights in {str(path)!r}: expected one of {', '.join(WEIGHTS)}, or "
                                "checkpoint with model.ckpt.index")
    with contextlib.ExitStack() as files:
        try:
            tensors = _open(file, files)
        except (RuntimeError, UnpicklingError, EOFError) as error:
            message = str(error)
            raise CheckpointError(message if str(file.parent) in message else f"{file}: {message}") from None
        yield tensors


def _open(file: Path, files: contextlib.ExitStack) -> dict[str, Stored]:
    if file.name.endswith(INDEX):
        return _sharded(file, files)
    if file.name.endswith(bundle.INDEX):
        return bundle.open_bundle(file, files)
    opened = files.enter_context(file.open("rb"))
    if file.suffix == ".safetensors":
        entries, _ = read_header(Source(opened))
        return {name: Stored(entry.shape, entry.dtype.name, partial(mapped, opened, entry.begin, entry.dtype.name,
                                                                    entry.shape))
                for name, entry in entries.items()}
    if opened.read(len(MAGIC)) == MAGIC:
        return _archive(opened)
    opened.seek(0)
    return flatten(load(opened, map_location="cpu"))       # torch's format before 1.6 is read as a whole


def _sharded(index: Path, files: contextlib.ExitStack) -> dict[str, Stored]:
    weight_map = shards(index)
    absent = [name for name in sorted(set(weight_map.values())) if not (index.parent / name).is_file()]
    if absent:
        raise RuntimeError(f"{index} names {len(absent)} file(s) that are not beside it: {', '.join(absent[:8])}")
    tensors = {}
    for shard in sorted(set(weight_map.values())):
        try:
            held = _open(index.parent / shard, files)
        except (RuntimeError, UnpicklingError, EOFError) as error:
            raise CheckpointError(f"{index.parent / shard}: {error}") from None
        if (listed := {name for name, where in weight_map.items() if where == shard}) != set(held):
            odd = sorted(listed ^ set(held))
            raise CheckpointError(f"{index} and {shard} disagree on {len(odd)} tensor(s): {', '.join(odd[:8])}")
        tensors |= held
    return tensors


def _archive(file: Any) -> dict[str, Stored]:
    """A .pth file. The pickle is run with memory in the storages' place that nobody touches, and so takes none: where
    in it a tensor lies, the tensor lies in the file."""
    file.seek(0)
    reader = Reader(Source(file))
    if "constants.pkl" in reader:
        raise RuntimeError("a TorchScript archive: load it with torch.jit.load and save its state_dict()")
    if "byteorder" in reader and reader.read("byteorder") != b"little":
        raise RuntimeError("saved on a big-endian machine: load it with minigrad.load, and save it again")
    found: dict[str, Storage] = {}
    names: dict[int, str] = {}

    def storage(d: Any, key: str, location: str, numel: int) -> Storage:
        if key not in found:
            record = reader.records.get(f"data/{key}")
            if record is None or record.size != numel * d.itemsize:
                raise RuntimeError(f"storage {key!a} is missing, or not of {numel} elements: the file is damaged")
            _verify(reader, file, f"data/{key}")
            found[key] = Storage(d, np.empty(numel, d.numpy or np.uint16))
            names[id(found[key].array)] = key
        if found[key].dtype is not d or found[key].array.size != numel:
            raise RuntimeError(f"storage {key!a} is used with two types or lengths: the file is damaged")
        return found[key]

    def stored(array: np.ndarray) -> Stored:
        if not array.size:
            return Stored(array.shape, "bfloat16" if array.dtype == np.uint16 else array.dtype.name, lambda: array)
        d, whole = found[names[id(array.base)]]
        offset = array.ctypes.data - whole.ctypes.data
        strides, shape = array.strides, array.shape
        begin = reader.records[f"data/{names[id(array.base)]}"].offset + offset
        reach = 1 + sum((n - 1) * step for n, step in zip(shape, strides)) // array.itemsize

        def raw() -> np.ndarray:
            flat = mapped(file, begin, d.name, (reach,))
            return np.lib.stride_tricks.as_strided(flat, shape, strides)

        return Stored(shape, d.name, raw)

    return flatten(Unpickler(reader.read("data.pkl"), storage).load(), stored)


def _verify(reader: Reader, file: Any, name: str) -> None:
    """Before anything is loaded, and a piece at a time. Files of torch without checksums have zeros for them."""
    offset, size, crc = reader.records[name]
    if not any(record.crc for record in reader.records.values()):
        return
    found = 0
    file.seek(offset)
    while size:
        piece = file.read(min(size, PIECE))
        if not piece:
            raise EOFError("the file ended while it was being read")
        found = zlib.crc32(piece, found)
        size -= len(piece)
    if found != crc:
        raise RuntimeError(f"the checksum of record {name!r} does not match: the file is damaged; fetch or save it "
                           "again")


def flatten(obj: Any, stored=Stored.of) -> dict[str, Stored]:
    """The tensors of a state dict, of a training script's checkpoint that holds one, or of the nested dict that
    the book's gpt_download.py makes of OpenAI's files, which get their names back."""
    if not isinstance(obj, Mapping):
        raise RuntimeError(f"expected a state dict, tensors by name, and found {type(obj).__name__}")
    for wrapper in WRAPPERS:
        if isinstance(obj.get(wrapper), Mapping):
            return flatten(obj[wrapper], stored)
    if isinstance(obj.get("blocks"), list | tuple):
        return {name: stored(array_of(x)) for name, x in _paths(obj)}
    bad = [name for name, x in obj.items() if type(name) is not str or array_of(x) is None]
    if bad or not obj:
        raise RuntimeError("expected a state dict, tensors by name, and found "
                           + (f"other values: {', '.join(ascii(name)[:60] for name in bad[:8])}" if bad else "nothing"))
    return {name: stored(array_of(x)) for name, x in obj.items()}


def array_of(x: Any) -> np.ndarray | None:
    """A tensor of either engine, or an array, as an array that shares its memory where it can (bfloat16 cannot)."""
    if isinstance(x, np.ndarray | np.generic):
        return np.asarray(x)
    if hasattr(x, "array") and isinstance(x.array, np.ndarray):
        return x.array
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        return (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()
    return None


def _paths(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """gpt_download.py drops `model/`, puts h0, h1, ... into a list, and final norm's g and b to the top."""
    for name, x in params.items():
        if name == "blocks":
            for i, block in enumerate(x):
                yield from _leaves(f"model/h{i}", block)
        else:
            yield from _leaves(f"model/ln_f/{name}" if re.fullmatch("[gb]", str(name)) else f"model/{name}", x)


def _leaves(path: str, x: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(x, Mapping):
        for name, below in x.items():
            yield from _leaves(f"{path}/{name}", below)
    elif array_of(x) is None:
        raise RuntimeError(f"params: expected an array at {path}, and found {type(x).__name__}")
    else:
        yield path, x
