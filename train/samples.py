"""Text from a model in training."""

from __future__ import annotations

import importlib
from typing import Any

from gpt.sampling import Sampling
from gpt.tokenizers import Tokenizer
from train.config import TrainConfig
from train.data import mix
from train.engines import Engine


def sample(engine: Engine, model: Any, tokenizer: Tokenizer, config: TrainConfig, step: int) -> str:
    """The prompt and what the model makes of it. It draws from a stream of its own, the same on both engines."""
    generate = importlib.import_module("gpt.generate" if engine.name == "numpy" else "gpt.mirror.generate")
    try:
        prompt = tokenizer.encode_ordinary(config.sample_prompt)
    except ValueError:                               # it has a character that the vocabulary has not
        prompt = []
    prompt = prompt or [tokenizer.eot_token or 0]
    generator = engine.torch.Generator(engine.device).manual_seed(mix(config.seed, step))
    ids = generate.generate(model, [prompt], config.sample_tokens, Sampling(config.temperature, config.top_k or None),
                            stop_tokens=[] if tokenizer.eot_token is None else [tokenizer.eot_token],
                            generator=generator)
    return tokenizer.decode(prompt + ids[0])
