"""The loop's engine on PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import train.engines as shared
from train.config import TrainConfig


class Engine(shared.Engine):
    torch, name = torch, "torch"

    def __init__(self, config: TrainConfig) -> None:
        self.device = "cpu"
        if config.threads:
            torch.set_num_threads(config.threads)
        if config.deterministic:
            torch.use_deterministic_algorithms(True)

    def build(self, config: Any, seed: int, recompute: bool = False) -> Any:
        return super().build(config, seed, recompute).to(self.device)

    def adam_options(self, config: TrainConfig) -> dict[str, Any]:
        return {"fused": config.fused}

    def tensor(self, ids: np.ndarray) -> Any:
        return super().tensor(ids).to(self.device)

    def array(self, t: Any) -> np.ndarray:
        return t.detach().cpu().numpy()
