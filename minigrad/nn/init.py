"""Fill a tensor in place, as torch.nn.init does: the same draws, so the same weights from the same seed.

In comments, fan_in is the number of inputs that one output of a layer sums over, fan_out the number of outputs that
one input reaches. Weights of shape (out, in, *kernel) have fan_in = in · ∏kernel and fan_out = out · ∏kernel."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import wraps

import numpy as np

from ..generator import Generator, dense_like
from ..graph import Tensor, new_tensor
from ..modes import Settings, mode, no_grad
from ..random import randperm

_GAINS = {"sigmoid": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4, "linear": 1} | {
    f"conv{transposed}{d}d": 1 for transposed in ("", "_transpose") for d in (1, 2, 3)}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights before this nonlinearity are larger, so that activations keep their variance.

    `param` is leaky_relu's slope on the negative side, 0.01 by default."""
    if nonlinearity == "leaky_relu":
        if param is not None and (isinstance(param, bool) or not isinstance(param, int | float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2 / (1 + (0.01 if param is None else param)**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return _GAINS[nonlinearity]


# ---- constants --------------------------------------------------------------------------------------------------

@no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    return tensor._write(np.asarray(val))


def ones_(tensor: Tensor) -> Tensor:
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    return constant_(tensor, 0.0)


@no_grad()
def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix: a linear layer that hands on its inputs, as many as it can."""
    if tensor.array.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return tensor._write(np.eye(*tensor.array.shape))


@no_grad()
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The identity as a convolution: a layer that hands on its channels, as many as it can."""
    shape = tensor.array.shape
    if len(shape) not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    own, values = shape[0] // groups, np.zeros(shape)
    for c in range(min(own, shape[1])):
        values[(slice(c, None, own), c, *(n // 2 for n in shape[2:]))] = 1
    return tensor._write(values)


# ---- random numbers ---------------------------------------------------------------------------------------------

class no_init(Settings):
    """Inside, layers are made without drawing their weights: memory is set aside, not touched, and the random stream
    does not move. For weights that come from a file. (torch has skip_init, for one layer.)"""

    def __init__(self):
        super().__init__(init=False)


def _drawn(fill: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function that fills its first argument with random numbers, unless within no_init."""
    @wraps(fill)
    def filled(tensor: Tensor, *args, **kwargs) -> Tensor:
        if not mode.init:
            return tensor
        with no_grad():
            return fill(tensor, *args, **kwargs)
    return filled


@_drawn
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    return tensor.uniform_(a, b, generator=generator)


@_drawn
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    return tensor.normal_(mean, std, generator=generator)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform with the variance 2·gain²/(fan_in + fan_out), a compromise between forward and backward (Glorot)."""
    bound = math.sqrt(3.0) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with the variance of xavier_uniform_."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
                     generator: Generator | None = None) -> Tensor:
    """Uniform with the variance gain²/fan: activations, or with mode "fan_out" gradients, keep their scale (He).

    `a` is the slope on the negative side of the leaky ReLU that follows."""
    if _is_empty(tensor):
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
                    generator: Generator | None = None) -> Tensor:
    """Normal with the variance of kaiming_uniform_."""
    if _is_empty(tensor):
        return tensor
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


@_drawn
def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
                  generator: Generator | None = None) -> Tensor:
    """Normal, but within [a, b], near which the mean should lie. By rejection, as in torch from 2.13 on.

    If [a, b] holds more than 0.3 of the distribution, normals are proposed, and those within are taken. Else numbers
    uniform on [a, b] are, and x is taken with a probability in proportion to the density at x, which is 1 at the
    density's maximum in [a, b]. Each round proposes for all elements, those that are settled included."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn("mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
                      "incorrect.", stacklevel=3)
    dtype = tensor.array.dtype.type
    real = np.float32 if dtype is np.float16 else dtype          # in which torch divides float16
    proposal, chance = (new_tensor(dense_like(tensor.array)) for _ in range(2))

    if _normal_cdf((b - mean) / std) - _normal_cdf((a - mean) / std) > 0.3:
        x = tensor.normal_(mean, std, generator=generator).array.copy(order="K")
        while (pending := (x < dtype(a)) | (x > dtype(b))).any():
            np.copyto(x, proposal.normal_(mean, std, generator=generator).array, where=pending)
        return tensor._write(x)

    mode = max(a, min(mean, b))
    log_peak = -0.5 * ((mode - mean) / std)**2

    def refused(x):
        """ln u > ln(density at x / density at the mode)"""
        log_density = ((x - dtype(mean)).astype(real) / real(std)).astype(dtype)
        log_density *= log_density
        log_density *= dtype(-0.5)
        log_density -= dtype(log_peak)
        u = chance.uniform_(generator=generator).array
        with np.errstate(divide="ignore"):
            return np.log(u.astype(np.float64)).astype(real).astype(dtype) > log_density

    x = tensor.uniform_(a, b, generator=generator).array.copy(order="K")
    pending = refused(x)
    while pending.any():
        np.copyto(x, proposal.uniform_(a, b, generator=generator).array, where=pending)
        pending &= refused(proposal.array)
    return tensor._write(x)


@_drawn
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Normal, but in each column a share of zeros."""
    if tensor.array.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.array.shape
    tensor.normal_(0, std, generator=generator)
    for c in range(columns):
        tensor.array[randperm(rows).array[:math.ceil(sparsity * rows)], c] = 0
    return tensor


@_drawn
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """A matrix (the dimensions after the first count as one) with orthonormal rows or columns, times gain.

    From torch's draws, but its factorisation rounds differently: the values agree to some units of the last place."""
    array = tensor.array
    if array.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if array.size == 0:
        return tensor
    matrix = new_tensor(np.empty((array.shape[0], array.size // array.shape[0]), array.dtype))
    matrix = matrix.normal_(0, 1, generator=generator).array
    wide = matrix.shape[0] < matrix.shape[1]
    q, r = np.linalg.qr(matrix.T if wide else matrix)
    q *= np.sign(np.diagonal(r))                       # which of the factorisations it is no longer depends on LAPACK
    return tensor._write((q.T if wide else q).reshape(array.shape) * array.dtype.type(gain))


# ---- the names before the underscore -----------------------------------------------------------------------------

def _older(f: Callable) -> Callable:
    old = f.__name__.removesuffix("_")

    @wraps(f)
    def renamed(*args, **kwargs) -> Tensor:
        warnings.warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{old}_`.", FutureWarning, stacklevel=2)
        return f(*args, **kwargs)
    renamed.__name__ = renamed.__qualname__ = old
    return renamed


uniform, normal, constant, eye = _older(uniform_), _older(normal_), _older(constant_), _older(eye_)
xavier_uniform, xavier_normal = _older(xavier_uniform_), _older(xavier_normal_)
kaiming_uniform, kaiming_normal, orthogonal = _older(kaiming_uniform_), _older(kaiming_normal_), _older(orthogonal_)

# ---- helpers ----------------------------------------------------------------------------------------------------

def _fans(tensor: Tensor) -> tuple[int, int]:
    shape = tensor.array.shape
    if len(shape) < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def _xavier_std(tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2.0 / float(sum(_fans(tensor))))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    modes = ["fan_in", "fan_out"]
    if mode.lower() not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {modes}")
    return calculate_gain(nonlinearity, a) / math.sqrt(_fans(tensor)[modes.index(mode.lower())])


def _is_empty(tensor: Tensor) -> bool:
    if 0 in tensor.array.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


def _normal_cdf(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0
