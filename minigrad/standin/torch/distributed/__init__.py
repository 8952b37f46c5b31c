"""torch.distributed where it was not built: one process, and no way to more."""

from __future__ import annotations


def is_available() -> bool:
    return False


def is_initialized() -> bool:
    return False


def is_nccl_available() -> bool:
    return False


is_gloo_available = is_mpi_available = is_torchelastic_launched = is_nccl_available


def get_rank(group=None) -> int:
    return _refuse()


get_world_size = get_rank


def _refuse(*args, **kwargs):
    raise ValueError("Default process group has not been initialized: minigrad runs in one process, and "
                     "torch.distributed.is_available() is False")


def init_process_group(*args, **kwargs):
    raise RuntimeError("minigrad runs in one process: torch.distributed.is_available() is False")


destroy_process_group = all_reduce = all_gather = broadcast = barrier = reduce = scatter = gather = _refuse
all_gather_object = broadcast_object_list = new_group = all_to_all = reduce_scatter = send = recv = _refuse
get_backend = all_gather_into_tensor = reduce_scatter_tensor = _refuse


class ReduceOp:
    SUM, AVG, PRODUCT, MIN, MAX, BAND, BOR, BXOR = range(8)


class ProcessGroup:
    """Nothing is one here."""


class group:
    WORLD = None


from . import nn as nn  # noqa: E402
