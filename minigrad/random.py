"""torch's random functions: of a shape, of a tensor, and in place. The numbers come from minigrad/generator.py."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import index

import numpy as np

from . import dtypes
from .creation import check_device
from .generator import Generator, axes_by_stride, dense_like, in_memory_order
from .graph import Tensor, Variable, new_tensor, primitive
from .modes import Quiet
from .ops.shape import write
from .refusals import tensor_not
from .views import assign

# ---- the default generator --------------------------------------------------------------------------------------

default_generator = Generator()


class _Thread(threading.local):
    generator: Generator | None = None


_thread = _Thread()


@contextmanager
def thread_generator(generator: Generator) -> Iterator[None]:
    """Within the block, and in this thread only, draw from this generator by default."""
    before, _thread.generator = _thread.generator, generator
    try:
        yield
    finally:
        _thread.generator = before


def thread_safe_generator() -> Generator | None:
    """The generator of this thread, if it is a DataLoader's worker."""
    return _thread.generator


def _of(generator: Generator | None) -> Generator:
    if generator is None:
        return _thread.generator or default_generator
    if not isinstance(generator, Generator):
        raise TypeError(f"expected a minigrad.Generator for 'generator', but got {type(generator).__name__}")
    return generator


def manual_seed(seed: int) -> Generator:
    """Start the default stream over from a seed, which may be anything that int() takes."""
    return _of(None).manual_seed(int(seed))


def seed() -> int:
    """Start the default stream over from a seed that the operating system picks, and return it."""
    return _of(None).seed()


def initial_seed() -> int:
    return _of(None).initial_seed()


def get_rng_state() -> Tensor:
    return _of(None).get_state()


def set_rng_state(new_state: Tensor) -> None:
    _of(None).set_state(new_state)


@contextmanager
def fork_rng(devices: Iterable | None = None, enabled: bool = True, device_type: str | None = None) -> Iterator[None]:
    """What is drawn within the block leaves the default stream as it was before."""
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


# ---- new tensors ------------------------------------------------------------------------------------------------

def rand(*args: int | Sequence[int], size: Sequence[int] | None = None, generator: Generator | None = None,
         dtype: dtypes.dtype | None = None, device=None, requires_grad: bool = False) -> Tensor:
    """rand(2, 3) or rand((2, 3)): uniform on [0, 1)."""
    return _new("rand", args or (size,), dtype, device, requires_grad, _uniform(0.0, 1.0, generator))


def randn(*args: int | Sequence[int], size: Sequence[int] | None = None, generator: Generator | None = None,
          dtype: dtypes.dtype | None = None, device=None, requires_grad: bool = False) -> Tensor:
    """randn(2, 3) or randn((2, 3)): standard normal."""
    return _new("randn", args or (size,), dtype, device, requires_grad, _normal(0.0, 1.0, generator))


def randint(*args, low: int | None = None, high: int | None = None, size: Sequence[int] | None = None,
            generator: Generator | None = None, dtype: dtypes.dtype | None = None, device=None,
            requires_grad: bool = False) -> Tensor:
    """randint(high, size) or randint(low, high, size): integers from low (0) to high − 1."""
    args = list(args)
    size = args.pop() if size is None and args and isinstance(args[-1], tuple | list) else size
    if size is None:
        given = ", ".join(type(a).__name__ for a in args)
        raise TypeError(f"randint(): argument 'size' must be tuple of ints, got only ({given})")
    low, high = _bounds("randint", args, low, high)
    return _new("randint", (size,), dtype or dtypes.int64, device, requires_grad, _integers(low, high, generator))


def randperm(n: int, *, generator: Generator | None = None, dtype: dtypes.dtype | None = None, device=None,
             requires_grad: bool = False) -> Tensor:
    """0 ... n−1 in random order."""
    n, numpy_dtype = _int("randperm", "n", n), dtypes.to_numpy(dtype or dtypes.int64)
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    if numpy_dtype == np.bool_:
        raise NotImplementedError("\"randperm\" not implemented for 'Bool'")
    if n > _largest(numpy_dtype) + 1:
        raise RuntimeError(f"n cannot be greater than {_largest(numpy_dtype) + 1} for {_name(numpy_dtype)} type.")
    check_device(device)
    return _leaf(_of(generator).permutation(n).astype(numpy_dtype, copy=False), requires_grad)


def rand_like(input: Tensor, *, generator: Generator | None = None, dtype: dtypes.dtype | None = None, device=None,
              requires_grad: bool = False) -> Tensor:
    return _new_like("rand_like", input, dtype, device, requires_grad, _uniform(0.0, 1.0, generator))


def randn_like(input: Tensor, *, generator: Generator | None = None, dtype: dtypes.dtype | None = None, device=None,
               requires_grad: bool = False) -> Tensor:
    return _new_like("randn_like", input, dtype, device, requires_grad, _normal(0.0, 1.0, generator))


def randint_like(input: Tensor, *args, low: int | None = None, high: int | None = None,
                 generator: Generator | None = None, dtype: dtypes.dtype | None = None, device=None,
                 requires_grad: bool = False) -> Tensor:
    """randint_like(input, high) or randint_like(input, low, high)."""
    low, high = _bounds("randint_like", args, low, high)
    return _new_like("randint_like", input, dtype, device, requires_grad, _integers(low, high, generator))


def normal(mean: float | Tensor, std: float | Tensor = 1.0, size: Sequence[int] | None = None, *,
           generator: Generator | None = None, dtype: dtypes.dtype | None = None, device=None,
           requires_grad: bool = False) -> Tensor:
    """Normal, with a mean and a standard deviation for all, then of the given size, or with one for each element."""
    tensors = [a for a in (mean, std) if isinstance(a, Variable)]
    if bool(tensors) == (size is not None):
        given = [type(a).__name__ for a in (mean, std, size) if a is not None]
        raise TypeError(f"normal() takes a Tensor for mean or std, or two numbers and a size; got ({', '.join(given)})")
    if not tensors:
        return _new("normal", (size,), dtype, device, requires_grad, _normal(mean, std, generator))
    if not isinstance(std, Variable):
        return _shifted(mean, std, generator)
    return _scaled_by_each(mean, std, generator) if len(tensors) == 1 else _scaled_and_shifted(mean, std, generator)


@primitive("NormalBackward1", mean=lambda g: g * 0.0)
def _shifted(mean, std, generator):
    z = _normal(0.0, std, generator)(mean.shape, mean.dtype)
    z += mean
    return z


@primitive("NormalBackward2", std=lambda g: g * 0.0)
def _scaled_by_each(mean, std, generator):
    _check_each_std(std)
    z = _normal(0.0, 1.0, generator)(std.shape, std.dtype)
    z *= std
    z += std.dtype.type(mean)
    return z


@primitive("NormalBackward3", mean=lambda g: g * 0.0, std=lambda g: g * 0.0)
def _scaled_and_shifted(mean, std, generator):
    _check_each_std(std)
    try:
        shape = np.broadcast_shapes(mean.shape, std.shape)
    except ValueError:
        raise RuntimeError(f"The sizes of mean {list(mean.shape)} and std {list(std.shape)} do not broadcast") from None
    z = _normal(0.0, 1.0, generator)(shape, mean.dtype)
    common = np.promote_types(dtypes.result_numpy((z, std)), np.float32)     # torch computes in float32 for float16
    np.multiply(z.astype(common, copy=False), std.astype(common, copy=False), out=z, casting="unsafe")
    z += mean
    return z


def _check_each_std(std: np.ndarray) -> None:
    if std.dtype.kind == "f" and not (std >= 0).all():
        raise RuntimeError("normal expects all elements of std >= 0.0")


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that the element of input is, else 0; with p, with that probability for each."""
    if not isinstance(input, Variable):
        raise TypeError(f"bernoulli(): argument 'input' (position 1) must be {tensor_not(input)}")
    if p is not None:
        return new_tensor(_bernoulli(p, generator)(input.array.shape, input.array.dtype))
    return _bernoulli_of(input, generator)


@primitive("Bernoulli", input=lambda g: g * 0.0)
def _bernoulli_of(input, generator):
    return _bernoulli_each(np.asarray(input, order="C"), input.dtype, generator)


def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *,
                generator: Generator | None = None) -> Tensor:
    """Indices into each row of input, drawn with its elements as weights."""
    if not isinstance(input, Variable):
        raise TypeError(f"multinomial(): argument 'input' (position 1) must be {tensor_not(input)}")
    num_samples, p = _int("multinomial", "num_samples", num_samples), input.array
    if p.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if p.dtype.kind != "f":
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {_name(p.dtype)}")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > p.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if p.shape[-1] > 1 << 24:
        raise RuntimeError("number of categories cannot exceed 2^24")
    if p.size == 0 and p.shape[-1] == 0:
        raise RuntimeError("cannot sample from an empty distribution")
    return new_tensor(_of(generator).multinomial(p, num_samples, replacement))


# ---- in place ---------------------------------------------------------------------------------------------------

def uniform_(self: Tensor, *bounds: float, generator: Generator | None = None, **named: float) -> Tensor:
    """uniform_(from=0, to=1)."""
    given = dict(zip(("from", "to"), bounds, strict=False)) | named
    _check_names("uniform_", len(bounds) + len(named), given)
    return _redraw_uniform(self, _uniform(given.get("from", 0.0), given.get("to", 1.0), generator))


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    return _redraw_normal(self, _normal(mean, std, generator))


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    return _redraw_exponential(self, _exponential(lambd, generator))


def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    return _redraw_log_normal(self, _log_normal(mean, std, generator))


def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    return _redraw_cauchy(self, _cauchy(median, sigma, generator))


def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    return _redraw_geometric(self, _geometric(p, generator))


def bernoulli_(self: Tensor, p: float | Tensor = 0.5, *, generator: Generator | None = None) -> Tensor:
    """1 with probability p, else 0; a tensor p, which must expand to self's shape, has one for each element."""
    if isinstance(p, Variable):
        return assign(self, lambda: _bernoulli_by(self, p, generator), write)
    return _redraw_bernoulli(self, _bernoulli(p, generator))


def random_(self: Tensor, *bounds: int, generator: Generator | None = None, **named: int | None) -> Tensor:
    """random_(), random_(to) or random_(from, to): integers from `from` (0) to `to` − 1. Without `to`, up to the
    largest number of the dtype, or of a floating dtype to the end of its consecutive integers."""
    names = ("to",) if len(bounds) == 1 and "to" not in named else ("from", "to")
    given = dict(zip(names, bounds, strict=False)) | named
    _check_names("random_", len(bounds) + len(named), given)
    if not given:
        return _redraw_random(self, _integers(None, None, generator))
    low = _int("random_", "from", given.get("from", 0))
    high = given.get("to")
    high = high if high is None else _int("random_", "to", high)
    return (_redraw_random_from if "from" in given else _redraw_random_to)(self, _integers(low, high, generator))


def _redraw(name: str) -> Callable[[Tensor, Draw], Tensor]:
    """An in-place op that takes its values from a draw. To autograd they are constants: what was there before has a
    gradient of zero."""
    @primitive(name, input=lambda g: g * 0.0)
    def redrawn(input, draw):
        return in_memory_order(input, lambda shape: draw(shape, input.dtype, input.flags.c_contiguous))

    return lambda self, draw: assign(self, lambda: redrawn(self, draw), write)


_redraw_uniform, _redraw_normal, _redraw_exponential = _redraw("Uniform"), _redraw("Normal"), _redraw("Exponential")
_redraw_log_normal, _redraw_cauchy, _redraw_geometric = _redraw("LogNormal"), _redraw("Cauchy"), _redraw("Geometric")
_redraw_bernoulli = _redraw("BernoulliBackward2")
_redraw_random, _redraw_random_to, _redraw_random_from = map(_redraw, ("RandomBackward2", "RandomBackward1", "Random"))


@primitive("BernoulliBackward1", input=lambda g: g * 0.0, p=lambda g, p: p * 0.0)
def _bernoulli_by(input, p, generator):
    try:
        p = np.broadcast_to(p, input.shape)
    except ValueError:
        raise RuntimeError(f"The expanded size of the tensor {list(input.shape)} must match the existing size of p, "
                           f"{list(p.shape)}, at non-singleton dimensions") from None
    order = axes_by_stride(input)
    return _bernoulli_each(p.transpose(order), input.dtype, generator).transpose(np.argsort(order))


# ---- draws: a Generator's method, once torch's conditions on dtype and arguments are met -------------------------

Draw = Callable[..., np.ndarray]         # (shape, NumPy dtype, contiguous=True) -> array


def _uniform(low: float, high: float, generator: Generator | None) -> Draw:
    def draw(shape, dtype, contiguous=True):
        if dtype.kind != "f":
            raise NotImplementedError(f"\"check_uniform_bounds\" not implemented for '{_name(dtype)}'")
        largest = float(np.finfo(dtype).max)
        for name, bound in (("from", low), ("to", high)):
            if not abs(bound) <= largest:
                raise RuntimeError(f"{name} is out of bounds for {_c_name(dtype)}")
        if low > high:
            raise RuntimeError("uniform_ expects to return a [from, to) range, but found "
                               f"from={low:g} > to={high:g}")
        if high - low > largest:
            raise RuntimeError(f"uniform_ expects to-from <= std::numeric_limits<{_name(dtype)}>::max(), but found "
                               f"to={high:g} and from={low:g} which result in to-from to exceed the limit")
        return generator.uniform(shape, low, high, dtype)
    low, high, generator = _float("uniform_", "from", low), _float("uniform_", "to", high), _of(generator)
    return draw


def _normal(mean: float, std: float, generator: Generator | None) -> Draw:
    def draw(shape, dtype, contiguous=True):
        if not std >= 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
        if dtype.kind != "f":
            raise NotImplementedError(f"\"normal_kernel_cpu\" not implemented for '{_name(dtype)}'")
        return generator.normal(shape, mean, std, dtype, contiguous)
    mean, std, generator = _float("normal_", "mean", mean), _float("normal_", "std", std), _of(generator)
    return draw


def _exponential(lambd: float, generator: Generator | None) -> Draw:
    def draw(shape, dtype, contiguous=True):
        _check_continuous("Exponential", dtype, _name(dtype))
        if not lambd > 0:
            raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")
        return generator.exponential(shape, lambd, dtype)
    lambd, generator = _float("exponential_", "lambd", lambd), _of(generator)
    return draw


def _log_normal(mean: float, std: float, generator: Generator | None) -> Draw:
    def draw(shape, dtype, contiguous=True):
        if not std > 0:
            raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
        if dtype.kind != "f":
            raise NotImplementedError(f"\"log_normal_cpu\" not implemented for '{_name(dtype)}'")
        return generator.log_normal(shape, mean, std, dtype)
    mean, std, generator = _float("log_normal_", "mean", mean), _float("log_normal_", "std", std), _of(generator)
    return draw


def _cauchy(median: float, sigma: float, generator: Generator | None) -> Draw:
    def draw(shape, dtype, contiguous=True):
        if not sigma > 0:
            raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
        _check_continuous("Cauchy", dtype, _c_name(dtype))
        return generator.cauchy(shape, median, sigma, dtype)
    median, sigma, generator = _float("cauchy_", "median", median), _float("cauchy_", "sigma", sigma), _of(generator)
    return draw


def _geometric(p: float, generator: Generator | None) -> Draw:
    def draw(shape, dtype, contiguous=True):
        if not 0 < p < 1:
            raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
        if dtype == np.bool_:
            raise NotImplementedError("\"geometric_cpu\" not implemented for 'Bool'")
        return generator.geometric(shape, p, dtype)
    p, generator = _float("geometric_", "p", p), _of(generator)
    return draw


def _bernoulli(p: float, generator: Generator | None) -> Draw:
    def draw(shape, dtype, contiguous=True):
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
        return generator.bernoulli(shape, p, dtype)
    p, generator = _float("bernoulli_", "p", p), _of(generator)
    return draw


def _bernoulli_each(p: np.ndarray, dtype: np.dtype, generator: Generator | None) -> np.ndarray:
    if p.dtype.kind != "f":
        raise NotImplementedError(f"\"bernoulli_tensor_cpu_p_\" not implemented for '{_name(p.dtype)}'")
    if not ((p >= 0) & (p <= 1)).all():
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false: a probability lies in [0, 1]")
    return _of(generator).bernoulli_each(p, dtype)


def _integers(low: int | None, high: int | None, generator: Generator | None) -> Draw:
    """Integers in [low, high). Without `high`, up to the largest of the dtype; without both, all that is not negative,
    of which torch draws with one word for an int32, however wide the range."""
    def draw(shape, dtype, contiguous=True):
        last = _largest(dtype)
        if low is None:
            return generator.integers(shape, 0, last + 1, dtype, wide=dtype.itemsize == 8)
        first, end = low, high
        if high is not None:
            _check_order(first, end)
            if dtype.kind == "f":
                first, end = _first_above(first, dtype), _last_below(end, dtype)
                _check_order(first, end)
            last = end - 1
        elif low == -2**63:                            # every integer of 64 bits
            if dtype not in (np.int64, np.float64, np.float32):
                kind = RuntimeError if dtype.kind in "iu" else NotImplementedError
                raise kind("random_full_64_bits_range_kernel_cpu handles only int64, double and float")
            return generator.integers(shape, -2**63, 2**63, dtype)
        elif dtype.kind == "f":
            first = _first_above(first, dtype)
        _check_range({"from": first, "to - 1": last}, dtype)
        return generator.integers(shape, first, last + 1, dtype)
    generator = _of(generator)
    return draw


def _check_order(low: int, high: int) -> None:
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")


def _check_range(bounds: dict[str, int], dtype: np.dtype) -> None:
    floating = dtype.kind == "f"
    top = int(np.finfo(dtype).max) if floating else _largest(dtype)
    bottom = -top if floating else 0 if dtype.kind in "bu" else -top - 1
    for name, bound in bounds.items():
        if not bottom <= bound <= top:
            raise RuntimeError(f"{name} is out of bounds for {_c_name(dtype)}")
    for name, bound in bounds.items():
        if floating and abs(bound) > _largest(dtype):
            digits = np.finfo(dtype).nmant + 1
            warnings.warn(f"{name} is out of bounds [-(2^{digits}), 2^{digits}]. Due to precision limitations "
                          f"{_c_name(dtype)} can support discrete uniform distribution only within this range. This "
                          "warning will become an error in version 1.7 release, please fix the code in advance",
                          stacklevel=3)


def _first_above(low: int, dtype: np.dtype) -> int:
    """Where a range of integers begins whose lower end a floating dtype would round out of it."""
    with np.errstate(over="ignore"):
        rounded = float(dtype.type(low + 1))
    if not -2**63 <= rounded < 2**63 or int(rounded) >= low:
        return low
    return int(rounded) + (1 << abs(low + 1).bit_length() - np.finfo(dtype).nmant - 1)


def _last_below(high: int, dtype: np.dtype) -> int:
    """Where it ends, likewise."""
    with np.errstate(over="ignore"):
        rounded = float(dtype.type(high - 1))
    if not -2**63 <= rounded < 2**63 or int(rounded) < high:
        return high
    return int(rounded) - (1 << abs(high - 1).bit_length() - np.finfo(dtype).nmant - 1)


def _largest(dtype: np.dtype) -> int:
    """The largest number of an integer dtype; the last of the consecutive integers of a floating one."""
    return 1 if dtype.kind == "b" else 2 << np.finfo(dtype).nmant if dtype.kind == "f" else int(np.iinfo(dtype).max)


# ---- arguments and results --------------------------------------------------------------------------------------

def _new(name: str, size: Sequence, dtype: dtypes.dtype | None, device, requires_grad: bool, draw: Draw) -> Tensor:
    check_device(device)
    with Quiet():
        array = draw(_shape(name, size), dtypes.to_numpy(dtype or dtypes.get_default_dtype()))
    return _leaf(array, requires_grad)


def _new_like(name: str, input: Tensor, dtype: dtypes.dtype | None, device, requires_grad: bool, draw: Draw) -> Tensor:
    """Laid out in memory as the input is, if that has no gaps."""
    if not isinstance(input, Variable):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be {tensor_not(input)}")
    check_device(device)
    like = dense_like(input.array, dtypes.to_numpy(dtype))
    return _leaf(in_memory_order(like, lambda shape: draw(shape, like.dtype, like.flags.c_contiguous)), requires_grad)


def _leaf(array: np.ndarray, requires_grad: bool) -> Tensor:
    if requires_grad and array.dtype.kind != "f":
        raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
    return new_tensor(array, requires_grad)


def _shape(name: str, size: Sequence) -> tuple[int, ...]:
    """A size given as numbers or as one sequence of them."""
    if len(size) == 1 and isinstance(size[0], tuple | list):
        size = size[0]
    shape = tuple(_int(name, "size", n, "tuple of ints") for n in size)
    for n in shape:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(shape)}")
    return shape


def _bounds(name: str, args: Sequence, low: int | None, high: int | None) -> tuple[int, int]:
    """randint's low and high, of which low may be missing, by position or by name."""
    if len(args) + (low is not None) + (high is not None) not in (1, 2):
        raise TypeError(f"{name}() takes high, or low and high")
    if len(args) == 2:
        low, high = args
    elif len(args) == 1:
        low, high = (low, args[0]) if high is None else (args[0], high)
    return _int(name, "low", 0 if low is None else low), _int(name, "high", high)


def _check_names(name: str, count: int, given: dict) -> None:
    if count > 2 or count != len(given) or not given.keys() <= {"from", "to"}:
        raise TypeError(f"{name}() received an invalid combination of arguments: it takes from and to, each once")


def _int(name: str, argument: str, value, what: str = "int") -> int:
    """An integer of 64 bits, from whatever stands for one, a bool excepted."""
    try:
        if isinstance(value, bool):
            raise TypeError
        value = index(value)
    except TypeError:
        raise TypeError(f"{name}(): argument '{argument}' must be {what}, not {type(value).__name__}") from None
    if not -2**63 <= value < 2**63:
        raise ValueError(f"Overflow when unpacking long long: {name}()'s {argument} must fit in 64 bits, got {value}")
    return value


def _float(name: str, argument: str, value) -> float:
    if isinstance(value, str | bytes):
        raise TypeError(f"{name}(): argument '{argument}' must be float, not {type(value).__name__}")
    try:
        return float(value)
    except TypeError:
        raise TypeError(f"{name}(): argument '{argument}' must be float, not {type(value).__name__}") from None


def _check_continuous(distribution: str, dtype: np.dtype, name: str) -> None:
    if dtype.kind != "f":
        raise RuntimeError(f"{distribution} distribution is a continuous probability distribution. dtype must be a "
                           f"floating point but you specified {name}")


def _name(dtype: np.dtype) -> str:
    return dtypes.of(dtype).tensor_type


def _c_name(dtype: np.dtype) -> str:
    """What C++ calls a dtype, in torch's messages."""
    return {"Byte": "unsigned char", "Char": "signed char", "Short": "short int", "Long": "long int",
            "Half": "c10::Half"}.get(_name(dtype), _name(dtype).lower())


class Methods:
    """The methods of Tensor that are defined here."""

    __slots__ = ()
    uniform_, normal_, exponential_, log_normal_, cauchy_ = uniform_, normal_, exponential_, log_normal_, cauchy_
    geometric_, bernoulli_, random_ = geometric_, bernoulli_, random_
    bernoulli, multinomial = bernoulli, multinomial
