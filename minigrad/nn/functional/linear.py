"""linear, embedding, one_hot."""

from __future__ import annotations

import math

import numpy as np

from ...graph import Tensor, Variable, new_tensor, primitive
from ...kernels.linear import affine
from ...modes import no_grad
from ...names import named
from ...ops.index import index_back
from ...ops.logic import check_tensors


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias"""
    if not isinstance(input, Variable) or not isinstance(weight, Variable):
        check_tensors("linear", input=input, weight=weight)
    x, w = input.array, weight.array
    if w.ndim != 2 or not x.ndim:
        return _by_a_vector(input, weight, bias)
    if x.shape[-1] != w.shape[1]:
        rows = x.size // x.shape[-1] if x.size else 0
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x.shape[-1]} and "
                           f"{w.shape[1]}x{w.shape[0]})")
    if x.dtype != w.dtype:
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {input.dtype.alias} != "
                           f"{weight.dtype.alias}")
    if x.dtype.kind == "b" and len(w) and math.prod(x.shape[:-1]) and (w.size or bias is not None):
        raise NotImplementedError("\"addmm_impl_cpu_\" not implemented for 'Bool'")
    if bias is None:
        out = affine(input, weight, None)
        return out if out._node is None else named(out, _PRODUCT.get(x.ndim, "UnsafeView"))
    b = bias.array
    if b.dtype != x.dtype:
        raise RuntimeError("self and mat2 must have the same dtype, but got "
                           f"{bias.dtype.tensor_type} and {weight.dtype.tensor_type}")
    if b.shape != w.shape[:1]:
        _check_bias(b.shape, (*(x.shape[:-1] if b.ndim > 1 else [math.prod(x.shape[:-1])]), w.shape[0]))
    out = affine(input, weight, bias)
    if x.ndim == 2 or out._node is None:
        return out
    return named(out, "View" if x.ndim == 1 or x.flags.c_contiguous else "Add")


_PRODUCT = {1: "SqueezeBackward4", 2: "Mm"}             # what torch's product of a vector, or a matrix, ends in


def _check_bias(shape: tuple, out: tuple) -> None:
    for d, n in enumerate(reversed(shape)):
        if len(shape) > len(out) or n not in (1, out[-1 - d]):
            raise RuntimeError(f"The expanded size of the tensor ({out[-1]}) must match the existing size "
                               f"({shape[-1]}) at non-singleton dimension {len(out) - 1}.  Target sizes: {list(out)}. "
                               f" Tensor sizes: {list(shape)}")


def _by_a_vector(input, weight, bias):
    if not input.array.ndim or not weight.array.ndim:
        raise RuntimeError("both arguments to linear need to be at least 1D, but they are "
                           f"{input.array.ndim}D and {weight.array.ndim}D")
    if weight.array.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {weight.array.ndim}D")
    if bias is not None and (input.array.ndim == 2 or bias.array.ndim):
        raise RuntimeError("mat2 must be a matrix, got 1-D tensor")
    out = input.matmul(weight)
    return out if bias is None else out + bias


# ---- indices ----------------------------------------------------------------------------------------------------

# A row that was looked up several times gets the sum of its gradients; `factor` takes the padding's out, or divides by
# how often a row was looked up.
@primitive("Embedding", weight=lambda g, index, factor, shape: index_back(
    g if factor is None else g * factor, (index,), shape))
def _rows_at(weight, index, factor):
    return weight.take(index, 0)


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
              norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """The rows of `weight` that the indices name. The row padding_idx gets no gradient; rows longer than max_norm are
    scaled down, in place, before they are looked up."""
    check_tensors("embedding", input=input, weight=weight)
    if sparse:
        raise NotImplementedError("embedding: minigrad has no sparse gradients")
    if padding_idx is not None:
        if not -weight.size(0) <= padding_idx < weight.size(0):
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= weight.size(0)
    if weight.array.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    index = input.array
    if index.dtype not in (np.int64, np.int32):
        raise RuntimeError("Expected tensor for argument #1 'indices' to have one of the following scalar types: "
                           f"Long, Int; but got {input.type()} instead (while checking arguments for embedding)")
    if index.size and not (index.min() >= 0 and index.max() < weight.array.shape[0]):
        raise IndexError("index out of range in self")
    if max_norm is not None:
        _shorten(weight, np.unique(index), max_norm, norm_type)
    factor = None
    if weight.requires_grad and (padding_idx is not None or scale_grad_by_freq):
        factor = (index != padding_idx)[..., None].astype(weight.array.dtype)
        if scale_grad_by_freq:
            _, where, counts = np.unique(index, return_inverse=True, return_counts=True)
            factor = factor / counts.astype(factor.dtype)[where].reshape(factor.shape)
    return _rows_at(weight, index, factor)


def _shorten(weight: Tensor, rows: np.ndarray, max_norm: float, norm_type: float) -> None:
    """Rows longer than max_norm, made just shorter."""
    with no_grad():
        values = weight.detach()[new_tensor(rows)]
        norms = values.norm(norm_type, 1, keepdim=True).array
        scale = np.where(norms > max_norm, max_norm / (norms + 1e-7), 1).astype(weight.array.dtype)
        new = weight.array.copy()
        new[rows] = values.array * scale
        weight._write(new)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """For each index, zeros with a 1 at its place"""
    check_tensors("one_hot", input=tensor)
    if not isinstance(num_classes, int | np.integer):
        raise TypeError(f"one_hot(): argument 'num_classes' (position 2) must be int, not {type(num_classes).__name__}")
    index = np.asarray(tensor.array, order="C")
    if index.dtype != np.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if not index.size:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return new_tensor(np.empty((*index.shape, num_classes), np.int64))
    if index.min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        num_classes = int(index.max()) + 1
    elif index.max() >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    return new_tensor((index[..., None] == np.arange(num_classes)).astype(np.int64))
