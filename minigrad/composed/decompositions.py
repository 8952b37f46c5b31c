"""Linear systems and factorisations of matrices, by LAPACK through NumPy, with their derivatives."""

from __future__ import annotations

import numpy as np

from ..graph import Tensor, Variable, new_tensor, primitive
from ..names import composite
from ..ops.elementwise import where
from ..ops.logic import check_tensors
from ..ops.matmul import matrix_product
from ..ops.shape import diagonal_view, swap_dims
from .return_types import _named

LinAlgError = type("LinAlgError", (RuntimeError,), {"__module__": "torch._C._linalg", "__doc__": "A matrix that is not "
                                                    "what a function needs it to be."})
_eigh = _named("linalg_eigh", "eigenvalues", "eigenvectors")
_qr = _named("linalg_qr", "Q", "R")
_slogdet = _named("linalg_slogdet", "sign", "logabsdet")
_svd = _named("linalg_svd", "U", "S", "Vh")


def _square(name: str, A: Tensor) -> None:
    check_tensors(f"linalg.{name}", A=A)
    if A.array.ndim < 2:
        raise RuntimeError(f"linalg.{name}: The input tensor A must have at least 2 dimensions.")
    if A.array.shape[-1] != A.array.shape[-2]:
        raise RuntimeError(f"linalg.{name}: A must be batches of square matrices, but they are {A.array.shape[-2]} by "
                           f"{A.array.shape[-1]} matrices")
    _floating(name, A)


def _floating(name: str, A: Tensor) -> None:
    if A.array.dtype not in (np.float32, np.float64):
        raise RuntimeError(f"linalg.{name}: Expected a floating point or complex tensor as input. Got "
                           f"{A.dtype.tensor_type}")


def _mT(x):
    return swap_dims(x, len(x.shape) - 2, len(x.shape) - 1)


def _or_error(name: str, text: str, f, *arrays):
    try:
        return f(*arrays)
    except np.linalg.LinAlgError:
        raise LinAlgError(f"linalg.{name}: {text}") from None


# ---- systems ----------------------------------------------------------------------------------------------------

@primitive("LinalgInvExBackward0", input=lambda g, out: -matrix_product(_mT(out), matrix_product(g, _mT(out))))
def _inverse(input):
    return _or_error("inv", "The diagonal element of a factor is zero, the inversion could not be completed because "
                     "the input matrix is singular.", np.linalg.inv, input)


def inv(A: Tensor) -> Tensor:
    """The inverse."""
    _square("inv", A)
    return _inverse(A)


# B = A X:  dX = A^-1 (dB - dA X),  so gB = A^-T g  and  gA = -gB X^T
@primitive("LinalgSolveExBackward0",
           A=lambda g, A, out: -matrix_product(_solved(_mT(A), g), _mT(out)), B=lambda g, A: _solved(_mT(A), g))
def _solved(A, B):
    return _or_error("solve", "The solver failed because the input matrix is singular.", np.linalg.solve, A, B)


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B, or X A = B."""
    _square("solve", A)
    check_tensors("linalg.solve", A=A, B=B)
    if not left:
        return _mT(solve(_mT(A), _mT(B)))
    if B.array.ndim == A.array.ndim - 1 and B.array.shape == A.array.shape[:-1]:
        return _solved(A, B.unsqueeze(-1)).squeeze(-1)
    return _solved(A, B)


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B, of which only one triangle of A is seen."""
    _square("solve_triangular", A)
    T = A.triu() if upper else A.tril()
    if unitriangular:
        T = T - T.diagonal(0, -2, -1).diag_embed() + new_tensor(np.eye(A.array.shape[-1], dtype=A.array.dtype))
    return solve(T, B, left=left)


@primitive("LinalgDet", input=lambda g, input, out: _mT(_inverse(input)) * (g * out).reshape((*g.shape, 1, 1)))
def _determinant(input):
    return np.asarray(np.linalg.det(input), input.dtype)


def det(A: Tensor) -> Tensor:
    """The determinant."""
    _square("det", A)
    return _determinant(A)


@primitive("LinalgSlogdetBackward0", input=lambda g, input: _mT(_inverse(input)) * g.reshape((*g.shape, 1, 1)))
def _log_determinant(input):
    return np.asarray(np.linalg.slogdet(input)[1], input.dtype)


def slogdet(A: Tensor) -> tuple[Tensor, Tensor]:
    """The determinant's sign, and the logarithm of its size."""
    _square("slogdet", A)
    return _slogdet((new_tensor(np.asarray(np.linalg.slogdet(A.array)[0], A.array.dtype)), _log_determinant(A)))


@composite("LogdetBackward0")
def logdet(input: Tensor) -> Tensor:
    """The determinant's logarithm."""
    sign, size = slogdet(input)
    return where(sign == -1, float("nan"), size)


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A times itself, n times; of its inverse, where n is negative."""
    _square("matrix_power", A)
    if n < 0:
        return matrix_power(inv(A), -n)
    if n == 0:
        return new_tensor(np.broadcast_to(np.eye(A.array.shape[-1], dtype=A.array.dtype), A.array.shape).copy())
    result, square = None, A
    while n:
        if n & 1:
            result = square if result is None else result @ square
        n >>= 1
        square = square @ square if n else square
    return result


# ---- factors ----------------------------------------------------------------------------------------------------

# A = L L^T:  gA is the symmetric part of  L^-T (the lower half of L^T g, its diagonal halved) L^-1
def _cholesky_slope(g, out):
    P = matrix_product(_mT(out), g)
    half = np.tril(np.ones(P.shape[-2:], out.array.dtype if isinstance(out, Variable) else out.dtype))
    half[np.diag_indices(len(half))] = 0.5
    P = P * (new_tensor(half) if isinstance(P, Variable) else half)
    S = _solved(_mT(out), _mT(_solved(_mT(out), _mT(P))))
    return (S + _mT(S)) / 2


@primitive("LinalgCholeskyExBackward0", input=lambda g, out: _cholesky_slope(g, out))
def _lower(input):
    return _or_error("cholesky", "The factorization could not be completed because the input is not positive-definite.",
                     np.linalg.cholesky, input)


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """L with A = L L^T, or its transpose."""
    _square("cholesky", A)
    L = _lower(A)
    return _mT(L) if upper else L


def _eye_like(x) -> np.ndarray:
    return np.eye(x.shape[-1], dtype=x.array.dtype)


def eigh(A: Tensor, UPLO: str = "L") -> tuple[Tensor, Tensor]:
    """The eigenvalues of symmetric matrices, ascending, and the eigenvectors as columns."""
    _square("eigh", A)
    values, vectors = np.linalg.eigh(A.array, UPLO)
    if not A.requires_grad:
        return _eigh((new_tensor(values), new_tensor(vectors)))
    # With V fixed at its value, V^T A V has the derivatives dL on its diagonal, and beside it those that turn V.
    V = new_tensor(vectors)
    M = _mT(V) @ ((A + _mT(A)) / 2) @ V
    L = diagonal_view(M, 0, M.array.ndim - 2, M.array.ndim - 1)
    gaps = values[..., None, :] - values[..., :, None]
    turn = new_tensor(np.where(gaps == 0, 0, 1 / np.where(gaps == 0, 1, gaps)).astype(values.dtype))
    return _eigh((L - L.detach() + new_tensor(values), V + V @ (turn * (M - M.detach()))))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    return eigh(A, UPLO)[0]


def qr(A: Tensor, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """Q with orthonormal columns and R, an upper triangle, with A = Q R."""
    check_tensors("linalg.qr", A=A)
    _floating("qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or "
                           "'complete'")
    if mode == "r":
        return _qr((new_tensor(np.empty(0, A.array.dtype)), new_tensor(np.linalg.qr(A.array, "r"))))
    q, r = np.linalg.qr(A.array, mode)
    Q, R = new_tensor(q), new_tensor(r)
    if not A.requires_grad:
        return _qr((Q, R))
    if A.array.shape[-2] < A.array.shape[-1] or mode == "complete" and A.array.shape[-2] != A.array.shape[-1]:
        raise NotImplementedError("The QR decomposition is not differentiable when mode='complete' and nrows > ncols, "
                                  "and not here where nrows < ncols")
    # dA R^-1 = dQ + Q dR R^-1: with C = Q^T dA R^-1, dR R^-1 is triangular, and Q^T dQ antisymmetric.
    change = (A - A.detach()) @ new_tensor(np.linalg.inv(r))
    C = _mT(Q) @ change
    low = C.tril(-1)
    omega = low - _mT(low)
    return _qr((Q + change - Q @ C + Q @ omega, R + (C - omega) @ R))


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """A = U diag(S) Vh, with S descending."""
    check_tensors("linalg.svd", A=A)
    _floating("svd", A)
    u, s, vh = np.linalg.svd(A.array, full_matrices)
    U, S, Vh = map(new_tensor, (u, s, vh))
    if not A.requires_grad:
        return _svd((U, S, Vh))
    k = s.shape[-1]
    U, Vh = new_tensor(u[..., :k]), new_tensor(vh[..., :k, :])
    if full_matrices and (u.shape[-1] > k or vh.shape[-2] > k):
        raise RuntimeError("svd_backward: The singular vectors in the case of full_matrices=True are not "
                           "differentiable: use full_matrices=False")
    # With P = U^T dA V: dS is P's diagonal; U^T dU and V^T dV are what makes the rest of P.
    change = A - A.detach()
    P = _mT(U) @ change @ _mT(Vh)
    gaps = s[..., None, :]**2 - s[..., :, None]**2
    E = new_tensor(np.where(gaps == 0, 0, 1 / np.where(gaps == 0, 1, gaps)).astype(s.dtype))
    across, down = new_tensor(s[..., None, :]), new_tensor(s[..., :, None])
    dU = U @ (E * (P * across + down * _mT(P)))
    dV = _mT(Vh) @ (E * (down * P + _mT(P) * across))
    dU = dU + (change @ _mT(Vh) - U @ P) / across
    dV = dV + (_mT(change) @ U - _mT(Vh) @ _mT(P)) / across
    dS = diagonal_view(P, 0, P.array.ndim - 2, P.array.ndim - 1)
    return _svd((U + dU, S + dS, Vh + _mT(dV)))


# ---- by the factors ---------------------------------------------------------------------------------------------

def pinv(A: Tensor, *, atol: float | None = None, rtol: float | None = None, hermitian: bool = False) -> Tensor:
    """The pseudo-inverse: V diag(1/S) U^T, without the smallest of S."""
    U, S, Vh = svd(A, full_matrices=False)
    kept = _kept(S.array, A.array.shape, atol, rtol)
    inverse = where(new_tensor(kept), 1 / where(new_tensor(kept), S, 1.0), 0.0)
    return _mT(Vh) @ (inverse.unsqueeze(-1) * _mT(U))


def _kept(s: np.ndarray, shape: tuple, atol: float | None, rtol: float | None) -> np.ndarray:
    if rtol is None:
        rtol = 0.0 if atol else max(shape[-2:]) * np.finfo(s.dtype).eps
    return s > np.maximum(atol or 0.0, rtol * s.max(-1, keepdims=True, initial=0))


def matrix_rank(A: Tensor, *, atol: float | None = None, rtol: float | None = None, hermitian: bool = False) -> Tensor:
    s = np.linalg.svd(A.array, compute_uv=False)
    return new_tensor(np.asarray(_kept(s, A.array.shape, atol, rtol).sum(-1)))


def cond(A: Tensor, p: float | str | None = None) -> Tensor:
    """|A| |A^-1|"""
    from .linalg import matrix_norm, svdvals
    if p in (None, 2, -2):
        s = svdvals(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return matrix_norm(A, p) * matrix_norm(inv(A), p)


def matrix_exp(A: Tensor) -> Tensor:
    """e^A: the series of A / 2^k, squared k times."""
    _square("matrix_exp", A)
    size = float(np.abs(A.array).sum(-1).max(initial=0))
    k = max(0, int(np.ceil(np.log2(size))) + 4) if size > 0 else 0
    x = A / 2.0**k
    eye = new_tensor(np.broadcast_to(_eye_like(A), A.array.shape).copy())
    result = eye
    for n in range(14, 0, -1):
        result = eye + x @ result / n
    for _ in range(k):
        result = result @ result
    return result


class Methods:
    __slots__ = ()
    inverse, det, slogdet, logdet, matrix_power = inv, det, slogdet, logdet, matrix_power
    cholesky, matrix_exp, pinverse = cholesky, matrix_exp, pinv
