"""The book's pretraining run: on the NumPy engine, to the digit."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import settings

from gpt.config import GPT2Config
from gpt.tokenizers import get_tokenizer
from train import book

CACHE = os.environ.get("MINIGRAD_CACHE", "")
MISSING = [name for name, there in (
    ("TIKTOKEN_CACHE_DIR with GPT-2's vocabulary", os.environ.get("TIKTOKEN_CACHE_DIR")),
    ("MINIGRAD_CACHE with the-verdict.txt", CACHE and (Path(CACHE) / "the-verdict.txt").is_file())) if not there]
needs_data = pytest.mark.skipif(bool(MISSING), reason=f"this needs {' and '.join(MISSING)}")
DEEP = settings.get_current_profile_name() == "deep"


@needs_data
def test_the_golden_log():
    """The first evaluations; in the deep tests all of them, and the last sample."""
    config, lines, samples = GPT2Config(context_length=book.CONTEXT), [], []
    for event in book.train(book.RECIPES["5"], book.story(), get_tokenizer("gpt2"), config):
        (lines if isinstance(event, book.Evaluation) else samples).append(str(event))
        if not DEEP and len(lines) == 2:
            break
    assert lines == book.GOLDEN[:len(lines)]
    assert len(lines) == (len(book.GOLDEN) if DEEP else 2)
    if DEEP:
        assert samples[-1].startswith('Every effort moves you know," was one of the axioms he laid down across the '
                                      "Sevres and silver of an exquisitely appointed luncheon-table")


@needs_data
def test_the_story_is_the_books():
    story, tokenizer = book.story(), get_tokenizer("gpt2")
    assert (len(story), len(tokenizer.encode(story))) == (20479, 5145)


class Bytes:
    """A tokenizer that needs no file."""
    encode = staticmethod(lambda text: list(text.encode()))
    decode = staticmethod(lambda ids: bytes(ids).decode("latin1"))


TINY = GPT2Config(vocab_size=256, context_length=32, emb_dim=16, n_heads=2, n_layers=1)
STORY = "".join(f"{n} bottles of beer on the wall. " for n in range(24))


@pytest.mark.parametrize("recipe", ["5", "D"])
def test_both_engines_print_the_same_log(recipe):
    """On a small scale, where all of it takes a second: every draw of the loaders, of dropout and of the model."""
    short = replace(book.RECIPES[recipe], epochs=2, warmup=min(book.RECIPES[recipe].warmup, 9))
    logs = {engine: [str(event) for event in book.train(short, STORY, Bytes(), TINY, engine)]
            for engine in ("numpy", "torch")}
    assert logs["numpy"] == logs["torch"] and len(logs["numpy"]) >= 6


def test_appendix_ds_learning_rates():
    """27 steps up from 1e-5 to 1e-3, and down again along a cosine; the figures the appendix plots."""
    recipe, steps = book.RECIPES["D"], 135
    rates = [recipe.learning_rate(step, steps) for step in range(steps + 1)]
    assert (rates[0], rates[27], rates[135]) == (pytest.approx(1e-5), 1e-3, pytest.approx(1e-5))
    assert all(b - a == pytest.approx((1e-3 - 1e-5) / 27) for a, b in pairwise(rates[:28]))
    for step in range(27, 136):
        assert rates[step] == pytest.approx(1e-5 + (1e-3 - 1e-5) * math.cos(math.pi / 2 * (step - 27) / 108) ** 2)
