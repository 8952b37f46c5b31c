"""The processes that torchrun started, for the torch engine: DDP and FSDP2 of torch.distributed.

Alone, everything here is as if there were one rank. Numbers and decisions that all must share go over gloo, gradients
over what the device has (NCCL on NVIDIA GPUs).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from train.errors import UserError

T = TypeVar("T")
WAIT = timedelta(minutes=30)         # for one another: rank 0 may be fetching the data, or writing to a slow disk


@dataclass
class Group:
    rank: int = 0
    ranks: int = 1
    local_rank: int = 0              # on this machine
    local_ranks: int = 1
    ours: bool = field(default=False, init=False)        # the process group: we made it

    @classmethod
    def of_environment(cls) -> Group:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        return cls(*(int(os.environ[name]) for name in names)) if int(os.environ.get("WORLD_SIZE", 1)) > 1 else cls()

    def start(self, device: torch.device) -> None:
        self.ours = self.ranks > 1 and not dist.is_initialized()
        if self.ours:
            backend = "gloo" if device.type == "cpu" else \
                f"cpu:gloo,{device.type}:{dist.get_default_backend_for_device(device.type)}"
            dist.init_process_group(backend, timeout=WAIT)

    def close(self) -> None:
        if self.ours:
            dist.destroy_process_group()

    # ---- the model --------------------------------------------------------------------------------------------------

    def replicate(self, model: nn.Module, device: torch.device) -> nn.Module:
        """DDP: each rank has all of the model, and gradients are averaged while backward is still going on."""
        if self.ranks == 1:
            return model
        return DistributedDataParallel(model, device_ids=None if device.type == "cpu" else [device],
                                       gradient_as_bucket_view=True)

    def shard(self, model: nn.Module, device: torch.device) -> None:
        """FSDP2: each rank has a part of each parameter and of its moments; a block is whole while it is computed.

        Parameters are exchanged in fp32 and cast by autocast, as on one device, so that the losses are the same."""
        mesh: DeviceMesh = init_device_mesh(device.type, (self.ranks,))
        for block in model.trf_blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        register_fsdp_forward_method(model, "features")            # generation calls it

    def reshard(self, model: nn.Module) -> None:
        """A forward pass without a backward leaves the outermost parameters whole; parts are what is kept."""
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def accumulating(self, trained: nn.Module, last: bool) -> AbstractContextManager:
        if isinstance(trained, FSDPModule):
            trained.set_requires_gradient_sync(last)
        elif isinstance(trained, DistributedDataParallel) and not last:
            return trained.no_sync()
        return contextlib.nullcontext()

    # ---- tensors ----------------------------------------------------------------------------------------------------

    def whole(self, t: torch.Tensor) -> torch.Tensor:
        """All of a tensor that may be in parts. (All ranks call this.)"""
        return t.full_tensor() if isinstance(t, DTensor) else t

    def spread(self, whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Rank 0's tensor, on all ranks as `like` is: all of it, or a part on each."""
        if isinstance(like, DTensor):
            return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=0)
        if self.ranks > 1:
            dist.broadcast(whole, src=0)
        return whole

    # ---- numbers and decisions --------------------------------------------------------------------------------------

    def sum(self, value: float) -> float:
        return self._reduced(value, dist.ReduceOp.SUM)

    def most(self, value: int) -> int:
        return int(self._reduced(value, dist.ReduceOp.MAX))

    def _reduced(self, value: float, op: Any) -> float:
        if self.ranks == 1:
            return value
        t = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(t, op)
        return t.item()

    def first(self, function: Callable[[], T]) -> T:
        """What rank 0 gets, on all ranks. If a user's mistake comes out, rank 0 raises it and the others just end."""
        if self.ranks == 1:
            return function()
        error, said = None, [None, 0]                              # the result, the exit status
        if self.rank == 0:
            try:
                said[0] = function()
            except Exception as e:
                error, said[1] = e, 2 if isinstance(e, UserError) else 1
        dist.broadcast_object_list(said, src=0, device=torch.device("cpu"))
        if error:
            raise error
        if said[1]:
            raise SystemExit(said[1])
        return said[0]

    def in_turn(self, function: Callable[[], T]) -> T:
        done: list[T] = []
        self.first(lambda: done.append(function()))
        return done[0] if done else function()

    def lost(self, error: Exception) -> bool:
        """Whether it says that another rank is gone. (gloo has no class of its own for that.)"""
        return self.ranks > 1 and (isinstance(error, dist.DistError)
                                   or isinstance(error, RuntimeError) and "gloo" in str(error).lower())
