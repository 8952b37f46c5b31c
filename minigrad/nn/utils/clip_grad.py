"""Gradients cut to a norm or to a range. `foreach`, a matter of speed in torch, is accepted and does nothing."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator

import numpy as np

from ...graph import Tensor, Variable, new_tensor
from ...kernels.late import Rows
from ...kernels.norm import sum_of_squares
from ...leaves import scale_gradient, unseen
from ...modes import Quiet, no_grad
from ...ops.norm import norm_over


def _listed(tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Variable) else list(tensors)


def _grads(parameters: Tensor | Iterable[Tensor], as_rows: bool = False) -> list[Tensor | Rows]:
    """The gradients; with as_rows, those that are mere rows so far are left so."""
    found = [g if as_rows and isinstance(g := unseen(p), Rows) else p.grad for p in _listed(parameters)]
    return [g for g in found if g is not None]


@no_grad()
def get_total_norm(tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False,
                   foreach: bool | None = None) -> Tensor:
    """The norm of all elements of all tensors, as of one vector."""
    return _total_norm(_listed(tensors), float(norm_type), error_if_nonfinite)


def _total_norm(gradients: list[Tensor | Rows], norm_type: float, error_if_nonfinite: bool) -> Tensor:
    if not gradients:
        return new_tensor(np.zeros((), np.float32))
    with Quiet():
        norms = [_norm(g, norm_type) for g in gradients]
    total = new_tensor(np.array(norms, np.result_type(*norms))).norm(norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it "
                           "cannot be clipped. To disable this error and scale the gradients by the non-finite norm "
                           "anyway, set `error_if_nonfinite=False`")
    return total


def _norm(g: Tensor | Rows, norm_type: float) -> np.ndarray | np.floating:
    if isinstance(g, Rows):
        return np.sqrt(sum_of_squares(g))
    x = g.array
    if norm_type == 2 and x.dtype.kind == "f":                    # as nearly always, and there are many
        return norm_over(x, norm_type, tuple(range(x.ndim)), False)
    return g.norm(norm_type).array


@no_grad()
def clip_grads_with_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor,
                          foreach: bool | None = None) -> None:
    """Scale the gradients down by max_norm / total_norm, if that is below 1."""
    scale = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    if scale.array != 1:
        for p in _listed(parameters):
            scale_gradient(p, scale.array)


@no_grad()
def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
                    error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    """Scale the gradients down, all by the same factor, to at most that total norm; return the norm that they had."""
    given, parameters = parameters, _listed(parameters)
    if isinstance(given, Iterator) and not parameters:
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3)
    total_norm = _total_norm(_grads(parameters, norm_type == 2), float(norm_type), error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total_norm, foreach)
    return total_norm


def clip_grad_norm(parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
                   error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    """The older name."""
    warnings.warn("`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
                  FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Cut every element of the gradients to [-clip_value, clip_value]."""
    for g in _grads(parameters):
        g.clamp_(-float(clip_value), float(clip_value))
