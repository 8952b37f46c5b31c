"""What `python -m bench train` and `profile` measure: a training step of GPT-2, its sizes, its data and its work."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpt.config import GPT2Config

CONFIGS: dict[str, tuple[GPT2Config, int]] = {                # and the batch size
    "char": (GPT2Config(vocab_size=65, context_length=64, emb_dim=128, n_heads=4, n_layers=4, drop_rate=0.0), 12),
    "small": (GPT2Config(vocab_size=8192, context_length=256, emb_dim=384, n_heads=6, n_layers=6, drop_rate=0.0), 4),
    "book": (GPT2Config(context_length=256, drop_rate=0.0), 2),
}
SETTINGS = {"lr": 4e-4, "weight_decay": 0.1}
MAX_NORM = 1.0


def batches(config: GPT2Config, batch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random tokens: (B, T) ids, and the ids that follow."""
    rng = np.random.default_rng(0)
    while True:
        tokens = rng.integers(0, config.vocab_size, (batch, config.context_length + 1))
        yield np.ascontiguousarray(tokens[:, :-1]), np.ascontiguousarray(tokens[:, 1:])


# ---- its work ----------------------------------------------------------------------------------------------------

def products(config: GPT2Config, batch: int) -> list[tuple[int, int, int, int]]:
    """The step's products of (rows, inputs) and (inputs, outputs): how many of each. Each comes with two more in
    backward, by the weight and by the input, which are as large."""
    C, rows = config.emb_dim, batch * config.context_length
    return [(4 * config.n_layers, rows, C, C), (config.n_layers, rows, C, 4 * C), (config.n_layers, rows, 4 * C, C),
            (1, rows, C, config.vocab_size)]


def parameters(config: GPT2Config) -> int:
    C = config.emb_dim
    heads = (1 if config.tied else 2) * config.vocab_size * C
    return heads + config.context_length * C + config.n_layers * (12 * C * C + (10 + 3 * config.qkv_bias) * C) + 2 * C


def flops(config: GPT2Config, batch: int) -> float:
    """Of a step's products; causal attention's are half of the squares' (two products, and five in backward)."""
    dense = sum(3 * 2 * count * m * k * n for count, m, k, n in products(config, batch))
    T = config.context_length
    return dense + 7 * 2 * config.n_layers * batch * config.emb_dim * T * (T + 1) / 2
