"""torch.linalg, as far as minigrad has it."""

from .composed.decompositions import (
    LinAlgError,
    cholesky,
    cond,
    det,
    eigh,
    eigvalsh,
    inv,
    matrix_exp,
    matrix_power,
    matrix_rank,
    pinv,
    qr,
    slogdet,
    solve,
    solve_triangular,
    svd,
)
from .composed.linalg import cross as _cross
from .composed.linalg import linalg_norm as norm
from .composed.linalg import matmul, matrix_norm, multi_dot, svdvals
from .composed.reduce import linalg_vector_norm as vector_norm
from .composed.shape import diagonal as _diagonal
from .composed.systems import lstsq, tensorinv, tensorsolve
from .graph import Tensor

__all__ = ["LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "lstsq", "matmul",
           "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet",
           "solve", "solve_triangular", "svd", "svdvals",
           "tensorinv", "tensorsolve", "vecdot", "vector_norm"]


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    return _cross(input, other, dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    return _diagonal(A, offset, dim1, dim2)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The inner products of vectors along a dimension."""
    return (x * y).sum(dim)
