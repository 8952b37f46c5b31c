"""Text from a model in training."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpt.tokenizers import Tokenizer
from train.config import TrainConfig
from train.data import mix
from train.engines import Engine


def sample(engine: Engine, model: Any, tokenizer: Tokenizer, config: TrainConfig, step: int) -> str:
    """The prompt and what the model makes of it. All ranks call this, and draw the same."""
    try:
        ids = tokenizer.encode_ordinary(config.sample_prompt)
    except ValueError:                               # the prompt has a character that the vocabulary has not
        ids = []
    ids = ids or [tokenizer.eot_token or 0]
    rng = np.random.default_rng(mix(config.seed, step, 1))
    model.eval()
    with engine.torch.no_grad():
        for _ in range(config.sample_tokens):
            seen = engine.tensor(np.array([ids[-model.config.context_length:]]))                 # (1, T)
            with engine.autocast():
                logits = model(seen)[0, -1]                                                      # (1, T, V) -> (V,)
            ids.append(draw(engine.array(logits.float()).astype(np.float64), config.temperature, config.top_k, rng))
            if ids[-1] == tokenizer.eot_token:
                break
    model.train()
    return tokenizer.decode(ids)


def draw(logits: np.ndarray, temperature: float, top_k: int, rng: np.random.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    if 0 < top_k < len(logits):
        logits = np.where(logits < np.partition(logits, -top_k)[-top_k], -np.inf, logits)
    weights = np.exp((logits - logits.max()) / temperature)
    return int(rng.choice(len(weights), p=weights / weights.sum()))
