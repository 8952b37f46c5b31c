"""More activation functions, and the dropouts of whole channels."""

from __future__ import annotations

import math
import warnings

import numpy as np

from ...composed.inplace import inplace as inplace_form
from ...graph import Tensor, new_tensor
from ...names import composite
from ...ops.elementwise import where
from ...ops.logic import check_tensors
from ...ops.special import expm1
from .activation import softmax
from .common import kernel, require_floating

# ---- activations ------------------------------------------------------------------------------------------------


@kernel("Celu")
def _celu(x, alpha):
    return where(x > 0, x, expm1(where(x > 0, 0.0, x / alpha)) * alpha)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x above 0, alpha (e^(x / alpha) - 1) below"""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    require_floating("celu", "celu", input)
    return (_celu.in_place if inplace else _celu)(input, alpha)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    return celu(input, alpha, inplace=True)


@kernel("PreluKernel")
def _prelu(x, weight):
    return where(x > 0, x, x * weight)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x above 0, weight x below; one weight, or one for each channel"""
    check_tensors("prelu", input=input, weight=weight)
    shape, count = input.array.shape, weight.array.size
    if weight.array.ndim not in (0, 1):
        raise RuntimeError("prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = "
                           f"{weight.array.ndim}")
    channels = shape[1] if len(shape) > 1 else 1
    if count != 1 and count != channels:
        raise RuntimeError(f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {count} "
                           f"and channel size = {channels}.")
    return _prelu(input, weight.reshape((-1,) + (1,) * (len(shape) - 2)) if len(shape) > 1 else weight.reshape(()))


@kernel("Hardswish")
def _hardswish(x):
    return where(x <= -3, 0.0, where(x < 3, x * (x + 3) / 6, x))


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x min(max(0, x + 3), 6) / 6"""
    require_floating("hardswish", "hardswish_cpu", input)
    return (_hardswish.in_place if inplace else _hardswish)(input)


@kernel("Hardsigmoid")
def _hardsigmoid(x):
    return where(x <= -3, 0.0, where(x >= 3, 1.0, x / 6 + 0.5))


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(0, x + 3), 6) / 6"""
    require_floating("hardsigmoid", "hardsigmoid_cpu", input)
    return (_hardsigmoid.in_place if inplace else _hardsigmoid)(input)


@kernel("Hardshrink")
def _hardshrink(x, lambd):
    return where((x >= -lambd) & (x <= lambd), 0.0, x)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, but 0 within [-lambd, lambd]"""
    require_floating("hardshrink", "hardshrink_cpu", input)
    return _hardshrink(input, lambd)


@kernel("Softshrink")
def _softshrink(x, lambd):
    return where(x > lambd, x - lambd, where(x < -lambd, x + lambd, x * 0.0))


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, and 0 within [-lambd, lambd]"""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    require_floating("softshrink", "softshrink_cpu", input)
    return _softshrink(input, lambd)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample of the distribution of the logits, softened; with `hard` one-hot, with the soft sample's gradient."""
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    noise = -new_tensor(np.empty_like(logits.array)).exponential_().log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    best = soft.max(dim, keepdim=True)[1]
    return new_tensor(np.zeros_like(logits.array)).scatter_(dim, best, 1.0) - soft.detach() + soft


# ---- dropout ----------------------------------------------------------------------------------------------------

def _check_probability(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


@composite("Mul")
def _drop_features(input, p: float):
    """A whole feature (B, C, ...) is zeroed or scaled up."""
    if p == 1:
        return input * 0.0
    shape = input.array.shape[:2] + (1,) * (input.array.ndim - 2)
    kept = new_tensor(np.empty(shape, input.array.dtype)).bernoulli_(1 - p)
    return input * (kept / (1 - p))


_drop_features_ = inplace_form(_drop_features)


def _feature_dropout(input: Tensor, p: float, training: bool, inplace: bool, unbatched: int | None) -> Tensor:
    _check_probability(p)
    if not training or p == 0 or not input.array.size:
        return input
    drop = _drop_features_ if inplace else _drop_features
    if input.array.ndim == unbatched:
        return drop(input.unsqueeze_(0) if inplace else input.unsqueeze(0), p).squeeze(0)
    return drop(input, p)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes whole channels of ((N,) C, L)."""
    if input.array.ndim not in (2, 3):
        raise RuntimeError("dropout1d: Expected 2D or 3D input, but received a "
                           f"{input.array.ndim}D input. Note that dropout1d exists to provide channel-wise dropout on "
                           "inputs with 1 spatial dimension, a channel dimension, and an optional batch dimension "
                           "(i.e. 2D or 3D inputs).")
    return _feature_dropout(input, p, training, inplace, 2)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes whole channels of (N, C, H, W)."""
    if input.array.ndim not in (3, 4):
        warnings.warn(f"dropout2d: Received a {input.array.ndim}-D input to dropout2d, which is deprecated and will "
                      "result in an error in a future release.", stacklevel=2)
    elif input.array.ndim == 3:
        warnings.warn("dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior "
                      "is desired - input is interpreted as shape (N, C, L), where C is the channel dim. This behavior "
                      "will change in a future release to interpret the input as one without a batch dimension, i.e. "
                      "shape (C, H, W). To maintain the 1D channel-wise dropout behavior, please switch to using "
                      "dropout1d instead.", stacklevel=2)
    return _feature_dropout(input, p, training, inplace, None)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes whole channels of ((N,) C, D, H, W)."""
    return _feature_dropout(input, p, training, inplace, 4)


_SELU_FLOOR = 1.7580993408473766           # minus the value that SELU tends to for small inputs


@composite("Add")
def _alpha_dropout(input, p: float, shape):
    if p == 1:
        return input * 0.0
    kept = new_tensor(np.empty(shape, input.array.dtype)).bernoulli_(1 - p)
    a = 1 / math.sqrt((_SELU_FLOOR**2 * p + 1) * (1 - p))
    b = (kept - 1) * (_SELU_FLOOR * a) + _SELU_FLOOR * a * p
    return input * (kept * a) + b


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout for SELU: to its floor instead of zero, and back to mean 0 and variance 1."""
    _check_probability(p)
    if not training or p == 0 or not input.array.size:
        return input
    return (inplace_form(_alpha_dropout) if inplace else _alpha_dropout)(input, p, input.array.shape)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """alpha_dropout of whole channels."""
    _check_probability(p)
    if not training or p == 0 or not input.array.size:
        return input
    shape = input.array.shape[:2] + (1,) * (input.array.ndim - 2)
    return (inplace_form(_alpha_dropout) if inplace else _alpha_dropout)(input, p, shape)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    from .activation import threshold as out_of_place
    return out_of_place(input, threshold, value, True)


def selu_(input: Tensor) -> Tensor:
    from .activation import selu
    return selu(input, True)


