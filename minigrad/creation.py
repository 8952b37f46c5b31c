"""Tensors from values, and from nothing."""

from __future__ import annotations

import math
import warnings
from array import array as array_of
from collections.abc import Callable, Sequence
from operator import index as as_index
from types import MappingProxyType

import numpy as np

from . import dtypes
from .graph import Tensor, Variable
from .graph import new_tensor as wrap
from .kernels.layout import empty_for, empty_in
from .modes import Quiet
from .ops.promotion import as_scalar, number
from .refusals import is_torchs, tensor_not
from .size import Size

Ints = int | Sequence[int]

# ---- where and how ----------------------------------------------------------------------------------------------


class device:
    """Where a tensor lives: "cpu", and nowhere else."""

    __slots__ = ("index", "type")

    def __init__(self, type: str | device, index: int | None = None):
        if isinstance(type, device):
            type, index = type.type, type.index
        if not isinstance(type, str):
            raise RuntimeError(f"Cannot access accelerator device {type} when none is available.")
        name, colon, number = type.partition(":")
        if not type:
            raise RuntimeError("Device string must not be empty")
        if name not in _DEVICES:
            raise RuntimeError(f"Expected one of {', '.join(_DEVICES)} device type at start of device string: {type}")
        if colon and not number.isdecimal():
            raise RuntimeError(f"Invalid device string: '{type}'")
        if colon and index is not None:
            raise RuntimeError(f"type (string) must not include an index because index was passed explicitly: {type}")
        self.type, self.index = name, int(number) if number else index

    def __repr__(self) -> str:
        return f"device(type={self.type!r}" + (f", index={self.index})" if self.index is not None else ")")

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self):
        return device, (str(self),)

    def __enter__(self) -> device:
        """As a context: what is made inside lives here."""
        check_device(self)
        return self

    def __exit__(self, *exc) -> None:
        pass


_DEVICES = ("cpu", "cuda", "mps", "xpu", "meta")
CPU = device("cpu")


def check_device(d) -> None:
    """Everything here lives on the CPU. What torch raises for the others depends on how it was built; this is what a
    build for the CPU raises."""
    if d is not None and d is not CPU and device(d).type != "cpu":
        d = device(d)
        error = AssertionError if d.type in ("cuda", "xpu") else RuntimeError
        raise error(f"Torch not compiled with {d.type.upper()} enabled: minigrad runs on the CPU, with NumPy, and has "
                    f"no device {str(d)!r}; use \"cpu\"")


class layout:
    def __repr__(self) -> str:
        return "torch.strided"


strided = layout()


class memory_format:
    """The order of a tensor's dimensions in memory."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"


contiguous_format, preserve_format = memory_format("contiguous_format"), memory_format("preserve_format")
channels_last, channels_last_3d = memory_format("channels_last"), memory_format("channels_last_3d")


def memory_order(ndim: int, format: memory_format | None) -> tuple[int, ...] | None:
    """The order of dimensions in memory that a format asks for; None for the usual one."""
    if format is None or format is contiguous_format:
        return None
    if not isinstance(format, memory_format):
        raise TypeError(f"argument 'memory_format' must be torch.memory_format, not {type(format).__name__}")
    if format is preserve_format:
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    rank = 4 if format is channels_last else 5
    if ndim != rank:
        raise RuntimeError(f"required rank {rank} tensor to use {format.name} format")
    return (0, *range(2, rank), 1)


def parse_to(args: tuple, kwargs: dict):
    """The dtype and copy flag that Tensor.to's arguments ask for."""
    dtype, copy = kwargs.get("dtype"), kwargs.get("copy", False)
    check_device(kwargs.get("device"))
    if isinstance(kwargs.get("other"), Variable):
        dtype = kwargs["other"].dtype
    flags = []                                              # non_blocking, copy
    for a in args:
        if isinstance(a, dtypes.dtype):
            dtype = a
        elif isinstance(a, Variable):
            dtype = a.dtype
        elif isinstance(a, str | device):
            check_device(a)
        elif a is True or a is False:
            flags.append(a)
        elif isinstance(a, int):
            raise RuntimeError("Cannot access accelerator device when none is available.")
        elif a is not None:
            flags += [None] * 3
    if len(flags) > 2 or kwargs.keys() - {"dtype", "copy", "device", "other", "non_blocking", "memory_format"}:
        got = ", ".join([*(type(a).__name__ for a in args), *(f"{k}={type(v).__name__}" for k, v in kwargs.items())])
        raise TypeError(f"to() received an invalid combination of arguments - got ({got}), but expected one of: "
                        "(device, dtype, non_blocking, copy), (dtype, non_blocking, copy), (other, non_blocking, copy)")
    return dtype, flags[1] if len(flags) == 2 else copy


def dtype_of_type_name(name: str) -> dtypes.dtype:
    """The dtype of an old tensor type's name, such as torch.FloatTensor."""
    for d in dtypes.ALL:
        if name in (f"torch.{d.tensor_type}Tensor", f"torch.{d.name}"):
            return d
    raise ValueError(f"invalid type: {name!r}")


# ---- arguments that all of these functions take -----------------------------------------------------------------

def ints(name: str, argument: str, given: tuple, by_name: Ints | None = None) -> tuple[int, ...]:
    """The integers of x.view(2, 3), x.view((2, 3)) or x.view(size=(2, 3)). With `argument`, there must be one."""
    if by_name is not None:
        if given:
            raise TypeError(f"{name}() received an invalid combination of arguments: '{argument}' twice, by its place "
                            "and by its name")
        given = by_name if isinstance(by_name, Sequence) else (by_name,)
    elif len(given) == 1 and isinstance(given[0], Sequence) and not isinstance(given[0], str):
        given = given[0]
    elif not given and argument:
        raise TypeError(f'{name}() missing 1 required positional arguments: "{argument}"')
    return int_tuple(name, argument, given)


def int_tuple(name: str, argument: str, given: Sequence) -> tuple[int, ...]:
    """A sequence of integers, which have 64 bits in torch. That the first is no boolean is all that torch makes sure
    of in this respect."""
    if given and isinstance(given[0], bool):
        raise TypeError(f"{name}(): argument '{argument}' must be tuple of ints, but found element of type bool at "
                        "pos 0")
    try:
        return tuple([n if type(n) is int and -2**63 <= n < 2**63 else as_int(name, argument, n) for n in given])
    except ValueError as error:
        raise TypeError(f"{name}(): argument '{argument}' failed to unpack an object with error \"{error}\"") from None


def as_int(name: str, argument: str, n) -> int:
    try:
        n = as_index(n)
    except TypeError:
        raise TypeError(f"{name}(): argument '{argument}' must be tuple of ints, but found element of type "
                        f"{type(n).__name__}") from None
    if not -2**63 <= n < 2**63:
        raise ValueError(f"Overflow when unpacking long long: {n}")
    return n


def _allocated(name: str, make: Callable, size: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory from NumPy, and torch's errors where there is not that much."""
    try:
        return make(size, dtype)
    except (MemoryError, ValueError):
        raise RuntimeError(f"{name}(): not enough memory: you tried to allocate {math.prod(size) * dtype.itemsize} "
                           "bytes") from None


def _size(name: str, given: tuple, options: dict) -> tuple[int, ...]:
    size = ints(name, "size", given, options.pop("size", None))
    if given and isinstance(given[0], bool):
        raise TypeError(f"{name}(): argument 'size' (position 1) must be tuple of ints, not bool")
    if any(n < 0 for n in size):
        raise RuntimeError(f"{name}: Dimension size must be non-negative.")
    return size


def _numpy_dtype(name: str, dtype, default: np.dtype | None = None) -> np.dtype:
    """NumPy's dtype for the argument `dtype`, or a default."""
    if dtype is None:
        return default or dtypes.get_default_dtype().numpy
    if not isinstance(dtype, dtypes.dtype | type):
        raise TypeError(f"{name}(): argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")
    return np.dtype(np.float64) if dtype is float else dtypes.to_numpy(dtype)


def _made(name: str, array: np.ndarray, options: dict) -> Tensor:
    """The tensor, as the options that all creation functions share ask for it."""
    requires_grad = False
    if (out := options.pop("out", None)) is not None:
        if out.array.shape != array.shape:
            out.array = np.empty(array.shape, out.array.dtype)
        return out._write(array)
    for key, value in options.items():
        if key == "requires_grad":
            requires_grad = value
        elif key == "device":
            check_device(value)
        elif key == "layout":
            if value not in (None, strided):
                raise RuntimeError(f"minigrad has strided tensors only, not {value}")
        elif key == "memory_format":
            if value is not preserve_format and (order := memory_order(array.ndim, value)):
                laid = np.empty([array.shape[d] for d in order], array.dtype).transpose(np.argsort(order))
                laid[...] = array
                array = laid
        elif key != "pin_memory":
            raise TypeError(f"{name}() got an unexpected keyword argument '{key}'")
    t = wrap(array)
    if requires_grad:
        t.requires_grad = True
    return t


# ---- from data --------------------------------------------------------------------------------------------------

def tensor(data, *, dtype: dtypes.dtype | None = None, device: device | str | None = None, requires_grad: bool = False,
           pin_memory: bool = False) -> Tensor:
    """A new leaf with a copy of the data: numbers in nested lists, an array, or a tensor."""
    if isinstance(data, Variable):
        warnings.warn("To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
                      "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
                      stacklevel=2)
    return _made("tensor", _copied(data, dtype), {"device": device, "requires_grad": requires_grad})


def _copied(data, dtype) -> np.ndarray:
    dtype = None if dtype is None else _numpy_dtype("tensor", dtype)
    if isinstance(data, Variable):
        array = data.array.copy(order="K")
    elif isinstance(data, np.ndarray):
        array = _check_array(data).copy(order="K")
    else:
        return _from_numbers(data, dtype)
    with np.errstate(all="ignore"):
        return array if dtype is None else dtypes.towards(array, dtype).astype(dtype, copy=False)


def _from_numbers(data, dtype: np.dtype | None) -> np.ndarray:
    """A number, or nested sequences of numbers, as an array: integers are int64, and floats the default dtype. NumPy
    reads lists of Python's numbers; all else, and what NumPy refuses, is read in torch's order, so that the first error
    is the one that torch meets: sizes, along the first of everything; the dtype, from all leaves; each leaf's value."""
    if isinstance(data, str | bytes):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    sizes = _sizes(data)
    kinds = _kinds(data, len(sizes))
    whole = dtype is not None and dtype.kind in "iu"
    if kinds <= {bool, int, float} and not (whole and {int, float} <= kinds):    # no float holds every integer
        own = float if float in kinds or not kinds else int if int in kinds else bool
        target = dtype or (dtypes.get_default_dtype().numpy if own is float else np.dtype(own))
        try:
            return _converted(np.array(data, own), target)
        except (OverflowError, ValueError):
            pass                                                                # too large, or ragged
    array = np.empty(sizes, _inferred(data) if dtype is None else dtype)
    if array.size:
        _store(array, data)
    return array


def _is_sequence(x) -> bool:
    """Whether Python's C interface would call it one: what has __getitem__, but for mappings and numbers in C."""
    return hasattr(type(x), "__getitem__") and not (
        isinstance(x, dict | MappingProxyType | np.generic | Variable) and not isinstance(x, np.flexible))


def _kinds(data, depth: int) -> set[type]:
    """The types of what lists of that depth hold in the end."""
    kinds = set(map(type, data)) if isinstance(data, list | tuple | range) else {type(data)}
    if depth > 1 and all(issubclass(kind, list | tuple) for kind in kinds):
        return set().union(*[_kinds(item, depth - 1) for item in data])
    return kinds


def _sizes(data) -> list[int]:
    """The length of the sequence, of its first item, of that one's first, ..."""
    sizes = []
    while _is_sequence(data):
        sizes.append(len(data))
        if len(sizes) > 128:                                                    # as a text, which consists of texts
            raise ValueError(f"too many dimensions '{type(data).__name__}'")
        if not sizes[-1]:
            break
        try:
            data = data[0]
        except Exception:
            raise ValueError(f"could not determine the shape of object type '{type(data).__name__}'") from None
    return sizes


def _inferred(data) -> np.dtype:
    """The dtype in which all leaves meet."""
    if isinstance(data, np.ndarray | np.generic):
        return dtypes.of(data.dtype).numpy
    if isinstance(data, bool | int | float):
        return dtypes.python_scalar(data)
    if isinstance(data, Variable):
        return data.array.dtype
    if isinstance(data, complex):
        raise TypeError("minigrad has no complex numbers")
    if isinstance(data, str | bytes):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    if is_torchs(data):
        raise TypeError(f"expected a {tensor_not(data)}")
    if not _is_sequence(data):
        raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")
    common = None
    for i in range(len(data)):
        if data[i] is data:
            raise TypeError("new(): self-referential lists are incompatible")
        dtype = _inferred(data[i])
        common = dtype if common is None else dtypes.promote_numpy(common, dtype)
    return common or dtypes.get_default_dtype().numpy


def _store(out: np.ndarray, data, dim: int = 0) -> None:
    """Write nested sequences to the array, which has the sizes of the first of them."""
    if isinstance(data, np.ndarray) and (data.dtype, data.shape) == (out.dtype, out.shape):
        out[...] = data
        return
    if not out.ndim:
        out[...] = _leaves([data], out.dtype)[0]
        return
    try:
        items = list(data)
    except TypeError:
        raise TypeError("not a sequence") from None
    if len(items) != len(out):
        raise ValueError(f"expected sequence of length {len(out)} at dim {dim} (got {len(items)})")
    if out.ndim == 1:
        out[...] = _leaves(items, out.dtype)
    else:
        for part, item in zip(out, items, strict=True):
            _store(part, item, dim + 1)


def _leaves(items: list, dtype: np.dtype) -> np.ndarray:
    """Each as a double, as an integer of 64 bits or as a truth value, and then in the dtype."""
    if dtype.kind == "f":
        return _converted(np.array(array_of("d", items)), dtype)
    if dtype.kind == "b":
        own = float | complex | np.bool_
        return np.array([(x if isinstance(x, own) else as_index(x)) != 0 for x in items], bool)
    out = np.empty(len(items), dtype)
    for i, x in enumerate(items):
        try:
            number = np.float64(x) if isinstance(x, float) else np.int64(as_index(x))
        except OverflowError:
            raise ValueError("Overflow when unpacking long long") from None
        out[i] = _converted(np.asarray(number), dtype)
    return out


def _converted(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if array.dtype == dtype:
        return array
    if dtype.kind in "iu":
        _check_range(array, dtype)
    with np.errstate(all="ignore"):
        return dtypes.towards(array, dtype).astype(dtype, copy=False)


def _check_range(array: np.ndarray, dtype: np.dtype) -> None:
    """Numbers must fit their integer type; integers may be negative where it is unsigned, as they wrap."""
    info = np.iinfo(dtype)
    low = int(info.min) if dtype.kind == "i" or array.dtype.kind == "f" else -int(info.max)
    if array.size and not (low <= array.min() and array.max() <= info.max):
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")


def as_tensor(data, dtype: dtypes.dtype | None = None, device: device | str | None = None) -> Tensor:
    """The data as a tensor, copied only if need be: an array's memory is shared, a tensor stays what it is."""
    check_device(device)
    if isinstance(data, np.ndarray):
        data = from_numpy(data)
    if isinstance(data, Variable):
        return data if dtype is None or dtype is data.dtype else data.to(dtype)
    return wrap(_copied(data, dtype))


def asarray(obj, *, dtype: dtypes.dtype | None = None, device: device | str | None = None, copy: bool | None = None,
            requires_grad: bool = False) -> Tensor:
    """as_tensor, with a say in whether memory is shared."""
    if copy is False and not isinstance(obj, Variable | np.ndarray):
        raise ValueError("can't alias arbitrary sequence or scalar: copy=False needs a tensor or an array")
    t = as_tensor(obj, dtype, device)
    if copy is False and t.dtype is not as_tensor(obj).dtype:
        raise ValueError("can't alias: the dtype differs, so copy=False cannot be had")
    shared = t is obj or (isinstance(obj, np.ndarray) and np.may_share_memory(t.array, obj))
    if copy and shared:
        t = t.clone()
    if requires_grad:
        t = t.detach() if t is obj else t
        t.requires_grad = True
    elif t is obj and t.requires_grad:
        t = t.detach()
    return t


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor that shares the array's memory."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    if not ndarray.flags.writeable:
        warnings.warn("The given NumPy array is not writable, and writing to this tensor will fail. You may want to "
                      "copy the array to protect its data or make it writable before converting it to a tensor.",
                      stacklevel=2)
    array = _check_array(ndarray)
    if isinstance(array.base, np.ndarray):           # as in torch, the tensor's storage is the array, and no more
        array = np.asarray(memoryview(array))
    return wrap(array)


def from_dlpack(ext_tensor, *, device=None, copy: bool | None = None) -> Tensor:
    """A tensor that shares the memory of another library's."""
    return from_numpy(np.from_dlpack(ext_tensor, **{} if copy is None else {"copy": copy}))


def _check_array(array: np.ndarray) -> np.ndarray:
    """What torch asks of an array's layout."""
    if not array.dtype.isnative:
        raise ValueError("given numpy array has byte order different from the native byte order. Conversion between "
                         "byte orders is currently not supported.")
    dtypes.of(array.dtype)
    if any(s < 0 for s in array.strides):
        raise ValueError("At least one stride in the given numpy array is negative, and tensors with negative strides "
                         "are not currently supported. (You can probably work around this by making a copy of your "
                         "array  with array.copy().)")
    if any(s % array.itemsize for s in array.strides):
        raise ValueError("given numpy array strides not a multiple of the element byte size. Copy the numpy array to "
                         "reallocate the memory.")
    return array if type(array) is np.ndarray else array.view(np.ndarray)


def scalar_tensor(s: float, *, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    """A 0-dim tensor."""
    return _made("scalar_tensor", filled("scalar_tensor", (), s, _numpy_dtype("scalar_tensor", dtype)), options)


# ---- filled -----------------------------------------------------------------------------------------------------

def zeros(*size: Ints, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    array = _allocated("zeros", np.zeros, _size("zeros", size, options), _numpy_dtype("zeros", dtype))
    return _made("zeros", array, options)


def ones(*size: Ints, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    array = _allocated("ones", np.ones, _size("ones", size, options), _numpy_dtype("ones", dtype))
    return _made("ones", array, options)


def empty(*size: Ints, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    """Whatever the memory holds."""
    array = _allocated("empty", np.empty, _size("empty", size, options), _numpy_dtype("empty", dtype))
    return _made("empty", array, options)


def full(size: Sequence[int], fill_value: float, *, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    """So many copies of one value, in its dtype unless another is given."""
    if not isinstance(size, Sequence) or isinstance(size, str):
        raise TypeError(f"full(): argument 'size' (position 1) must be tuple of ints, not {type(size).__name__}")
    fill_value = _number("full", "fill_value", fill_value, 2)
    default = None if dtype else dtypes.python_scalar(fill_value)
    array = filled("full", _size("full", (size,), {}), fill_value, _numpy_dtype("full", dtype, default))
    return _made("full", array, options)


def filled(name: str, size: tuple[int, ...], value, dtype: np.dtype) -> np.ndarray:
    value = as_scalar(_number(name, "fill_value", value, 2), dtype)
    array = _allocated(name, np.empty, size, dtype)
    array[...] = value
    return array


def _number(name: str, argument: str, x, position: int = 1):
    """A Python number; a 0-dim tensor stands for one."""
    if isinstance(x, Variable) and x.array.ndim == 0:
        return x.array.item()
    if isinstance(x, np.generic):
        return x.item()
    if not isinstance(x, bool | int | float):
        raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be Number, not {type(x).__name__}")
    return number(x)


def _like(name: str, input: Tensor, make, dtype, options: dict) -> Tensor:
    if not isinstance(input, Variable):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be {tensor_not(input)}")
    like, format = input.array, options.get("memory_format") or preserve_format
    if format is not preserve_format:
        order = memory_order(like.ndim, format)
        like = empty_in(range(like.ndim) if order is None else order, like.shape, like.dtype)
    elif not like.flags.c_contiguous:
        like = empty_for(like.shape, like.dtype, like)
    return _made(name, make(like, _numpy_dtype(name, dtype, like.dtype)), options)


def zeros_like(input: Tensor, *, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    return _like("zeros_like", input, np.zeros_like, dtype, options)


def ones_like(input: Tensor, *, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    return _like("ones_like", input, np.ones_like, dtype, options)


def empty_like(input: Tensor, *, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    return _like("empty_like", input, np.empty_like, dtype, options)


def full_like(input: Tensor, fill_value: float, *, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    def make(like, dtype):
        array = np.empty_like(like, dtype)
        array[...] = filled("full_like", (), fill_value, dtype)
        return array
    return _like("full_like", input, make, dtype, options)


def eye(n: int, m: int | None = None, *, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    """Ones on the diagonal, zeros elsewhere."""
    for name, size in (("n", n), ("m", m)):
        if size is not None and as_int("eye", name, size) < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {size}")
    with Quiet():
        array = np.eye(n, m, dtype=_numpy_dtype("eye", dtype))
    return _made("eye", array, options)


# ---- sequences --------------------------------------------------------------------------------------------------

def arange(*range: float, start: float = 0, end: float | None = None, step: float = 1,
           dtype: dtypes.dtype | None = None, **options) -> Tensor:
    """Numbers from start (0) to before end, a step (1) apart: arange(end) or arange(start, end, step)."""
    if len(range) == 1 and end is None:
        end = range[0]
    elif range:
        start, end, step = (*range, *(end, step)[len(range) - 1:])[:3] if len(range) < 4 else _too_many("arange", range)
    if end is None:
        raise TypeError('arange() missing 1 required positional arguments: "end"')
    start, end, step = (_number("arange", k, v) for k, v in (("start", start), ("end", end), ("step", step)))
    whole = not any(isinstance(x, float) for x in (start, end, step))
    default = np.dtype(np.int64) if whole else dtypes.get_default_dtype().numpy
    default = options["out"].array.dtype if options.get("out") is not None else default
    dtype = _numpy_dtype("arange", dtype, default)
    if dtype.kind == "b":
        raise NotImplementedError("\"arange_cpu\" not implemented for 'Bool'")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * (1 if step > 0 else -1) < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if dtype == np.int64 or whole:
        start, end, step = int(start), int(end), int(step)
        if step == 0:
            raise ValueError("step must be nonzero")
        if max(abs(start), abs(end)) >= 2**63:
            raise RuntimeError("value cannot be converted to type int64_t without overflow")
        count = -((start - end) // step)
    else:
        count = math.ceil((end - start) / step)
    if dtype.kind != "f":
        start, step = int(start), int(step)
    with Quiet():
        if float(start).is_integer() and float(step).is_integer():
            array = (start + step * np.arange(count)).astype(dtype, copy=False)
        else:
            array = _steps(start, step, count, dtype)
    return _made("arange", array, options)


def _steps(start: float, step: float, count: int, dtype: np.dtype) -> np.ndarray:
    """start + k step, to the last bit as torch's loop has it: it goes by pairs of vectors of 32 bytes, rounds what each
    vector begins with, and adds to that; what is left over it computes one by one."""
    wide = np.dtype(np.float32 if dtype == np.float16 else np.float64)
    lanes = 32 // dtype.itemsize
    places = np.arange(count, dtype=np.float64)
    out = _fused(step, places, start, wide).astype(dtype)
    head = places[:count // (2 * lanes) * (2 * lanes)]
    lane = head % lanes
    out[:len(head)] = _fused(step, lane, _fused(step, head - lane, start, wide).astype(dtype), wide)
    return out


def _fused(a, b, c, dtype: np.dtype) -> np.ndarray:
    """a b + c, rounded once, as processors compute it: in a wider type, so far as NumPy has one."""
    a, b, c = (np.asarray(x).astype(dtype) for x in (a, b, c))
    if dtype == np.float16:
        return a * b + c                                     # rounded twice: there is no such instruction
    a, b, c = (x.astype(np.float64 if dtype == np.float32 else np.longdouble) for x in (a, b, c))
    return (a * b + c).astype(dtype)


def _too_many(name: str, given: tuple):
    raise TypeError(f"{name}() takes at most 3 positional arguments ({len(given)} given)")


def linspace(start: float, end: float, steps: int, *, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    """So many numbers from start to end, evenly spaced."""
    dtype = _numpy_dtype("linspace", dtype)
    return _made("linspace", _spaced("linspace", start, end, steps, dtype, dtype).astype(dtype, copy=False), options)


def logspace(start: float, end: float, steps: int, base: float = 10.0, *, dtype: dtypes.dtype | None = None,
             **options) -> Tensor:
    """base to the power of so many evenly spaced numbers."""
    dtype = _numpy_dtype("logspace", dtype)
    with np.errstate(all="ignore"):
        array = np.power(float(base), _spaced("logspace", start, end, steps, dtype, np.dtype(float))).astype(dtype)
    return _made("logspace", array, options)


def _spaced(name: str, start, end, steps, wanted: np.dtype, dtype: np.dtype) -> np.ndarray:
    """Counted from the start in the first half, from the end in the second, so that both ends are exact; in `dtype`,
    for a result that is wanted in another."""
    ends = {"start": start, "end": end}
    for k, x in ends.items():
        if isinstance(x, Variable) and x.array.ndim:
            raise RuntimeError(f"{name} only supports 0-dimensional start and end tensors, but got {k} with "
                               f"{x.array.ndim} dimension(s).")
    count = as_int(name, "steps", steps)
    if count < 0:
        raise RuntimeError("number of steps must be non-negative")
    if count > 1 and wanted.kind == "b":
        raise NotImplementedError(f'"{name}_cpu" not implemented for \'Bool\'')
    if count == 1:
        ends["end"] = start
    real = dtype if dtype.kind == "f" else np.dtype(np.float64)
    with Quiet():
        start, end = (as_scalar(_number(name, k, x), dtype).astype(real) for k, x in ends.items())
        places = np.arange(count)
        step = (end - start) / real.type(max(count - 1, 1))
        from_start, from_end = _fused(step, places, start, real), _fused(-step, count - 1 - places, end, real)
        return np.where(places < count // 2, from_start, from_end)


def _triangle_indices(name: str, row: int, col: int, offset: int, find, dtype, options: dict) -> Tensor:
    for k, n in (("row", row), ("col", col)):
        if n < 0:
            raise RuntimeError(f"{k} must be non-negative, got{n}")
    dtype = _numpy_dtype(name, dtype, np.dtype(np.int64))
    if dtype.kind not in "iu":
        raise NotImplementedError(f"\"{name}\" not implemented for '{dtypes.of(dtype).tensor_type}'")
    with Quiet():
        array = np.stack(find(row, offset, col)).astype(dtype)
    return _made(name, array, options)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    """The rows and columns of a lower triangle."""
    return _triangle_indices("tril_indices", row, col, offset, np.tril_indices, dtype, options)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    """The rows and columns of an upper triangle."""
    return _triangle_indices("triu_indices", row, col, offset, np.triu_indices, dtype, options)


# ---- with the dtype of another ----------------------------------------------------------------------------------

def new_zeros(self: Tensor, *size: Ints, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    return zeros(*size, dtype=dtype or self.dtype, **options)


def new_ones(self: Tensor, *size: Ints, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    return ones(*size, dtype=dtype or self.dtype, **options)


def new_empty(self: Tensor, *size: Ints, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    return empty(*size, dtype=dtype or self.dtype, **options)


def new_full(self: Tensor, size: Sequence[int], fill_value: float, *, dtype: dtypes.dtype | None = None,
             **options) -> Tensor:
    return full(size, fill_value, dtype=dtype or self.dtype, **options)


def new_tensor(self: Tensor, data, *, dtype: dtypes.dtype | None = None, **options) -> Tensor:
    return _made("new_tensor", _copied(data, dtype or self.dtype), options)


class Methods:
    __slots__ = ()

    new_zeros, new_ones, new_empty, new_full, new_tensor = new_zeros, new_ones, new_empty, new_full, new_tensor


def of_default_dtype(data, *more) -> np.ndarray:
    """What torch.Tensor makes of its arguments: sizes, or data in the default dtype."""
    dtype = dtypes.get_default_dtype()
    sizes = (data, *(n for n in more if n is not False))
    if all(isinstance(n, int) and not isinstance(n, bool) for n in sizes):
        return np.zeros(sizes, dtype.numpy)
    if isinstance(data, Size):
        return np.zeros(data, dtype.numpy)
    if isinstance(data, Variable):
        if data.dtype is not dtype:
            raise TypeError(f"expected {dtype.tensor_type} (got {data.dtype.tensor_type})")
        return data.array
    if not isinstance(data, list | tuple):
        raise TypeError(f"new(): data must be a sequence (got {type(data).__name__})")
    return tensor(data, dtype=dtype).array
