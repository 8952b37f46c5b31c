"""Every op of the table against torch: dtypes, layouts, broadcasting, empty tensors, gradients, special values."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, currently_in_test_context, given, note, settings
from hypothesis import strategies as st

import minigrad

from .opinfo import (
    OPS,
    TOLERANCE,
    TORCH,
    VALUES_UNDEFINED,
    Engine,
    assert_same_output,
    compare_grads,
    cotangents,
    has,
    same_family,
    values,
)
from .optable import ROWS, Call, Row
from .strategies import ALL_DTYPES, DTYPES, FLOATS, Draw

ENGINE = Engine(minigrad)

# Hundreds of tests share one budget: a tenth of the profile's examples for each.
few = settings(max_examples=max(settings().max_examples // 10, 1))

by_name = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


@st.composite
def calls(draw: Callable, row: Row, dtypes: tuple = DTYPES, **kwargs: bool) -> Call:
    wanted = [d for d in (*dtypes, *FLOATS) if d in dtypes and (row.ordered or d is not torch.bool)]  # floats twice
    dtype = draw(st.sampled_from(wanted))
    return row.call(Draw(draw, dtype, distinct=not row.ordered, **kwargs))


def function(engine: Engine, name: str) -> Callable:
    if name in {"T", "mT"}:
        return operator.attrgetter(name)
    return engine.find(name if has(torch, name) else f"Tensor.{name}")


def outcome(engine: Engine, name: str, call: Call) -> tuple[Any, list]:
    """(what the call gives: a result, or the exception it raises; the call's own tensors)."""
    args, kwargs = engine.convert(list(call), {})
    form = function(engine, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if engine is ENGINE else "ignore", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        try:
            out = form(*args, **kwargs)
        except Exception as error:  # judged by its class
            out = error
    return TypeError("unsupported operand") if out is NotImplemented else out, engine.leaves([args, kwargs])


def agree(name: str, call: Call) -> tuple[tuple[Any, list], tuple[Any, list]] | None:
    """Both engines give the same, or both refuse; the two outcomes if there is a result."""
    if currently_in_test_context():
        note(f"{name}{call}")
    mine, theirs = outcome(ENGINE, name, call), outcome(TORCH, name, call)
    actual, expected = mine[0], theirs[0]
    if isinstance(expected, Exception):
        assert isinstance(actual, Exception), f"accepted; torch raises {type(expected).__name__}: {expected}"
        assert same_family(actual, expected), f"raises {actual!r}; torch {expected!r}"
        return None
    if isinstance(actual, Exception):
        raise actual
    try:
        assert_same_output(ENGINE, actual, expected, check_values=name not in VALUES_UNDEFINED)
    except AssertionError:
        assert_same_output(ENGINE, actual, expected, check_values=False)
        if not no_further_from_the_truth(actual, expected, name, call):
            raise
    return mine, theirs


def in_double(x: Any) -> Any:
    """A call's arguments, floating-point tensors and dtypes as float64."""
    if isinstance(x, torch.Tensor):
        return x.detach().double() if x.is_floating_point() else x
    if isinstance(x, torch.dtype):
        return torch.float64 if x.is_floating_point else x
    if isinstance(x, dict):
        return {k: in_double(v) for k, v in x.items()}
    return type(x)(map(in_double, x)) if type(x) in (list, tuple) else x


def no_further_from_the_truth(actual: Any, expected: Any, name: str, call: Call) -> bool:
    """Where float16 or float32 cancels or overflows, torch is off by more than any tolerance (the layer norm of one
    number is 3e-5, a loss of 4.5e-4 comes out as 0, the gelu of infinity as NaN). So the two may differ there if every
    value of ours is at most one unit in the last place away from what torch computes in float64, or as near to it as
    torch's own."""
    ours, theirs = ENGINE.leaves([actual]), TORCH.leaves([expected])
    truth = TORCH.leaves([outcome(TORCH, name, in_double(call))[0]])
    if [t.shape for t in truth] != [t.shape for t in theirs]:
        return False
    for a, e, t in zip(map(values, ours), map(values, theirs), map(values, truth), strict=True):
        if e.dtype not in (np.float16, np.float32) and (a != e).any():
            return False
        with np.errstate(all="ignore"):
            error = np.where(np.isfinite(e), abs(e.astype(float) - t), 0)
            allowed = np.maximum(error, np.spacing(abs(t).astype(a.dtype)).astype(float))
            same = (a == e) | (a == t) | (np.isnan(a) & np.isnan(e))
            if not (same | (abs(a.astype(float) - t) <= allowed)).all():
                return False
    return True


def test_the_table_has_one_row_for_every_op() -> None:
    assert sorted(row.name for row in ROWS) == sorted(OPS)


@by_name
@few
@given(st.data())
def test_forward(row: Row, data: st.DataObject) -> None:
    """Value, dtype, shape and structure, or a refusal of the same class, for every dtype and layout."""
    agree(row.name, data.draw(calls(row)))


@pytest.mark.parametrize(("name", "call"), [
    ("searchsorted", ((torch.tensor([False, True]), torch.zeros(0, dtype=torch.bool)), {})),
    ("take", ((torch.tensor([2.0, 0.5, 1.0])[::2], torch.tensor(1)), {})),
    ("sub", ((torch.tensor(0.5), torch.tensor(2**63 - 2)), {"alpha": 2})),            # which overflows in int64
    *(("nn.functional.hardtanh", ((torch.tensor([-3.0, 1.0, 3.0], dtype=dtype), *bounds), {})) for dtype, bounds in (
        (torch.float32, (math.nan, 1)), (torch.float64, (1, math.nan)), (torch.float16, (-1, 1e5)),
        (torch.int32, (-math.inf, 1)), (torch.int8, (-200, 1)))),
    *(("nn.functional.threshold", ((torch.tensor([1, 2], dtype=dtype), *numbers), {})) for dtype, numbers in (
        (torch.float16, (1e5, 1)), (torch.float16, (1, 1e5)), (torch.int8, (-200, 1)))),
    *((name, ((torch.ones(3), (2**63,)), {})) for name in ("view", "reshape", "expand", "permute")),
    ("nn.functional.pad", ((torch.ones(1, 2, 2, dtype=torch.bool), (0, 0)), {"mode": "reflect"})),
    ("nn.functional.pad", ((torch.ones(1, 2, 1), (-1, 0)), {"mode": "reflect"})),
    ("nn.functional.pad", ((torch.ones(2, 0, 3), (1, 0)), {"mode": "replicate"})),
], ids=lambda x: x if isinstance(x, str) else "")
def test_corners(name: str, call: Call) -> None:
    """What test_forward meets once in a thousand examples."""
    agree(name, call)


def derivative(*args: Any, **kwargs: Any) -> tuple | None:
    """torch's gradients, or None where it has none (floor_divide, x ** mask, twice through its fused attention)."""
    try:
        return TORCH.grad(*args, **kwargs)
    except RuntimeError:
        return None


@by_name
@few
@given(st.data())
def test_gradients(row: Row, data: st.DataObject) -> None:
    """grad_fn's name, the gradient of random cotangents, and the gradient of the gradient."""
    both = agree(row.name, data.draw(calls(row, FLOATS[:1], requires_grad=True)))
    if both is None:
        return
    (actual, my_inputs), (expected, inputs) = both
    outs = [(a, e) for a, e in zip(ENGINE.leaves([actual]), TORCH.leaves([expected]), strict=True) if e.requires_grad]
    if not outs:
        return
    my_inputs, inputs = ([t for t in some if t.requires_grad] for some in (my_inputs, inputs))
    assert [type(a.grad_fn).__name__ for a, _ in outs] == [type(e.grad_fn).__name__ for _, e in outs]
    seeds = cotangents([e for _, e in outs], 0)
    grads = derivative([e for _, e in outs], inputs, seeds, create_graph=True)
    if grads is None:
        return
    my_grads = ENGINE.grad([a for a, _ in outs], my_inputs, seeds, create_graph=True)
    # what was computed in a shorter dtype (dtype=float32) is rounded to it on its way back, too
    tolerance = max(TOLERANCE[values(e).dtype] for _, e in outs)
    compare_grads(my_grads, grads, "gradient of input", tolerance=tolerance)

    twice = [k for k, g in enumerate(grads) if g is not None and g.requires_grad]
    if not twice:
        return
    seeds = cotangents([grads[k] for k in twice], 1)
    second = derivative([grads[k] for k in twice], inputs, seeds)
    if second is None:
        return
    live = [n for n, k in enumerate(twice) if my_grads[k].requires_grad]
    my_second = (
        ENGINE.grad([my_grads[twice[n]] for n in live], my_inputs, [seeds[n] for n in live])
        if live
        else (None,) * len(inputs)
    )
    compare_grads(my_second, second, "second-order gradient of input", none_is_zero=True, tolerance=tolerance)


def kills_torch(name: str, call: Call) -> bool:
    """The least integer divided by -1 is out of range. Where torch cuts the quotient off, it leaves the division of
    int32 and int64 to the processor, which ends the process (SIGFPE)."""
    (x, y, *_), options = call if len(call[0]) > 1 else ((0, 0), {})
    return name == "div" and options.get("rounding_mode") == "trunc" and any(
        isinstance(t, torch.Tensor) and t.dtype in (torch.int32, torch.int64) and (t == torch.iinfo(t.dtype).min).any()
        for t in (x, y)
    ) and bool((torch.as_tensor(y) == -1).any())


@pytest.mark.parametrize("row", [row for row in ROWS if row.elementwise], ids=lambda row: row.name)
@few
@given(st.data())
def test_special_values(row: Row, data: st.DataObject) -> None:
    """nan, infinities, both zeros and integer extremes come out as torch's, the sign of a zero included."""
    call = data.draw(calls(row, special=True))
    assume(not kills_torch(row.name, call))
    both = agree(row.name, call)
    if both is None:
        return
    for a, e in zip(ENGINE.leaves([both[0][0]]), TORCH.leaves([both[1][0]]), strict=True):
        if e.dtype.is_floating_point:
            a, e = values(a), values(e)
            wrong = (e == 0) & (np.signbit(a) != np.signbit(e))
            assert not wrong.any(), f"the sign of zero differs at {np.argwhere(wrong)[0]}"


# ------------------------------------------------------------------------------------------------ promotion

NAMES = """
add sub rsub mul div true_divide floor_divide remainder fmod pow float_power maximum minimum fmax fmin atan2 logaddexp
xlogy eq ne lt le gt ge logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor clamp_min clamp_max outer
"""

OPERATORS = {
    op.__name__: op
    for op in (
        *(operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow),
        *(operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift),
        *(operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv, operator.imod),
        *(operator.eq, operator.lt, operator.ge),
    )
}

FORMS: dict[str, Callable[[Engine], Callable]] = {
    **{name: lambda e, name=name: e.find(name) for name in NAMES.split()},
    **{f"operator {name}": lambda e, op=op: op for name, op in OPERATORS.items()},
    "where": lambda e: lambda x, y: e.find("where")(e.find("tensor")([True, False]), x, y),
    "cat": lambda e: lambda x, y: e.find("cat")([x, y]),
    "stack": lambda e: lambda x, y: e.find("stack")([x, y]),
    "addcmul": lambda e: lambda x, y: e.find("addcmul")(x, x, y),
    "lerp": lambda e: lambda x, y: e.find("lerp")(x, y, 0.5),
    "clamp": lambda e: lambda x, y: e.find("clamp")(x, y, None),
    "masked_fill": lambda e: lambda x, y: e.find("masked_fill")(x, e.find("tensor")([True, False]), y),
    "setitem": lambda e: lambda x, y: operator.setitem(x, 0, y) or x,
    "copy_": lambda e: lambda x, y: x.copy_(y),
    "tensordot": lambda e: lambda x, y: e.find("tensordot")(x, y, 0),
}


def operands() -> Iterator[tuple[Any, Any]]:
    """Each dtype as a 0-dim and a 1-dim tensor with each other, and with Python numbers on either side."""
    tensors = [torch.ones(shape, dtype=dtype) for dtype in ALL_DTYPES for shape in ((), (2,))]
    for x in tensors:
        yield from ((x, y) for y in tensors)
        for number in (True, 1, 1.0):
            yield from ((x, number), (number, x))


@pytest.mark.parametrize("name", FORMS)
def test_promotion(name: str) -> None:
    """Dtype and shape of the result, or the class of the refusal, for all pairs of dtypes, dimensions and numbers."""

    def result(engine: Engine, x: Any, y: Any) -> tuple:
        x, y = engine.convert(x, {}), engine.convert(y, {})
        try:
            out = FORMS[name](engine)(x, y)
        except Exception as error:  # judged by its class
            return (error,)
        return str(getattr(out, "dtype", type(out))), tuple(getattr(out, "shape", ()))

    def fits(mine: tuple, theirs: tuple) -> bool:
        refused = isinstance(mine[0], Exception), isinstance(theirs[0], Exception)
        return same_family(mine[0], theirs[0]) if all(refused) else not any(refused) and mine == theirs

    assert callable(FORMS[name](ENGINE))  # a missing op refuses nothing
    wrong = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for x, y in operands():
            mine, theirs = result(ENGINE, x, y), result(TORCH, x, y)
            if not fits(mine, theirs):
                shown = [f"{o.dtype} {tuple(o.shape)}" if isinstance(o, torch.Tensor) else repr(o) for o in (x, y)]
                wrong.append(f"{shown[0]} and {shown[1]}: {mine}, torch {theirs}")
    assert not wrong, f"{len(wrong)} of {len(list(operands()))} differ:\n" + "\n".join(wrong[:20])


@pytest.mark.parametrize("function", [lambda x, low, high: x.clamp(low, high), lambda x, low, _: x.clamp_min(low),
                                      lambda x, _, high: x.clamp_max(high)], ids=["clamp", "clamp_min", "clamp_max"])
@given(st.sampled_from(["uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "bool"]),
       st.sampled_from([(), (3,)]), *2 * [st.sampled_from([None, -1, 2, 300, -2**40, 0.5, -0.5, 1e39, np.inf, True])])
def test_clamped_by_numbers(function, dtype, shape, low, high):
    """Numbers must fit into the tensor's dtype, or wrap there; but integers beside a fraction become the default dtype,
    also where the tensor is a single one."""
    found = []
    for engine in (minigrad, torch):
        x = engine.tensor(np.resize([3, 0, 100], shape), dtype=getattr(engine, dtype))
        try:
            y = function(x, low, high)
            found.append((y.tolist(), str(y.dtype)))
        except (RuntimeError, TypeError) as error:
            found.append((type(error), "overflow" in str(error) and str(error)))
    assert found[0] == found[1]


def test_a_product_over_nothing_of_booleans():
    for engine in (minigrad, torch):
        made = engine.addmm(*(engine.ones(*shape, dtype=engine.bool) for shape in ((1, 1), (1, 0), (0, 1))), beta=0)
        assert not made.item() and str(made.dtype) == "torch.bool"
