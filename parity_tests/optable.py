"""One row per op: its name and how to draw a call. test_ops.py drives every test of every op from this table.

A row draws `args` or `(args, kwargs)` for torch; domains are narrowed only where torch's own result is ill-conditioned
(the logarithm near 0, tan near its poles). What torch refuses is a fair draw as well: minigrad must refuse it too.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch

from .strategies import Draw

Call = tuple[tuple, dict]


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    case: Callable[[Draw], Any]
    elementwise: bool = False  # special values (nan, inf, -0.0, integer extremes) must come out exactly
    ordered: bool = True  # False: torch's order among equal values is unspecified, so ties are not drawn

    def call(self, d: Draw) -> Call:
        drawn = self.case(d)
        return drawn if len(drawn) == 2 and isinstance(drawn[0], tuple) and isinstance(drawn[1], dict) else (drawn, {})


# ------------------------------------------------------------------------------------------------ how to draw


def in_order(t: torch.Tensor) -> torch.Tensor:
    """The same leaf, its elements in order."""
    return t.detach().contiguous().requires_grad_(t.requires_grad)


def unary(low: float = -3, high: float = 3) -> Callable:
    return lambda d: (d.tensor(None, low, high),)


def binary(low: float = -3, high: float = 3, *, scalar: bool = True, mixed: bool = True) -> Callable:
    """Two tensors that broadcast, now and then of two dtypes, now and then a Python number on the right."""

    def case(d: Draw) -> tuple:
        a, b = d.broadcast()
        if scalar and d.int(0, 4) == 0:
            return d.tensor(a, low, high), d.number()
        other = (
            d.pick([torch.float32, torch.float64, torch.int64, torch.bool]) if mixed and d.int(0, 4) == 0 else d.dtype
        )
        return d.tensor(a, low, high), d.tensor(b, low, high, dtype=other)

    return case


def reflected(d: Draw) -> tuple:
    x = d.tensor()
    return x, d.number() if d.flag() else d.tensor(x.shape)


def ternary(low: float = -3, high: float = 3, **ranges: tuple) -> Callable:
    def case(d: Draw) -> Call:
        return tuple(d.tensors(d.broadcast(3), low, high)), {k: d.pick(v) for k, v in ranges.items() if d.flag()}

    return case


def reduction(
    *, many: bool = True, keepdim: bool = True, low: float = -3, high: float = 3, **kwargs: tuple
) -> Callable:
    """All, one or (if `many`) several dimensions; each keyword of `kwargs` now and then, one of its values."""

    def case(d: Draw) -> Call:
        x = d.tensor(None, low, high)
        extra = {k: d.pick(v) for k, v in kwargs.items() if d.flag()}
        if d.flag():
            return (x,), extra
        extra["dim"] = d.dims(x.ndim, 1) if many and x.ndim and d.flag() else d.dim(x.ndim)
        if keepdim and d.flag():
            extra["keepdim"] = True
        return (x,), extra

    return case


def along(low: float = -3, high: float = 3, **kwargs: tuple) -> Callable:
    """One dimension, which must be given."""

    def case(d: Draw) -> Call:
        x = d.tensor(None, low, high)
        return (x, d.dim(x.ndim)), {k: d.pick(v) for k, v in kwargs.items() if d.flag()}

    return case


def like(*args: Callable, min_dims: int = 0, max_dims: int = 3, min_side: int = 0) -> Callable:
    """A tensor, then what each function of (draw, tensor) gives."""

    def case(d: Draw) -> tuple:
        x = d.tensor(d.shape(min_dims, max_dims, min_side))
        return x, *(arg(d, x) for arg in args)

    return case


def a_dim(d: Draw, x: torch.Tensor) -> int:
    return d.dim(x.ndim)


def a_permutation(d: Draw, x: torch.Tensor) -> tuple[int, ...]:
    return d.dims(x.ndim, x.ndim)


def a_shape_of_as_many(d: Draw, x: torch.Tensor) -> tuple[int, ...]:
    n = x.numel()
    if n == 0:
        return d.pick([(0,), (0, 3), (2, 0), tuple(x.shape)])
    a = d.pick([k for k in range(1, n + 1) if n % k == 0])
    return d.pick([(n,), (-1,), (a, n // a), (a, -1), (1, a, n // a), tuple(x.shape)])


def wider(d: Draw, x: torch.Tensor) -> tuple[int, ...]:
    sides = tuple(d.int(0, 3) if s == 1 else s for s in x.shape)
    return (*d.shape(0, 1), *sides)


def repeats(d: Draw, x: torch.Tensor) -> tuple[int, ...]:
    return tuple(d.int(0, 2) for _ in range(x.ndim + d.int(0, 1)))


def several(d: Draw, *, cat: bool) -> tuple:
    """Tensors to stack, or to concatenate along a dimension in which they may differ."""
    shape = d.shape(1, 3)
    dim = d.int(0, len(shape) - 1)
    parts = [(*shape[:dim], d.int(0, 3) if cat else shape[dim], *shape[dim + 1 :]) for _ in range(d.int(1, 3))]
    return d.tensors(parts), d.pick([dim, dim - len(shape)]) if cat else d.int(-len(shape) - 1, len(shape))


def stacked(d: Draw) -> tuple:
    shape = d.shape()
    return (d.tensors([shape] * d.int(1, 3)),)


def ranges(d: Draw) -> tuple:
    a, b, step = d.int(-4, 4), d.int(-4, 8), d.pick([1, 2, 0.5, -1, 3])
    return d.pick([(max(b, 0),), (a, b), (a, b, step)]), {"dtype": d.dtype} if d.flag() else {}


def filled(*args: Any) -> Callable:
    return lambda d: ((d.shape(), *args), {"dtype": d.dtype} if d.flag() else {})


def filled_like(*args: Any) -> Callable:
    return lambda d: ((d.tensor(), *args), {"dtype": torch.float32} if d.flag() else {})


def ranked(d: Draw, least: int) -> tuple:
    """x, k, dim: the k-th or the k first along a dimension, k now and then one too many."""
    x = d.tensor()
    dim = d.dim(x.ndim)
    n = x.shape[dim] if x.ndim else 1
    return x, d.int(least, max(n + d.pick([0, 0, 0, 1]), least)), dim


def windows(d: Draw) -> tuple:
    x = d.tensor(d.shape(1, 3, 1))
    dim = d.dim(x.ndim)
    return x, dim, d.int(0, x.shape[dim]), d.int(1, 2)


def square_dims(d: Draw) -> dict:
    return {"offset": d.int(-2, 2), "dim1": 0, "dim2": -1}


def product(*shapes: str) -> Callable:
    """Matrix products: each letter is a side, drawn once; `*` stands for batch dimensions that broadcast."""

    def case(d: Draw) -> tuple:
        side = {c: d.int(0, 4) for c in "ijkb"}
        batch = d.broadcast(len(shapes))
        full = [(*(b if s.startswith("*") else ()), *(side[c] for c in s.strip("*"))) for s, b in zip(shapes, batch)]
        return tuple(d.tensors(full))

    return case


def scaled(*shapes: str) -> Callable:
    return lambda d: (product(*shapes)(d), {"alpha": d.pick([1, 2, 0]), "beta": d.pick([1, 3, 0])} if d.flag() else {})


def gathered(d: Draw, *, source: bool = False, value: bool = False, always: bool = False) -> tuple:
    """x, dim, index and for scatters what to write; without duplicates unless the result is a sum."""
    x = d.tensor(d.shape(1, 3, 1))
    dim = d.dim(x.ndim)
    n = x.shape[dim]
    shape = [d.int(0, s) for s in x.shape]
    if source and not always:  # scatter: each target at most once, or torch's result depends on its threads
        order = d.distinct(n, n)
        index = order.view([-1 if k == dim % x.ndim else 1 for k in range(x.ndim)]).expand(x.shape)
        index = index[tuple(slice(s) for s in shape)]
    else:
        index = d.index(tuple(shape), n)
    written = d.tensor(tuple(index.shape)) if source else 2 if value else None
    return (x, dim, index) if written is None else (x, dim, index, written)


def by_rows(d: Draw, *, copy: bool) -> tuple:
    """index_add and index_copy: a row of the source for each index."""
    x = d.tensor(d.shape(1, 3, 1))
    dim = d.dim(x.ndim)
    n = x.shape[dim]
    index = d.distinct(d.int(0, n), n) if copy else d.index((d.int(0, 4),), n)
    shape = list(x.shape)
    shape[dim] = len(index)
    return x, dim, index, d.tensor(tuple(shape))


def some_key(d: Draw, x: torch.Tensor) -> Any:
    """What stands between the brackets: numbers, slices, None, ..., a mask, index tensors."""
    n = x.shape[0]
    return d.pick(
        [
            d.int(-n, n),  # n itself is out of range
            slice(d.int(-n, n), d.int(-n, n), d.int(1, 2)),
            None,
            (Ellipsis, slice(None, None, 2)),
            (slice(1, None), None),
            d.mask((n,)),
            d.index((d.int(0, 3), 2), n),
            [0, -1, 0],
            (Ellipsis, d.index((2,), x.shape[-1])),
            (d.index((2, 1), n), *((d.index((3,), x.shape[1]),) if x.ndim > 1 else ())),
        ]
    )


def classes(d: Draw, **kwargs: tuple) -> Call:
    """(scores, class targets) for a classification loss, with one target now and then ignored."""
    n, c = d.int(1, 4), d.int(1, 4)
    shape = d.pick([(n, c), (c,), (n, c, 2)])
    x = d.tensor(shape)
    target = d.index((*shape[:-2], 2) if len(shape) == 3 else shape[:-1], c)
    extra = {k: d.pick(v) for k, v in kwargs.items() if d.flag()}
    if d.flag():
        extra["weight"] = d.tensor((c,), 0.5, 2).detach()
    if d.flag():
        extra["ignore_index"] = 0
    return (x, target), extra


def loss(low: float = -3, high: float = 3, target: tuple[float, float] | None = None, **kwargs: tuple) -> Callable:
    def case(d: Draw) -> Call:
        shape = d.shape(0, 3, 1)
        pair = d.tensor(shape, low, high), d.tensor(shape, *(target or (low, high)))
        return pair, {k: d.pick(v) for k, v in kwargs.items() if d.flag()}

    return case


REDUCTIONS = ("mean", "sum", "none")


def layer_norm(d: Draw, *, bias: bool = True) -> tuple:
    shape = d.shape(1, 3, 1)
    tail = shape[d.int(0, len(shape) - 1) :]
    affine = [d.tensor(tail), d.tensor(tail)] if d.flag() else [None, None]
    return d.tensor(shape), tail, *affine[: 1 + bias]


def group_norm(d: Draw) -> tuple:
    groups, per = d.int(1, 2), d.int(1, 2)
    c = groups * per
    x = d.tensor((d.int(1, 3), c, d.int(1, 4)))
    return (x, groups, d.tensor((c,)), d.tensor((c,))) if d.flag() else (x, groups)


def batch_norm(d: Draw) -> Call:
    x = d.tensor(d.pick([(4, 2), (3, 2, 2), (2, 1, 3)]))
    c = x.shape[1]
    running = (torch.zeros(c, dtype=d.dtype), torch.ones(c, dtype=d.dtype))
    # in order, for outside of training torch's backward takes no notice of the weight's stride, and reads other numbers
    affine = {"weight": in_order(d.tensor((c,))), "bias": d.tensor((c,))} if d.flag() else {}
    return (x, *running), {"training": d.flag(), "momentum": 0.3, **affine}


def attention(d: Draw) -> Call:
    b, h, t, s, e = d.pick([(), (2,)]), 2, d.int(1, 3), d.int(1, 3), d.int(1, 3)
    q, k, v = d.tensors([(*b, h, t, e), (*b, h, s, e), (*b, h, s, e)])
    mask = {"attn_mask": d.tensor((t, s)).detach()} if d.flag() else {"is_causal": d.flag()}
    return (q, k, v), mask | ({"scale": 0.7} if d.flag() else {})


def conv1d(d: Draw) -> Call:
    groups, kernel = d.int(1, 2), d.int(1, 3)
    c, o = groups * d.int(1, 2), groups * d.int(1, 2)
    args = d.tensor((d.int(1, 2), c, d.int(5, 7))), d.tensor((o, c // groups, kernel))
    bias = (d.tensor((o,)),) if d.flag() else ()
    padding = d.pick([0, 1, 2, "valid"])
    return (*args, *bias), {"stride": d.int(1, 2), "padding": padding, "dilation": d.int(1, 2), "groups": groups}


def padded(d: Draw) -> Call:
    mode = d.pick(["constant", "reflect", "replicate", "circular"])
    x = d.tensor((d.int(1, 2), 2, d.int(2, 4)) if mode != "constant" else d.shape(1, 3, 1))
    sizes = tuple(
        d.int(-1 if mode == "constant" else 0, 2) for _ in range(2 if mode != "constant" else 2 * d.int(1, x.ndim))
    )
    return (x, sizes), {"mode": mode}


def contraction(d: Draw) -> tuple:
    side = {c: d.int(0, 3) for c in "ijkb"}
    equation = d.pick(
        ["ij,jk->ik", "bij,bjk->bik", "ij->ji", "ii->i", "i,j->ij", "ij,ij->", "bij,kj", "...ij,...jk->...ik"]
    )
    parts = equation.partition("->")[0].replace("...", "b").split(",")
    return equation, d.tensors([tuple(side[c] for c in part) for part in parts])


def token_loss(d: Draw) -> Call:
    n, c, e = d.int(1, 4), d.int(1, 4), d.int(1, 3)
    return (d.tensor((n, e)), d.tensor((c, e)), d.index((n,), c)), {"reduction": d.pick(REDUCTIONS)}


# ------------------------------------------------------------------------------------------------ the table


def rows(names: str, case: Callable, **kwargs: Any) -> list[Row]:
    return [Row(name, case, **kwargs) for name in names.split()]


ROWS: list[Row] = [
    # creation
    Row("arange", ranges),
    Row("full", filled(3)),
    Row("full_like", filled_like(2)),
    *rows("ones zeros", filled()),
    *rows("ones_like zeros_like empty_like", filled_like()),
    Row("eye", lambda d: ((d.int(0, 4), d.int(0, 4)), {"dtype": d.dtype})),
    Row("linspace", lambda d: ((d.int(-4, 4), d.int(-4, 4), d.int(0, 9)), {"dtype": d.dtype})),
    *rows("new_ones new_zeros", lambda d: (d.tensor(), d.shape())),
    Row("new_full", lambda d: (d.tensor(), d.shape(), 2)),
    *rows("tril triu", like(lambda d, x: d.int(-3, 3), min_dims=2)),
    *rows("tril_indices triu_indices", lambda d: (d.int(0, 4), d.int(0, 4), d.int(-3, 3))),
    Row("meshgrid", lambda d: (tuple(d.tensors([d.shape(0, 1) for _ in "xy"])), {"indexing": d.pick(["ij", "xy"])})),
    Row("scalar_tensor", lambda d: ((d.int(0, 3),), {"dtype": d.dtype})),
    # elementwise, one argument
    *rows("abs neg positive exp expm1 exp2 square sin cos tanh sinh cosh sigmoid erf erfc", unary(), elementwise=True),
    *rows("sign floor ceil trunc frac isnan isinf isfinite logical_not bitwise_not sinc", unary(), elementwise=True),
    *rows("log log2 log10 sqrt rsqrt reciprocal", unary(0.125, 9), elementwise=True),
    Row("log1p", unary(-0.5, 9), elementwise=True),
    Row("tan", unary(-1.25, 1.25), elementwise=True),
    Row("logit", lambda d: (d.tensor(None, 0.125, 0.875), *((0.25,) if d.flag() else ())), elementwise=True),
    Row("round", lambda d: ((d.tensor(),), {"decimals": d.int(-1, 2)} if d.flag() else {}), elementwise=True),
    Row("nan_to_num", lambda d: ((d.tensor(),), {"nan": 5.0} if d.flag() else {}), elementwise=True),
    # elementwise, two arguments
    Row("add", lambda d: (binary()(d), {"alpha": d.pick([1, 2, 0.5])} if d.flag() else {}), elementwise=True),
    Row("sub", lambda d: (binary()(d), {"alpha": d.pick([1, 2, 0.5])} if d.flag() else {}), elementwise=True),
    *rows("rsub mul true_divide floor_divide remainder fmod", binary(), elementwise=True),
    Row("div", lambda d: (binary()(d), {"rounding_mode": d.pick([None, "trunc", "floor"])}), elementwise=True),
    *rows("pow float_power", binary(-2, 2), elementwise=True),
    *rows("maximum minimum fmax fmin atan2 logaddexp", binary(scalar=False), elementwise=True),
    *rows("eq ne lt le gt ge xlogy", binary(), elementwise=True),
    *rows("logical_and logical_or logical_xor", binary(scalar=False), elementwise=True),
    *rows("bitwise_and bitwise_or bitwise_xor", binary(), elementwise=True),
    *rows("__radd__ __rsub__ __rmul__ __rdiv__ __rpow__ __rand__ __ror__", reflected),
    # elementwise, three arguments
    Row("lerp", ternary()),
    Row("addcmul", ternary(value=(2, 0.5))),
    Row("addcdiv", ternary(0.5, 3, value=(2, 0.5))),
    Row("clamp", lambda d: (d.tensor(), d.pick([-1, None]), d.pick([1, 0.5])), elementwise=True),
    *rows("clamp_min clamp_max", binary(), elementwise=True),
    Row(
        "where",
        lambda d: (d.mask((s := d.broadcast(3))[0]), d.tensor(s[1]), d.pick([0, 2.0]) if d.flag() else d.tensor(s[2])),
    ),
    Row("masked_fill", like(lambda d, x: d.mask(tuple(x.shape)), lambda d, x: d.number())),
    # reductions
    *rows("sum nansum prod", reduction(many=False, dtype=(torch.float64, torch.int64))),
    *rows("mean nanmean", reduction()),
    *rows("var std var_mean std_mean", reduction(correction=(0, 1, 2))),
    *rows("amax amin all any", reduction()),
    *rows("max min argmax argmin aminmax", reduction(many=False)),
    Row("median", reduction(many=False), ordered=False),
    Row("count_nonzero", reduction(keepdim=False)),
    Row("logsumexp", lambda d: ((x := d.tensor()), d.dims(x.ndim, 1) if x.ndim else 0)),
    Row("norm", reduction(low=0.5, p=("fro", 1, 2, 3))),
    Row("linalg.norm", reduction(low=0.5)),
    Row("linalg.vector_norm", reduction(low=0.5, ord=(0, 1, 2, 3, math.inf, -math.inf))),
    *rows("cumsum cumprod logcumsumexp", along()),
    Row("cummax", along()),
    *rows("softmax log_softmax", along(dtype=(torch.float32, torch.float64))),
    Row("topk", lambda d: (*ranked(d, 0), d.flag()), ordered=False),
    Row("kthvalue", lambda d: ranked(d, 1), ordered=False),
    *rows(
        "sort argsort", lambda d: ((x := d.tensor(),), {"dim": d.dim(x.ndim), "descending": d.flag(), "stable": True})
    ),
    Row("msort", unary()),
    Row("unique", lambda d: ((d.tensor(),), {"return_inverse": d.flag(), "return_counts": d.flag()})),
    Row("bincount", lambda d: ((d.index((d.int(0, 6),), 5),), {"minlength": d.int(0, 7)})),
    Row("searchsorted", lambda d: ((d.tensor((5,)).sort().values, d.tensor()), {"right": d.flag()})),
    # shape
    *rows("reshape view", like(a_shape_of_as_many)),
    *rows("reshape_as view_as", like(lambda d, x: torch.empty(x.shape).flatten().reshape(x.shape[::-1]))),
    Row("flatten", like(a_dim, a_dim)),
    Row("unflatten", lambda d: (d.tensor((d.int(0, 2), n := d.pick([4, 6]))), 1, d.pick([(2, -1), (2, n // 2), (n,)]))),
    Row("squeeze", like(lambda d, x: d.dims(x.ndim) if d.flag() else d.dim(x.ndim))),
    Row("unsqueeze", lambda d: ((x := d.tensor()), d.int(-x.ndim - 1, x.ndim))),
    Row("transpose", like(a_dim, a_dim)),
    Row("t", like(max_dims=2)),
    Row("T", like(min_dims=2, max_dims=2)),
    Row("mT", like(min_dims=2)),
    Row("permute", like(a_permutation)),
    Row("movedim", like(a_dim, a_dim)),
    *rows("expand broadcast_to", like(wider)),
    Row("expand_as", like(lambda d, x: torch.empty(wider(d, x)))),
    *rows("repeat tile", like(repeats)),
    Row("repeat_interleave", like(lambda d, x: d.int(0, 3), lambda d, x: d.pick([None, d.dim(x.ndim)]))),
    Row("cat", lambda d: several(d, cat=True)),
    Row("stack", lambda d: several(d, cat=False)),
    *rows("hstack vstack", stacked),
    Row("split", like(lambda d, x: d.int(1, 3), a_dim, min_dims=1)),
    Row("split_with_sizes", like(lambda d, x: [1, x.shape[0] - 1], min_dims=1, min_side=1)),
    *rows("chunk tensor_split", like(lambda d, x: d.int(1, 4), a_dim, min_dims=1)),
    Row("unbind", like(a_dim, min_dims=1)),
    Row("narrow", lambda d: (x := d.tensor(d.shape(1, 3)), d.dim(x.ndim), d.int(0, 2), d.int(0, 2))),
    Row("select", like(a_dim, lambda d, x: d.int(-2, 2), min_dims=1)),
    Row("flip", like(lambda d, x: d.dims(x.ndim))),
    Row("roll", like(lambda d, x: d.int(-3, 3), a_dim)),
    Row("diag", like(lambda d, x: d.int(-2, 2), min_dims=1, max_dims=2)),
    Row("diagonal", lambda d: ((d.tensor(d.shape(2, 3)),), square_dims(d))),
    Row("diag_embed", lambda d: ((d.tensor(d.shape(1, 2)),), square_dims(d))),
    *rows("contiguous clone ravel", unary()),
    Row("rot90", like(lambda d, x: d.int(-3, 3), lambda d, x: (0, 1), min_dims=2)),
    Row("unfold", windows),
    # indexing
    Row("__getitem__", like(some_key, min_dims=1, min_side=1)),
    Row(
        "index_select",
        lambda d: (x := d.tensor(d.shape(1, 3, 1)), k := d.dim(x.ndim), d.index((d.int(0, 4),), x.shape[k])),
    ),
    Row("gather", gathered),
    Row("scatter", lambda d: gathered(d, source=d.flag(), value=True)),
    Row("scatter_add", lambda d: gathered(d, source=True, always=True)),
    Row("index_add", lambda d: by_rows(d, copy=False)),
    Row("index_copy", lambda d: by_rows(d, copy=True)),
    Row(
        "index_fill",
        lambda d: (x := d.tensor(d.shape(1, 3, 1)), k := d.dim(x.ndim), d.index((2,), x.shape[k]), d.int(0, 3)),
    ),
    Row(
        "index_put",
        lambda d: (x := d.tensor(d.shape(1, 3, 1)), (d.index((3,), len(x)),), d.tensor(tuple(x.shape[1:])), True),
    ),
    Row("masked_select", like(lambda d, x: d.mask(tuple(x.shape)))),
    Row("masked_scatter", like(lambda d, x: d.mask(tuple(x.shape)), lambda d, x: d.tensor((x.numel(),)))),
    Row("nonzero", lambda d: ((d.tensor(),), {"as_tuple": d.flag()})),
    Row("take_along_dim", lambda d: gathered(d)[::2] if d.flag() else [(g := gathered(d)), (g[0], g[2], g[1])][1]),
    Row("take", like(lambda d, x: d.index(d.shape(0, 2), x.numel()), min_side=1)),
    Row(
        "select_scatter",
        like(lambda d, x: d.tensor(tuple(x.shape[1:])), lambda d, x: 0, lambda d, x: 0, min_dims=1, min_side=1),
    ),
    # products
    Row(
        "matmul",
        lambda d: product(*d.pick([("ij", "jk"), ("j", "jk"), ("ij", "j"), ("*ij", "*jk"), ("*ij", "j"), ("j", "j")]))(
            d
        ),
    ),
    Row("__rmatmul__", lambda d: product("jk", "ij")(d)),
    Row("mm", product("ij", "jk")),
    Row("bmm", product("bij", "bjk")),
    Row("mv", product("ij", "j")),
    Row("dot", product("j", "j")),
    Row("outer", product("i", "j")),
    Row("inner", product("ij", "kj")),
    Row("addmm", scaled("ik", "ij", "jk")),
    Row("baddbmm", scaled("bik", "bij", "bjk")),
    Row("addmv", scaled("i", "ij", "j")),
    Row("einsum", contraction),
    Row("tensordot", lambda d: (product("ij", "jk")(d), {"dims": d.pick([0, 1])})),
    Row("kron", lambda d: tuple(map(in_order, product("ij", "kb")(d)))),  # torch refuses layouts it need not refuse
    Row("trace", product("ij")),
    # nn.functional
    Row("nn.functional.linear", lambda d: product("*ij", "kj", *(["k"] if d.flag() else []))(d)),
    Row(
        "nn.functional.embedding", lambda d: (d.index(d.shape(0, 2), 4), d.tensor((4, d.int(0, 3))), d.pick([None, 1]))
    ),
    Row("nn.functional.layer_norm", layer_norm),
    Row("nn.functional.rms_norm", lambda d: layer_norm(d, bias=False)),
    Row("nn.functional.group_norm", group_norm),
    Row("nn.functional.batch_norm", batch_norm),
    Row("nn.functional.cross_entropy", lambda d: classes(d, reduction=REDUCTIONS, label_smoothing=(0.0, 0.1))),
    Row("nn.functional.nll_loss", lambda d: classes(d, reduction=REDUCTIONS)),
    *rows("nn.functional.mse_loss nn.functional.l1_loss", loss(reduction=REDUCTIONS)),
    Row("nn.functional.smooth_l1_loss", loss(reduction=REDUCTIONS, beta=(0.0, 0.5, 2.0))),
    Row("nn.functional.huber_loss", loss(reduction=REDUCTIONS, delta=(0.5, 2.0))),
    Row("nn.functional.kl_div", loss(-3, 0, (0, 1), reduction=(*REDUCTIONS, "batchmean"), log_target=(True, False))),
    Row("nn.functional.binary_cross_entropy", loss(0.125, 0.875, (0, 1), reduction=REDUCTIONS)),
    Row("nn.functional.binary_cross_entropy_with_logits", loss(-3, 3, (0, 1), reduction=REDUCTIONS)),
    Row("nn.functional.gelu", lambda d: ((d.tensor(),), {"approximate": d.pick(["none", "tanh"])}), elementwise=True),
    *rows("nn.functional.silu nn.functional.relu nn.functional.logsigmoid", unary(), elementwise=True),
    *rows("nn.functional.elu nn.functional.mish nn.functional.relu6", unary(), elementwise=True),
    Row("nn.functional.softplus", lambda d: ((d.tensor(None, -9, 30),), {"beta": d.pick([1, 2])}), elementwise=True),
    Row("nn.functional.leaky_relu", lambda d: (d.tensor(), d.pick([0.01, 0.0, -0.5])), elementwise=True),
    Row("nn.functional.hardtanh", lambda d: (d.tensor(), d.pick([-1.0, -2]), 1.0), elementwise=True),
    Row("nn.functional.glu", lambda d: (d.tensor((d.int(0, 3), 2 * d.int(0, 2))), d.pick([-1, 1]))),
    Row("nn.functional.softmin", along()),
    Row("nn.functional.scaled_dot_product_attention", attention),
    Row("nn.functional.pad", padded),
    Row("nn.functional.one_hot", lambda d: (d.index(d.shape(0, 2), 4), d.pick([4, 6, -1]))),
    Row(
        "nn.functional.normalize",
        lambda d: ((x := d.tensor(d.shape(1, 3)), d.pick([1.0, 2.0])), {"dim": d.dim(x.ndim)}),
    ),
    Row("nn.functional.cosine_similarity", lambda d: (*d.tensors([d.shape(1, 3, 1)] * 2, 0.5, 3), -1)),
    Row("nn.functional.conv1d", conv1d),
    Row("nn.functional.linear_cross_entropy", token_loss),
]
