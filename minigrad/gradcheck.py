"""gradcheck and gradgradcheck: the derivative that backward computes, beside the one that differences suggest."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from .autograd import grad
from .graph import Tensor, Variable, new_tensor
from .modes import Settings


class GradcheckError(RuntimeError):
    """A gradient that differences contradict."""


def _tuple(x) -> tuple:
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def _outputs(func: Callable, inputs: Sequence) -> list[Tensor]:
    return [y for y in _tuple(func(*inputs)) if isinstance(y, Variable) and y.array.dtype.kind == "f"]


def _numerical(func: Callable, inputs: Sequence, x: Tensor, eps: float) -> list[np.ndarray]:
    """For each output, d output / d x by central differences: one row per element of x."""
    rows, flat = [], x.array
    with Settings(grad=False):
        for place in np.ndindex(flat.shape):
            before = flat[place].copy()
            sides = []
            for step in (eps, -eps):
                flat[place] = before + step
                sides.append([y.array.astype(np.float64) for y in _outputs(func, inputs)])
            flat[place] = before
            rows.append([(p - m).reshape(-1) / (2 * eps) for p, m in zip(*sides, strict=True)])
    count = len(_outputs(func, inputs)) if not rows else len(rows[0])
    return [np.array([row[k] for row in rows]).reshape(flat.size, -1) for k in range(count)]


def _analytical(y: Tensor, x: Tensor) -> np.ndarray:
    """d y / d x as backward computes it, with one walk for each element of y: columns of the Jacobian."""
    columns = []
    for place in np.ndindex(y.array.shape):
        g = np.zeros_like(y.array)
        g[place] = 1
        gx, = grad(y, x, new_tensor(g), retain_graph=True, allow_unused=True)
        columns.append(np.zeros(x.array.size) if gx is None else gx.array.astype(np.float64).reshape(-1))
    return np.array(columns).reshape(-1, x.array.size).T


def gradcheck(func: Callable, inputs, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
              raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
              check_grad_dtypes: bool = False, check_batched_grad: bool = False, check_batched_forward_grad: bool = False,
              check_forward_ad: bool = False, check_backward_ad: bool = True, fast_mode: bool = False,
              masked: bool | None = None) -> bool:
    """Whether backward's gradients of func at the inputs agree with central differences, and repeat themselves."""
    inputs = _tuple(inputs)
    checked = [(i, x) for i, x in enumerate(inputs) if isinstance(x, Variable) and x.requires_grad]
    try:
        if not checked:
            raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of the them have "
                             "requires_grad=True.")
        if check_forward_ad or check_batched_grad or check_batched_forward_grad:
            raise NotImplementedError("minigrad has no forward-mode and no batched gradients to check")
        for i, x in checked:
            if x.array.dtype != np.float64:
                warnings.warn(f"Input #{i} requires gradient and is not a double precision floating point. This check will "
                              "likely fail if all the inputs are not of double precision floating point. ", stacklevel=2)
            if any(s == 0 and n > 1 for s, n in zip(x.array.strides, x.array.shape, strict=True)):
                raise RuntimeError(f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                                   "non-overlapping to be able to compute the numerical gradients correctly.")
        with Settings(grad=True):
            outputs = _outputs(func, inputs)
        for i, x in checked:
            numerical = _numerical(func, inputs, x, eps)
            for k, y in enumerate(outputs):
                if not y.requires_grad:
                    analytical = np.zeros_like(numerical[k])
                else:
                    analytical = _analytical(y, x)
                    if not np.allclose(analytical, _analytical(y, x), rtol=0, atol=nondet_tol, equal_nan=True):
                        raise GradcheckError(f"Backward is not reentrant: running it twice gave different gradients for "
                                             f"output {k} with respect to input {i} (nondet_tol={nondet_tol})")
                if not np.allclose(analytical, numerical[k], rtol=rtol, atol=atol, equal_nan=True):
                    raise GradcheckError(f"Jacobian mismatch for output {k} with respect to input {i},\n"
                                         f"numerical:{new_tensor(numerical[k])}\nanalytical:{new_tensor(analytical)}\n")
        if check_undefined_grad:
            _check_undefined(func, inputs, [x for _, x in checked])
    except (GradcheckError, RuntimeError) as error:
        if raise_exception:
            raise error if isinstance(error, GradcheckError) else GradcheckError(str(error)) from error
        return False
    return True


def _check_undefined(func: Callable, inputs: Sequence, checked: Sequence[Tensor]) -> None:
    """A zero gradient must give zero gradients (or none)."""
    with Settings(grad=True):
        outputs = [y for y in _outputs(func, inputs) if y.requires_grad]
    if outputs:
        zeros = [new_tensor(np.zeros_like(y.array)) for y in outputs]
        for g in grad(outputs, checked, zeros, allow_unused=True):
            if g is not None and np.any(g.array != 0) and not np.isnan(g.array).any():
                raise GradcheckError("Expected backward of a zero gradient to be zero or None")


def gradgradcheck(func: Callable, inputs, grad_outputs=None, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
                  gen_non_contig_grad_outputs: bool = False, raise_exception: bool = True, nondet_tol: float = 0.0,
                  check_undefined_grad: bool = True, check_grad_dtypes: bool = False, check_batched_grad: bool = False,
                  check_fwd_over_rev: bool = False, check_rev_over_rev: bool = True, fast_mode: bool = False,
                  masked: bool = False) -> bool:
    """gradcheck of the gradient itself, as a function of the inputs and of the outputs' gradients."""
    inputs = _tuple(inputs)
    with Settings(grad=True):
        outputs = [y for y in _outputs(func, inputs) if y.requires_grad]
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        grad_outputs = [new_tensor(np.asarray(rng.standard_normal(y.array.shape)).astype(y.array.dtype), True)
                        for y in outputs]
    grad_outputs = _tuple(grad_outputs)
    count = len(grad_outputs)

    def first_order(*args):
        given, at = args[-count:], args[:-count]
        wanted = [x for x in at if isinstance(x, Variable) and x.requires_grad]
        with Settings(grad=True):
            ys = [y for y in _outputs(func, at) if y.requires_grad]
            return tuple(g for g in grad(ys, wanted, given, create_graph=True, allow_unused=True) if g is not None)

    return gradcheck(first_order, (*inputs, *grad_outputs), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
                     nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad)
