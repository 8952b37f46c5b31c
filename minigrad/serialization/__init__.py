"""Checkpoints: tensors and plain values in files that cannot run code.

    save_safetensors(model.state_dict(), "model.safetensors")     the preferred form for weights
    save_json({"step": 1000, "best": 3.25}, "state.json")         the preferred form for the rest
    save(obj, "model.pth"); load("model.pth")                     torch's own format, both ways, without torch

Whatever is written replaces the old file in one step, or not at all. Whatever is read is checked before memory is
spent on it, and a file that is truncated, damaged or hostile ends in one error that names the file.
"""

from __future__ import annotations

import os
import pickle
from typing import Any

from . import pth
from .files import FileLike, atomic_write, is_path, reading, writing
from .safetensors import load_metadata, load_safetensors, save_safetensors
from .state import load_json, save_json

__all__ = ["save", "load", "save_safetensors", "load_safetensors", "load_metadata", "save_json", "load_json",
           "atomic_write"]


def save(obj: object, f: FileLike, pickle_module: Any = pickle, pickle_protocol: int = 2,
         _use_new_zipfile_serialization: bool = True) -> None:
    """Save tensors in plain containers (dict, list, tuple, set, OrderedDict, Counter, Size; numbers, str, bytes, None,
    dtypes, devices) to a path or a binary file, so that `torch.load(f, weights_only=True)` reads them.

    Tensors that share memory still do when they are loaded. As in torch, a view is saved with all of the memory
    that it is a view of: clone it to save its part alone. A path is replaced atomically. A path that ends in
    .safetensors gets that format instead, for a dict of tensors.
    """
    if pickle_module is not pickle or pickle_protocol != 2 or not _use_new_zipfile_serialization:
        raise ValueError("minigrad writes torch's zip format with pickle protocol 2, which torch.load reads with "
                         "weights_only=True: leave pickle_module, pickle_protocol and "
                         "_use_new_zipfile_serialization as they are")
    if is_path(f) and os.fspath(f).endswith(".safetensors"):
        save_safetensors(obj, f)
        return
    write = pth.save(obj)
    with writing(f) as file:
        write(file)


def load(f: FileLike, map_location: pth.MapLocation = None, pickle_module: Any = None, *, weights_only: bool = True,
         mmap: bool = False) -> Any:
    """Load what torch.save or minigrad.save wrote, from a path or a binary file; or a path ending in .safetensors.

    Only tensors and plain values are ever loaded, with weights_only=False too; anything else in the file is refused
    with pickle.UnpicklingError. bfloat16, which NumPy has not, comes as float32: it widens exactly. Tensors saved
    from another device are loaded with map_location="cpu".

    torch's zip format carries checksums, and they are verified. With mmap=True (`f` must be a path) tensors are read
    when they are touched, unverified, and writing to them changes memory, never the file. torch's format before
    version 1.6 has no checksums: a flipped bit inside a tensor passes unseen.
    """
    if pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if is_path(f) and os.fspath(f).endswith(".safetensors"):
        return load_safetensors(f, mmap=mmap)
    with reading(f, mmap) as source:
        return pth.load(source, map_location, mmap)
