"""What differs between the engines, for the loop: numpy.py and torch.py have the same class with the same methods.

This module holds what does not differ, because both engines have torch's names.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar

import numpy as np

import gpt
from gpt.config import Config
from train.config import TrainConfig
from train.errors import RankError, UserError

Arrays = dict[str, np.ndarray]
T = TypeVar("T")


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
        """What `loss` is given in training: the model, compiled and distributed as configured."""
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

    def feed(self, batches: Any, step: int, number: int) -> tuple[Any, Any]:
        """Inputs and targets (B, T) of a micro-batch, on the device."""
        ids, targets = batches.micro(step, number)
        return self.tensor(ids), self.tensor(targets)

    def loss(self, model: Any, ids: Any, targets: Any) -> Any:
        """Cross-entropy per token of (B, T) targets."""
        logits = model(ids)                                                               # (B, T) -> (B, T, V)
        return self.torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def autocast(self) -> AbstractContextManager:
        return nullcontext()

    def accumulating(self, trained: Any, last: bool) -> AbstractContextManager:
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

    def steps_made(self, steps: int) -> int:
        """How many of the loop's steps the optimizer has made. (In fp16 it leaves some out.)"""
        return steps

    def state(self) -> dict[str, Any]:
        """What else makes the next step what it is, as JSON."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        pass

    # ---- several processes ----------------------------------------------------------------------------------------

    def mean(self, value: float) -> float:
        """Of all ranks."""
        return value

    def most(self, value: int) -> int:
        """Of all ranks."""
        return value

    def first(self, function: Callable[[], T]) -> T:
        """What the function gives on rank 0, and is called only there; if it fails there, all ranks end."""
        return function()

    def in_turn(self, function: Callable[[], T]) -> T:
        """Called on rank 0, then on all others: what the first has fetched is there for them."""
        return function()

    def explain(self, error: Exception) -> Exception:
        """A better one than this, if it can be said what it means."""
        if isinstance(error, MemoryError) or "you tried to allocate" in str(error):
            return RankError(f"{self.device} has too little memory ({in_a_line(error)}): a smaller model or "
                             "--micro-batch needs less, and so does --activation-checkpointing; tokenize takes texts "
                             "that do not fit")
        return error

    def close(self) -> None:
        pass

    # ---- what is kept ---------------------------------------------------------------------------------------------

    def weights(self, model: Any) -> Arrays:
        """Parameters by name, a tied one once. (All ranks call this, and only rank 0 has arrays.)"""
        return {name: self.gather(p) for name, p in model.named_parameters()}

    def moments(self, model: Any, optimizer: Any) -> Arrays:
        """AdamW's means by parameter. (All ranks call this.)"""
        return {f"{key}.{name}": self.gather(optimizer.state[p][key]) for name, p in model.named_parameters()
                for key in ("exp_avg", "exp_avg_sq") if p in optimizer.state}

    def load_weights(self, model: Any, weights: Arrays) -> None:
        """The weights are rank 0's. (All ranks call this.)"""
        with self.torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(self.spread(weights.get(name), p))

    def load_moments(self, model: Any, optimizer: Any, moments: Arrays, steps: int) -> None:
        """`steps` is how many the optimizer has made; the moments are rank 0's. (All ranks call this.)"""
        kept = self.first(lambda: set(moments))
        names = {p: name for name, p in model.named_parameters()}
        order = [p for group in optimizer.param_groups for p in group["params"]]
        state = {i: {"step": self.torch.tensor(float(steps)),
                     **{key: self.spread(moments.get(f"{key}.{names[p]}"), p) for key in ("exp_avg", "exp_avg_sq")}}
                 for i, p in enumerate(order) if f"exp_avg.{names[p]}" in kept}
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def gather(self, t: Any) -> Any:
        """All of a tensor, as rank 0's array; None elsewhere."""
        return self.array(t)

    def spread(self, array: Any, like: Any) -> Any:
        """Rank 0's array as a tensor that lies on the ranks as `like` does."""
        return self.torch.from_numpy(array)

    def array(self, t: Any) -> np.ndarray:
        return t.detach().numpy()

    # ---- speed ---------------------------------------------------------------------------------------------------

    def peak(self) -> tuple[float, str]:
        """FLOP/s that the device can do, and where the figure is from."""
        return measured_peak(lambda a, b, out: np.matmul(a, b, out=out)), "measured in a float32 matrix product"


def in_a_line(error: Exception) -> str:
    """Its first paragraph."""
    return " ".join(str(error).strip().partition("\n\n")[0].split()) or type(error).__name__


def measured_peak(matmul: Any, n: int = 768, rounds: int = 8) -> float:
    import time
    a, b, out = (np.full((n, n), 0.5, np.float32) for _ in range(3))
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        matmul(a, b, out)
        best = min(best, time.perf_counter() - start)
    return 2 * n ** 3 / best
