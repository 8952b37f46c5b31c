"""The loop's engine on PyTorch: one device, or this process's part of several (distributed.py).

What makes it fast is torch's own: autocast, torch.compile, the fused AdamW, pinned memory. What it computes stays
what the numpy engine computes: the same weights, batches and micro-batches, each from its own seed.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import nn

import train.engines as shared
from train.config import TrainConfig
from train.data import Batches
from train.engines.distributed import Group
from train.errors import LostRankError, RankError, UserError

# Dense bf16 (before that, fp16) FLOP/s with float32 sums, by datasheet, without sparsity; the first name that fits.
PEAKS = {"B200": 2250e12, "H200": 989e12, "GH200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12,
         "A100": 312e12, "A800": 312e12, "A40": 150e12, "A30": 165e12, "A10G": 70e12, "A10": 125e12, "L40S": 362e12,
         "L40": 181e12, "L4": 121e12, "V100": 125e12, "T4": 65e12, "RTX 4090": 165e12, "RTX 3090": 71e12}


class Engine(shared.Engine):
    torch, name = torch, "torch"

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.undo = config, contextlib.ExitStack()
        self.group = Group.of_environment()
        self.rank, self.ranks = self.group.rank, self.group.ranks
        self.device = find_device(config.device, self.group)
        self.amp = find_precision(config.precision, self.device)
        self.scaler, self.skipped = torch.amp.GradScaler(self.device.type, enabled=self.amp == torch.float16), 0
        self.sharded = config.parallel == "fsdp" and self.ranks > 1
        if self.device.type != "cpu":
            torch.accelerator.set_device_index(self.device.index)
        if self.device.type == "cuda" and config.tf32:
            self.set(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "high")
        if config.threads:
            self.set(torch.get_num_threads, torch.set_num_threads, config.threads)
        if config.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")        # read when cuBLAS starts
            self.set(torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True)
        self.reader, self.coming = ThreadPoolExecutor(1, "reader"), {}
        self.group.start(self.device)

    def set(self, get: Any, set: Any, value: Any) -> None:
        """One of torch's settings, until the engine is closed."""
        self.undo.callback(set, get())
        set(value)

    def close(self) -> None:
        self.reader.shutdown(wait=False, cancel_futures=True)
        self.group.close()
        self.undo.close()

    # ---- the model --------------------------------------------------------------------------------------------------

    def build(self, config: Any, seed: int, recompute: bool = False) -> Any:
        """Drawn on the CPU, for its stream is the same everywhere. Sharding takes it from there, block by block, so
        that no device ever holds all of it."""
        model = super().build(config, seed, recompute)
        return model if self.sharded else model.to(self.device)

    def prepare(self, model: Any) -> Any:
        """One device and DDP compile the model together with its loss, FSDP each block: its exchanges lie between."""
        if self.sharded:
            if self.config.compile:
                for block in model.trf_blocks:
                    block.compile(dynamic=False)
            self.group.shard(model, self.device)
            return model
        trained = Trained(model, super().loss)
        if self.config.compile:
            trained.compile(dynamic=False)         # few shapes: the micro-batch, and the last part of an evaluation
        self.trained = self.group.replicate(trained, self.device)
        return self.trained

    def loss(self, model: Any, ids: Any, targets: Any) -> Any:
        whole = isinstance(model, (Trained, nn.parallel.DistributedDataParallel))
        return model(ids, targets) if whole else super().loss(model, ids, targets)

    def adam_options(self, config: TrainConfig) -> dict[str, Any]:
        return {"fused": config.fused}

    # ---- a step -----------------------------------------------------------------------------------------------------

    def tensor(self, ids: np.ndarray) -> torch.Tensor:
        return self.pinned(ids).to(self.device, non_blocking=True)

    def pinned(self, ids: np.ndarray) -> torch.Tensor:
        """In memory that a GPU can fetch from by itself."""
        t = super().tensor(ids)
        return t.pin_memory() if self.device.type == "cuda" else t

    def feed(self, batches: Batches, step: int, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """While this micro-batch is computed with, the next one is read."""
        def read(step: int, number: int) -> Future:
            return self.reader.submit(lambda: [self.pinned(ids) for ids in batches.micro(step, number)])

        now = self.coming.pop((step, number), None) or read(step, number)
        following = number + self.ranks
        then = (step, following) if following < batches.micro_batches else (step + 1, self.rank)
        self.coming = {then: read(*then)}
        ids, targets = now.result()
        return ids.to(self.device, non_blocking=True), targets.to(self.device, non_blocking=True)

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, self.amp, enabled=self.amp is not None)

    def accumulating(self, trained: Any, last: bool) -> AbstractContextManager:
        return self.group.accumulating(trained, last)

    def backward(self, loss: torch.Tensor) -> None:
        self.scaler.scale(loss).backward()         # the scale keeps small fp16 gradients from becoming 0

    def gradient_norm(self, model: Any, optimizer: Any, clip: float) -> float:
        self.scaler.unscale_(optimizer)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = self.group.whole(nn.utils.get_total_norm(gradients))
        nn.utils.clip_grads_with_norm_(model.parameters(), clip or math.inf, norm)
        return norm.item()

    def ready_to_step(self, loss: float, norm: float) -> bool:
        """In fp16 gradients overflow when the scale is too high: the step is left out, and the scale halved."""
        return super().ready_to_step(loss, norm) or self.scaler.get_scale() > 1 and math.isfinite(loss)

    def step(self, optimizer: Any, lr: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr
        scale = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        self.skipped += self.scaler.get_scale() < scale
        optimizer.zero_grad()

    def steps_made(self, steps: int) -> int:
        return steps - self.skipped

    def state(self) -> dict[str, Any]:
        return {"scaler": self.scaler.state_dict(), "skipped": self.skipped} if self.scaler.is_enabled() else {}

    def load_state(self, state: dict[str, Any]) -> None:
        self.skipped = state.get("skipped", 0)
        if self.scaler.is_enabled() and "scaler" in state:
            self.scaler.load_state_dict(state["scaler"])

    # ---- what is kept -----------------------------------------------------------------------------------------------

    def weights(self, model: Any) -> shared.Arrays:
        self.group.reshard(model)
        return super().weights(model)

    def moments(self, model: Any, optimizer: Any) -> shared.Arrays:
        self.group.reshard(model)
        return super().moments(model, optimizer)

    def gather(self, t: torch.Tensor) -> np.ndarray | None:
        whole = self.group.whole(t.detach())       # tensor by tensor: one at a time is whole
        return whole.cpu().numpy() if self.rank == 0 else None

    def spread(self, array: np.ndarray | None, like: torch.Tensor) -> torch.Tensor:
        whole = torch.empty(like.shape, dtype=like.dtype) if array is None else torch.from_numpy(array)
        return self.group.spread(whole.to(like.device), like)

    def array(self, t: torch.Tensor) -> np.ndarray:
        return self.group.whole(t.detach()).cpu().numpy()

    # ---- several processes ------------------------------------------------------------------------------------------

    def mean(self, value: float) -> float:
        return self.group.sum(value) / self.ranks

    def most(self, value: int) -> int:
        return self.group.most(value)

    def first(self, function: Any) -> Any:
        return self.group.first(function)

    def in_turn(self, function: Any) -> Any:
        return self.group.in_turn(function)

    def explain(self, error: Exception) -> Exception:
        text = shared.in_a_line(error)
        if isinstance(error, torch.OutOfMemoryError):
            return RankError(f"{self.device} has too little memory ({text}): a smaller --micro-batch and "
                             "--activation-checkpointing need less, and on several GPUs --parallel fsdp")
        if isinstance(error, torch._dynamo.exc.TorchDynamoException):
            return RankError(f"--compile: torch.compile failed here ({text}): train without it")
        if self.group.lost(error):
            return LostRankError(f"rank {self.rank} of {self.ranks} lost another one ({text}). What was saved is "
                                 "whole: start again with --resume")
        return RankError(str(error)) if type(error) is UserError and self.rank else super().explain(error)

    # ---- speed ------------------------------------------------------------------------------------------------------

    def peak(self) -> tuple[float, str]:
        """Of all ranks."""
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
            known = [peak for part, peak in PEAKS.items() if re.search(rf"\b{part}\b", name)]
            flops, source = (known[0], f"dense bf16 of {name} by datasheet") if known else \
                (measured_bf16(self.device), f"measured in a bf16 product on {name}")
        else:
            product = lambda a, b, out: torch.mm(*map(torch.from_numpy, (a, b)), out=torch.from_numpy(out))
            flops, source = shared.measured_peak(product), "measured in a float32 matrix product"
        several = f", {self.ranks} of them" if self.ranks > 1 else ""
        return self.mean(flops) * self.ranks, source + several


class Trained(nn.Module):
    """A model and its loss in one module, so that a compiler sees both: logits need not be written out in full."""

    def __init__(self, model: nn.Module, loss: Any) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.loss(self.model, ids, targets)


def find_device(name: str, group: Group) -> torch.device:
    """The device that --device names: of several ranks on one machine, each has its own GPU."""
    there = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if there else 0
    try:
        device = (there or torch.device("cpu")) if name == "auto" else torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: devices are cpu, cuda, cuda:1 and so on; auto takes a GPU if there is one"
                        ) from None
    if device.type == "cpu":
        return torch.device("cpu")
    if there is None or device.type != there.type:
        raise UserError(f"--device {name}: torch {torch.__version__} finds no such device here: --device cpu, or "
                        f"auto, which takes {there.type if there else 'the cpu'}")
    if group.ranks > 1:
        if device.index is not None:
            raise UserError(f"--device {name} is one device for {group.ranks} ranks: --device {device.type} gives each "
                            "its own")
        if group.local_ranks > count:
            raise UserError(f"torchrun started {group.local_ranks} processes on a machine with {count} GPUs: give it "
                            f"--nproc-per-node {count}, or --device cpu")
    index = (group.local_rank if group.ranks > 1 else 0) if device.index is None else device.index
    if index >= count:
        raise UserError(f"--device {name}: there {'is' if count == 1 else 'are'} {count}, counted from "
                        f"{device.type}:0")
    return torch.device(device.type, index)


def find_precision(name: str, device: torch.device) -> torch.dtype | None:
    """What products are computed in under autocast; None is fp32."""
    has_bf16 = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and has_bf16 else None
    if name == "bf16" and not has_bf16:
        raise UserError(f"--precision bf16: {torch.cuda.get_device_name(device)} has none; fp16 and fp32 it has")
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def measured_bf16(device: torch.device, n: int = 8192, rounds: int = 10) -> float:
    a = torch.ones(n, n, device=device, dtype=torch.bfloat16)
    times = list(_timed(lambda: a @ a, rounds))
    return 2 * n ** 3 / min(times[2:])


def _timed(function: Any, rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        end.synchronize()
        yield start.elapsed_time(end) / 1000
