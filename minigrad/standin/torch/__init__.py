"""What scripts ask torch itself about the machine, compilers and modes: honest answers, and switches that switch
nothing. Its neighbours hold the same for torch's modules; everything else comes from minigrad."""

from __future__ import annotations

from collections.abc import Callable

from ... import creation, dtypes
from .amp import autocast, get_autocast_dtype, is_autocast_enabled
from .serialization import load, save
from .storage import (
    BFloat16Storage,
    BoolStorage,
    ByteStorage,
    CharStorage,
    DoubleStorage,
    FloatStorage,
    HalfStorage,
    IntStorage,
    LongStorage,
    ShortStorage,
)
from .version import __version__ as __version__

__all__ = [
    "BFloat16Storage", "BoolStorage", "ByteStorage", "CharStorage", "DoubleStorage", "FloatStorage", "HalfStorage",
    "IntStorage", "LongStorage", "ShortStorage",
    "are_deterministic_algorithms_enabled", "autocast", "get_autocast_dtype", "get_autocast_gpu_dtype",
    "get_default_device", "get_float32_matmul_precision", "get_num_interop_threads", "is_autocast_cache_enabled",
    "is_autocast_cpu_enabled", "is_autocast_enabled", "is_deterministic_algorithms_warn_only_enabled",
    "is_vulkan_available", "load", "save",
    "set_default_device", "set_default_tensor_type", "set_deterministic_debug_mode",
    "set_float32_matmul_precision", "set_flush_denormal", "set_num_interop_threads", "set_warn_always", "typename",
    "use_deterministic_algorithms",
]

_settings = {"matmul precision": "highest", "deterministic": False, "warn only": False}


def typename(obj) -> str:
    """A thing's type, by torch's name for it."""
    if isinstance(obj, creation.Variable):
        return obj.type()
    cls = obj if hasattr(obj, "__qualname__") else type(obj)
    return cls.__qualname__ if cls.__module__ in ("builtins", None) else f"{cls.__module__}.{cls.__qualname__}"


# ---- switches that switch nothing -------------------------------------------------------------------------------

def set_float32_matmul_precision(precision: str) -> None:
    """Single precision is all there is: "high" and "medium" are remembered, and not used."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"float32_matmul_precision must be one of 'highest', 'high' or 'medium', but got "
                           f"{precision!r}")
    _settings["matmul precision"] = precision


def get_float32_matmul_precision() -> str:
    return _settings["matmul precision"]


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """All algorithms here are deterministic."""
    _settings["deterministic"], _settings["warn only"] = mode, warn_only


def are_deterministic_algorithms_enabled() -> bool:
    return _settings["deterministic"]


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    return _settings["warn only"]


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    use_deterministic_algorithms(debug_mode not in (0, "default"), warn_only=debug_mode in (1, "warn"))


def set_warn_always(b: bool) -> None:
    """Nothing to switch."""


def set_flush_denormal(mode: bool) -> bool:
    """Not supported here, as on some machines: False says so."""
    return False


def get_num_interop_threads() -> int:
    return 1


def set_num_interop_threads(num: int) -> None:
    """Nothing to switch."""


# ---- defaults ---------------------------------------------------------------------------------------------------

def get_default_device() -> creation.device:
    return creation.CPU


def set_default_device(device: creation.device | str | None) -> None:
    """Only the CPU can be asked for."""
    creation.check_device(device)


def set_default_tensor_type(t: type | str) -> None:
    name = t if isinstance(t, str) else f"{t.__module__}.{t.__qualname__}"
    dtype = creation.dtype_of_type_name(name)
    if not dtype.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, got {name}")
    dtypes.set_default_dtype(dtype)


def get_autocast_gpu_dtype() -> dtypes.dtype:
    return dtypes.float16


def is_autocast_cpu_enabled() -> bool:
    return False


def is_autocast_cache_enabled() -> bool:
    return True


def is_vulkan_available() -> bool:
    return False


def vmap(func: Callable, in_dims: int | tuple = 0, out_dims: int | tuple = 0, randomness: str = "error", *,
         chunk_size: int | None = None) -> Callable:
    """torch.func.vmap."""
    from .func import vmap
    return vmap(func, in_dims, out_dims, randomness, chunk_size=chunk_size)
