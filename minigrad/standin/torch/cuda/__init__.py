"""torch.cuda on a machine without: counts are zero, and what needs a device says that there is none."""

from __future__ import annotations

from contextlib import contextmanager

from . import amp as amp

__all__ = ["current_device", "get_device_capability", "get_device_name", "get_device_properties", "is_initialized",
           "max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved", "set_device"]

default_generators = ()
has_half = has_magma = False


class OutOfMemoryError(RuntimeError):
    """Never raised here."""


def _refuse(*args, **kwargs):
    raise AssertionError("Torch not compiled with CUDA enabled: minigrad runs on the CPU, with NumPy")


current_device = current_stream = default_stream = get_device_name = get_device_capability = _refuse
get_device_properties = set_device = get_rng_state = set_rng_state = _refuse
mem_get_info = synchronize = Event = Stream = _refuse


def _nothing(*args, **kwargs) -> None:
    """There is nothing to do."""


init = empty_cache = ipc_collect = reset_peak_memory_stats = reset_max_memory_allocated = _nothing
manual_seed = manual_seed_all = seed = seed_all = set_per_process_memory_fraction = _nothing


def _zero(*args, **kwargs) -> int:
    return 0


memory_allocated = max_memory_allocated = memory_reserved = max_memory_reserved = memory_cached = _zero
utilization = _zero


def is_initialized() -> bool:
    return False


def is_current_stream_capturing() -> bool:
    return False


def get_rng_state_all() -> list:
    return []


def set_rng_state_all(new_states) -> None:
    """No states to set."""
    if len(list(new_states)):
        _refuse()


def get_arch_list() -> list[str]:
    return []


def memory_stats(device=None) -> dict:
    return {}


@contextmanager
def device(device):
    """Where there is no device, its context is none, too."""
    yield


stream = device_of = device
