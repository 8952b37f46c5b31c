"""A vocabulary that grows, on both engines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gpt.mirror.resize
import gpt.resize
import minigrad
from gpt import build
from gpt.config import GPT2Config
from gpt.tokenizers import train_bpe

ENGINES = pytest.mark.parametrize("engine, torch_, resize", [
    ("numpy", minigrad, gpt.resize.resize_vocabulary), ("torch", torch, gpt.mirror.resize.resize_vocabulary)],
    ids=["numpy", "torch"])


def tiny(engine: str, tied: bool, V: int = 11):
    config = GPT2Config(vocab_size=V, context_length=8, emb_dim=6, n_heads=2, n_layers=1, drop_rate=0.0, tied=tied)
    return build(config, engine)


@ENGINES
@given(tied=st.booleans(), n=st.integers(1, 30), bias=st.booleans())
def test_old_tokens_keep_their_logits_and_new_ones_have_the_mean(engine, torch_, resize, tied, n, bias):
    torch_.manual_seed(3)
    model = tiny(engine, tied)
    if bias:
        model.out_head.bias = torch_.nn.Parameter(torch_.randn(11))
    ids = torch_.tensor([[0, min(n, 11) - 1, 0]])
    before = model(ids).detach().numpy()
    assert resize(model, n) is model
    after = model(ids).detach().numpy()
    same = min(n, 11)
    np.testing.assert_allclose(after[..., :same], before[..., :same], rtol=1e-6, atol=1e-6)
    expected = np.broadcast_to(before.mean(-1, keepdims=True), (1, 3, n - same))
    np.testing.assert_allclose(after[..., same:], expected, rtol=1e-5, atol=1e-6)

    assert (model.out_head.weight is model.tok_emb.weight) == tied
    assert (model.config.vocab_size, model.tok_emb.num_embeddings, model.out_head.out_features) == (n, n, n)
    assert str(n) in repr(model.tok_emb) and model.config == tiny(engine, tied, n).config
    if not bias:
        tiny(engine, tied, n).load_state_dict(model.state_dict())


@ENGINES
def test_with_a_tokenizer_that_has_grown(engine, torch_, resize):
    tokenizer = train_bpe("low lower lowest", 265)
    model = tiny(engine, True, tokenizer.n_vocab)
    more = tokenizer.with_special_tokens(["<|user|>", "<|bot|>"])
    resize(model, more.n_vocab)
    logits = model(torch_.tensor([more.encode("<|user|>low<|bot|>", allowed_special="all")]))
    assert logits.shape[-1] == more.n_vocab == tokenizer.n_vocab + 2
    logits.sum().backward()
    assert model.tok_emb.weight.grad.shape == (more.n_vocab, 6)


@ENGINES
def test_frozen_weights_stay_frozen_and_types_stay(engine, torch_, resize):
    model = tiny(engine, False).to(torch_.float64)
    model.tok_emb.weight.requires_grad_(False)
    resize(model, 13)
    assert not model.tok_emb.weight.requires_grad and model.out_head.weight.requires_grad
    assert model.tok_emb.weight.dtype == model.out_head.weight.dtype == torch_.float64
    for wrong in (0, -1, 2.0, True, "12"):
        with pytest.raises(ValueError, match="n_vocab must be a positive integer"):
            resize(model, wrong)
