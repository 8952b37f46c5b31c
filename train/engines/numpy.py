"""The loop's engine on NumPy: minigrad, one process, the CPU."""

from __future__ import annotations

import os
from typing import Any

import minigrad
import train.engines as shared
from train.config import TrainConfig
from train.errors import UserError


class Engine(shared.Engine):
    torch, name = minigrad, "numpy"

    def __init__(self, config: TrainConfig) -> None:
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            raise UserError("torchrun starts several processes, and the numpy engine is one: add --engine torch, or "
                            "start it by python")
        if config.device not in ("auto", "cpu"):
            raise UserError(f"--device {config.device}: the numpy engine computes on the cpu; --engine torch has "
                            "others")
        if config.precision not in ("auto", "fp32"):
            raise UserError(f"--precision {config.precision}: the numpy engine computes in fp32; --engine torch has "
                            "bf16 and fp16")
        if config.compile:
            raise UserError("--compile is for --engine torch: NumPy has nothing to compile")
        if config.threads:
            minigrad.set_num_threads(config.threads)

    def loss(self, model: Any, ids: Any, targets: Any) -> Any:
        """The head and the loss as one op, which never holds all (B, T, V) logits."""
        x = model.features(ids).flatten(0, 1)                                    # (B, T) -> (B, T, C) -> (B T, C)
        return minigrad.nn.functional.linear_cross_entropy(x, model.out_head.weight, targets.flatten())
