"""More of linear algebra: least squares, systems with a factor that is known, and functions under older names."""

from __future__ import annotations

import numpy as np

from ..graph import Tensor, new_tensor
from .decompositions import _mT, inv, pinv, qr, solve, solve_triangular, svd
from .reduce import sum as total
from .return_types import _named

_lstsq = _named("linalg_lstsq", "solution", "residuals", "rank", "singular_values")
_old_qr = _named("qr", "Q", "R")
_old_svd = _named("svd", "U", "S", "V")
_triangular = _named("triangular_solve", "solution", "cloned_coefficient")


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> tuple:
    """The x of smallest |A x - B|. `residuals`, the squares of these, come from drivers other than
    the default, where A is tall and of full rank."""
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError("torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    columns = B[..., None] if B.dim() == 1 else B
    if A.shape[-2] != columns.shape[-2]:
        raise RuntimeError("torch.linalg.lstsq: input.size(-2) should match other.size(-2)")
    tall = A.shape[-2] > A.shape[-1]
    cut = rcond if rcond is not None else np.finfo(A.array.dtype).eps * max(A.shape[-2:])
    values = np.linalg.svd(A.array, compute_uv=False)
    rank = (values > cut * values[..., :1]).sum(-1)
    full = bool((rank == min(A.shape[-2:])).all())
    if full and tall:                                         # errors grow with A's condition, not its square
        Q, R = qr(A)
        x = solve_triangular(R, _mT(Q) @ columns, upper=True)
    else:
        x = pinv(A, rtol=cut) @ columns
    given = driver not in (None, "gelsy") and tall and full
    left = total((A @ x - columns)**2, -2) if given else new_tensor(np.empty(0, A.array.dtype))
    nothing = np.empty(0)
    return _lstsq((x[..., 0] if B.dim() == 1 else x, left,
                   new_tensor(np.asarray(nothing.astype(np.int64) if driver == "gels" else rank)),
                   new_tensor(values if driver in ("gelsd", "gelss") else nothing.astype(A.array.dtype))))


def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The x with L L^T x = input; with upper, L^T L x = input."""
    first = solve_triangular(_mT(L) if upper else L, input, upper=False)
    return solve_triangular(L if upper else _mT(L), first, upper=True)


def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of L L^T; with upper, of L^T L."""
    half = inv(L)
    return half @ _mT(half) if upper else _mT(half) @ half


def triangular_solve(b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False,
                     unitriangular: bool = False) -> tuple:
    """linalg.solve_triangular, with its arguments the other way round."""
    if transpose:
        A, upper = _mT(A), not upper
    return _triangular((solve_triangular(A, b, upper=upper, unitriangular=unitriangular), A))


def tensorsolve(A: Tensor, B: Tensor, dims: tuple[int, ...] | None = None) -> Tensor:
    """The X with tensordot(A, X, X.ndim) = B."""
    if dims is not None:
        A = A.movedim(dims, tuple(range(A.dim() - len(dims), A.dim())))
    return solve(A.reshape(B.numel(), -1), B.reshape(-1)).reshape(A.shape[B.dim():])


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of tensordot(A, ., ind)."""
    return inv(A.reshape(A[(0,) * ind].numel(), -1)).reshape(*A.shape[ind:], *A.shape[:ind])


def old_svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> tuple:
    """linalg.svd, with V in the place of its transpose."""
    U, S, Vh = svd(input, not some)
    if not compute_uv:
        return _old_svd((new_tensor(np.zeros_like(U.array)), S, new_tensor(np.zeros_like(Vh.array))))
    return _old_svd((U, S, _mT(Vh)))


def old_qr(input: Tensor, some: bool = True) -> tuple:
    return _old_qr(qr(input, "reduced" if some else "complete"))


class Methods:
    __slots__ = ()
    cholesky_solve, cholesky_inverse, triangular_solve = cholesky_solve, cholesky_inverse, triangular_solve
    svd, qr = old_svd, old_qr
