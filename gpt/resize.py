"""Room for more tokens in a model that has been trained already."""

from __future__ import annotations

import dataclasses

from .engine import Tensor, nn, torch


def resize_vocabulary(model: nn.Module, n_vocab: int) -> nn.Module:
    """Give `model` n_vocab tokens, in place: after `tokenizer.with_special_tokens(...)`, its n_vocab.

    Each new row of the embedding and of the output head is the mean of the old ones: as a logit, the mean of the old
    logits, so that a token that nobody has trained is neither likely nor impossible. A tied head stays tied. Fewer
    tokens than before cuts rows off. The parameters are new ones: make the optimizer afterwards.
    """
    if isinstance(n_vocab, bool) or not isinstance(n_vocab, int) or n_vocab < 1:
        raise ValueError(f"n_vocab must be a positive integer, not {n_vocab!r}")
    embedding, head = model.tok_emb, model.out_head
    tied = head.weight is embedding.weight

    embedding.weight = _resized(embedding.weight, n_vocab)
    embedding.num_embeddings = n_vocab
    head.weight = embedding.weight if tied else _resized(head.weight, n_vocab)
    if head.bias is not None:
        head.bias = _resized(head.bias, n_vocab)
    head.out_features = n_vocab
    model.config = dataclasses.replace(model.config, vocab_size=n_vocab)
    return model


def _resized(parameter: nn.Parameter, n_rows: int) -> nn.Parameter:
    rows: Tensor = parameter.detach()[:n_rows]
    new = parameter.detach().mean(0, keepdim=True).expand(n_rows - len(rows), *rows.shape[1:])
    return nn.Parameter(torch.cat([rows, new]), requires_grad=parameter.requires_grad)
