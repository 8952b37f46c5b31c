"""torch's own OpInfo samples, run on another engine that speaks torch's names.

torch describes every operator to its own test suite as an `OpInfo`: how to call it, sample inputs per dtype, inputs
that must be refused. Here the same samples drive two engines, torch and the one under test, which is a parameter: with
torch itself as that engine the harness must score 100 %, and that is how it is checked.

For each sample the two engines get the same values in the same memory layout (shape, strides, offset, aliasing).
What they return must agree in structure, dtype, shape, value, `requires_grad`, gradient and gradient of the gradient.
"""

from __future__ import annotations

import dataclasses
import functools
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch
from hypothesis import settings

_profile = settings.get_current_profile_name()
from torch.testing._internal.common_device_type import toleranceOverride  # noqa: E402
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402
from torch.testing._internal.opinfo.core import OpInfo, SampleInput  # noqa: E402

settings.load_profile(_profile)  # torch's test utilities load a profile of ten examples in passing

OP_LIST = """
arange full full_like ones ones_like zeros zeros_like empty_like eye linspace new_ones new_zeros new_full tril triu
tril_indices triu_indices meshgrid scalar_tensor
abs neg positive exp expm1 exp2 log log1p log2 log10 sqrt rsqrt square reciprocal sin cos tan tanh sinh cosh sigmoid erf
erfc sign floor ceil round trunc frac isnan isinf isfinite logit sinc
add sub rsub mul div true_divide floor_divide remainder fmod pow float_power maximum minimum fmax fmin atan2
eq ne lt le gt ge logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor bitwise_not
lerp addcmul addcdiv clamp clamp_min clamp_max where masked_fill nan_to_num logaddexp xlogy
__radd__ __rsub__ __rmul__ __rdiv__ __rpow__ __rmatmul__ __rand__ __ror__
sum mean prod var std var_mean std_mean amax amin aminmax max min argmax argmin all any cumsum cumprod cummax
logcumsumexp logsumexp softmax log_softmax norm linalg.norm linalg.vector_norm nansum nanmean count_nonzero median topk
sort argsort msort kthvalue unique bincount searchsorted
reshape reshape_as view view_as flatten unflatten squeeze unsqueeze transpose t T mT permute movedim expand expand_as
broadcast_to repeat repeat_interleave tile cat stack hstack vstack split split_with_sizes chunk tensor_split unbind
narrow select flip roll diag diagonal diag_embed contiguous clone ravel rot90 unfold
__getitem__ index_select gather scatter scatter_add index_add index_copy index_fill index_put masked_select
masked_scatter nonzero take_along_dim take select_scatter
matmul mm bmm mv dot outer inner addmm baddbmm addmv einsum tensordot kron trace
nn.functional.linear nn.functional.embedding nn.functional.layer_norm nn.functional.rms_norm nn.functional.group_norm
nn.functional.batch_norm nn.functional.cross_entropy nn.functional.nll_loss nn.functional.mse_loss nn.functional.l1_loss
nn.functional.smooth_l1_loss nn.functional.huber_loss nn.functional.kl_div nn.functional.binary_cross_entropy
nn.functional.binary_cross_entropy_with_logits nn.functional.gelu nn.functional.silu nn.functional.relu
nn.functional.softplus nn.functional.logsigmoid nn.functional.leaky_relu nn.functional.elu nn.functional.glu
nn.functional.mish nn.functional.hardtanh nn.functional.relu6 nn.functional.softmin
nn.functional.scaled_dot_product_attention nn.functional.pad nn.functional.one_hot nn.functional.normalize
nn.functional.cosine_similarity nn.functional.conv1d nn.functional.linear_cross_entropy
"""
OPS = OP_LIST.split()

# What one column of the scoreboard counts, and the share that must pass.
BARS = {
    "forward": 1.0,  # float64: value, dtype, shape, structure, requires_grad, inputs afterwards
    "backward": 1.0,  # float64: gradients of random cotangents
    "second": 1.0,  # float64: gradients of the gradients, where torch has them
    "float32": 1.0,  # forward and backward in float32
    "int64": 1.0,  # forward in int64
    "errors": 0.98,  # inputs that torch refuses: refused with an exception of the same class
    "grad_fn": 1.0,  # the name of the node behind every output
    "method": 1.0,  # the method and the operator that mean the same function
    "inplace": 1.0,  # the in-place method and operator: value, identity, gradient
    "alias": 1.0,  # an output shares memory with an input exactly where torch's does
}

# torch.testing.assert_close's own defaults: (rtol, atol). Every other dtype must agree exactly.
TOLERANCE = {
    np.dtype(np.float64): (1e-7, 1e-7),
    np.dtype(np.float32): (1.3e-6, 1e-5),
    np.dtype(np.float16): (1e-3, 1e-5),
}

NUMPY = {
    torch.bool: np.bool_, torch.uint8: np.uint8, torch.int8: np.int8, torch.int16: np.int16, torch.int32: np.int32,
    torch.int64: np.int64, torch.float16: np.float16, torch.float32: np.float32, torch.float64: np.float64,
}  # fmt: skip

VALUES_UNDEFINED = {"empty_like"}  # only dtype, shape and layout mean anything


class Missing(Exception):
    """The engine has no such name."""


class Unconvertible(Exception):
    """The sample holds something that has no counterpart outside torch (a complex tensor, say)."""


# ------------------------------------------------------------------------------------------------ the engine

# How to call what OpInfo calls by a lambda of its own; all else is `engine.NAME` or `engine.Tensor.NAME`.
FORMS: dict[str, Callable[[Engine], Callable]] = {
    "where": lambda e: lambda x, condition, other, **kw: e.find("where")(condition, x, other, **kw),
    "einsum": lambda e: lambda tensors, equation: e.find("einsum")(equation, tensors),
    "nn.functional.embedding": lambda e: (
        lambda weight, index, **kw: e.find("nn.functional.embedding")(index, weight, **kw)
    ),
    "nn.functional.scaled_dot_product_attention": lambda e: (  # OpInfo seeds it alike: dropout draws from the stream
        lambda *a, **kw: (e.find("manual_seed")(42), e.find("nn.functional.scaled_dot_product_attention")(*a, **kw))[1]
    ),
    "T": lambda e: lambda x: x.T,
    "mT": lambda e: lambda x: x.mT,
}


@dataclasses.dataclass(frozen=True)
class Engine:
    """A module with torch's names; everything goes through its public face."""

    module: ModuleType

    def find(self, dotted: str) -> Any:
        """`engine.a.b.c`, or Missing."""
        found: Any = self.module
        for part in dotted.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                raise Missing(f"{self.module.__name__}.{dotted}") from None
        return found

    def callables(self, op: OpInfo) -> tuple[Callable, list[Callable | Missing]]:
        """The function behind `op`, and the methods and operators that must agree with it, where torch has them."""
        others: list[Callable | Missing] = []
        name = op.name.rpartition(".")[2]
        if op.name in FORMS:
            function = FORMS[op.name](self)
        elif has(torch, op.name):
            function = self.find(op.name)
            if op.method_variant is not None and not op.name.startswith("nn."):
                try:
                    others.append(self.find(f"Tensor.{name}"))
                except Missing as missing:
                    others.append(missing)
        else:
            function = self.find(f"Tensor.{name}")
        if op.operator_variant is not None:
            others.append(op.operator_variant)
        return function, others

    def inplace(self, op: OpInfo) -> list[Callable | Missing]:
        """The in-place forms that torch has: a method with a trailing underscore, `inplace=True`, `x += y`."""
        forms: list[Callable | Missing] = []
        if op.inplace_variant is not None:
            try:
                if op.name.startswith("nn."):
                    forms.append(functools.partial(self.find(op.name), inplace=True))
                else:
                    forms.append(self.find(f"Tensor.{op.name.rpartition('.')[2]}_"))
            except Missing as missing:
                forms.append(missing)
        if op.inplace_operator_variant is not None:
            forms.append(op.inplace_operator_variant)
        return forms

    def convert(self, x: Any, memo: dict) -> Any:
        """The engine's counterpart of an argument; `memo` keeps identities and shared storages."""
        if isinstance(x, torch.Tensor):
            key = id(x)
            if key not in memo:
                made = self.find("from_numpy")(array_like(x, memo))
                memo[key] = made.requires_grad_(True) if x.requires_grad else made
            return memo[key]
        if isinstance(x, list | tuple):
            return type(x)(self.convert(y, memo) for y in x) if type(x) in (list, tuple) else tuple(x)
        if isinstance(x, dict):
            return {k: self.convert(v, memo) for k, v in x.items()}
        if isinstance(x, slice):
            return slice(self.convert(x.start, memo), self.convert(x.stop, memo), self.convert(x.step, memo))
        if isinstance(x, torch.dtype):
            if x not in NUMPY and x is not torch.bfloat16:
                raise Unconvertible(str(x))
            return self.find(str(x).removeprefix("torch."))
        if isinstance(x, torch.layout | torch.memory_format):
            return self.find(str(x).removeprefix("torch."))
        if isinstance(x, torch.device):
            return self.find("device")(str(x))
        if dataclasses.is_dataclass(x) and type(x).__module__.startswith("torch"):
            fields = {f.name: self.convert(getattr(x, f.name), memo) for f in dataclasses.fields(x) if f.init}
            return self.find(f"nn.{type(x).__name__}")(**fields)
        return x

    def sample(self, s: SampleInput) -> tuple[tuple, dict]:
        memo: dict = {}
        return (self.convert(s.input, memo), *self.convert(s.args, memo)), self.convert(s.kwargs, memo)

    def is_tensor(self, x: Any) -> bool:
        return isinstance(x, self.module.Tensor)

    def leaves(self, x: Any) -> list:
        """All tensors in a nest of tuples, lists and dicts, in order."""
        if self.is_tensor(x):
            return [x]
        if isinstance(x, dict):
            x = x.values()
        return [leaf for y in x for leaf in self.leaves(y)] if isinstance(x, list | tuple | type({}.values())) else []

    def grad(self, outputs: list, inputs: list, cotangents: list[np.ndarray], **kwargs: Any) -> tuple:
        grads = [self.find("from_numpy")(c.copy()) for c in cotangents]
        return self.find("autograd.grad")(outputs, inputs, grads, allow_unused=True, **kwargs)


TORCH = Engine(torch)


def has(module: ModuleType, dotted: str) -> bool:
    try:
        functools.reduce(getattr, dotted.split("."), module)
    except AttributeError:
        return False
    return True


def array_like(t: torch.Tensor, memo: dict) -> np.ndarray:
    """A NumPy copy of `t` with its strides and offset; tensors that share a storage share the copy."""
    if t.dtype not in NUMPY or t.layout is not torch.strided or t.ndim > 64:  # NumPy has 64 dimensions at most
        raise Unconvertible(f"{t.dtype} {t.layout} tensor of {t.ndim} dimensions")
    dtype = np.dtype(NUMPY[t.dtype])
    if t.numel() == 0:
        return np.empty(tuple(t.shape), dtype)
    storage = t.untyped_storage()
    key = ("storage", storage.data_ptr())
    if key not in memo:
        memo[key] = torch.empty(0, dtype=torch.uint8).set_(storage).numpy().copy()
    flat = memo[key][t.storage_offset() * dtype.itemsize :]
    flat = flat[: flat.size // dtype.itemsize * dtype.itemsize].view(dtype)
    return np.lib.stride_tricks.as_strided(flat, tuple(t.shape), tuple(s * dtype.itemsize for s in t.stride()))


# ------------------------------------------------------------------------------------------------ comparing


def values(t: Any) -> np.ndarray:
    # torch has tensors of zeros without memory (the derivative of a sign), which it shows to NumPy only if forced
    return t.numpy(force=True) if isinstance(t, torch.Tensor) else t.detach().numpy()


Tolerance = tuple[float, float]  # (rtol, atol)


def assert_same(
    actual: Any,
    expected: torch.Tensor,
    what: str,
    *,
    check_values: bool = True,
    tolerance: Tolerance | None = None,
) -> None:
    """Same dtype, shape and, within torch's default tolerance, values; nan equals nan."""
    assert str(actual.dtype) == str(expected.dtype), f"{what}: dtype {actual.dtype}, torch {expected.dtype}"
    shape = tuple(expected.shape)
    assert tuple(actual.shape) == shape, f"{what}: shape {tuple(actual.shape)}, torch {shape}"
    a, e = values(actual), values(expected)
    assert a.dtype == e.dtype and a.shape == e.shape, f"{what}: the array behind it is {a.dtype} {a.shape}"
    if not check_values or a.size == 0:
        return
    if e.dtype not in TOLERANCE:
        assert (a == e).all(), f"{what}: {(a != e).sum()} of {a.size} values differ, {first(a, e, a == e)}"
        return
    rtol, atol = tolerance or TOLERANCE[e.dtype]
    with np.errstate(all="ignore"):
        close = (a == e) | (abs(a - e) <= atol + rtol * abs(e)) & np.isfinite(e) | (np.isnan(a) & np.isnan(e))
    assert close.all(), f"{what}: {(~close).sum()} of {a.size} values differ, {first(a, e, close)}"


def first(a: np.ndarray, e: np.ndarray, close: np.ndarray) -> str:
    where = np.unravel_index(np.argmin(close), close.shape)
    return f"first at {tuple(map(int, where))}: {a[where]!r}, torch {e[where]!r}"


def assert_same_output(engine: Engine, actual: Any, expected: Any, what: str = "output", **kwargs: Any) -> None:
    """Same nest of tensors and numbers, named as torch names it."""
    if isinstance(expected, torch.Tensor):
        assert engine.is_tensor(actual), f"{what}: {type(actual).__name__}, torch returns a Tensor"
        assert_same(actual, expected, what, **kwargs)
        assert actual.requires_grad == expected.requires_grad, f"{what}: requires_grad is {actual.requires_grad}"
    elif isinstance(expected, list | tuple):
        kind = list if isinstance(expected, list) else tuple
        assert isinstance(actual, kind), f"{what}: {type(actual).__name__}, torch returns a {kind.__name__}"
        assert len(actual) == len(expected), f"{what}: {len(actual)} parts, torch {len(expected)}"
        for field in getattr(type(expected), "__match_args__", ()):  # torch.return_types.max: .values, .indices
            assert hasattr(actual, field), f"{what}: has no field {field!r}"
        for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
            assert_same_output(engine, a, e, f"{what}[{i}]", **kwargs)
    else:
        same = actual == expected or (actual != actual and expected != expected)
        assert type(actual) is type(expected) and same, f"{what}: {actual!r}, torch {expected!r}"


def same_family(raised: BaseException, expected: BaseException, declared: type = Exception) -> bool:
    """An exception that code written for torch would catch. OpInfo's bare `Exception` means: what torch raises."""
    if isinstance(expected, AttributeError):  # `Tensor.__rdiv__(2, x)`: "not a tensor" has two names in Python
        return isinstance(raised, AttributeError | TypeError)
    return isinstance(raised, type(expected) if declared is Exception else declared)


# ------------------------------------------------------------------------------------------------ one op's score


@dataclasses.dataclass(frozen=True)
class Failure:
    entry: str
    kind: str
    sample: int
    reason: str

    def __str__(self) -> str:
        return f"{self.entry} [{self.kind} #{self.sample}] {self.reason}"


@dataclasses.dataclass
class Score:
    """Passed and total of every kind of check, and what went wrong."""

    entry: str
    passed: Counter = dataclasses.field(default_factory=Counter)
    total: Counter = dataclasses.field(default_factory=Counter)
    failures: list[Failure] = dataclasses.field(default_factory=list)

    def check(self, kind: str, sample: int, body: Callable[[], None]) -> bool:
        """Run one check; whatever it raises is its reason for failing. Not an opinion: nothing is caught twice."""
        self.total[kind] += 1
        try:
            body()
        except Missing as missing:
            reason = f"missing: {missing}"
        except AssertionError as wrong:
            reason = str(wrong)
        except Exception as error:  # whatever the engine under test raises is the finding
            reason = f"raises {type(error).__name__}: {str(error).strip() or '(no message)'}"
        else:
            self.passed[kind] += 1
            return True
        self.failures.append(Failure(self.entry, kind, sample, " ".join(reason.split())[:300]))
        return False


def label(op: OpInfo) -> str:
    return op.name + (f".{op.variant_test_name}" if op.variant_test_name else "")


@functools.cache
def entries() -> dict[str, OpInfo]:
    """The entries of op_db for the op list, every variant of a name, in the list's order."""
    by_name: dict[str, list[OpInfo]] = {}
    for op in op_db:
        by_name.setdefault(op.name, []).append(op)
    return {label(op): op for name in OPS for op in by_name[name]}


def samples(op: OpInfo, dtype: torch.dtype) -> Iterator[tuple[int, SampleInput]]:
    """The samples of one dtype, the same in every run."""
    if dtype not in op.supported_dtypes("cpu"):
        return
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    requires_grad = dtype.is_floating_point and op.supports_autograd
    yield from enumerate(list(op.sample_inputs("cpu", dtype, requires_grad=requires_grad)))


def cotangents(outputs: list, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(tuple(o.shape)), dtype=values(o).dtype) for o in outputs]


def differentiable(engine: Engine, out: Any, s: SampleInput) -> list:
    """What torch's own gradient checks differentiate: a sample may name its part of the output."""
    return engine.leaves(s.output_process_fn_grad(out) if s.output_process_fn_grad is not None else out)


def compare_grads(
    actual: tuple, expected: tuple, what: str, *, none_is_zero: bool = False, tolerance: Tolerance | None = None
) -> None:
    assert len(actual) == len(expected), f"{what}: {len(actual)} gradients, torch {len(expected)}"
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        if none_is_zero and (a is None or e is None):
            given = a if e is None else e
            assert given is None or not values(given).any(), f"{what} {i}: one of the two is None, the other not zero"
            continue
        assert (a is None) == (e is None), f"{what} {i}: {'None' if a is None else 'not None'}, torch the contrary"
        if e is not None:
            assert_same(a, e, f"{what} {i}", tolerance=tolerance)


def score(
    op: OpInfo, engine: Engine, kinds: set[str] | None = None, progress: Callable[[str], None] | None = None
) -> Score:
    """Every check of one entry."""
    result = Score(label(op))
    wanted = set(BARS) if kinds is None else set(kinds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # NumPy warns where torch is silent (0 / 0); an engine that lets the warning through is not torch.
        warnings.simplefilter("error", RuntimeWarning)
        if wanted - {"float32", "int64", "errors"}:
            for i, s in samples(op, torch.float64):
                run_sample(result, op, engine, i, s, wanted)
        for dtype, kind in ((torch.float32, "float32"), (torch.int64, "int64")):
            if kind in wanted:
                for i, s in samples(op, dtype):
                    run_plain(result, op, engine, i, s, kind)
        if "errors" in wanted and op.error_inputs_func is not None:
            torch.manual_seed(0), np.random.seed(0), random.seed(0)
            for i, e in enumerate(op.error_inputs("cpu")):
                run_error(result, op, engine, i, e)
    return result


def run_sample(result: Score, op: OpInfo, engine: Engine, i: int, s: SampleInput, wanted: set[str]) -> None:
    """All the float64 checks of one sample: torch runs once, the engine as often as there are questions."""
    check_values = op.name not in VALUES_UNDEFINED
    reference = TORCH.sample(s)
    out = op(*reference[0], **reference[1])
    inputs = [t for t in TORCH.leaves(reference) if t.requires_grad]

    def call(args: tuple, kwargs: dict) -> Any:
        return engine.callables(op)[0](*args, **kwargs)

    def forward() -> None:
        mine = engine.sample(s)
        assert_same_output(engine, call(*mine), out, check_values=check_values)
        for a, e in zip(engine.leaves(mine), TORCH.leaves(reference), strict=True):
            assert_same(a, e, "an argument, after the call")

    def alias() -> None:
        mine = engine.sample(s)
        actual = sharing(engine.leaves(call(*mine)), engine.leaves(mine))
        expected = sharing(TORCH.leaves(out), TORCH.leaves(reference))
        assert actual == expected, f"shares memory (output, input): {sorted(actual)}, torch {sorted(expected)}"

    def method(form: Callable | Missing) -> None:
        if isinstance(form, Missing):
            raise form
        args, kwargs = engine.sample(s)
        assert_same_output(engine, form(*args, **kwargs), out, check_values=check_values)

    def grad_fn() -> None:
        actual = [type(o.grad_fn).__name__ for o in engine.leaves(call(*engine.sample(s)))]
        assert actual == names, f"{', '.join(actual)}, torch {', '.join(names)}"

    if "forward" in wanted:
        result.check("forward", i, forward)
    if "alias" in wanted:
        result.check("alias", i, alias)
    if "method" in wanted:
        forms = variants(engine.callables, op)
        for form, reference_form in zip(forms, TORCH.callables(op)[1], strict=True):
            if succeeds(reference_form, *TORCH.sample(s)):
                result.check("method", i, functools.partial(method, form))
    if "inplace" in wanted and isinstance(s.input, torch.Tensor):
        for form, reference_form in zip(engine.inplace(op), TORCH.inplace(op), strict=True):
            result.check("inplace", i, functools.partial(run_inplace, engine, s, i, form, reference_form))
    names = [type(o.grad_fn).__name__ for o in TORCH.leaves(out)]
    if "grad_fn" in wanted and any(o.requires_grad for o in TORCH.leaves(out)):
        result.check("grad_fn", i, grad_fn)
    if {"backward", "second"} & wanted and op.supports_autograd:
        run_backward(result, op, engine, i, s, wanted, differentiable(TORCH, out, s), inputs, call)


def run_backward(
    result: Score, op: OpInfo, engine: Engine, i: int, s: SampleInput, wanted: set[str],
    outs: list[torch.Tensor], inputs: list[torch.Tensor], call: Callable,
) -> None:  # fmt: skip
    """First order, then second: gradients of random cotangents, and gradients of random cotangents of those."""
    picked = [k for k, o in enumerate(outs) if o.requires_grad]
    outs = [outs[k] for k in picked]
    seeds = cotangents(outs, i)
    grads = TORCH.grad(outs, inputs, seeds, create_graph=True)
    twice = [k for k, g in enumerate(grads) if g is not None and g.requires_grad]
    second_seeds = cotangents([grads[k] for k in twice], i + 1)

    def mine() -> tuple[list, list]:
        args, kwargs = engine.sample(s)
        found = differentiable(engine, call(args, kwargs), s)
        return [found[k] for k in picked], [t for t in engine.leaves((args, kwargs)) if t.requires_grad]

    def backward() -> None:
        compare_grads(engine.grad(*mine(), seeds), grads, "gradient of input")

    def second() -> None:
        my_outs, my_inputs = mine()
        first_order = engine.grad(my_outs, my_inputs, seeds, create_graph=True)
        compare_grads(first_order, grads, "gradient (with a graph) of input")
        # Of a constant gradient an engine may or may not keep a graph; its own derivative is zero either way.
        live = [n for n, k in enumerate(twice) if first_order[k].requires_grad]
        if live:
            chosen = [first_order[twice[n]] for n in live]
            actual = engine.grad(chosen, my_inputs, [second_seeds[n] for n in live])
        else:
            actual = (None,) * len(my_inputs)
        compare_grads(actual, expected, "second-order gradient of input", none_is_zero=True)

    if "backward" in wanted:
        result.check("backward", i, backward)
    if "second" in wanted and twice and op.supports_gradgrad:
        try:
            expected = TORCH.grad([grads[k] for k in twice], inputs, second_seeds)
        except RuntimeError as error:
            if "is not implemented" not in str(error):  # torch's own gap: the fused attention has no double backward
                raise
        else:
            result.check("second", i, second)


def run_plain(result: Score, op: OpInfo, engine: Engine, i: int, s: SampleInput, kind: str) -> None:
    """Forward and, where there is one, backward, as one check."""
    reference = TORCH.sample(s)
    out = op(*reference[0], **reference[1])
    outs = differentiable(TORCH, out, s)
    picked = [k for k, o in enumerate(outs) if o.requires_grad]
    seeds = cotangents([outs[k] for k in picked], i)
    inputs = [t for t in TORCH.leaves(reference) if t.requires_grad]
    grads = TORCH.grad([outs[k] for k in picked], inputs, seeds) if picked else ()
    tolerance = stated_tolerance(op, torch.float32) if kind == "float32" else None

    def body() -> None:
        args, kwargs = engine.sample(s)
        actual = engine.callables(op)[0](*args, **kwargs)
        assert_same_output(engine, actual, out, check_values=op.name not in VALUES_UNDEFINED, tolerance=tolerance)
        if picked:
            found = differentiable(engine, actual, s)
            my_inputs = [t for t in engine.leaves((args, kwargs)) if t.requires_grad]
            my_grads = engine.grad([found[k] for k in picked], my_inputs, seeds)
            compare_grads(my_grads, grads, "gradient of input", tolerance=tolerance)

    result.check(kind, i, body)


def stated_tolerance(op: OpInfo, dtype: torch.dtype) -> Tolerance | None:
    """The tolerance that an OpInfo asks for in all of torch's common tests on the CPU (fused attention alone does)."""
    for info in op.decorators:
        everywhere = getattr(info, "cls_name", "") == "TestCommon" and info.test_name is None
        if everywhere and info.device_type in (None, "cpu"):
            for override in info.decorators:
                if isinstance(override, toleranceOverride) and dtype in override.d:
                    return override.d[dtype].rtol, override.d[dtype].atol
    return None


def run_inplace(engine: Engine, s: SampleInput, i: int, form: Any, reference_form: Any) -> None:
    """Written into a clone of the input: both engines refuse, or both agree in value, identity and gradient."""
    if isinstance(form, Missing):
        raise form
    try:
        value, itself, grads = written(TORCH, reference_form, s, i)
    except Exception as refusal:  # torch's word: it sets the class that is asked of the engine
        try:
            written(engine, form, s, i)
        except Exception as error:
            fits = same_family(error, refusal)
            assert fits, f"raises {type(error).__name__}: {error}; torch {type(refusal).__name__}: {refusal}"
            return
        raise AssertionError(f"accepted; torch raises {type(refusal).__name__}: {refusal}") from None
    my_value, my_itself, my_grads = written(engine, form, s, i)
    assert my_itself == itself, "the result is not the tensor that was written to"
    assert_same_output(engine, my_value, value, "written tensor")
    compare_grads(my_grads, grads, "gradient of input")


def written(engine: Engine, form: Callable, s: SampleInput, seed: int) -> tuple[Any, bool, tuple]:
    """(value, whether the result is the tensor itself, gradients)."""
    (x, *args), kwargs = engine.sample(s)
    clone = x.clone()
    out = form(clone, *args, **kwargs)
    inputs = [t for t in engine.leaves((x, args, kwargs)) if t.requires_grad]
    grads = engine.grad([out], inputs, cotangents([out], seed)) if out.requires_grad else ()
    return out, out is clone, grads


def run_error(result: Score, op: OpInfo, engine: Engine, i: int, e: Any) -> None:
    """An input that torch refuses. Those it takes are no test, nor are those that no array can hold (65 dimensions)."""
    s = e.sample_input
    try:
        mine: Any = engine.sample(s)  # before torch has its turn: a refused `out=` may already be resized
    except Unconvertible:
        return
    except Missing as missing:
        mine = missing
    refusal = raised(op.op, (s.input, *s.args), s.kwargs)
    if refusal is None:
        return

    def body() -> None:
        function, _ = engine.callables(op)
        if isinstance(mine, Exception):
            raise mine
        error = raised(function, *mine)
        assert error is not None, f"accepted; torch raises {type(refusal).__name__}: {refusal}"
        fits = same_family(error, refusal, e.error_type)
        assert fits, f"raises {type(error).__name__}: {error}; torch {type(refusal).__name__}: {refusal}"

    result.check("errors", i, body)


def raised(function: Callable, args: tuple, kwargs: dict) -> Exception | None:
    """What the call raises. A dunder's NotImplemented counts: Python turns it into a TypeError."""
    try:
        out = function(*args, **kwargs)
    except Missing:
        raise
    except Exception as error:  # judged by its class
        return error
    return TypeError("unsupported operand") if out is NotImplemented else None


def variants(callables: Callable[[OpInfo], tuple], op: OpInfo) -> list[Callable | Missing]:
    """The methods and operators of an op; a missing function does not hide them."""
    try:
        return callables(op)[1]
    except Missing as missing:
        return [missing] * len(TORCH.callables(op)[1])


def succeeds(form: Callable, args: tuple, kwargs: dict) -> bool:
    """Whether torch's method or operator takes the sample that its function takes (`a + b` has no alpha)."""
    try:
        return form(*args, **kwargs) is not NotImplemented
    except (TypeError, RuntimeError):
        return False


def sharing(outputs: list, inputs: list) -> set[tuple[int, int]]:
    """Which output shares memory with which input."""
    return {
        (k, n) for k, o in enumerate(outputs) for n, t in enumerate(inputs) if np.may_share_memory(values(o), values(t))
    }
