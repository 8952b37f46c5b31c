"""The singular value decomposition, for the matrix norms that need it."""

from __future__ import annotations

import numpy as np

from ..graph import new_tensor, primitive
from .matmul import matrix_product
from .shape import swap_dims


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
