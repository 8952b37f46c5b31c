"""GPT-2 (Radford et al., 2019), with the names and in the order of the book's chapter 4.

So a state dict of the book's GPTModel fits, and the same seed draws the same weights and the same dropout.
B batch, T time, C channels (emb_dim), H heads, D head size, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpt.config import GPT2Config

from .engine import Tensor, nn, torch
from .layers import KVCache, attend, check_ids, cut_heads, embed, join_heads


class MultiHeadAttention(nn.Module):
    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        C = config.emb_dim
        self.n_heads = config.n_heads
        self.W_query = nn.Linear(C, C, bias=config.qkv_bias)
        self.W_key = nn.Linear(C, C, bias=config.qkv_bias)
        self.W_value = nn.Linear(C, C, bias=config.qkv_bias)
        self.out_proj = nn.Linear(C, C)
        self.dropout = nn.Dropout(config.drop_rate)             # of the attention weights, inside of attend

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        q = cut_heads(self.W_query(x), self.n_heads)          # (B, T, C) -> (B, H, T, D)
        k = cut_heads(self.W_key(x), self.n_heads)
        v = cut_heads(self.W_value(x), self.n_heads)
        if cache is not None:
            k, v = cache.append(layer, k, v)                    # (B, H, S, D)
        y = attend(q, k, v, mask, self.dropout.p if self.training else 0.0)
        return self.out_proj(join_heads(y))                    # (B, H, T, D) -> (B, T, C)


class FeedForward(nn.Module):
    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        C = config.emb_dim
        self.layers = nn.Sequential(nn.Linear(C, 4 * C), nn.GELU(approximate="tanh"), nn.Linear(4 * C, C))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class TransformerBlock(nn.Module):
    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.att = MultiHeadAttention(config)
        self.ff = FeedForward(config)
        self.norm1 = nn.LayerNorm(config.emb_dim, eps=config.norm_eps)
        self.norm2 = nn.LayerNorm(config.emb_dim, eps=config.norm_eps)
        self.drop_shortcut = nn.Dropout(config.drop_rate)

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: KVCache | None = None, layer: int = 0) -> Tensor:
        x = x + self.drop_shortcut(self.att(self.norm1(x), mask, cache, layer))
        return x + self.drop_shortcut(self.ff(self.norm2(x)))


class GPT2(nn.Module):
    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        self.tok_emb = nn.Embedding(config.vocab_size, config.emb_dim)
        self.pos_emb = nn.Embedding(config.context_length, config.emb_dim)
        self.drop_emb = nn.Dropout(config.drop_rate)
        self.trf_blocks = nn.Sequential(*(TransformerBlock(config) for _ in range(config.n_layers)))
        self.final_norm = nn.LayerNorm(config.emb_dim, eps=config.norm_eps)
        self.out_head = nn.Linear(config.emb_dim, config.vocab_size, bias=False)
        if config.tied:
            self.out_head.weight = self.tok_emb.weight
        if config.init == "gpt2":
            self._init_gpt2()

    def _init_gpt2(self) -> None:
        """Normal weights, 0.02; each of the 2 n_layers branches adds to the residual stream less, so that their sum
        does not grow with depth."""
        residual = 0.02 / math.sqrt(2 * self.config.n_layers)
        for name, parameter in self.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(parameter)
            elif "norm" not in name:
                ends_branch = name.endswith(("out_proj.weight", "ff.layers.2.weight"))
                nn.init.normal_(parameter, std=residual if ends_branch else 0.02)

    def forward(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """Token ids (B, T) -> logits (B, T, V) of what follows each.

        With a cache, ids are the next T tokens after those that it holds, and are added to it."""
        return self.out_head(self.features(ids, cache))         # (B, T, C) -> (B, T, V)

    def features(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """What the output head sees, (B, T, C): for those who need the logits of few positions, or another head."""
        check_ids(ids, self.config.context_length, cache)
        T = ids.shape[1]
        if cache is None:
            positions, mask = torch.arange(T, device=ids.device), None
        else:
            positions, mask = cache.extend(T)                   # (T,) or (B, T)
        x = self.drop_emb(embed(self.tok_emb, ids) + self.pos_emb(positions))    # (B, T) -> (B, T, C)
        for layer, block in enumerate(self.trf_blocks):
            x = block(x, mask, cache, layer)
        if cache is not None:
            cache.length += T
        return self.final_norm(x)

    def new_cache(self, batch_size: int = 1, capacity: int | None = None,
                  starts: Tensor | Sequence[int] | None = None) -> KVCache:
        """An empty cache for this model, by default of its whole context. `starts`: see KVCache."""
        c, weight = self.config, self.out_head.weight
        capacity = c.context_length if capacity is None else capacity
        return KVCache(c.n_layers, batch_size, c.n_heads, capacity, c.head_dim, starts=starts, dtype=weight.dtype,
                       device=weight.device)
