"""safetensors: the length of a header (8 bytes), the header (JSON), and the tensors' bytes, back to back.

    {"__metadata__": {"format": "pt"}, "wte.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}

There is no code in it, nothing is compressed, and every byte belongs to exactly one tensor. The reader holds a file
to that. The format has no checksum: a flipped bit inside a tensor passes unseen.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..autograd import Variable, new_tensor
from .files import FileLike, Source, reading, writing
from .state import unique_keys
from .storages import decode

MAX_HEADER = 100_000_000         # as in the format's reference implementation

_DTYPES = {"F64": dtypes.float64, "F32": dtypes.float32, "F16": dtypes.float16, "BF16": dtypes.bfloat16,
           "I64": dtypes.int64, "I32": dtypes.int32, "I16": dtypes.int16, "I8": dtypes.int8,
           "U8": dtypes.uint8, "BOOL": dtypes.bool}
_NAMES = {d: name for name, d in _DTYPES.items()}


class Entry(NamedTuple):
    dtype: dtypes.dtype
    shape: tuple[int, ...]
    begin: int               # in the file
    size: int                # in bytes


# ---- reading ----------------------------------------------------------------------------------------------------

def load_safetensors(f: FileLike, *, mmap: bool = False) -> dict[str, Any]:
    """The tensors in a safetensors file, by name.

    bfloat16, which NumPy has not, comes as float32: it widens exactly. With mmap=True (`f` must be a path) nothing
    else is read before it is touched, and writing to such a tensor changes memory, never the file.
    """
    with reading(f, mmap) as source:
        entries, _ = read_header(source)
        return {name: new_tensor(_read_entry(source, entry)) for name, entry in entries.items()}


def load_metadata(f: FileLike) -> dict[str, str]:
    """The metadata in a safetensors file: strings by name, empty if there is none. No tensor is read."""
    with reading(f) as source:
        return read_header(source)[1]


def _read_entry(source: Source, entry: Entry) -> np.ndarray:
    d, shape, begin, size = entry
    return decode(source.array(begin, size), d, "little").reshape(shape)


def read_header(source: Source) -> tuple[dict[str, Entry], dict[str, str]]:
    try:
        length, = struct.unpack("<Q", source.read(0, 8))
        if length > MAX_HEADER:
            raise ValueError(f"its length is {length}, the most is {MAX_HEADER}")
        header = json.loads(source.read(8, length).decode("utf-8"), object_pairs_hook=unique_keys)
        if type(header) is not dict:
            raise ValueError("not an object")
        metadata = header.pop("__metadata__", {})
        if type(metadata) is not dict or not all(type(value) is str for value in metadata.values()):
            raise ValueError("__metadata__ may hold strings only")
        entries = {name: _entry(name, fields, 8 + length) for name, fields in header.items()}
        _check_cover(entries, 8 + length, source.size)
    except (ValueError, RecursionError) as error:      # ValueError: also not UTF-8, not JSON
        raise RuntimeError(f"invalid safetensors header: {error}. The file is damaged or of another format; fetch or "
                           "save it again") from None
    return entries, metadata


def _entry(name: str, fields: Any, start: int) -> Entry:
    if type(fields) is not dict or set(fields) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {_short(name)} is not described by dtype, shape and data_offsets")
    code, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if type(code) is not str or code not in _DTYPES:
        raise ValueError(f"tensor {_short(name)} has the dtype {_short(code)}, and minigrad has only "
                         f"{', '.join(_DTYPES)}")
    if not _are_counts(shape) or len(shape) > 64:
        raise ValueError(f"tensor {_short(name)} has the shape {_short(shape)}")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {_short(name)} has the data_offsets {_short(offsets)}")
    begin, end = offsets
    if end - begin != math.prod(shape) * _DTYPES[code].itemsize:
        raise ValueError(f"tensor {_short(name)} of {code} and shape {shape} does not fill its data_offsets {offsets}")
    return Entry(_DTYPES[code], tuple(shape), start + begin, end - begin)


def _short(x: Any) -> str:
    """What a file says, cut to a line and without control codes."""
    return ascii(x)[:80]


def _are_counts(x: Any) -> bool:
    return type(x) is list and all(type(n) is int and 0 <= n < 2**62 for n in x)


def _check_cover(entries: dict[str, Entry], start: int, end: int) -> None:
    """The tensors must lie back to back from the header to the end of the file."""
    at = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].size)):
        if entry.begin != at:
            raise ValueError(f"tensor {_short(name)} begins at byte {entry.begin}, and what is before it ends at {at}")
        at += entry.size
    if at != end:
        raise ValueError(f"the tensors end at byte {at}, and the file at {end}")


# ---- writing ----------------------------------------------------------------------------------------------------

def save_safetensors(tensors: Mapping[str, Any], f: FileLike, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors by name, and metadata (strings by name), as a safetensors file.

    The format keeps values: views become contiguous, parameters become plain tensors, and tensors that share memory
    are refused, since they would come back untied.
    """
    save_arrays({name: _array(name, x) for name, x in _checked(tensors).items()}, f, metadata)


def save_arrays(arrays: Mapping[str, np.ndarray], f: FileLike, metadata: Mapping[str, str] | None = None) -> None:
    _refuse_shared(arrays)
    if metadata is not None and not all(type(x) is str for item in metadata.items() for x in item):
        raise TypeError("metadata must map str to str; put other values through json.dumps")

    # Widest first, so that each tensor begins at a multiple of its element's size.
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    at = 0
    for name in order:
        array = arrays[name]
        header[name] = {"dtype": _NAMES[dtypes.of(array.dtype)], "shape": array.shape,
                        "data_offsets": (at, at + array.nbytes)}
        at += array.nbytes
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    encoded += b" " * (-len(encoded) % 8)
    if len(encoded) > MAX_HEADER:
        raise ValueError(f"the header has {len(encoded)} bytes, and safetensors allows {MAX_HEADER}: use shorter names")

    with writing(f) as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for name in order:
            array = np.ascontiguousarray(arrays[name], arrays[name].dtype.newbyteorder("<"))
            file.write(memoryview(array.reshape(-1).view(np.uint8)))


def _checked(tensors: Any) -> Mapping[str, Any]:
    if not isinstance(tensors, Mapping):
        raise TypeError(f"safetensors holds tensors by name: expected a dict, got {type(tensors).__name__}")
    for name in tensors:
        if type(name) is not str or name == "__metadata__":
            raise TypeError(f"a tensor's name must be a str other than '__metadata__', got {name!r}")
    return tensors


def _array(name: str, x: Any) -> np.ndarray:
    if not isinstance(x, Variable):
        raise TypeError(f"safetensors holds tensors only: {name!r} is {type(x).__name__}. Save to a .pth file, or put "
                        "it into metadata or save_json")
    return x.array


def _refuse_shared(arrays: Mapping[str, np.ndarray]) -> None:
    """In order of their first addresses, compare each array with the one that reached furthest before it."""
    bounds = sorted((*np.lib.array_utils.byte_bounds(array), name) for name, array in arrays.items() if array.size)
    furthest = (0, 0, "")
    for low, high, name in bounds:
        if low < furthest[1] and _overlap(arrays[name], arrays[furthest[2]]):
            raise RuntimeError(f"{furthest[2]!r} and {name!r} share memory, and safetensors cannot say so. Save one of "
                               "them (a tied weight), clone one, or save to a .pth file, which keeps them tied.")
        furthest = max(furthest, (low, high, name), key=lambda bound: bound[1])


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Columns of one matrix interleave without sharing an element. To find that out is exponential at worst; where
    it takes long, assume that they share."""
    try:
        return np.shares_memory(a, b, max_work=10_000)
    except np.exceptions.TooHardError:
        return True
