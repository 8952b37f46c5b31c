"""Attention: scaled dot products, and the many heads around them."""

from __future__ import annotations

import math
import warnings

import numpy as np

from ...composed.joining import cat
from ...graph import Tensor, Variable, new_tensor, primitive
from ...kernels.attention import attend, attend_backward
from ...kernels.layout import arranged
from ...modes import no_grad
from ...names import named
from ...ops.elementwise import where
from ...ops.fused import fused
from ...ops.logic import check_tensors
from ...ops.matmul import matrix_product
from ...ops.promotion import cast
from ...ops.reduce import softmax_along
from ...ops.shape import swap_dims
from .activation import dropout, softmax
from .convolution import pad
from .linear import linear


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
                                 dropout_p: float = 0.0, is_causal: bool = False, *, scale: float | None = None,
                                 enable_gqa: bool = False) -> Tensor:
    """softmax(query key^T scale + mask) value

    A boolean mask is True where a query may look at a key; a floating one is added. A query that may look at nothing
    gets zeros. is_causal: only at keys of its own position and before. enable_gqa: several heads of queries (dimension
    -3) share one of keys and values. The scale is 1 / sqrt(dimension) if none is given."""
    if attn_mask is None and scale is None and not (dropout_p or enable_gqa) and _is_ordinary(query, key, value):
        return _attend(query, key, value, 1 / math.sqrt(query.array.shape[3]), is_causal)
    if not isinstance(query, Variable) or not isinstance(key, Variable) or not isinstance(value, Variable):
        check_tensors("scaled_dot_product_attention", query=query, key=key, value=value)
    _check_attention(query, key, value, attn_mask, dropout_p, enable_gqa)
    flash = _is_fused(query, key, value, attn_mask, dropout_p, enable_gqa)
    if attn_mask is not None and is_causal and not flash:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if enable_gqa and query.array.ndim > 2:
        heads = query.array.shape[-3]
        if any(heads % max(t.array.shape[-3], 1) for t in (key, value)):
            raise RuntimeError("Number of heads in key and value must divide the number of heads in query")
        key, value = (t.repeat_interleave(heads // t.array.shape[-3], -3) for t in (key, value))
    dtype = query.array.dtype
    if dtype == np.float16:
        query, key, value = (cast(t, np.dtype(np.float32)) for t in (query, key, value))

    width = query.array.shape[-1]
    if scale is None:
        scale = 1 / math.sqrt(width) if width else math.inf
    if flash and attn_mask is None:
        out = _attend(query, key, value, scale, is_causal)
        return out if dtype != np.float16 else named(cast(out, dtype), "ScaledDotProductFlashAttentionForCpu")
    if attn_mask is None and 0 < dropout_p < 1 and _is_fused(query, key, value, None, 0.0, enable_gqa):
        kept = _draw_kept((*query.array.shape[:3], key.array.shape[2]), dropout_p)
        out = _attend_with_dropout(query, key, value, scale, is_causal, kept, dropout_p)
        return out if dtype != np.float16 else named(cast(out, dtype), "UnsafeView")
    if flash:
        scores = _scores(query, key, scale, is_causal)
    else:                                          # roots on both sides are less likely to overflow
        root = math.sqrt(abs(scale))
        scores = _scores(query * math.copysign(root, scale), key * root, 1, is_causal)
    if attn_mask is not None:
        if attn_mask.array.dtype.kind == "b":
            scores = where(attn_mask, scores, -math.inf)
        else:
            same = attn_mask.array.dtype == scores.array.dtype
            scores = scores + (attn_mask if same else cast(attn_mask, scores.array.dtype))
    weights = _softmax_or_nothing(scores)
    if dropout_p:
        weights = dropout(weights, dropout_p)
    out = matrix_product(weights, value)
    if dtype == np.float16:
        out = cast(out, dtype)
    if flash:
        out = _laid_out_like(out, query)
    empty = not out.array.size or not scores.array.size or not width
    return named(out, "ScaledDotProductFlashAttentionForCpu" if flash else "Add" if empty else
                 "Mm" if out.array.ndim == 2 else "UnsafeView")


def _scores(query, key, scale: float, causal: bool):
    scores = matrix_product(query, swap_dims(key, -2, -1))
    if scale != 1:
        scores = scores * scale
    return where(np.tri(*scores.array.shape[-2:], dtype=bool), scores, -math.inf) if causal else scores


def _attend_backward(g, query, key, value, scale, causal, out, aside):
    return attend_backward(g, query, key, value, scale, causal, out, aside)


@fused(lambda query, key, value, scale, causal: matrix_product(
           _softmax_or_nothing(_scores(query, key, scale, causal)), value),
       "query", "key", "value", name="ScaledDotProductFlashAttentionForCpu", backward=_attend_backward)
def _attend(query, key, value, scale, causal):
    return attend(query, key, value, scale, causal)


def _draw_kept(shape: tuple[int, ...], p: float) -> np.ndarray:
    """What dropout keeps of weights of this shape, a bit for each: drawn as `dropout` does, a few rows at a time."""
    keys = shape[-1]
    rows = math.prod(shape[:-1])
    kept, step = np.empty((rows, -(-keys // 8)), np.uint8), max(1, (1 << 16) // keys)
    with no_grad():
        for start in range(0, rows, step):
            part = kept[start:start + step]
            part[...] = np.packbits(new_tensor(np.empty((len(part), keys), bool)).bernoulli_(1 - p).array, axis=-1)
    return kept.reshape(*shape[:-1], -1)


def _attend_with_dropout_composed(query, key, value, scale, causal, kept, p):
    weights = _softmax_or_nothing(_scores(query, key, scale, causal))
    noise = np.unpackbits(kept, axis=-1, count=key.shape[-2]) / (1 - p)
    return matrix_product(weights * new_tensor(noise.astype(weights.array.dtype)), value)


def _attend_with_dropout_backward(g, query, key, value, scale, causal, kept, p, out, aside):
    return attend_backward(g, query, key, value, scale, causal, out, aside, kept, p)


@fused(_attend_with_dropout_composed, "query", "key", "value", name="UnsafeView",
       backward=_attend_with_dropout_backward)
def _attend_with_dropout(query, key, value, scale, causal, kept, p):
    return attend(query, key, value, scale, causal, kept, p)


@primitive("Clone", input=lambda g: g)
def _laid_out_like(input, query):
    return arranged(input, (query,))


def _softmax_or_nothing(scores):
    """softmax over the last dimension; zeros where all scores are -inf."""
    if not scores.array.shape[-1]:
        return scores
    dead = np.max(scores.array, -1, keepdims=True) == -math.inf
    if not dead.any():
        return softmax_along(scores, scores.array.ndim - 1)
    return where(dead, 0.0, softmax_along(where(dead, 0.0, scores), scores.array.ndim - 1))


def _check_attention(query, key, value, mask, dropout_p: float, enable_gqa: bool) -> None:
    if min(query.array.ndim, key.array.ndim, value.array.ndim) < 2:
        raise RuntimeError("Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
                           f"{query.dim()} key.dim: {key.dim()} and value.dim: {value.dim()} instead.")
    if not query.array.dtype == key.array.dtype == value.array.dtype:
        raise RuntimeError("Expected query, key, and value to have the same dtype, but got query.dtype: "
                           f"{query.dtype.alias} key.dtype: {key.dtype.alias} and value.dtype: {value.dtype.alias} "
                           "instead.")
    if query.array.dtype.kind != "f":
        raise RuntimeError(f"expected scalar type Float but found {query.dtype.tensor_type}")
    if mask is not None:
        if mask.array.dtype not in (np.bool_, np.float32, query.array.dtype):
            raise RuntimeError("Expected attn_mask dtype to be bool or float or to match query dtype, but got "
                               f"attn_mask.dtype: {mask.dtype.alias} and  query.dtype: {query.dtype.alias} instead.")
        if mask.array.ndim < 2:
            raise IndexError("Dimension out of range: attn_mask has "
                             f"{mask.array.ndim} dimensions, and needs one for queries and one for keys")
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p:g}")
    a, b, c = query.array.shape, key.array.shape, value.array.shape
    if a[-1] != b[-1] or b[-2] != c[-2]:
        raise RuntimeError(f"query {list(a)}, key {list(b)} and value {list(c)} do not fit: query and key must agree "
                           "in their last dimension, key and value in the one before")
    if not enable_gqa and not a[:-2] == b[:-2] == c[:-2]:
        try:
            np.broadcast_shapes(a[:-2], b[:-2], c[:-2])
        except ValueError:
            raise RuntimeError(f"The batches and heads of query {list(a)}, key {list(b)} and value {list(c)} must "
                               "match; that several heads of queries share keys needs enable_gqa=True") from None


def _is_ordinary(query, key, value) -> bool:
    """Whether nothing needs a check: (B, H, T, D) of one dtype, with as many keys as values."""
    if not isinstance(query, Variable) or not isinstance(key, Variable) or not isinstance(value, Variable):
        return False
    q, k, v = query.array, key.array, value.array
    if not (q.ndim == k.ndim == v.ndim == 4 and q.dtype is k.dtype is v.dtype and q.dtype.char in "fd"):
        return False
    (B, H, S, D), step = k.shape, q.itemsize
    return v.shape == (B, H, S, D) and q.shape == (B, H, q.shape[2], D) and q.size * S != 0 and (
        q.strides[3] == k.strides[3] == v.strides[3] == step)


def _is_fused(query, key, value, mask, dropout_p: float, enable_gqa: bool) -> bool:
    """Whether torch has one kernel for this, and so one node."""
    a, b, c = query.array.shape, key.array.shape, value.array.shape
    return (len(a) == len(b) == len(c) == 4 and not dropout_p and a[-1] == c[-1] and a[0] == b[0] == c[0]
            and b[1] == c[1] and (a[1] == b[1] or enable_gqa) and 0 not in (*a, *b)
            and query.array.strides[3] == key.array.strides[3] == value.array.strides[3] == query.array.itemsize
            and (mask is None or not mask.requires_grad and mask.array.ndim in (2, 4)))


# ---- many heads -------------------------------------------------------------------------------------------------

def multi_head_attention_forward(
        query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int,
        in_proj_weight: Tensor | None, in_proj_bias: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None,
        add_zero_attn: bool, dropout_p: float, out_proj_weight: Tensor, out_proj_bias: Tensor | None,
        training: bool = True, key_padding_mask: Tensor | None = None, need_weights: bool = True,
        attn_mask: Tensor | None = None, use_separate_proj_weight: bool = False,
        q_proj_weight: Tensor | None = None, k_proj_weight: Tensor | None = None, v_proj_weight: Tensor | None = None,
        static_k: Tensor | None = None, static_v: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
    """What nn.MultiheadAttention computes, of tensors (length, batch, features) or (length, features): project
    queries, keys and values, let each head attend, project the heads' outputs together. In masks, True is what may not
    be looked at."""
    batched = _check_heads(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = key_padding_mask if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, features = query.array.shape
    if key_padding_mask is not None and attn_mask is not None and key_padding_mask.dtype != attn_mask.dtype:
        warnings.warn("Support for mismatched key_padding_mask and attn_mask is deprecated. Use same type for both "
                      "instead.",
                      stacklevel=2)
    key_padding_mask = _as_addend(key_padding_mask, "key_padding_mask", query)
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
                           "`generate_square_subsequent_mask` to create this mask.")
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None
    else:
        attn_mask = _as_addend(attn_mask, "attn_mask", query)
        is_causal = is_causal and key_padding_mask is None
    if features != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {features}")
    width = features // num_heads
    if width * num_heads != features:
        raise AssertionError(f"embed_dim {features} not divisible by num_heads {num_heads}")

    # ---- projections, and what is added to the keys
    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(f"key's sequence and batch dims {key.shape[:2]} do not match value's "
                                 f"{value.shape[:2]}")
        weights = q_proj_weight, k_proj_weight, v_proj_weight
    else:
        if key.shape != value.shape:
            raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
        weights = in_proj_weight.chunk(3)
    biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    if query is key and key is value and not use_separate_proj_weight:
        q, k, v = linear(query, in_proj_weight, in_proj_bias).chunk(3, -1)
    else:
        q, k, v = map(linear, (query, key, value), weights, biases)

    attn_mask = _with_dim_for_heads(attn_mask, batch * num_heads, length, key.array.shape[0])
    masks = [attn_mask, key_padding_mask]

    def one_more_key():
        masks[:] = [m if m is None else pad(m, (0, 1)) for m in masks]

    if (bias_k is None) != (bias_v is None):
        one, other = ("bias_k", "bias_v") if bias_v is None else ("bias_v", "bias_k")
        raise AssertionError(f"{one} is set but {other} is None")
    if bias_k is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError(f"bias cannot be added to static {'key' if static_k is not None else 'value'}.")
        k, v = (cat([t, extra.repeat(1, batch, 1)]) for t, extra in ((k, bias_k), (v, bias_v)))
        one_more_key()
    q, k, v = (t.reshape(t.array.shape[0], batch * num_heads, width).transpose(0, 1) for t in (q, k, v))
    k, v = (_static(s, name, batch * num_heads, width) if s is not None else t
            for t, s, name in ((k, static_k, "static_k"), (v, static_v, "static_v")))
    if add_zero_attn:
        nothing = new_tensor(np.zeros((batch * num_heads, 1, width), k.array.dtype))
        k, v = cat([k, nothing], 1), cat([v, nothing], 1)
        one_more_key()
    attn_mask, key_padding_mask = masks
    keys = k.array.shape[1]
    if key_padding_mask is not None:
        if key_padding_mask.array.shape != (batch, keys):
            raise AssertionError(f"expecting key_padding_mask shape of {(batch, keys)}, but got "
                                 f"{key_padding_mask.shape}")
        padding = key_padding_mask.reshape(batch, 1, 1, keys).expand(-1, num_heads, -1, -1)
        padding = padding.reshape(batch * num_heads, 1, keys)
        attn_mask = padding if attn_mask is None else attn_mask + padding
    if not training:
        dropout_p = 0.0

    # ---- attention
    if need_weights:
        if is_causal and attn_mask is None:
            raise AssertionError("FIXME: is_causal not implemented for need_weights")
        scores = matrix_product(q * math.sqrt(1 / width), swap_dims(k, -2, -1))
        attention = softmax(scores if attn_mask is None else scores + attn_mask, -1)
        if dropout_p > 0:
            attention = dropout(attention, dropout_p)
        heads = matrix_product(attention, v).transpose(0, 1)
        attention = attention.reshape(batch, num_heads, length, keys)
        attention = attention.mean(1) if average_attn_weights else attention
        if not batched:
            attention = attention.squeeze(0)
    else:
        attention = None
        if attn_mask is not None:
            alone = attn_mask.array.shape[0] == 1
            attn_mask = attn_mask.unsqueeze(0) if alone else attn_mask.reshape(batch, num_heads, -1, keys)
        q, k, v = (t.reshape(batch, num_heads, t.array.shape[1], width) for t in (q, k, v))
        heads = scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal).permute(2, 0, 1, 3)
    out = linear(heads.reshape(length * batch, features), out_proj_weight, out_proj_bias)
    out = out.reshape(length, batch, out.array.shape[1])
    return (out if batched else out.squeeze(1)), attention


def _as_addend(mask: Tensor | None, name: str, like: Tensor) -> Tensor | None:
    """A boolean mask as numbers to add to the scores: -inf where it is True."""
    if mask is None or mask.array.dtype.kind == "f":
        return mask
    if mask.array.dtype.kind != "b":
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return new_tensor(np.where(mask.array, -math.inf, 0).astype(like.array.dtype))


def _with_dim_for_heads(mask: Tensor | None, heads: int, length: int, keys: int) -> Tensor | None:
    if mask is None:
        return None
    n = mask.array.ndim
    wanted = (length, keys) if n == 2 else (heads, length, keys)
    if n not in (2, 3):
        raise RuntimeError(f"attn_mask's dimension {n} is not supported")
    if mask.array.shape != wanted:
        raise RuntimeError(f"The shape of the {n}D attn_mask is {mask.shape}, but should be {wanted}.")
    return mask.unsqueeze(0) if n == 2 else mask


def _static(tensor: Tensor, name: str, heads: int, width: int) -> Tensor:
    for d, wanted in ((0, heads), (2, width)):
        if tensor.size(d) != wanted:
            raise AssertionError(f"expecting {name}.size({d}) of {wanted}, but got {tensor.size(d)}")
    return tensor


def _check_heads(query, key, value, padding, mask, num_heads: int) -> bool:
    """Whether there is a batch; all must agree that there is one."""
    n = query.dim()
    if n not in (2, 3):
        raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {n}-D query tensor")
    kind = "batched" if n == 3 else "unbatched"
    if key.dim() != n or value.dim() != n:
        raise AssertionError(f"For {kind} ({n}-D) `query`, expected `key` and `value` to be {n}-D but found "
                             f"{key.dim()}-D and {value.dim()}-D tensors respectively")
    if padding is not None and padding.dim() != n - 1:
        raise AssertionError(f"For {kind} ({n}-D) `query`, expected `key_padding_mask` to be `None` or {n - 1}-D but "
                             f"found {padding.dim()}-D tensor instead")
    if mask is not None:
        if mask.dim() not in (2, 3):
            raise AssertionError(f"For {kind} ({n}-D) `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found "
                                 f"{mask.dim()}-D tensor instead")
        wanted = (num_heads, query.shape[0], key.shape[0])
        if n == 2 and mask.dim() == 3 and tuple(mask.shape) != wanted:
            raise AssertionError(f"Expected `attn_mask` shape to be {wanted} but got {mask.shape}")
    return n == 3
