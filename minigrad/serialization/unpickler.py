"""A pickle machine that cannot run code: it knows the opcodes and the few names that a state dict is made of.

A pickle is a program for a stack machine. Python's own unpickler looks up any name the program gives and calls it,
which is how a model file can run a shell. This machine has a closed table of constructors instead, each of which
checks its arguments; it never imports, never looks up an attribute, and never calls an object it was given.

Its memory and time are bounded by a constant times the program's length:
- a length in the program is checked against what is left of it before anything is made;
- constructors that copy their argument draw on a budget, since `set(x)` costs two bytes when `x` is in the memo;
- keys are scalars or flat tuples of them, since hash() recurses, and their hashes must tell them apart;
- nothing here recurses, so that nesting is limited by memory alone.
"""

from __future__ import annotations

import pickle
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from pickle import UnpicklingError
from typing import Any, NamedTuple

from .. import dtypes
from ..autograd import Variable, new_tensor
from ..creation import device
from ..size import Size
from .storages import BY_NAME, Storage, Window, view

SCALARS = (type(None), bool, int, float, complex, str, bytes)


def is_key(x: Any) -> bool:
    """Whether `x` may be a dictionary's key or a set's element: it is hashed without recursion."""
    return type(x) in SCALARS or (type(x) is tuple and all(type(part) in SCALARS for part in x))


def are_spread(keys: Collection[Any]) -> bool:
    """Whether hashes tell these keys apart. Numbers i * (2**61 - 1), for one, all hash alike, and a dictionary of n
    such keys takes n**2 / 2 comparisons to make. A thousand keys are harmless in any case."""
    return len(keys) < 1024 or len(set(map(hash, keys))) > len(keys) // 16


class StorageType(NamedTuple):
    """What `torch.FloatStorage` stands for in a pickle."""
    dtype: dtypes.dtype


class Constructor(NamedTuple):
    """What a pickle may call: `make` with arguments of the types (or tuples of types) in `takes`."""
    name: str
    make: Callable[..., Any]
    takes: tuple
    optional: int = 0              # so many of the last arguments may be missing
    copies: bool = False           # whether the result is as large as the first argument


# ---- what a pickle may call -------------------------------------------------------------------------------------

def _ordered_dict(pairs=()):
    if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError("not pairs of a key and a value")
    return _update(OrderedDict(), [x for pair in pairs for x in pair])


def _set(items):
    if not all(map(is_key, items)) or not are_spread(items):
        raise ValueError("a set's elements must be numbers, str, bytes or flat tuples of them, of different hashes")
    return set(items)


def _bytes(text, encoding):
    """How protocol 2, which has no opcode for bytes, writes them."""
    if encoding != "latin1":
        raise ValueError(f"bytes are written in latin1, not in {encoding[:40]!r}")
    return text.encode("latin1")


def _size(items):
    if not all(type(n) is int for n in items):
        raise ValueError("a size must be of ints")
    return Size(items)


def _device(kind, index=None):
    if not (kind.isascii() and kind.isalpha()):
        raise ValueError("not a device")
    return device(kind, index)


def _tensor(storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None):
    if hooks or metadata:
        raise ValueError("hooks and metadata are not loaded")
    tensor = new_tensor(view(storage, Window(0, offset, size, stride)))
    tensor.requires_grad = requires_grad
    return tensor


def _parameter(tensor, requires_grad, hooks):
    from ..nn.parameter import Parameter
    if hooks:
        raise ValueError("hooks are not loaded")
    return Parameter(tensor, requires_grad)


_WINDOW = (Storage, int, (tuple, Size), (tuple, Size))
_HOOKS = (OrderedDict, dict, type(None))

GLOBALS: dict[str, Any] = {constructor.name: constructor for constructor in (
    Constructor("collections.OrderedDict", _ordered_dict, (list,), optional=1, copies=True),
    Constructor("collections.Counter", Counter, (dict,), optional=1, copies=True),
    Constructor("builtins.set", _set, (list,), copies=True),
    Constructor("builtins.bytes", bytes, ()),                                     # the empty ones, in protocol 2
    Constructor("builtins.bytearray", bytearray, (bytes,), optional=1, copies=True),
    Constructor("builtins.complex", complex, (float, float)),
    Constructor("_codecs.encode", _bytes, (str, str), copies=True),
    Constructor("torch.Size", _size, (tuple,), copies=True),
    Constructor("torch._utils._rebuild_tensor", _tensor, _WINDOW),
    Constructor("torch._utils._rebuild_tensor_v2", _tensor, (*_WINDOW, bool, _HOOKS, (dict, type(None))), optional=1),
    Constructor("torch._utils._rebuild_parameter", _parameter, (Variable, bool, _HOOKS)),
    Constructor("torch.device", _device, (str, (int, type(None))), optional=1),
)}
GLOBALS |= {f"torch.{name}": StorageType(d) for name, d in BY_NAME.items()}
GLOBALS |= {repr(d): d for d in dtypes.ALL}

ALLOWED = ("only tensors, numbers, str, bytes, None, dict, list, tuple, set, OrderedDict, Counter, torch.Size, "
           "dtype and device are loaded. If you trust the file, load it with torch and save its state_dict()")

_INTERNAL = (StorageType, Constructor, Storage)      # mean something inside a pickle, and must not leave the machine


# ---- the machine ------------------------------------------------------------------------------------------------

class Unpickler:
    """Runs one pickle. `storage(*persistent_id)` answers for the blocks of memory that the program refers to."""

    def __init__(self, data: bytes, storage: Callable[..., Storage] | None = None, position: int = 0):
        self._data, self._storage, self.position = data, storage, position
        self._budget = len(data)

    def load(self) -> Any:
        try:
            result = self._run()
        except (IndexError, KeyError, UnicodeDecodeError) as error:      # an empty stack, an unknown memo, not UTF-8
            raise UnpicklingError(f"Weights only load failed: malformed pickle at byte {self.position} "
                                  f"({type(error).__name__})") from None
        _check_result(result)
        return result

    def _run(self) -> Any:
        stack: list[Any] = []
        marks: list[list[Any]] = []          # the stacks below each open MARK
        memo: dict[int, Any] = {}
        while True:
            match self._take(1):
                case pickle.BINPUT:
                    memo[self._uint(1)] = stack[-1]
                case pickle.LONG_BINPUT:
                    memo[self._uint(4)] = stack[-1]
                case pickle.BINGET:
                    stack.append(memo[self._uint(1)])
                case pickle.LONG_BINGET:
                    stack.append(memo[self._uint(4)])

                case pickle.BININT1:
                    stack.append(self._uint(1))
                case pickle.BININT2:
                    stack.append(self._uint(2))
                case pickle.BININT:
                    stack.append(int.from_bytes(self._take(4), "little", signed=True))
                case pickle.LONG1:
                    stack.append(int.from_bytes(self._take(self._uint(1)), "little", signed=True))
                case pickle.BINFLOAT:
                    stack.append(struct.unpack(">d", self._take(8))[0])
                case pickle.BINUNICODE:
                    stack.append(self._take(self._uint(4)).decode("utf-8", "surrogatepass"))
                case pickle.SHORT_BINSTRING:                                 # a str of Python 2
                    stack.append(self._take(self._uint(1)).decode("utf-8"))
                case pickle.NONE:
                    stack.append(None)
                case pickle.NEWTRUE:
                    stack.append(True)
                case pickle.NEWFALSE:
                    stack.append(False)

                case pickle.MARK:
                    marks.append(stack)
                    stack = []
                case pickle.TUPLE:
                    items, stack = stack, marks.pop()
                    stack.append(tuple(items))
                case pickle.EMPTY_TUPLE:
                    stack.append(())
                case pickle.TUPLE1:
                    stack.append((stack.pop(),))
                case pickle.TUPLE2:
                    second, first = stack.pop(), stack.pop()
                    stack.append((first, second))
                case pickle.TUPLE3:
                    third, second, first = stack.pop(), stack.pop(), stack.pop()
                    stack.append((first, second, third))
                case pickle.EMPTY_LIST:
                    stack.append([])
                case pickle.APPEND:
                    item = stack.pop()
                    _extend(stack[-1], [item])
                case pickle.APPENDS:
                    items, stack = stack, marks.pop()
                    _extend(stack[-1], items)
                case pickle.EMPTY_DICT:
                    stack.append({})
                case pickle.SETITEM:
                    value, key = stack.pop(), stack.pop()
                    _update(stack[-1], [key, value])
                case pickle.SETITEMS:
                    items, stack = stack, marks.pop()
                    _update(stack[-1], items)
                case pickle.EMPTY_SET:
                    stack.append(set())

                case pickle.GLOBAL:
                    stack.append(self._global())
                case pickle.REDUCE:
                    arguments, constructor = stack.pop(), stack.pop()
                    stack.append(self._construct(constructor, arguments))
                case pickle.BUILD:
                    state = stack.pop()
                    _set_state(stack[-1], state)
                case pickle.BINPERSID:
                    stack.append(self._persistent(stack.pop()))

                case pickle.PROTO:
                    self._take(1)
                case pickle.STOP:
                    return stack.pop()
                case opcode:
                    raise UnpicklingError(f"Weights only load failed: Unsupported operand {opcode[0]} at byte "
                                          f"{self.position - 1}. Save with torch.save's own protocol, 2, or the file "
                                          "is damaged")

    def _take(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > len(self._data):
            raise EOFError("the pickle ends in the middle: the file is truncated or damaged")
        return self._data[start:self.position]

    def _uint(self, count: int) -> int:
        return int.from_bytes(self._take(count), "little")

    def _line(self) -> str:
        end = self._data.find(b"\n", self.position, self.position + 256)
        if end < 0:
            raise UnpicklingError("Weights only load failed: a global's name does not end")
        line, self.position = self._data[self.position:end], end + 1
        return line.decode("utf-8")

    def _global(self) -> Any:
        module, name = self._line(), self._line()
        full_name = f"{module.replace('__builtin__', 'builtins')}.{name}"          # as Python 2 called it
        if full_name not in GLOBALS:
            # !a: what a hostile file says must not reach a terminal as control codes.
            raise UnpicklingError(f"Weights only load failed: GLOBAL {full_name!a} was not an allowed global; "
                                  f"{ALLOWED}")
        return GLOBALS[full_name]

    def _construct(self, constructor: Any, arguments: Any) -> Any:
        if type(constructor) is not Constructor or type(arguments) is not tuple:
            raise UnpicklingError("Weights only load failed: Trying to call reduce for something that is not a "
                                  f"constructor ({type(constructor).__name__})")
        name, make, takes, optional, copies = constructor
        if not (len(takes) - optional <= len(arguments) <= len(takes)
                and all(isinstance(argument, kind) for argument, kind in zip(arguments, takes))):
            raise UnpicklingError(f"Weights only load failed: {name} is called with unexpected arguments")
        if copies and arguments:
            self._budget -= len(arguments[0])
            if self._budget < 0:
                raise UnpicklingError(f"Weights only load failed: {name} would make more than the file holds")
        try:
            return make(*arguments)
        except (ValueError, TypeError, OverflowError, RuntimeError) as error:
            raise UnpicklingError(f"Weights only load failed: {name}: {error}") from None

    def _persistent(self, pid: Any) -> Storage:
        if self._storage is None or type(pid) is not tuple or pid[:1] != ("storage",):
            raise UnpicklingError("Weights only load failed: Only persistent_load of storage is allowed")
        kind, key, location, numel, *rest = pid[1:] if len(pid) >= 5 else (None,) * 4
        if not (type(kind) is StorageType and type(key) is str and type(location) is str
                and type(numel) is int and numel >= 0):
            raise UnpicklingError("Weights only load failed: a storage is described by unexpected values")
        return self._storage(kind.dtype, key, location, numel, *rest)


def _extend(target: Any, items: list[Any]) -> None:
    if type(target) is not list:
        raise UnpicklingError(f"Weights only load failed: Can only append to lists, but got {type(target).__name__}")
    target.extend(items)


def _update(target: Any, items: list[Any]) -> Any:
    if type(target) not in (dict, OrderedDict, Counter) or len(items) % 2:
        raise UnpicklingError("Weights only load failed: Can only set the items of dict, OrderedDict and Counter, but "
                              f"got {type(target).__name__}")
    for key, value in zip(items[::2], items[1::2]):
        if not is_key(key):
            raise UnpicklingError("Weights only load failed: a key must be a number, str, bytes or a flat tuple of "
                                  f"them, but got {type(key).__name__}")
        size = len(target)
        target[key] = value
        if size < len(target) and not size & (size - 1) and not are_spread(target):      # at powers of two
            raise UnpicklingError("Weights only load failed: a dictionary's keys have the same hash")
    return target


def _set_state(target: Any, state: Any) -> None:
    """Attributes are known on OrderedDict alone: a module's state_dict() keeps its versions in `_metadata`."""
    if (type(target) is not OrderedDict or type(state) is not dict
            or not all(type(name) is str and not hasattr(OrderedDict, name) for name in state)):
        raise UnpicklingError(f"Weights only load failed: Can only build OrderedDict, but got {type(target).__name__}")
    vars(target).update(state)


def _check_result(result: Any) -> None:
    """Refuse a result that holds one of the machine's own values. Iterative, and safe on cycles."""
    todo, seen = [result], set()
    while todo:
        x = todo.pop()
        if isinstance(x, _INTERNAL):
            raise UnpicklingError(f"Weights only load failed: a bare {type(x).__name__} is not a value; {ALLOWED}")
        if type(x) in (list, tuple, dict, OrderedDict, Counter) and id(x) not in seen:
            seen.add(id(x))
            todo.extend(x if type(x) in (list, tuple) else x.values())
            if type(x) is OrderedDict:
                todo.extend(vars(x).values())
