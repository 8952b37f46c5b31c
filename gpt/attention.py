"""Attention in the steps of the book's chapter 3, each a small change to the one before, down to what GPT-2 runs.

    plain           every token becomes an average of all, by likeness
    trainable       ... of what `value` makes of them, by likeness of what `query` and `key` make of them
    causal          ... and of none that come later
    stacked_heads   several causal ones, side by side
    split_heads     the same, as one product cut into heads: one matrix multiplication instead of many small ones
    fast            the same, by the engine's scaled_dot_product_attention

Matrices are (C, D), so that `x @ W` maps C inputs to D outputs; an nn.Linear's weight is the transpose of one. Inputs
are (..., T, C): a batch, or one text. B batch, T time, C inputs, D outputs, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .engine import F, Tensor, torch
from .layers import attend, cut_heads, join_heads


def plain(x: Tensor) -> Tensor:
    scores = x @ x.transpose(-2, -1)                                # (T, C) @ (C, T) -> (T, T)
    weights = torch.softmax(scores, dim=-1)                         # each row sums to 1
    return weights @ x                                              # (T, T) @ (T, C) -> (T, C)


def trainable(x: Tensor, W_query: Tensor, W_key: Tensor, W_value: Tensor) -> Tensor:
    q, k, v = x @ W_query, x @ W_key, x @ W_value                   # (T, C) -> (T, D)
    scores = q @ k.transpose(-2, -1) / math.sqrt(k.shape[-1])       # a sum of D products has variance D, without this
    return torch.softmax(scores, dim=-1) @ v                        # (T, T) @ (T, D) -> (T, D)


def causal(x: Tensor, W_query: Tensor, W_key: Tensor, W_value: Tensor, dropout_p: float = 0.0) -> Tensor:
    q, k, v = x @ W_query, x @ W_key, x @ W_value                   # (T, C) -> (T, D)
    scores = q @ k.transpose(-2, -1) / math.sqrt(k.shape[-1])       # (T, T)
    weights = torch.softmax(hide_future(scores), dim=-1)
    return F.dropout(weights, dropout_p) @ v                        # (T, D)


def hide_future(scores: Tensor) -> Tensor:
    """-inf where a key (column) comes after the query (row): softmax gives it no weight."""
    T = scores.shape[-1]
    later = torch.ones(T, T, dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(later, -math.inf)


def stacked_heads(x: Tensor, heads: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """`heads` holds each one's (W_query, W_key, W_value)."""
    return torch.cat([causal(x, *matrices) for matrices in heads], dim=-1)    # H times (T, D / H) -> (T, D)


def split_heads(x: Tensor, W_query: Tensor, W_key: Tensor, W_value: Tensor, n_heads: int,
                dropout_p: float = 0.0) -> Tensor:
    """`stacked_heads`, where the columns of each W are those of all heads, one head after the other."""
    q, k, v = (cut_heads(x @ W, n_heads) for W in (W_query, W_key, W_value))  # (B, T, C) -> (B, H, T, D / H)
    scores = q @ k.transpose(-2, -1) / math.sqrt(k.shape[-1])                 # (B, H, T, T)
    weights = F.dropout(torch.softmax(hide_future(scores), dim=-1), dropout_p)
    return join_heads(weights @ v)                                            # (B, H, T, D / H) -> (B, T, D)


def fast(x: Tensor, W_query: Tensor, W_key: Tensor, W_value: Tensor, n_heads: int, dropout_p: float = 0.0) -> Tensor:
    """`split_heads`, as GPT-2 runs it."""
    q, k, v = (cut_heads(x @ W, n_heads) for W in (W_query, W_key, W_value))  # (B, T, C) -> (B, H, T, D / H)
    return join_heads(attend(q, k, v, dropout_p=dropout_p))                   # (B, H, T, D / H) -> (B, T, D)
