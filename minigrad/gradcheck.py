"""gradcheck and gradgradcheck: the derivative that backward computes, beside the one that differences suggest."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from .autograd import grad
from .graph import Tensor, Variable, new_tensor
from .modes import Settings


class GradcheckError(RuntimeError):
    """A gradient that differences contradict."""


def _tuple(x) -> tuple:
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def _differentiable(outputs) -> list[int]:
    return [i for i, y in enumerate(_tuple(outputs)) if isinstance(y, Variable) and y.requires_grad]


def _numerical(func: Callable, inputs: Sequence, x: Tensor, which: list[int], eps: float) -> list[np.ndarray]:
    """For each of these outputs, d output / d x by central differences: a row per element of x."""
    def outputs() -> list[np.ndarray]:
        results = _tuple(func(*inputs))
        return [results[k].array.astype(np.float64) for k in which]

    array, at = x.array, outputs()
    jacobians = [np.zeros((array.size, y.size)) for y in at]
    for row, place in enumerate(np.ndindex(array.shape)):
        before = array[place].copy()
        try:
            array[place] = before - eps
            below = outputs()
            array[place] = before + eps
            above = outputs()
        finally:
            array[place] = before
        for jacobian, hi, lo in zip(jacobians, above, below, strict=True):
            jacobian[row] = (hi - lo).reshape(-1) / (2 * eps)
    return jacobians


def _units(y: Tensor) -> Iterator[Tensor]:
    """One gradient for each element of y: 1 there, 0 elsewhere."""
    for place in np.ndindex(y.array.shape):
        g = np.zeros_like(y.array)
        g[place] = 1
        yield new_tensor(g)


def _analytical(y: Tensor, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """For each input x, d y / d x as backward computes it, a column with every walk."""
    jacobians = [np.zeros((x.array.size, y.array.size)) for x in inputs]
    for column, g in enumerate(_units(y)):
        for jacobian, gx in zip(jacobians, grad(y, inputs, g, retain_graph=True, allow_unused=True), strict=True):
            if gx is not None:
                jacobian[:, column] = gx.array.reshape(-1)
    return jacobians


def gradcheck(func: Callable, inputs, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
              raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
              check_grad_dtypes: bool = False, check_batched_grad: bool = False,
              check_batched_forward_grad: bool = False, check_forward_ad: bool = False, check_backward_ad: bool = True,
              fast_mode: bool = False, masked: bool | None = None) -> bool:
    """Whether backward's gradients of func at the inputs agree with central differences, and repeat themselves.

    Gradients always have their inputs' dtypes, so check_grad_dtypes has nothing to find; fast_mode is not faster."""
    if check_forward_ad or check_batched_grad or check_batched_forward_grad:
        raise NotImplementedError("minigrad has no forward-mode and no batched gradients to check")
    if not check_backward_ad:
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    inputs = _tuple(inputs)
    checked = _checked(inputs)
    try:
        with Settings(grad=True):
            results = _tuple(func(*inputs))
            which = _differentiable(results)
            if not which:
                return _check_constant(func, inputs, checked, results, eps)
            outputs = [results[k] for k in which]
            _check_jacobians(func, inputs, checked, outputs, which, eps, atol, rtol, nondet_tol)
            _check_multiplied(outputs, [x for _, x in checked])
            if check_undefined_grad:
                results = _tuple(func(*inputs))
                _check_undefined([results[k] for k in which], [x for _, x in checked])
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _checked(inputs: Sequence) -> list[tuple[int, Tensor]]:
    """The inputs whose gradients there are to check, with their positions."""
    checked = [(i, x) for i, x in enumerate(inputs) if isinstance(x, Variable) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of the them have "
                         "requires_grad=True.")
    for i, x in checked:
        if x.array.dtype != np.float64:
            warnings.warn(f"Input #{i} requires gradient and is not a double precision floating point. This check will "
                          "likely fail if all the inputs are not of double precision floating point. ", stacklevel=3)
        if any(s == 0 and n > 1 for s, n in zip(x.array.strides, x.array.shape, strict=True)):
            raise RuntimeError(f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that "
                               "are non-overlapping to be able to compute the numerical gradients correctly. You "
                               "should call .contiguous on the input before passing it to gradcheck.")
        if x._node is not None:
            x.retain_grad()
    return checked


def _check_constant(func: Callable, inputs: Sequence, checked: Sequence, results: Sequence, eps: float) -> bool:
    """Where no output wants a gradient, the differences must be zero."""
    which = [k for k, y in enumerate(results) if isinstance(y, Variable) and y.array.dtype.kind == "f"]
    if not any(isinstance(y, Variable) for y in results):
        raise TypeError("gradcheck expects func to return a Tensor or a tuple of Tensors")
    for _, x in checked:
        if any(jacobian.any() for jacobian in _numerical(func, inputs, x, which, eps)):
            raise GradcheckError("Numerical gradient for function expected to be zero")
    return True


def _check_jacobians(func, inputs, checked, outputs, which, eps, atol, rtol, nondet_tol) -> None:
    xs = [x for _, x in checked]
    with Settings(grad=False):
        numerical = [_numerical(func, inputs, x, which, eps) for x in xs]
    for k, y in enumerate(outputs):
        first, second = _analytical(y, xs), _analytical(y, xs)
        for (i, _), analytical, again, expected in zip(checked, first, second, numerical, strict=True):
            if not np.allclose(analytical, expected[k], rtol=rtol, atol=atol):
                raise GradcheckError(f"Jacobian mismatch for output {k} with respect to input {i},\n"
                                     f"numerical:{new_tensor(expected[k])}\nanalytical:{new_tensor(analytical)}\n")
            if not np.allclose(analytical, again, rtol=0, atol=nondet_tol):
                raise GradcheckError("Backward is not reentrant, i.e., running backward with same input and "
                                     f"grad_output multiple times gives different values (output {k}, input {i}; "
                                     f"nondet_tol = {nondet_tol})")


def _check_multiplied(outputs: Sequence[Tensor], xs: Sequence[Tensor]) -> None:
    """A zero gradient must give zero gradients (or none)."""
    zeros = [new_tensor(np.zeros_like(y.array)) for y in outputs]
    for g in grad(outputs, xs, zeros, retain_graph=True, allow_unused=True):
        if g is not None and g.array.any():
            raise GradcheckError("backward not multiplied by grad_output")


def _check_undefined(outputs: Sequence[Tensor], xs: Sequence[Tensor]) -> None:
    """So must zeros for some outputs and nothing for the others."""
    for k in range(len(outputs) if len(outputs) > 1 else 0):
        for rest in ([outputs[k]], [y for y in outputs if y is not outputs[k]]):
            try:
                _check_multiplied(rest, xs)
            except (GradcheckError, AttributeError, TypeError) as error:
                raise GradcheckError(
                    "Expected backward function to handle undefined output grads. Please look at 'Notes about "
                    "undefined output gradients': None, or zeros, for an output that nothing was computed "
                    "from") from error


def gradgradcheck(func: Callable, inputs, grad_outputs=None, *, eps: float = 1e-6, atol: float = 1e-5,
                  rtol: float = 1e-3, gen_non_contig_grad_outputs: bool = False, raise_exception: bool = True,
                  nondet_tol: float = 0.0, check_undefined_grad: bool = True, check_grad_dtypes: bool = False,
                  check_batched_grad: bool = False, check_fwd_over_rev: bool = False, check_rev_over_rev: bool = True,
                  fast_mode: bool = False, masked: bool = False) -> bool:
    """gradcheck of the gradient itself, as a function of the inputs and of the outputs' gradients."""
    inputs = _tuple(inputs)
    if grad_outputs is None:
        with Settings(grad=True):
            results = _tuple(func(*inputs))
        grad_outputs = [_random(results[k].array, gen_non_contig_grad_outputs).requires_grad_()
                        for k in _differentiable(results)]
    grad_outputs = _tuple(grad_outputs)
    count = len(grad_outputs)
    if not count and any(isinstance(x, Variable) and x.requires_grad for x in inputs):
        raise TypeError("gradgradcheck expects func to return a Tensor that requires a gradient")

    def first_order(*args):
        given, at = args[len(args) - count:], args[:len(args) - count]
        wanted = [x for x in at if isinstance(x, Variable) and x.requires_grad]
        with Settings(grad=True):
            ys = _tuple(func(*at))
            ys = [ys[k] for k in _differentiable(ys)]
            return tuple(g for g in grad(ys, wanted, given, create_graph=True, allow_unused=True) if g is not None)

    return gradcheck(first_order, (*inputs, *grad_outputs), eps=eps, atol=atol, rtol=rtol,
                     raise_exception=raise_exception, nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad,
                     check_grad_dtypes=check_grad_dtypes, check_batched_grad=check_batched_grad,
                     check_forward_ad=check_fwd_over_rev, check_backward_ad=check_rev_over_rev, fast_mode=fast_mode,
                     masked=masked)


def _random(like: np.ndarray, strided: bool) -> Tensor:
    """Numbers within [-1, 1], from the default generator as in torch."""
    wide = new_tensor(np.empty((*like.shape, 1 + strided), like.dtype)).uniform_(-1, 1)
    return wide[..., 0]
