"""Products of vectors, matrices and batches of matrices, and their norms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from .. import dtypes
from ..graph import Tensor, Variable
from ..names import composite, named
from ..ops.elementwise import _where, add, mul
from ..ops.elementwise import abs as absolute
from ..ops.matmul import matrix_product
from ..ops.promotion import cast, refuse
from ..ops.reduce import dim_of, dims_of, max_over, min_over, sum_over
from ..ops.shape import basic_index, diagonal_view, permute_dims, reshape_to
from ..ops.svd import singular_values
from ..refusals import unknown
from . import reduce
from .arguments import require_tensor, takes_out
from .deprecated import numbers_first
from .inplace import inplace
from .joining import roll
from .shape import contiguous, expand, movedim, transpose, unsqueeze

# ---- checks -----------------------------------------------------------------------------------------------------


def _same_dtype(a: Tensor, b: Tensor, message: str) -> None:
    """Products do not promote. `message` may name the dtypes as {a} and {b}, or as {A} and {B} by their types'
    words."""
    if a.array.dtype != b.array.dtype:
        raise RuntimeError(message.format(a=a.dtype.alias or a.dtype.name, b=b.dtype.alias or b.dtype.name,
                                          A=a.dtype.tensor_type, B=b.dtype.tensor_type))


def _not_bool(x: Tensor, kernel: str, *sizes: int) -> None:
    """No product of booleans has a kernel; where nothing is to be multiplied, none is asked for."""
    if x.array.dtype.kind == "b" and all(sizes):
        raise NotImplementedError(f'"{kernel}" not implemented for \'Bool\'')


def _tensors(name: str, **tensors) -> None:
    for position, (argument, x) in enumerate(tensors.items(), 1):
        require_tensor(name, x, argument, position)


# ---- products of two --------------------------------------------------------------------------------------------

@takes_out
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices."""
    _tensors("mm", input=input, mat2=mat2)
    for x, name in ((input, "self"), (mat2, "mat2")):
        if x.array.ndim != 2:
            raise RuntimeError(f"{name} must be a matrix")
    _check_inner(input, mat2)
    return named(matrix_product(input, mat2), "Mm")


def _check_inner(a: Tensor, b: Tensor) -> None:
    """Rows and columns of a product must match; a batch of matrices counts as one tall matrix, as it is computed."""
    (n, m), inner = a.array.shape[-2:], b.array.shape[-2]
    if m != inner:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({math.prod(a.array.shape[:-2]) * n}x{m} and "
                           f"{inner}x{b.array.shape[-1]})")
    _same_dtype(a, b, "expected m1 and m2 to have the same dtype, but got: {a} != {b}")
    _not_bool(a, "addmm_impl_cpu_", *a.array.shape, b.array.shape[-1])


@takes_out
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices."""
    _tensors("bmm", input=input, mat2=mat2)
    for x, name in ((input, "batch1"), (mat2, "batch2")):
        if x.array.ndim != 3:
            raise RuntimeError(f"{name} must be a 3D tensor")
    _check_batches(input, mat2)
    return matrix_product(input, mat2)


def _check_batches(a: Tensor, b: Tensor) -> None:
    wanted = [a.array.shape[0], a.array.shape[2]]
    if list(b.array.shape[:2]) != wanted:
        raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: {wanted} but got: "
                           f"{list(b.array.shape[:2])}.")
    _same_dtype(a, b, "expected scalar type {A} but found {B}")
    _not_bool(a, "bmm", *a.array.shape, *b.array.shape)


@takes_out
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector."""
    _tensors("mv", input=input, vec=vec)
    _check_vector(input, vec)
    return named(_times_vector(input, vec), "Mv")


def _check_vector(mat: Tensor, vec: Tensor) -> None:
    if mat.array.ndim != 2 or vec.array.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {vec.array.ndim}, {mat.array.ndim}, "
                           f"{vec.array.ndim}")
    (n, m), k = mat.array.shape, vec.array.size
    if m != k:
        raise RuntimeError(f"size mismatch, got input ({n}), mat ({n}x{m}), vec ({k})")
    _same_dtype(mat, vec, "expected scalar type {A} but found {B}")
    _not_bool(mat, "addmv_impl_cpu", n, m)


def _times_vector(mat: Tensor, vec: Tensor) -> Tensor:
    return reshape_to(matrix_product(mat, reshape_to(vec, (vec.array.size, 1))), mat.array.shape[:-1])


@takes_out
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors."""
    _tensors("dot", input=input, tensor=tensor)
    if input.array.ndim != 1 or tensor.array.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {input.array.ndim}D and {tensor.array.ndim}D tensors")
    _same_dtype(input, tensor, "dot : expected both vectors to have same dtype, but found {A} and {B}")
    _not_bool(input, "dot")
    n, m = input.array.size, tensor.array.size
    if n != m:
        raise RuntimeError(f"inconsistent tensor size, expected tensor [{n}] and src [{m}] to have the same number of "
                           f"elements, but got {n} and {m} elements respectively")
    return named(reshape_to(matrix_product(reshape_to(input, (1, n)), reshape_to(tensor, (n, 1))), ()), "Dot")


def vdot(input: Tensor, other: Tensor) -> Tensor:
    return named(dot(input, other), "Vdot")


@takes_out
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """input @ other: matrices stand in the last two dimensions, the others are broadcast; 1-D tensors are vectors."""
    a, b = input, other
    if not (isinstance(a, Variable) and isinstance(b, Variable)):
        _tensors("matmul", input=a, other=b)
    n, m = a.array.ndim, b.array.ndim
    if n == 2 == m:
        _check_inner(a, b)
        return named(matrix_product(a, b), "Mm")
    if not n or not m:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {n}D and {m}D")
    if n == 1 == m:
        return dot(a, b)
    if n == 2 and m == 1:
        return mv(a, b)
    if n == 1:
        _check_inner(unsqueeze(a, 0), b)
        return named(_times_vector(transpose(b, -2, -1), a), "SqueezeBackward4" if m == 2 else "UnsafeView")
    if m == 1:
        _check_inner(a, unsqueeze(b, 1))
        return named(_times_vector(a, b), "UnsafeView")
    if m == 2:
        _check_inner(a, b)
        return named(matrix_product(a, b), "UnsafeView")
    _check_broadcast_batches(a, b)
    if n == 2:                                # one matrix times many: transposed, it is one product
        return contiguous(transpose(matrix_product(transpose(b, -2, -1), transpose(a, 0, 1)), -2, -1))
    return named(matrix_product(a, b), "UnsafeView")


def _check_broadcast_batches(a: Tensor, b: Tensor) -> None:
    p, q = a.array.shape, b.array.shape
    for k in range(3, min(len(p), len(q)) + 1):
        if p[-k] != q[-k] and p[-k] != 1 and q[-k] != 1:
            raise RuntimeError(f"The size of tensor a ({p[-k]}) must match the size of tensor b ({q[-k]}) at "
                               f"non-singleton dimension {max(len(p), len(q)) - k}")
    if p[-1] != q[-2]:
        batch = math.prod(np.broadcast_shapes(p[:-2], q[:-2]))
        raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: [{batch}, {p[-1]}] but "
                           f"got: [{batch}, {q[-2]}].")
    _same_dtype(a, b, "expected scalar type {A} but found {B}")
    _not_bool(a, "bmm", *a.array.shape, *b.array.shape)


@takes_out
@composite("Mul")
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The matrix of all products of an element of one vector and one of another."""
    _tensors("outer", input=input, vec2=vec2)
    for x, name in ((input, "self"), (vec2, "vec2")):
        if x.array.ndim != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {x.array.ndim}-D")
    return mul(reshape_to(input, (input.array.size, 1)), vec2)


def ger(input: Tensor, vec2: Tensor) -> Tensor:
    return outer(input, vec2)


@takes_out
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The inner products of the vectors in the last dimensions."""
    _tensors("inner", input=input, other=other)
    _same_dtype(input, other, "both inputs should have same dtype")
    if not input.array.ndim or not other.array.ndim:
        return mul(input, other)
    if input.array.shape[-1] != other.array.shape[-1]:
        raise RuntimeError("inner() the last dimension must match on both input tensors but got shapes "
                           f"{list(input.array.shape)} and {list(other.array.shape)}")
    return tensordot(input, other, ([-1], [-1]))


@takes_out
def tensordot(a: Tensor, b: Tensor, dims: int | Sequence[Sequence[int]] | Tensor = 2) -> Tensor:
    """Products summed over dimensions of both: the last of a and the first of b, or those listed."""
    _tensors("tensordot", a=a, b=b)
    if isinstance(dims, Variable):
        dims = dims.array.tolist()
    if isinstance(dims, Sequence):
        dims_a, dims_b = (d.array.tolist() if isinstance(d, Variable) else [d] if isinstance(d, int) else list(d)
                          for d in dims)
    else:
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.array.ndim, b.array.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        dims_a, dims_b = list(range(-dims, 0)), list(range(dims))
    if len(dims_a) != len(dims_b):
        raise RuntimeError("both dimension lists should have same length")
    _same_dtype(a, b, "both inputs should have same dtype")
    p, q = a.array.shape, b.array.shape
    pairs = [(dim_of(d, len(p)), dim_of(e, len(q))) for d, e in zip(dims_a, dims_b, strict=True)]
    for (d, e), (shown_d, shown_e) in zip(pairs, zip(dims_a, dims_b, strict=True), strict=True):
        if p[d] != q[e] and 1 not in (p[d], q[e]):
            raise RuntimeError(f"contracted dimensions need to match, but first has size {p[d]} in dim {shown_d} and "
                               f"second has size {q[e]} in dim {shown_e}")
    for d, e in pairs:                       # a dimension of size 1 meets any other: what it meets is summed first
        if p[d] != q[e]:
            a, b = (sum_over(a, (d,), True), b) if q[e] == 1 else (a, sum_over(b, (e,), True))
    p, q = a.array.shape, b.array.shape
    over_a, over_b = [d for d, _ in pairs], [e for _, e in pairs]
    rest_a, rest_b = [d for d in range(len(p)) if d not in over_a], [d for d in range(len(q)) if d not in over_b]
    size = math.prod(p[d] for d in over_a)
    left = reshape_to(permute_dims(a, (*rest_a, *over_a)), (math.prod(p[d] for d in rest_a), size))
    right = reshape_to(permute_dims(b, (*over_b, *rest_b)), (size, math.prod(q[d] for d in rest_b)))
    return reshape_to(mm(left, right), tuple(p[d] for d in rest_a) + tuple(q[d] for d in rest_b))


def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker's product: the second tensor, times each element of the first, in that element's place."""
    _tensors("kron", input=input, other=other)
    n = max(input.array.ndim, other.array.ndim)
    p, q = ((1,) * (n - x.array.ndim) + x.array.shape for x in (input, other))
    left = reshape_to(input, tuple(size for k in p for size in (k, 1)))
    right = reshape_to(other, tuple(size for k in q for size in (1, k)))
    return named(reshape_to(mul(left, right), tuple(k * m for k, m in zip(p, q, strict=True))), "UnsafeView")


@composite
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal."""
    require_tensor("trace", input)
    if input.array.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.array.ndim}")
    refuse("trace", "b", input)
    if input.array.dtype.kind != "f":
        input = cast(input, np.dtype(np.int64))
    return sum_over(diagonal_view(input, 0, 0, 1), (0,), False)


@composite("LinalgCross")
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product of vectors of three components, which stand along a dimension."""
    _tensors("cross", input=input, other=other)
    if input.array.ndim != other.array.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    if dim is None:
        dim = next((d for d, n in enumerate(input.array.shape) if n == 3), -1)
    dim = dim_of(dim, input.array.ndim)
    if input.array.shape[dim] != 3 or other.array.shape[dim] != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.array.shape[dim]} and "
                           f"{other.array.shape[dim]}")
    back, forth = (lambda x: roll(x, -1, dim)), (lambda x: roll(x, 1, dim))
    return back(input) * forth(other) - forth(input) * back(other)


# ---- a product and a sum ----------------------------------------------------------------------------------------

def _plus_product(name: str, input: Tensor, product: Callable[[], Tensor], shape: tuple[int, ...], beta: float,
                  alpha: float, factors: Sequence[Tensor]) -> Tensor:
    """beta input + alpha product(), where the input is broadcast to the product's shape."""
    for x in factors:
        if x.array.dtype != input.array.dtype:
            raise RuntimeError(f"self and mat2 must have the same dtype, but got {input.dtype.tensor_type} and "
                               f"{x.dtype.tensor_type}")
    empty = not factors[0].array.size                          # then there is nothing to add but beta times the input
    if input.array.dtype.kind == "b" and name.endswith("mm") and 0 not in shape and not (empty and beta == 0):
        raise RuntimeError("result type Long can't be cast to the desired output type Bool")
    if input.array.dtype.kind != "f":
        number = bool if input.array.dtype.kind == "b" and name != "Addr" else int
        beta, alpha = number(beta), number(alpha)         # as torch does, except in addr
    if input.array.shape != shape:
        input = expand(input, shape)
    out = product()
    out = out if alpha == 1 else mul(out, alpha)
    if beta != 0:                            # with beta = 0 the input is not looked at: its NaNs do not count
        out = add(out, input if beta == 1 else mul(input, beta))
    elif input.requires_grad:                # ... but its gradient is there: zeros
        out = add(out, _where(np.zeros(shape, bool), input, 0.0))
    return named(out, name)


@numbers_first("beta", "alpha")
@takes_out
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha mat1 @ mat2."""
    _tensors("addmm", input=input, mat1=mat1, mat2=mat2)
    for x, k in ((mat1, "mat1"), (mat2, "mat2")):
        if x.array.ndim != 2:
            raise RuntimeError(f"{k} must be a matrix, got {x.array.ndim}-D tensor")
    _check_inner(mat1, mat2)
    shape = (mat1.array.shape[0], mat2.array.shape[1])
    return _plus_product("Addmm", input, lambda: matrix_product(mat1, mat2), shape, beta, alpha, (mat1, mat2))


@numbers_first("beta", "alpha")
@takes_out
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha mat @ vec."""
    _tensors("addmv", input=input, mat=mat, vec=vec)
    _check_vector(mat, vec)
    n = mat.array.shape[0]
    return _plus_product("Addmv", input, lambda: _times_vector(mat, vec), (n,), beta, alpha, (mat, vec))


@numbers_first("beta", "alpha")
@takes_out
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha batch1 @ batch2, batch by batch."""
    shape = _batch_shape("baddbmm", input, batch1, batch2)
    return _plus_product("Baddbmm", input, lambda: matrix_product(batch1, batch2), shape, beta, alpha, (batch1, batch2))


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha times the sum of batch1 @ batch2 over the batch."""
    shape = _batch_shape("addbmm", input, batch1, batch2)[1:]

    def product():
        return sum_over(matrix_product(batch1, batch2), (0,), False)
    return _plus_product("Addbmm", input, product, shape, beta, alpha, (batch1, batch2))


def _batch_shape(name: str, input: Tensor, batch1: Tensor, batch2: Tensor) -> tuple[int, ...]:
    _tensors(name, input=input, batch1=batch1, batch2=batch2)
    for x, k in ((batch1, "batch1"), (batch2, "batch2")):
        if x.array.ndim != 3:
            raise RuntimeError(f"{k} must be a 3D tensor")
    _check_batches(batch1, batch2)
    return (*batch1.array.shape[:2], batch2.array.shape[2])


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha times the outer product of two vectors."""
    _tensors("addr", input=input, vec1=vec1, vec2=vec2)
    for x, k in ((vec1, "vec1"), (vec2, "vec2")):
        if x.array.ndim != 1:
            raise RuntimeError(f"addr: Expected 1-D argument {k}, but got {x.array.ndim}-D")
    if input.array.dtype.kind != "f" and (isinstance(beta, float) or isinstance(alpha, float)):
        raise RuntimeError("For integral input tensors, arguments beta and alpha must not be floating point numbers.")
    shape = (vec1.array.size, vec2.array.size)
    return _plus_product("Addr", input, lambda: outer(vec1, vec2), shape, beta, alpha, (vec1, vec2))


# ---- einsum -----------------------------------------------------------------------------------------------------
#
# Every dimension has a label. Each operand is brought into one order of dimensions, the output's first, with a
# dimension of size 1 for every label that it lacks. Then operands are multiplied pair by pair, from left to right,
# summing what no later operand and not the output needs; a product of a pair is one (batched) matrix product.

def einsum(equation: str | Tensor, *operands) -> Tensor:
    """Sums of products by labelled dimensions: einsum("ij,jk->ik", a, b), or einsum(a, [0, 1], b, [1, 2], [0, 2])."""
    terms, output, operands = _einsum_arguments(equation, operands)
    dots = max((x.array.ndim - len(term) + 1 for term, x in zip(terms, operands) if ... in term), default=0)
    labels = [_dots_spelt_out(term, x.array.ndim, dots) for term, x in zip(terms, operands, strict=True)]
    flat = [label for term in labels for label in term]
    if output is None:
        out = [("...", k) for k in range(dots)]
        out += sorted({label for label in flat if flat.count(label) == 1 and isinstance(label, str)})
    else:
        out = [label for item in output for label in ([("...", k) for k in range(dots)] if item is ... else [item])]
    summed = sorted({label for label in flat if label not in out}, key=str)
    order = out + summed
    sizes: dict = {}
    aligned = [_aligned(x, term, order, sizes, k) for k, (x, term) in enumerate(zip(operands, labels, strict=True))]
    places = range(len(out), len(order))
    if len(aligned) == 1:
        return sum_over(aligned[0], tuple(places), False) if summed else aligned[0]
    result = aligned[0]
    for k, x in enumerate(aligned[1:], 1):
        later = aligned[k + 1:]
        over = [d for d in places if all(y.array.shape[d] == 1 for y in later)]
        over = [d for d in over if result.array.shape[d] != 1 or x.array.shape[d] != 1]
        result = _pair_product(result, x, over)
    return reshape_to(result, result.array.shape[:len(out)]) if summed else result


def _einsum_arguments(equation, operands: tuple) -> tuple[list, list | None, list]:
    """The labels of each operand, of the output (if given), and the operands. An ellipsis stands for itself."""
    if isinstance(equation, str) and operands:
        if len(operands) == 1 and isinstance(operands[0], Sequence):
            operands = tuple(operands[0])
        left, arrow, right = equation.partition("->")
        terms = [_labels(term, f"operand {k}", equation.index("->") if arrow else len(equation), equation)
                 for k, term in enumerate(left.split(","))]
        output = _labels(right, "the output", len(equation), equation, len(left) + 2) if arrow else None
    elif isinstance(equation, Variable) and operands:
        given = (equation, *operands)
        operands = tuple(x for x in given[:len(given) // 2 * 2:2])
        terms, output = [_sublist(x) for x in given[1::2]], _sublist(given[-1]) if len(given) % 2 else None
    else:
        raise ValueError("einsum(): must specify the equation string and at least one operand, or at least one operand "
                         "and its subscripts list")
    for x in operands:
        require_tensor("einsum", x, "operands")
    if len(terms) != len(operands):
        which = "fewer" if len(operands) < len(terms) else "more"
        raise RuntimeError(f"einsum(): {which} operands were provided than specified in the equation")
    for k, (term, x) in enumerate(zip(terms, operands, strict=True)):
        letters, n = len([label for label in term if label is not ...]), x.array.ndim
        if letters > n or (letters < n and ... not in term):
            relation, why = ("is more than", "") if ... in term else ("does not match", " and no ellipsis was given")
            raise RuntimeError(f"einsum(): the number of subscripts given ({letters}) {relation} the number of "
                               f"dimensions ({n}) for operand {k}{why}")
    for label in output or ():
        if label is not ... and not any(label in term for term in terms):
            raise RuntimeError(f"einsum(): output subscript {label} does not appear in the equation for any input "
                               "operand")
        if output.count(label) > 1 and label is not ...:
            raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
    return terms, output, list(operands)


def _labels(term: str, where: str, end: int, equation: str, start: int = 0) -> list:
    found, k = [], 0
    while k < len(term):
        if term[k] == ".":
            if ... in found:
                raise RuntimeError(f"einsum(): found '.' for {where} for which an ellipsis was already found")
            if term[k:k + 3] != "...":
                raise RuntimeError(f"einsum(): found '.' for {where} that is not part of any ellipsis")
            found.append(...)
            k += 2
        elif term[k].isascii() and term[k].isalpha():
            found.append(term[k])
        elif term[k] != " ":
            raise RuntimeError(f"einsum(): invalid subscript {term[k]!r} given for {where} in the equation "
                               f"{equation!r}, subscripts must be in [a-zA-Z]")
        k += 1
    return found


def _sublist(items: Sequence) -> list:
    """Numbers for labels: 0 to 25 are the capitals, 26 to 51 the small letters."""
    if any(x is not ... and not 0 <= x < 52 for x in items):
        raise ValueError("einsum(): subscript in subscript list is not within the valid range [0, 52)")
    return [x if x is ... else chr(ord("A") + x) if x < 26 else chr(ord("a") + x - 26) for x in items]


def _dots_spelt_out(term: list, ndim: int, dots: int) -> list:
    """The labels with an ellipsis replaced by the last of the dimensions that ellipses stand for."""
    count = ndim - len(term) + 1
    spelt = [("...", k) for k in range(dots - count, dots)]
    return [label for item in term for label in (spelt if item is ... else [item])]


def _aligned(x: Tensor, labels: list, order: list, sizes: dict, k: int) -> Tensor:
    """The operand in the common order of dimensions, with diagonals taken where a label is repeated."""
    labels = list(labels)
    for label in [label for d, label in enumerate(labels) if label in labels[:d]]:
        first = labels.index(label)
        second = labels.index(label, first + 1)
        n, m = x.array.shape[first], x.array.shape[second]
        if n != m:
            raise RuntimeError(f"einsum(): subscript {label} is repeated for operand {k} but the sizes don't match, "
                               f"{m} != {n}")
        x = diagonal_view(x, 0, first, second)
        labels = [item for d, item in enumerate(labels) if d not in (first, second)] + [label]
    for label, n in zip(labels, x.array.shape, strict=True):
        seen = sizes.setdefault(label, n)
        if n != seen and 1 not in (n, seen):
            raise RuntimeError(f"einsum(): subscript {label if isinstance(label, str) else '...'} has size {n} for "
                               f"operand {k} which does not broadcast with previously seen size {seen}")
        sizes[label] = max(n, seen) if n and seen else 0
    missing = len(order) - len(labels)
    places = [labels.index(label) if label in labels else None for label in order]
    fresh = iter(range(len(labels), len(order)))
    if missing:
        x = basic_index(x, (slice(None),) * len(labels) + (None,) * missing)
    return permute_dims(x, tuple(next(fresh) if p is None else p for p in places))


def _pair_product(left: Tensor, right: Tensor, over: list[int]) -> Tensor:
    """left * right, summed over dimensions, which stay as 1s."""
    if not over:
        _same_dtype(left, right, "expected scalar type {A} but found {B}")
        return mul(left, right)
    for d in over:                                        # what only one of them has is summed before
        n, m = left.array.shape[d], right.array.shape[d]
        if n != m:
            left, right = (sum_over(left, (d,), True), right) if m == 1 else (left, sum_over(right, (d,), True))
    p, q = left.array.shape, right.array.shape
    kept = [d for d in range(len(p)) if d not in over]
    both = [d for d in kept if p[d] != 1 and q[d] != 1]
    only_left, only_right = [d for d in kept if q[d] == 1], [d for d in kept if p[d] == 1 and q[d] != 1]

    def size(shape, dims):
        return math.prod(shape[d] for d in dims)
    a = permute_dims(left, (*both, *only_left, *over, *only_right))
    b = permute_dims(right, (*both, *over, *only_right, *only_left))
    a = reshape_to(a, (size(p, both), size(p, only_left), size(p, over)))
    b = reshape_to(b, (size(q, both), size(q, over), size(q, only_right)))
    _same_dtype(a, b, "expected scalar type {A} but found {B}")
    _not_bool(a, "bmm", *a.array.shape, *b.array.shape)
    order = [*both, *only_left, *over, *only_right]
    shape = [*(p[d] for d in both + only_left), *(1 for _ in over), *(q[d] for d in only_right)]
    out = reshape_to(matrix_product(a, b), tuple(shape))
    return permute_dims(out, tuple(order.index(d) for d in range(len(order))))


# ---- chains -----------------------------------------------------------------------------------------------------

def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of a chain of matrices, in the order that takes the fewest multiplications. Both ends may be
    vectors."""
    tensors = list(tensors)
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    for k, x in enumerate(tensors):
        place = {0: "first", len(tensors) - 1: "last"}.get(k)
        if x.array.ndim != 2 and not (place and x.array.ndim == 1):
            what = f"the {place} tensor must be 1D or 2D" if place else f"tensor {k} must be 2D"
            raise RuntimeError(f"multi_dot(): {what} but got {x.array.ndim}D")
    row, column = tensors[0].array.ndim == 1, tensors[-1].array.ndim == 1
    if row:
        tensors[0] = unsqueeze(tensors[0], 0)
    if column:
        tensors[-1] = unsqueeze(tensors[-1], 1)
    for k, (a, b) in enumerate(itertools.pairwise(tensors)):
        if a.array.shape[1] != b.array.shape[0]:
            raise RuntimeError(f"multi_dot(): tensors {k} and {k + 1} with shapes {list(a.array.shape)} and "
                               f"{list(b.array.shape)} cannot be multiplied")
    out = _chain(tensors)
    shape = (out.array.shape[:1] if not row else ()) + (out.array.shape[1:] if not column else ())
    return reshape_to(out, shape)


def _chain(tensors: list[Tensor]) -> Tensor:
    sizes = [x.array.shape[0] for x in tensors] + [tensors[-1].array.shape[1]]
    n = len(tensors)
    cost: dict = {(i, i): (0, i) for i in range(n)}
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length - 1
            last = sizes[i] * sizes[j + 1]               # of the product of both parts, per column of the left one
            cost[i, j] = min((cost[i, k][0] + cost[k + 1, j][0] + sizes[k + 1] * last, k) for k in range(i, j))

    def product(i: int, j: int) -> Tensor:
        return tensors[i] if i == j else mm(product(i, cost[i, j][1]), product(cost[i, j][1] + 1, j))
    return product(0, n - 1)


def chain_matmul(*matrices: Tensor) -> Tensor:
    return matrices[0] if len(matrices) == 1 else multi_dot(matrices)


# ---- norms ------------------------------------------------------------------------------------------------------

def svdvals(A: Tensor) -> Tensor:
    """The singular values of matrices, in descending order."""
    require_tensor("linalg.svd", A, "A")
    if A.array.ndim < 2:
        raise RuntimeError("linalg.svd: The input tensor A must have at least 2 dimensions.")
    if A.array.dtype.kind != "f":
        raise RuntimeError("linalg.svd: Expected a floating point or complex tensor as input. Got "
                           f"{A.dtype.tensor_type}")
    return singular_values(A)


def matrix_norm(A: Tensor, ord: float | str = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False, *,
                dtype: dtypes.dtype | None = None) -> Tensor:
    """A norm of the matrices in two dimensions: "fro", "nuc", or of order 1, 2, inf or their negatives."""
    require_tensor("linalg.matrix_norm", A, "A")
    dim = tuple(dim)
    if A.array.ndim < 2:
        raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
    if len(dim) != 2:
        raise RuntimeError("linalg.matrix_norm: dim must be a 2-tuple of ints. Got " + " ".join(map(str, dim)))
    dims = dims_of(dim, A.array.ndim)
    if A.array.dtype.kind != "f":
        raise RuntimeError("linalg.matrix_norm: Expected a floating point or complex tensor as input. Got "
                           f"{A.dtype.tensor_type}")
    if dtype is not None:
        A = A.to(dtype)
    if isinstance(ord, str):
        if ord not in ("fro", "nuc"):
            raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
        if ord == "fro":
            return reduce.linalg_vector_norm(A, 2, dims, keepdim)
        return _kept(sum_over(svdvals(movedim(A, dims, (-2, -1))), (A.array.ndim - 2,), False), dims, keepdim)
    if abs(ord) not in (1, 2, math.inf):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")

    def extreme(x: Tensor, d: int, keep: bool) -> Tensor:
        if x.array.shape[d] == 0 and ord < 0:
            raise IndexError(f"linalg.matrix_norm: the norm of order {ord} is a least value, which an empty dimension "
                             "does not have")
        return (sum_over if x.array.shape[d] == 0 else max_over if ord > 0 else min_over)(x, (d,), keep)
    if abs(ord) == 2:
        values = svdvals(movedim(A, dims, (-2, -1)))
        return _kept(extreme(values, A.array.ndim - 2, False), dims, keepdim)
    over, along = dims if abs(ord) == 1 else dims[::-1]
    sums = sum_over(absolute(A), (over,), True)
    out = extreme(sums, along, True)
    if not keepdim:
        out = reshape_to(out, tuple(n for d, n in enumerate(A.array.shape) if d not in dims))
    return named(out, "Amax" if ord > 0 else "Amin")


def _kept(out: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """A norm of matrices that were moved to the end, with their dimensions as 1s in their places."""
    n = out.array.ndim
    return movedim(reshape_to(out, (*out.array.shape, 1, 1)), (n, n + 1), dims) if keepdim else out


def linalg_norm(A: Tensor, ord: float | str | None = None, dim: int | Sequence[int] | None = None,
                keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """A norm of vectors (one dimension) or matrices (two): torch.linalg.norm."""
    require_tensor("linalg.norm", A, "A")
    dims = (dim,) if isinstance(dim, int) else None if dim is None else tuple(dim)
    if ord is not None and dims is None:
        if A.array.ndim not in (1, 2):
            raise RuntimeError("linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
                               f"{A.array.ndim}D.")
        dims = tuple(range(A.array.ndim))
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}")
    if ord is not None and len(dims) == 2:
        return matrix_norm(A, ord, dims, keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: the order {ord!r} is one of matrices; got vectors")
    return reduce.linalg_vector_norm(A, 2 if ord is None else ord, dims, keepdim, dtype=dtype)


def norm(input: Tensor, p: float | str | None = "fro", dim: int | Sequence[int] | None = None, keepdim: bool = False,
         dtype: dtypes.dtype | None = None) -> Tensor:
    """The p-norm of all elements, or along dimensions; "nuc" is one of matrices."""
    require_tensor("norm", input)
    if isinstance(p, str) and p not in ("fro", "nuc"):
        raise RuntimeError(f"only valid string values are 'fro' and 'nuc', found {p}")
    if input.array.dtype.kind != "f" and dtype is None:
        raise RuntimeError("norm(): input dtype should be either floating point or complex. Got "
                           f"{input.dtype.tensor_type} instead.")
    if p == "nuc" or p == "fro" and isinstance(dim, list | tuple) and len(dim) > 2:
        dim = range(input.array.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
        return matrix_norm(input, p, tuple(dim), keepdim, dtype=dtype)      # which refuses what are not two dimensions
    return reduce.linalg_vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


def _matmul(self, other):
    return matmul(self, other) if isinstance(other, Variable) else unknown(other)


def _rmatmul(self, other):
    return matmul(other, self) if isinstance(other, Variable) else unknown(other)


class Methods:
    __slots__ = ()

    __matmul__, __rmatmul__ = _matmul, _rmatmul
    norm = norm
    matmul, mm, bmm, mv, dot, vdot, inner, outer, ger = matmul, mm, bmm, mv, dot, vdot, inner, outer, ger
    addmm, addmv, addr, addbmm, baddbmm = addmm, addmv, addr, addbmm, baddbmm
    addmm_, addmv_, addr_ = inplace(addmm), inplace(addmv), inplace(addr)
    addbmm_, baddbmm_ = inplace(addbmm), inplace(baddbmm)
    kron, trace, cross = kron, trace, cross
