"""Activation functions, softmax, and dropout."""

from __future__ import annotations

import math
import warnings

import numpy as np

from ... import dtypes
from ...composed.inplace import inplace as inplace_form
from ...composed.shape import contiguous
from ...generator import dense_like
from ...graph import Tensor, Variable, new_tensor, primitive
from ...kernels.gelu import gelu_tanh, gelu_tanh_backward
from ...modes import no_grad
from ...names import named
from ...ops.elementwise import mul, pow, sigmoid, tanh, where
from ...ops.elementwise import relu as _relu
from ...ops.fused import fused
from ...ops.logic import check_tensors
from ...ops.promotion import as_scalar
from ...ops.special import erf, expm1
from .common import kernel, require_floating


# softplus is a primitive because of its second derivative: composed of exp and log1p it is inf * 0 for large numbers.
@primitive("Softplus", input=lambda g, input: g * sigmoid(input))
def log1p_exp(input):
    """ln(1 + e^x), without overflow."""
    return np.logaddexp(input, input.dtype.type(0))


# ---- rectifiers -------------------------------------------------------------------------------------------------

def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(0, x)"""
    if not isinstance(input, Variable):
        check_tensors("relu", input=input)
    if input.array.dtype.kind == "b":
        raise RuntimeError("Boolean inputs not supported for relu")
    return _relu_(input) if inplace else _relu(input)


_relu_ = inplace_form(_relu)


def relu_(input: Tensor) -> Tensor:
    return relu(input, inplace=True)


@kernel("Hardtanh")
def _hardtanh(input, min_val, max_val):
    """The gradient is zero on the bounds, too, as torch's is. A bound that is NaN makes everything NaN."""
    passing = where((input <= min_val) | (input >= max_val), input.detach(), input)
    cut = where(input < min_val, min_val, where(input > max_val, max_val, passing))
    return cut if min_val <= max_val else cut + math.nan


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x cut off at min_val and max_val"""
    check_tensors("hardtanh", input=input)
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    dtype = input.array.dtype
    low, high = (as_scalar(x, dtype if dtype.kind == "f" else np.dtype(np.int64)).item() for x in (min_val, max_val))
    if dtype.kind == "b":
        raise RuntimeError("Bool inputs not supported for hardtanh")
    if dtype.kind == "u" and (min_val < 0 or max_val < 0):
        raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    return (_hardtanh.in_place if inplace else _hardtanh)(input, low, high)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    return hardtanh(input, min_val, max_val, inplace=True)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(0, x), 6)"""
    return hardtanh(input, 0.0, 6.0, inplace)


@kernel("LeakyRelu")
def _leaky_relu(input, slope):
    return where(input > 0, input, input * slope)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x, and below 0 negative_slope * x"""
    require_floating("leaky_relu", "leaky_relu_cpu", input)
    if not inplace:
        return _leaky_relu(input, float(negative_slope))
    if negative_slope < 0 and input.requires_grad:
        raise RuntimeError("In-place leakyReLu backward calculation is triggered with a negative slope which is not "
                           "supported. This is caused by calling in-place forward function with a negative slope, "
                           "please call out-of-place version instead.")
    return named(_leaky_relu.in_place(input, float(negative_slope)), "LeakyReluBackward1")


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    return leaky_relu(input, negative_slope, inplace=True)


@kernel("Threshold")
def _threshold(input, threshold, value):
    return where(input <= threshold, value, input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where it is above the threshold, else the value"""
    check_tensors("threshold", input=input)
    if input.array.dtype.kind == "b":
        require_floating("threshold", "threshold_cpu", input)
    dtype = input.array.dtype
    bound = as_scalar(threshold, np.dtype(np.float32) if dtype == np.float16 else dtype).item()
    return (_threshold.in_place if inplace else _threshold)(input, bound, as_scalar(value, dtype).item())


# ---- exponential units ------------------------------------------------------------------------------------------

@kernel("Elu")
def _elu(input, alpha, scale):
    """The slope at 0 is alpha's, the second derivative there is 0."""
    negative = alpha * scale * expm1(where(input < 0, input, 0.0))          # else e^x would overflow where x is taken
    slope = np.where(input.array == 0, alpha * scale, scale).astype(input.array.dtype)
    return where(input < 0, negative, input * slope)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x, and below 0 alpha * (e^x - 1)"""
    require_floating("elu", "elu_cpu", input)
    return named(_elu.in_place(input, float(alpha), 1.0), "EluBackward1") if inplace else _elu(input, float(alpha), 1.0)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    return elu(input, alpha, inplace=True)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """scale * elu(x, alpha), with the two constants that keep mean 0 and variance 1 from layer to layer"""
    require_floating("selu", "elu_cpu", input)
    out = (_elu.in_place if inplace else _elu)(input, 1.6732632423543772, 1.0507009873554805)
    return named(out, "EluBackward1") if inplace else out


@kernel("Gelu")
def _gelu(input):
    return input * 0.5 * (1 + erf(input * math.sqrt(0.5)))


@kernel("Gelu")
@fused(lambda input: 0.5 * input * (1 + tanh(math.sqrt(2 / math.pi) * (input + 0.044715 * pow(input, 3)))),
       backward=lambda g, input: gelu_tanh_backward(g, input))
def _gelu_tanh(input):
    return gelu_tanh(input), None


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """x Phi(x), where Phi is the cumulative distribution of the normal one; or its approximation by a tanh"""
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    require_floating("gelu", "GeluKernelImpl", input)
    return (_gelu_tanh if approximate == "tanh" else _gelu)(input)


@kernel("Silu")
def _silu(input):
    return input * sigmoid(input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x)"""
    require_floating("silu", "silu_cpu", input)
    return (_silu.in_place if inplace else _silu)(input)


@kernel("Mish")
def _mish(input):
    return input * tanh(log1p_exp(input))


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(ln(1 + e^x))"""
    require_floating("mish", "mish_cpu", input)
    return (_mish.in_place if inplace else _mish)(input)


@kernel("Softplus")
def _softplus(input, beta, threshold):
    scaled = input * beta
    return where(scaled > threshold, input, log1p_exp(scaled) / beta)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """ln(1 + e^(beta x)) / beta, and x itself where beta x is above the threshold"""
    require_floating("softplus", "softplus_cpu", input)
    return _softplus(input, float(beta), float(threshold))


@kernel("LogSigmoid")
def _log_sigmoid(input):
    return 0.0 - log1p_exp(-input)                                          # not -0.0 where it is nothing


def logsigmoid(input: Tensor) -> Tensor:
    """ln sigmoid(x)"""
    require_floating("log_sigmoid", "log_sigmoid_cpu", input)
    return _log_sigmoid(contiguous(input))


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)"""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)"""
    return input - input.tanh()


@kernel("Glu")
def _glu(input, dim):
    half = input.array.shape[dim] // 2
    return input.narrow(dim, 0, half) * sigmoid(input.narrow(dim, half, half))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """One half of the dimension times the sigmoid of the other"""
    check_tensors("glu", input=input)
    if input.array.ndim == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    size = input.size(dim)
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim % input.array.ndim} is size {size}")
    require_floating("glu", "glu_cpu", input)
    return _glu(input, dim)


# ---- softmax ----------------------------------------------------------------------------------------------------

def _given(name: str, dim: int | None, input: Tensor, stacklevel: int) -> int:
    """The dimension; if none is given, that of the classes, as it was once."""
    check_tensors(name, input=input)
    if dim is not None:
        return dim
    warnings.warn(f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an "
                  "argument.", stacklevel=stacklevel)
    return 0 if input.dim() in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None) -> Tensor:
    """e^x / sum e^x along a dimension"""
    return input.softmax(_given("softmax", dim, input, _stacklevel), dtype=dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None) -> Tensor:
    """softmax(-x)"""
    return (-input).softmax(_given("softmin", dim, input, _stacklevel), dtype=dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3,
                dtype: dtypes.dtype | None = None) -> Tensor:
    """ln softmax(x)"""
    return input.log_softmax(_given("log_softmax", dim, input, _stacklevel), dtype=dtype)


# ---- dropout ----------------------------------------------------------------------------------------------------

def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability p, and scale the others up by 1 / (1 - p), so that the mean stays"""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not isinstance(input, Variable):
        check_tensors("dropout", input=input)
    if p == 0 or not training or not input.array.size:
        return input
    with no_grad():
        noise = new_tensor(dense_like(input.array))
        if p < 1:
            noise.bernoulli_(1 - p).div_(1 - p)
        else:
            noise.zero_()
    return input.mul_(noise) if inplace else mul(input, noise)
