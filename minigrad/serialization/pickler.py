"""The other direction: a state dict as the pickle that torch.save would write, protocol 2, and nothing else.

Containers are written by generators that yield what they contain: recursion in form, but on a stack of our own,
so that depth is not limited by Python's.
"""

from __future__ import annotations

import pickle
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import Variable
from ..creation import device
from ..size import Size
from .storages import Storage, Window
from .unpickler import is_key

Path = tuple["Path | None", Any]              # where a value sits: its container's path and its key there
Children = Iterator[tuple[Any, Path | None]]

_HINTS = {
    "Module": "save its state_dict() instead",
    "Optimizer": "save its state_dict() instead",
    "defaultdict": "save dict(...) of it",
    "ndarray": "save from_numpy(...) of it",
    "frozenset": "save set(...) of it",
    "range": "save list(...) of it",
    "generator": "save list(...) of it",
}


class Pickler:
    """`place(array)` says in which storage an array lies, and where; storages are written outside the pickle."""

    def __init__(self, place: Callable[[np.ndarray], tuple[Window, Storage]]):
        self._place = place
        self._out = bytearray(pickle.PROTO + b"\2")
        self._memo: dict[Any, tuple[int, Any]] = {}      # objects by id (and kept alive), strings and globals by value
        self._open: set[int] = set()                     # tuples that are being written

    def dump(self, obj: Any) -> bytes:
        pending = [iter([(obj, None)])]
        while pending:
            for value, path in pending[-1]:
                children = self._value(value, path)
                if children is not None:
                    pending.append(children)
                    break
            else:
                pending.pop()
        return bytes(self._out + pickle.STOP)

    def _value(self, x: Any, path: Path | None) -> Children | None:
        """Write `x`, or return the generator that will."""
        kind = type(x)
        if kind is str:
            self._str(x)
        elif kind is int:
            self._int(x, path)
        elif kind is float:
            self._emit(pickle.BINFLOAT, struct.pack(">d", x))
        elif kind is bool:
            self._emit(pickle.NEWTRUE if x else pickle.NEWFALSE)
        elif x is None:
            self._emit(pickle.NONE)
        elif kind is dtypes.dtype:
            self._global("torch", x.name)
        elif self._recall(id(x)):
            pass
        elif kind is list:
            return self._list(x, path)
        elif kind in (dict, OrderedDict):
            return self._dict(x, path)
        elif kind is tuple:
            return self._tuple(x, path)
        elif kind is set:
            return self._set(x, path)
        elif kind is Counter:
            return self._call(x, "collections", "Counter", dict(x))
        elif kind is Size:
            return self._call(x, "torch", "Size", tuple(x))
        elif kind is device:
            return self._call(x, "torch", "device", x.type, *() if x.index is None else (x.index,))
        elif kind is complex:
            return self._call(x, "__builtin__", "complex", x.real, x.imag)
        elif kind is bytes:
            return self._call(x, "_codecs", "encode", x.decode("latin1"), "latin1")
        elif kind is bytearray:
            return self._call(x, "__builtin__", "bytearray", bytes(x))
        elif isinstance(x, Variable):
            self._tensor(x, path)
        else:
            raise self._refused(x, path)
        return None

    # ---- scalars

    def _str(self, x: str) -> None:
        if not self._recall(x):
            raw = x.encode("utf-8", "surrogatepass")
            self._emit(pickle.BINUNICODE, struct.pack("<I", len(raw)), raw)
            self._memoize(x)

    def _int(self, x: int, path: Path | None) -> None:
        if 0 <= x < 1 << 8:
            self._emit(pickle.BININT1, struct.pack("<B", x))
        elif 0 <= x < 1 << 16:
            self._emit(pickle.BININT2, struct.pack("<H", x))
        elif -1 << 31 <= x < 1 << 31:
            self._emit(pickle.BININT, struct.pack("<i", x))
        else:
            raw = x.to_bytes(x.bit_length() // 8 + 1, "little", signed=True)
            if len(raw) > 255:
                raise OverflowError(f"{_where(path)} is an int of {len(raw)} bytes; torch.load reads no more than 255")
            self._emit(pickle.LONG1, struct.pack("<B", len(raw)), raw)

    # ---- containers

    def _list(self, x: list, path: Path | None) -> Children:
        self._emit(pickle.EMPTY_LIST)
        self._memoize(id(x), x)                  # before its items: a list may contain itself
        yield from self._items(enumerate(x), path, pickle.APPENDS)

    def _dict(self, x: dict, path: Path | None) -> Children:
        if type(x) is dict:
            self._emit(pickle.EMPTY_DICT)
        else:
            self._global("collections", "OrderedDict")
            self._emit(pickle.EMPTY_TUPLE, pickle.REDUCE)
        self._memoize(id(x), x)
        yield from self._items(x.items(), path, pickle.SETITEMS, keys=True)
        if type(x) is OrderedDict and vars(x):
            yield vars(x), (path, ".__dict__")
            self._emit(pickle.BUILD)

    def _tuple(self, x: tuple, path: Path | None) -> Children:
        if id(x) in self._open:
            raise ValueError(f"{_where(path)} is a tuple that contains itself, which torch.load cannot read")
        self._open.add(id(x))
        yield from self._items(enumerate(x), path, pickle.TUPLE)
        self._open.remove(id(x))
        self._memoize(id(x), x)

    def _set(self, x: set, path: Path | None) -> Children:
        if not all(map(is_key, x)):
            raise TypeError(f"{_where(path)} is a set of other things than numbers, strings and flat tuples of them")
        self._global("__builtin__", "set")
        self._emit(pickle.EMPTY_LIST)
        yield from self._items(enumerate(x), path, pickle.APPENDS)
        self._emit(pickle.TUPLE1, pickle.REDUCE)
        self._memoize(id(x), x)

    def _items(self, items: Iterable[tuple[Any, Any]], path: Path | None, end: bytes, keys: bool = False) -> Children:
        self._emit(pickle.MARK)
        for key, value in items:
            here = (path, key)
            if keys:
                if not is_key(key):
                    raise TypeError(f"{_where(path)} has a key of type {_name(key)}; keys must be numbers, str, bytes "
                                    "or flat tuples of them")
                yield key, here
            yield value, here
        self._emit(end)

    def _call(self, x: Any, module: str, name: str, *arguments: Any) -> Children:
        """Write `x` as a call of `module.name`."""
        self._global(module, name)
        self._emit(pickle.MARK)
        for argument in arguments:
            yield argument, None
        self._emit(pickle.TUPLE, pickle.REDUCE)
        self._memoize(id(x), x)

    # ---- tensors

    def _tensor(self, x: Any, path: Path | None) -> None:
        from ..nn.parameter import Parameter
        parameter = isinstance(x, Parameter)
        if parameter:
            self._global("torch._utils", "_rebuild_parameter")
            self._emit(pickle.MARK)
        self._global("torch._utils", "_rebuild_tensor_v2")
        self._emit(pickle.MARK)
        self._window(x.array)
        self._hooks(x.requires_grad and not parameter)
        if parameter:
            self._hooks(x.requires_grad)
        self._memoize(id(x), x)

    def _window(self, array: np.ndarray) -> None:
        (key, offset, size, stride), storage = self._place(array)
        self._emit(pickle.MARK)
        self._str("storage")
        self._global("torch", f"{storage.dtype.tensor_type}Storage")
        self._str(str(key))
        self._str("cpu")
        self._int(storage.array.size, None)
        self._emit(pickle.TUPLE, pickle.BINPERSID)
        self._int(offset, None)
        for counts in (size, stride):
            self._emit(pickle.MARK)
            for n in counts:
                self._int(n, None)
            self._emit(pickle.TUPLE)

    def _hooks(self, requires_grad: bool) -> None:
        """What ends the arguments of both of torch's calls: requires_grad, and hooks, which are never saved."""
        self._emit(pickle.NEWTRUE if requires_grad else pickle.NEWFALSE)
        self._global("collections", "OrderedDict")
        self._emit(pickle.EMPTY_TUPLE, pickle.REDUCE, pickle.TUPLE, pickle.REDUCE)

    # ---- the stream

    def _emit(self, *parts: bytes) -> None:
        for part in parts:
            self._out += part

    def _global(self, module: str, name: str) -> None:
        if not self._recall((module, name)):
            self._emit(pickle.GLOBAL, f"{module}\n{name}\n".encode())
            self._memoize((module, name))

    def _memoize(self, key: Any, x: Any = None) -> None:
        index = len(self._memo)
        self._memo[key] = index, x
        self._emit(*(pickle.BINPUT, bytes([index])) if index < 256 else (pickle.LONG_BINPUT, struct.pack("<I", index)))

    def _recall(self, key: Any) -> bool:
        """Write a reference to what was written before, if it was."""
        if key not in self._memo:
            return False
        index, _ = self._memo[key]
        self._emit(*(pickle.BINGET, bytes([index])) if index < 256 else (pickle.LONG_BINGET, struct.pack("<I", index)))
        return True

    def _refused(self, x: Any, path: Path | None) -> TypeError:
        hint = next((hint for base in type(x).__mro__ if (hint := _HINTS.get(base.__name__))), None)
        hint = hint or ("save x.item() of it" if hasattr(x, "item") else "convert it, or leave it out")
        return TypeError(f"cannot save {_where(path)} of type {_name(x)}: a checkpoint holds tensors, numbers, str, "
                         f"bytes, None, dict, list, tuple, set, OrderedDict, Counter, Size, dtype and device; {hint}")


def _name(x: Any) -> str:
    kind = type(x)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _where(path: Path | None) -> str:
    """A path as an expression: obj['model'][3]."""
    keys = []
    while path is not None:
        path, key = path
        keys.append(key if key == ".__dict__" else f"[{key!r}]")
    return "obj" + "".join(reversed(keys))
