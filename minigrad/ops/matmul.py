"""The matrix product, from which every product of linear algebra is composed."""

from __future__ import annotations

import math

import numpy as np

from ..graph import new_tensor, primitive
from .shape import reshape_to, swap_dims


def _of_other(g, input, shape):
    """A^T G. One matrix that a whole batch was multiplied by gets the sum over the batch, in one product."""
    if len(shape) == 2 and len(g.shape) > 2:
        input, g = (reshape_to(x, (math.prod(x.shape[:-1]), x.shape[-1])) for x in (input, g))
    return matrix_product(swap_dims(input, -2, -1), g)


# C = A B: dA = G B^T, dB = A^T G. Over batches that were broadcast, the walk sums.
@primitive("Bmm", input=lambda g, other: matrix_product(g, swap_dims(other, -2, -1)), other=_of_other)
def matrix_product(input, other):
    """The product of two (batches of) matrices, at least 2-D."""
    dtype = input.dtype
    if dtype == np.float16:
        input, other = input.astype(np.float32), other.astype(np.float32)
    if other.ndim == 2 and input.ndim > 2:               # one large product is faster than many small ones
        out = np.matmul(for_blas(input.reshape(math.prod(input.shape[:-1]), input.shape[-1])), for_blas(other))
        out = out.reshape(*input.shape[:-1], other.shape[-1])
    else:
        out = np.matmul(for_blas(input), for_blas(other))
    return out if out.dtype == dtype else out.astype(dtype)


def for_blas(x: np.ndarray) -> np.ndarray:
    """BLAS takes rows or columns that are contiguous; for others NumPy has only a slow loop of its own."""
    return x if x.itemsize in x.strides[-2:] else np.ascontiguousarray(x)


# ---- singular values --------------------------------------------------------------------------------------------

def _parts(packed, m: int):
    """U, S (as a row) and V of a packed decomposition of matrices with m rows."""
    return packed[..., :m, :], packed[..., m:m + 1, :], packed[..., m + 1:, :]


def _of_svd(g, input, out):
    """A = U S V^T. The antisymmetric parts of U^T dU and V^T dV, divided by differences of squares s_j^2 - s_i^2, are
    what rotates the singular vectors among themselves; what of dU and dV lies outside their span enters divided by
    s."""
    m, n = input.shape[-2:]
    (u, s, v), (gu, gs, gv) = _parts(out, m), _parts(g, m)
    ut, vt = swap_dims(u, -2, -1), swap_dims(v, -2, -1)
    k = s.shape[-1]
    eye = np.eye(k, dtype=s.dtype if isinstance(s, np.ndarray) else s.array.dtype)
    eye = eye if isinstance(s, np.ndarray) else new_tensor(eye)
    gaps = s * s - swap_dims(s * s, -2, -1) + eye
    pu, pv = matrix_product(ut, gu), matrix_product(vt, gv)
    turn_u, turn_v = ((p - swap_dims(p, -2, -1)) / gaps for p in (pu, pv))
    inner = turn_u * s + swap_dims(s, -2, -1) * turn_v + gs * eye
    total = matrix_product(matrix_product(u, inner), vt)
    if m > k:
        total = total + matrix_product((gu - matrix_product(u, pu)) / s, vt)
    if n > k:
        total = total + matrix_product(u / s, swap_dims(gv - matrix_product(v, pv), -2, -1))
    return total


@primitive("LinalgSvd", input=_of_svd)
def svd(input):
    """The singular value decomposition A = U diag(S) V^T, packed as one array: U above S above V."""
    u, s, vt = np.linalg.svd(input, full_matrices=False)
    return np.concatenate([u, s[..., None, :], np.swapaxes(vt, -2, -1)], -2)


def _of_values(g, input):
    """dA = U diag(g) V^T."""
    u, _, v = _parts(svd(input), input.shape[-2])
    return matrix_product(u * g[..., None, :], swap_dims(v, -2, -1))


@primitive("LinalgSvd", input=_of_values)
def singular_values(input):
    return np.linalg.svd(input, compute_uv=False)
