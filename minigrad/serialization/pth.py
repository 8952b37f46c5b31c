"""torch's checkpoint formats: the zip archive of today (read and written) and the plain stream before it (read).

An archive holds `data.pkl`, the object with each tensor as a window on a numbered storage, and `data/0`,
`data/1`, ..., the storages' bytes. The older stream is a row of pickles (a magic number, a version, the writer's
byte order, the object, the storages' names) followed by each storage's length and bytes.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pickle import UnpicklingError
from typing import IO, Any

import numpy as np

from .. import dtypes
from . import archive, storages
from .files import Source
from .pickler import Pickler
from .storages import Storage
from .unpickler import Unpickler

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001

MapLocation = Callable[[Any, str], Any] | dict[str, str] | str | None


def load(source: Source, map_location: MapLocation, mmap: bool, unpickler: type = Unpickler) -> Any:
    if not source.size:
        raise EOFError("the file is empty")
    if source.read(0, min(source.size, 4)) == archive.MAGIC:
        return _load_zip(source, map_location, mmap, unpickler)
    if mmap:
        raise RuntimeError("mmap can only be used with files saved with torch.save's zip format; load it without mmap "
                           "and save it again")
    return _load_legacy(source, map_location, unpickler)


# ---- the zip archive --------------------------------------------------------------------------------------------

def save(obj: Any, pickler: type = Pickler) -> Callable[[IO[bytes]], None]:
    """Pickle `obj` now, so that what cannot be saved is known before a file is touched; return what writes it."""
    blocks = storages.Storages()
    pickled = pickler(blocks.place).dump(obj)

    def write(file: IO[bytes]) -> None:
        writer = archive.Writer(file, "archive")
        writer.add("data.pkl", pickled)
        writer.add("byteorder", sys.byteorder.encode())
        for key, block in enumerate(blocks.blocks):
            writer.add(f"data/{key}", memoryview(block.array.view(np.uint8)))
        writer.add("version", b"3\n")
        writer.close()

    return write


def _load_zip(source: Source, map_location: MapLocation, mmap: bool, unpickler: type) -> Any:
    zip_file = archive.Reader(source)
    if "constants.pkl" in zip_file:
        raise RuntimeError("Cannot use ``weights_only=True`` with TorchScript archives: load it with torch.jit.load "
                           "and save its state_dict()")
    byteorder = zip_file.read("byteorder").decode("latin1") if "byteorder" in zip_file else "little"
    if byteorder not in ("little", "big"):
        raise RuntimeError(f"Unknown endianness type: {byteorder[:20]!r}")
    loaded: dict[str, Storage] = {}

    def storage(d: dtypes.dtype, key: str, location: str, numel: int) -> Storage:
        if key not in loaded:
            raw = zip_file.array(f"data/{key}", numel * d.itemsize, mmap)
            _check_location(raw, location, map_location)
            loaded[key] = Storage(d, storages.decode(raw, d, byteorder))
        return _same(loaded[key], d, key, numel)

    return unpickler(zip_file.read("data.pkl"), storage).load()


# ---- the stream before it ---------------------------------------------------------------------------------------

def _load_legacy(source: Source, map_location: MapLocation, unpickler: type) -> Any:
    data = source.read(0, source.size)
    position = 0
    loaded: dict[str, Storage] = {}
    unclaimed = source.size

    def storage(d: dtypes.dtype, key: str, location: str, numel: int, view: Any = None) -> Storage:
        """Memory for a storage whose bytes come later. All storages together must fit into the file."""
        nonlocal unclaimed
        if view is not None:
            raise UnpicklingError("Weights only load failed: a view of a storage, as torch wrote it before version 0.4")
        if key not in loaded:
            unclaimed -= numel * d.itemsize
            if unclaimed < 0:
                raise RuntimeError("unexpected EOF: the storages are larger than the file. It might be corrupted.")
            loaded[key] = storages.empty(d, numel)
            _check_location(loaded[key].array, location, map_location)
        return _same(loaded[key], d, key, numel)

    def unpickle(answer: Callable[..., Storage] | None = None) -> Any:
        nonlocal position
        machine = unpickler(data, answer, position)
        result = machine.load()
        position = machine.position
        return result

    if unpickle() != LEGACY_MAGIC:
        raise RuntimeError("Invalid magic number; corrupt file?")
    if (version := unpickle()) != LEGACY_VERSION:
        raise RuntimeError(f"Invalid protocol version: {str(version)[:20]}")
    system = unpickle()
    if type(system) is not dict or type(system.get("little_endian")) is not bool:
        raise RuntimeError("the writer's byte order is missing; corrupt file?")
    result = unpickle(storage)
    keys = unpickle()
    if type(keys) is not list or sorted(map(str, keys)) != sorted(loaded):
        raise RuntimeError("the names of the storages do not match; corrupt file?")

    stream = io.BytesIO(data)
    stream.seek(position)
    for key in keys:
        d, array = loaded[key]
        numel = int.from_bytes(stream.read(8), "little")
        raw = Source(stream).array(0, array.size * d.itemsize)
        if numel != array.size:
            raise RuntimeError(f"storage {key} has {numel} elements where {array.size} are expected; corrupt file?")
        array[...] = storages.decode(raw, d, "little" if system["little_endian"] else "big")
    return result


# ---- both -------------------------------------------------------------------------------------------------------

def _same(storage: Storage, d: dtypes.dtype, key: str, numel: int) -> Storage:
    if storage.dtype is not d or storage.array.size != numel:
        raise UnpicklingError(f"Weights only load failed: storage {key!a} is used with two types or lengths")
    return storage


def _check_location(storage: Any, location: str, map_location: MapLocation) -> None:
    """minigrad computes on the CPU: what was saved elsewhere is loaded if the caller maps it there, as in torch."""
    if isinstance(map_location, dict):
        location = map_location.get(location, location)
    elif callable(map_location):
        location = location if map_location(storage, location) is None else "cpu"
    elif map_location is not None:
        location = str(map_location)
    if str(location).partition(":")[0] != "cpu":
        raise RuntimeError(f"Attempting to deserialize object on {str(location)[:40]!a}, and minigrad has the CPU "
                           "alone. Load it with map_location='cpu'.")
