"""Derivatives of functions, as tensors."""

from __future__ import annotations

from collections.abc import Callable

from .... import autograd
from ....composed.joining import stack
from ....creation import ones_like, zeros_like
from ....graph import Variable
from ....modes import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _tuple(x) -> tuple:
    return (x,) if isinstance(x, Variable) else tuple(x)


def _run(func: Callable, inputs, create_graph: bool) -> tuple[tuple, tuple, bool, bool]:
    single = isinstance(inputs, Variable)
    with enable_grad():
        xs = tuple(x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_()
                   for x in _tuple(inputs))
        out = func(*xs)
    if not isinstance(out, Variable | tuple):
        raise TypeError(f"The outputs of the user-provided function must be either a Tensor or a tuple of Tensors, but "
                        f"got {type(out)}")
    return xs, _tuple(out), single, isinstance(out, Variable)


def _grad(outs, xs, gs, create_graph: bool, strict: bool) -> tuple:
    live = [(o, g) for o, g in zip(outs, gs) if o.requires_grad]
    if not live:
        if strict:
            raise RuntimeError("The outputs of the user-provided function do not require gradients, which strict mode "
                               "does not allow")
        return tuple(map(zeros_like, xs))
    with enable_grad():
        found = autograd.grad([o for o, _ in live], xs, [g for _, g in live], create_graph=create_graph,
                              retain_graph=True, allow_unused=True)
    if strict and any(g is None for g in found):
        raise RuntimeError("The output of the user-provided function is independent of an input, which strict mode "
                           "does not allow")
    return tuple(zeros_like(x) if g is None else g for x, g in zip(xs, found))


def _done(values: tuple, single: bool, create_graph: bool):
    values = values if create_graph else tuple(v.detach() for v in values)
    return values[0] if single else values


def vjp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False) -> tuple:
    """func's value, and the gradients of its inputs, given those of its value."""
    xs, outs, single, single_out = _run(func, inputs, create_graph)
    if v is None and not (len(outs) == 1 and outs[0].numel() == 1):
        raise RuntimeError("The vector v can only be None if the user-provided function returns a single Tensor with a "
                           "single element.")
    gs = (ones_like(outs[0]),) if v is None else _tuple(v)
    return _done(outs, single_out, create_graph), _done(_grad(outs, xs, gs, create_graph, strict), single, create_graph)


def jvp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False) -> tuple:
    """func's value, and its change along v: the gradient of a gradient that is linear in what it is multiplied by."""
    xs, outs, _, single_out = _run(func, inputs, create_graph)
    vs = tuple(map(ones_like, xs)) if v is None else _tuple(v)
    with enable_grad():
        dummies = tuple(zeros_like(o).requires_grad_() for o in outs)
    gs = _grad(outs, xs, dummies, True, strict)
    change = _grad(gs, dummies, vs, create_graph, False)
    return _done(outs, single_out, create_graph), _done(change, single_out, create_graph)


def jacobian(func: Callable, inputs, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
             strategy: str = "reverse-mode"):
    """(outputs' shape, inputs' shape)"""
    xs, outs, single, single_out = _run(func, inputs, create_graph)
    result = []
    for o in outs:
        rows = [_grad((element,), xs, (ones_like(element),), create_graph, strict) for element in o.reshape(-1)]
        result.append(_done(tuple(stack([row[i] for row in rows]).reshape(*o.shape, *x.shape)
                                  for i, x in enumerate(xs)), single, create_graph))
    return result[0] if single_out else tuple(result)


def hessian(func: Callable, inputs, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
            outer_jacobian_strategy: str = "reverse-mode"):
    """The second derivatives of a function with one value."""
    single = isinstance(inputs, Variable)

    def gradient(*xs):
        return jacobian(func, xs[0] if single else xs, create_graph=True)

    return jacobian(gradient, inputs, create_graph, strict)


def vhp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False) -> tuple:
    """func's value, and v times its second derivatives."""
    xs, outs, single, single_out = _run(func, inputs, True)
    vs = tuple(map(ones_like, xs)) if v is None else _tuple(v)
    gs = _grad(outs, xs, tuple(map(ones_like, outs)), True, strict)
    return _done(outs, single_out, create_graph), _done(_grad(gs, xs, vs, create_graph, False), single, create_graph)


hvp = vhp                          # the second derivatives are symmetric


