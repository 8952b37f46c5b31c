"""What several architectures are made of. B batch, T time (new positions), S all positions, H heads, D head size."""

from __future__ import annotations

from collections.abc import Sequence

from .engine import F, Tensor, nn, torch


class KVCache:
    """The keys and values of the positions a model has seen, so that each new token costs one position, not all.

    The memory is taken once: per layer `keys[layer]` and `values[layer]`, (B, H, capacity, D), of which the first
    `length` positions are filled. A model's forward does, for T new positions:

        positions, mask = cache.extend(T)           # once
        keys, values = cache.append(layer, k, v)    # in each layer: all positions so far, as views, nothing copied
        cache.length += T                           # once, at the end: a forward that fails leaves the cache as it was

    Prompts of different lengths are padded on the left to one length. `starts` (B,) is then the number of pads of
    each row: the row's position 0 is its first token after them, and no token looks at a pad. What stands at a pad
    must be a valid id, and what comes out there means nothing.

    A cache is rewound by writing `length`: `cache.length = n` forgets all but the first n positions, `cache.reset()`
    all of them. Positions are fixed once written: a model with learned or rotated absolute positions, that has
    reached its context, starts again with the last part of the text (`reset`).
    """

    def __init__(self, n_layers: int, batch_size: int, n_heads: int, capacity: int, head_dim: int, *,
                 starts: Tensor | Sequence[int] | None = None, dtype: torch.dtype | None = None,
                 device: torch.device | str | None = None) -> None:
        shape = (batch_size, n_heads, capacity, head_dim)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(n_layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(n_layers)]
        self.batch_size, self.capacity = batch_size, capacity
        self.reset(starts)

    def reset(self, starts: Tensor | Sequence[int] | None = None) -> None:
        """Forget everything, and take other rows, padded by `starts`."""
        if starts is not None:
            starts = torch.as_tensor(starts, device=self.keys[0].device)   # (B,)
            if starts.shape != (self.batch_size,):
                raise ValueError(f"starts must have shape ({self.batch_size},), one number of pads per row, not "
                                 f"{tuple(starts.shape)}")
        self.length, self.starts = 0, starts

    def extend(self, T: int) -> tuple[Tensor, Tensor | None]:
        """The positions of the next T tokens, (T,) or (B, T), and which keys each may see: (T, S), (B, 1, T, S), or
        None for the two common cases, one token (it sees all) and the first ones (causal)."""
        S, device = self.length + T, self.keys[0].device
        if self.capacity < S:
            raise ValueError(f"the cache holds {self.capacity} positions, {self.length} of them filled: there is no "
                             f"room for {T} more. Make a larger one, or reset it and give it the last part of the text")
        rows = torch.arange(self.length, S, device=device)                 # (T,)
        if self.starts is None and (T == 1 or not self.length):
            return rows, None
        columns = torch.arange(S, device=device)                           # (S,)
        if self.starts is None:
            return rows, columns <= rows[:, None]                          # (T, S)
        starts = self.starts[:, None]                                      # (B, 1)
        real = (columns >= starts)[:, None, None]                          # (B, 1, 1, S)
        # A pad looks at itself, for a softmax over nothing is no number, and 0 times that is none either.
        mask = (real & (columns <= rows[:, None])) | (columns == rows[:, None])    # (B, 1, T, S)
        return (rows - starts).clamp(min=0), mask

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write (B, H, T, D) after what is filled; all keys and values up to there, (B, H, S, D), as views."""
        end = self.length + keys.size(2)
        self.keys[layer][:, :, self.length:end] = keys
        self.values[layer][:, :, self.length:end] = values
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def __repr__(self) -> str:
        B, H, S, D = self.keys[0].shape
        return f"KVCache(layers={len(self.keys)}, batch={B}, heads={H}, filled={self.length}/{S}, head_dim={D})"


def cut_heads(x: Tensor, n_heads: int) -> Tensor:
    *B, T, C = x.shape
    if T == 1:                                                             # as nearly always, with a cache
        return x.view(*B, n_heads, 1, C // n_heads)                        # (B, 1, C) -> (B, H, 1, D)
    return x.view(*B, T, n_heads, C // n_heads).transpose(-3, -2)          # (B, T, C) -> (B, T, H, D) -> (B, H, T, D)


def join_heads(x: Tensor) -> Tensor:
    *B, H, T, D = x.shape
    if T == 1:
        return x.reshape(*B, 1, H * D)                                     # (B, H, 1, D) -> (B, 1, C)
    return x.transpose(-3, -2).flatten(-2)                                 # (B, H, T, D) -> (B, T, H, D) -> (B, T, C)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, dropout_p: float = 0.0) -> Tensor:
    """Attention of the last T positions, (B, H, T, D), to all S, (B, H, S, D): by the mask; without one causal, if
    there are several."""
    return F.scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal=mask is None and q.size(-2) > 1)


def check_ids(ids: Tensor, context_length: int, cache: KVCache | None = None) -> None:
    """A model's input is (B, T) token ids; with those that the cache holds, no more than the context is long."""
    if not isinstance(ids, Tensor):
        raise TypeError(f"ids must be a {torch.__name__}.Tensor, as the model's weights are, not a {named(type(ids))}")
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"ids must be token ids, of dtype torch.int64 or torch.int32, not {ids.dtype}")
    if ids.ndim != 2:
        raise ValueError(f"ids must have two dimensions, (batch, time), not shape {tuple(ids.shape)}")
    B, T = ids.shape
    if cache is not None and cache.batch_size != B:
        raise ValueError(f"a cache of {cache.batch_size} rows, and ids of {B}: make one with new_cache({B})")
    before = cache.length if cache is not None else 0
    if T + before > context_length:
        raise ValueError(f"{T} tokens{f' after {before}' if before else ''} are more than the context's "
                         f"{context_length}: shorten the text, or build the model with a larger context_length")


def named(kind: type) -> str:
    """A class with its engine: torch.Tensor, minigrad.Tensor, list."""
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}".removeprefix("builtins.")


def embed(embedding: nn.Embedding, ids: Tensor) -> Tensor:
    """embedding(ids), with an error that says which id there is no embedding for."""
    try:
        return embedding(ids)
    except IndexError:
        wrong = ids.min().item() if ids.min() < 0 else ids.max().item()
        raise IndexError(f"token id {wrong} is outside the vocabulary, whose {embedding.num_embeddings} ids begin at 0"
                         ) from None
