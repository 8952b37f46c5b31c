"""torch.testing: assert_close, and tensors to test with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from . import dtypes
from .graph import Tensor, Variable, new_tensor

_TOLERANCES = {dtypes.float16: (1e-3, 1e-5), dtypes.float32: (1.3e-6, 1e-5), dtypes.float64: (1e-7, 1e-7)}


def assert_close(actual, expected, *, allow_subclasses: bool = True, rtol: float | None = None,
                 atol: float | None = None, equal_nan: bool = False, check_device: bool = True,
                 check_dtype: bool = True, check_layout: bool = True,
                 check_stride: bool = False, msg: str | Callable[[str], str] | None = None) -> None:
    """Raise an AssertionError unless |actual - expected| <= atol + rtol |expected|, with the same dtype and shape;
    through sequences and mappings, too."""
    if (rtol is None) != (atol is None):
        raise ValueError("rtol and atol must both be specified or both be unspecified, but got no "
                         f"{'rtol' if rtol is None else 'atol'}")
    failure = _compare(actual, expected, "", rtol, atol, equal_nan, check_dtype, check_stride)
    if failure:
        kind, text = failure
        raise kind(msg(text) if callable(msg) else msg or text)


def _compare(a, b, where: str, *options) -> tuple[type[Exception], str] | None:
    """What is wrong, or None."""
    def fail(text: str) -> tuple[type[Exception], str]:
        return AssertionError, text + (f"\n\nThe failure occurred for item {where}" if where else "")

    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            missing, extra = sorted(b.keys() - a.keys(), key=str), sorted(a.keys() - b.keys(), key=str)
            return fail("The keys of the mappings do not match:\n" + f"Missing keys in the actual mapping: {missing}\n"
                        f"Additional keys in the actual mapping: {extra}")
        return next((f for k in a if (f := _compare(a[k], b[k], f"{where}[{k!r}]", *options))), None)
    if _is_sequence(a) and _is_sequence(b):
        if len(a) != len(b):
            return fail(f"The length of the sequences mismatch: {len(a)} != {len(b)}")
        pairs = enumerate(zip(a, b))
        return next((f for i, (x, y) in pairs if (f := _compare(x, y, f"{where}[{i}]", *options))), None)
    if a is None and b is None:
        return None
    numbers = (bool, int, float, np.number, np.bool_)
    if isinstance(a, numbers) and isinstance(b, numbers):
        return _compare_values(np.asarray(a), np.asarray(b), "Scalars", fail, *options[:3], check_dtype=False)
    both = [x if isinstance(x, Variable) else new_tensor(x) if isinstance(x, np.ndarray) else None for x in (a, b)]
    if None in both or type(a) is not type(b) and not (isinstance(a, Variable) and isinstance(b, Variable)):
        return TypeError, (f"No comparison pair was able to handle inputs of type {type(a)} and {type(b)}."
                           + (f"\n\nThe failure occurred for item {where}" if where else ""))
    x, y = both
    if x.shape != y.shape:
        return fail(f"The values for attribute 'shape' do not match: {x.shape} != {y.shape}.")
    if options[3] and x.dtype != y.dtype:
        return fail(f"The values for attribute 'dtype' do not match: {x.dtype} != {y.dtype}.")
    if options[4] and x.stride() != y.stride():
        return fail(f"The values for attribute 'stride()' do not match: {x.stride()} != {y.stride()}.")
    return _compare_values(x.array, y.array, "Scalars" if x.dim() == 0 else "Tensor-likes", fail, *options[:3])


def _is_sequence(x) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, str | bytes)


def _compare_values(a: np.ndarray, b: np.ndarray, what: str, fail: Callable, rtol, atol, equal_nan,
                    check_dtype: bool = True) -> tuple | None:
    if rtol is None:
        pairs = [_TOLERANCES.get(dtypes.of(x.dtype), (0.0, 0.0)) for x in (a, b)]
        rtol, atol = max(p[0] for p in pairs), max(p[1] for p in pairs)
    common = dtypes.promote_numpy(a.dtype, b.dtype)
    a, b = (x.astype(np.float64 if common.kind == "f" else common) for x in (a, b))
    if np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan).all():
        return None
    with np.errstate(all="ignore"):
        bad = ~np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)
        absolute = np.where(bad, np.abs(a.astype(np.float64) - b.astype(np.float64)), 0)
        relative = np.where(bad, absolute / np.abs(b.astype(np.float64)), 0)
    worst_abs, worst_rel = (np.unravel_index(np.argmax(np.nan_to_num(d, nan=np.inf)), d.shape)
                            for d in (absolute, relative))
    kind = f"are not {'equal' if rtol == atol == 0 else 'close'}!"
    allowed = (f" (up to {atol} allowed)", f" (up to {rtol} allowed)") if rtol or atol else ("", "")
    if what == "Scalars":
        if rtol == atol == 0:
            return fail(f"Scalars {kind}\n\nExpected {b.item()} but got {a.item()}.\nAbsolute difference: "
                        f"{absolute.item()}\nRelative difference: {relative.item()}")
        return fail(f"Scalars {kind}\n\nExpected {b.item()} but got {a.item()}.\nAbsolute difference: {absolute.item()}"
                    f"{allowed[0]}\nRelative difference: {relative.item()}{allowed[1]}")
    return fail(f"{what} {kind}\n\nMismatched elements: {bad.sum()} / {bad.size} ({bad.mean():.1%})\nGreatest absolute "
                f"difference: {absolute[worst_abs]} at index {tuple(map(int, worst_abs))}{allowed[0]}\nGreatest "
                f"relative difference: {relative[worst_rel]} at index {tuple(map(int, worst_rel))}{allowed[1]}")


def make_tensor(*shape: int, dtype: dtypes.dtype, device=None, low: float | None = None, high: float | None = None,
                requires_grad: bool = False, noncontiguous: bool = False, exclude_zero: bool = False,
                memory_format=None) -> Tensor:
    """Random numbers of a dtype, between low and high: -9 and 9 by default, or 0 and 9 without a sign."""
    from .creation import check_device, empty
    from .random import randint
    check_device(device)
    shape = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    if noncontiguous and math.prod(shape) > 1:
        shape = (*shape, 2)
    if dtype is dtypes.bool:
        result = randint(0 if low is None else int(low), 2 if high is None else int(high), shape, dtype=dtype)
    elif dtype.is_floating_point:
        result = empty(shape, dtype=dtype).uniform_(-9 if low is None else low, 9 if high is None else high)
    else:
        low = (-9 if dtype.is_signed else 0) if low is None else math.ceil(low)
        result = randint(low, 10 if high is None else math.ceil(high), shape, dtype=dtype)
    if noncontiguous and math.prod(shape) > 2:
        result = result[..., 0]
    if exclude_zero:
        result[result == 0] = 1 if not dtype.is_floating_point else dtypes.finfo(dtype).tiny
    return result.requires_grad_(requires_grad) if dtype.is_floating_point else result


def assert_allclose(actual, expected, rtol: float | None = None, atol: float | None = None, equal_nan: bool = True,
                    msg: str = "") -> None:
    """The older name of assert_close, which makes tensors of what it is given."""
    from .creation import as_tensor
    actual, expected = (x if isinstance(x, Variable) else as_tensor(x) for x in (actual, expected))
    assert_close(actual, expected.to(actual.dtype), rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False,
                 msg=msg or None)
