"""torch.save and torch.load as scripts know them: any object, by pickle.

minigrad's own `save` takes tensors and plain values, and its `load` never runs code. A script in torch's place may ask
for more: whole modules and optimizers, NumPy values, its own classes. What minigrad.save refuses is pickled, tensors
apart, in the same archive; `load(weights_only=False)` unpickles it, which runs what the file says, as torch's does."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ... import serialization as _plain
from ...nn.parameter import Parameter
from ...serialization import pth
from ...serialization.files import FileLike, is_path, reading, writing
from ...serialization.storages import Storage
from ...serialization.unpickler import GLOBALS
from ...tensor import Tensor
from ._utils import _rebuild_parameter, _rebuild_tensor_v2
from .storage import BY_DTYPE

__all__ = ["add_safe_globals", "clear_safe_globals", "get_safe_globals", "load", "safe_globals", "save"]

_safe: dict[str, Any] = {}              # what weights_only=True may load besides, by its full name


def save(obj: object, f: FileLike, pickle_module: Any = pickle, pickle_protocol: int = 2,
         _use_new_zipfile_serialization: bool = True) -> None:
    """Save any object that pickle can. It is written as a zip archive in every case, with protocol 2."""
    try:
        _plain.save(obj, f)
    except (TypeError, ValueError, OverflowError):               # known before the file is touched
        write = pth.save(obj, _ObjectPickler)
        with writing(f) as file:
            write(file)


def load(f: FileLike, map_location: pth.MapLocation = None, pickle_module: Any = None, *,
         weights_only: bool | None = None, mmap: bool | None = None, **pickle_load_args) -> Any:
    """Load what torch.save wrote. With weights_only=False that may run code: only files that you trust."""
    if weights_only is None:
        weights_only = pickle_module is None
    if weights_only and not _safe or is_path(f) and str(f).endswith(".safetensors"):
        return _plain.load(f, map_location, pickle_module, mmap=bool(mmap))
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    with reading(f, bool(mmap)) as source:
        return pth.load(source, map_location, bool(mmap), _SafeUnpickler if weights_only else _ObjectUnpickler)


# ---- classes that are trusted -------------------------------------------------------------------------------------

def add_safe_globals(safe_globals: Sequence[Callable | tuple[Callable, str]]) -> None:
    """Let load(weights_only=True) make these classes, and call these functions."""
    for item in safe_globals:
        what, name = item if isinstance(item, tuple) else (item, f"{item.__module__}.{item.__qualname__}")
        _safe[name] = what


def get_safe_globals() -> list[Callable]:
    return list(_safe.values())


def clear_safe_globals() -> None:
    _safe.clear()


class safe_globals:
    """Trust these within a `with` block."""

    def __init__(self, safe_globals: Sequence[Callable | tuple[Callable, str]]):
        self.safe_globals = safe_globals

    def __enter__(self) -> None:
        self.before = dict(_safe)
        add_safe_globals(self.safe_globals)

    def __exit__(self, *exception) -> None:
        _safe.clear()
        _safe.update(self.before)


# ---- pickles, with tensors in storages beside them ----------------------------------------------------------------

class _Block(NamedTuple):
    """A storage, in a pickle that is being written."""
    key: int
    storage: Storage


class _ObjectPickler(pickle.Pickler):
    def __init__(self, place: Callable):
        self._place, self._file = place, io.BytesIO()
        super().__init__(self._file, protocol=2)

    def dump(self, obj: Any) -> bytes:
        super().dump(obj)
        return self._file.getvalue()

    def persistent_id(self, x: Any) -> tuple | None:
        if type(x) is not _Block:
            return None
        dtype, array = x.storage
        return "storage", BY_DTYPE[dtype], str(x.key), "cpu", array.size

    def reducer_override(self, x: Any):
        if type(x) is Parameter:
            return _rebuild_parameter, (x.data, x.requires_grad, {})
        if type(x) is not Tensor:
            return NotImplemented
        (key, offset, size, stride), storage = self._place(x.array)
        return _rebuild_tensor_v2, (_Block(key, storage), offset, size, stride, x.requires_grad, {})


class _ObjectUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, storage: Callable[..., Storage] | None = None, position: int = 0):
        self._file, self._storage = io.BytesIO(data), storage
        self._file.seek(position)
        super().__init__(self._file, encoding="utf-8")

    def load(self) -> Any:
        result = super().load()
        self.position = self._file.tell()
        return result

    def persistent_load(self, pid: tuple) -> Storage:
        _, kind, *rest = pid
        return self._storage(kind.dtype, *rest)


class _SafeUnpickler(_ObjectUnpickler):
    """Makes what weights_only=True always may, and what was declared safe."""

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{module}.{name}"
        if full_name in _safe:
            return _safe[full_name]
        known = GLOBALS.get(full_name)
        if known is None:
            raise pickle.UnpicklingError(f"Weights only load failed: GLOBAL {full_name!a} was not an allowed global by "
                                         f"default. Please use `torch.serialization.add_safe_globals([{name}])` or the "
                                         f"`torch.serialization.safe_globals([{name}])` context manager to allowlist "
                                         "this global if you trust this class/function.")
        return super().find_class(module, name)
