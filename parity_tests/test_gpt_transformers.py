"""GPT-2 against a model that nobody here wrote: transformers' GPT2LMHeadModel, through our checkpoint loader."""

from __future__ import annotations

import copy

import numpy as np
import torch
import transformers
from hypothesis import given

import gpt
import gpt.checkpoints
import gpt.mirror.checkpoints
from gpt.config import GPT2Config

from .test_gpt2 import ENGINES, arrays, assert_close, engines, problems


def theirs(config: GPT2Config) -> transformers.GPT2LMHeadModel:
    """Theirs of the same shape, with random weights: its own biases are zeros, and its norms ones."""
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=config.vocab_size, n_positions=config.context_length, n_embd=config.emb_dim, n_layer=config.n_layers,
        n_head=config.n_heads, tie_word_embeddings=config.tied, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        attn_implementation="eager", bos_token_id=None, eos_token_id=None)).double()
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn_like(p) / 5
    return model


@engines
@given(problem=problems(qkv_bias=True, drop_rate=0.0))
def test_logits_and_gradients_are_those_of_transformers(engine, problem):
    config, ids = problem
    load_weights = {"numpy": gpt.checkpoints, "torch": gpt.mirror.checkpoints}[engine].load_weights
    other = theirs(config)
    expected = other(torch.tensor(ids)[:, :-1]).logits
    expected.logsumexp(-1).square().sum().backward()

    model = gpt.build(config, engine=engine).double()
    load_weights(model, other.state_dict())
    logits = model(ENGINES[engine].tensor(ids)[:, :-1])
    np.testing.assert_allclose(logits.detach().numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-9)

    logits.logsumexp(-1).square().sum().backward()
    gradients = copy.deepcopy(other)
    gradients.load_state_dict({name: p.grad for name, p in other.named_parameters()}, strict=False)
    in_our_layout = load_weights(gpt.build(config, engine=engine).double(), gradients.state_dict())
    assert_close(arrays((name, p.grad) for name, p in model.named_parameters()),
                 arrays(in_our_layout.named_parameters()), 1e-9)
