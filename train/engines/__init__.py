"""What differs between the engines, for the loop: numpy.py and torch.py have the same class with the same methods.

This module holds what does not differ, because both engines have torch's names.
"""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np

import gpt
from gpt.config import Config
from train.config import TrainConfig
from train.errors import UserError

Arrays = dict[str, np.ndarray]


def start(config: TrainConfig) -> Engine:
    """The engine that --engine names, at work: its ranks know each other."""
    if config.engine == "torch" and importlib.util.find_spec("torch") is None:
        raise UserError("--engine torch needs PyTorch, which is not installed: pip install torch, or use --engine "
                        "numpy")
    return importlib.import_module(f"train.engines.{config.engine}").Engine(config)


class Engine:
    """One process's share of a run, on one device. `torch` is the engine's namespace, minigrad or torch."""

    torch: Any
    name: str
    device = "cpu"
    rank, ranks = 0, 1

    # ---- what both do ---------------------------------------------------------------------------------------------

    def build(self, config: Config, seed: int, recompute: bool = False) -> Any:
        """A model with the weights that `seed` draws: the same on both engines."""
        self.torch.manual_seed(seed)
        model = gpt.build(config, self.name)
        if recompute:
            from_here = importlib.import_module(f"{self.torch.__name__}.utils.checkpoint").checkpoint
            for block in model.trf_blocks:
                block.forward = partial(from_here, block.forward, use_reentrant=False)
        return model

    def prepare(self, model: Any) -> Any:
        """What is called in training: the model, compiled and distributed as configured."""
        return model

    def optimizer(self, model: Any, config: TrainConfig) -> Any:
        """AdamW; matrices decay, vectors do not."""
        named = dict(model.named_parameters())
        groups = [{"params": [p for p in named.values() if p.ndim >= 2], "weight_decay": config.weight_decay},
                  {"params": [p for p in named.values() if p.ndim < 2], "weight_decay": 0.0}]
        return self.torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, eps=config.eps,
                                      betas=(config.beta1, config.beta2), **self.adam_options(config))

    def adam_options(self, config: TrainConfig) -> dict[str, Any]:
        return {}

    def tensor(self, ids: np.ndarray) -> Any:
        """Token ids on the device."""
        return self.torch.from_numpy(np.ascontiguousarray(ids))

    def loss(self, model: Any, ids: Any, targets: Any) -> Any:
        """Cross-entropy per token of (B, T) targets."""
        logits = model(ids)                                                               # (B, T) -> (B, T, V)
        return self.torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def autocast(self) -> AbstractContextManager:
        return nullcontext()

    def accumulating(self, model: Any, last: bool) -> AbstractContextManager:
        """Ranks exchange gradients only in the last of several backwards."""
        return nullcontext()

    def backward(self, loss: Any) -> None:
        loss.backward()

    def gradient_norm(self, model: Any, optimizer: Any, clip: float) -> float:
        """The norm of all gradients, which are scaled down if it is larger than `clip`."""
        return self.torch.nn.utils.clip_grad_norm_(model.parameters(), clip or float("inf")).item()

    def step(self, optimizer: Any, lr: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        optimizer.zero_grad()

    def ready_to_step(self, loss: float, norm: float) -> bool:
        """Whether gradients are numbers. (In fp16 they may be not, once in a while: the scale goes down.)"""
        return bool(np.isfinite(loss) and np.isfinite(norm))

    def mean(self, value: float) -> float:
        """Of all ranks."""
        return value

    def any(self, value: bool) -> bool:
        """On any rank."""
        return value

    def close(self) -> None:
        pass

    # ---- what is kept ---------------------------------------------------------------------------------------------

    def weights(self, model: Any) -> Arrays:
        """Parameters by name, as arrays of this process, a tied one once. (All ranks call this.)"""
        return {name: self.array(p) for name, p in model.named_parameters()}

    def moments(self, model: Any, optimizer: Any) -> Arrays:
        """AdamW's means by parameter. (All ranks call this.)"""
        return {f"{key}.{name}": self.array(optimizer.state[p][key]) for name, p in model.named_parameters()
                for key in ("exp_avg", "exp_avg_sq") if p in optimizer.state}

    def load_weights(self, model: Any, weights: Arrays) -> None:
        with self.torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(self.torch.from_numpy(weights[name]))

    def load_moments(self, model: Any, optimizer: Any, moments: Arrays, steps: int) -> None:
        """`steps` is how many the optimizer has made."""
        names = {p: name for name, p in model.named_parameters()}
        order = [names[p] for group in optimizer.param_groups for p in group["params"]]
        state = {i: {"step": self.torch.tensor(float(steps)),
                     **{key: self.torch.from_numpy(moments[f"{key}.{name}"]) for key in ("exp_avg", "exp_avg_sq")}}
                 for i, name in enumerate(order) if f"exp_avg.{name}" in moments}
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def array(self, t: Any) -> np.ndarray:
        return t.detach().numpy()

    # ---- speed ---------------------------------------------------------------------------------------------------

    def peak(self) -> tuple[float, str]:
        """FLOP/s that the device can do, and where the figure is from."""
        return measured_peak(lambda a, b, out: np.matmul(a, b, out=out)), "measured in a float32 matrix product"


def measured_peak(matmul: Any, n: int = 768, rounds: int = 8) -> float:
    import time
    a, b, out = (np.full((n, n), 0.5, np.float32) for _ in range(3))
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        matmul(a, b, out)
        best = min(best, time.perf_counter() - start)
    return 2 * n ** 3 / best
