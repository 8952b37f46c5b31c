"""torch.func: functions of functions. Derivatives are taken with the tape; vmap runs sample by sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import autograd
from ...composed.joining import stack, unbind
from ...creation import zeros_like
from ...graph import Tensor, Variable
from ...modes import enable_grad
from ...nn import Module
from ...nn.utils.stateless import functional_call as functional_call
from .utils._pytree import tree_flatten, tree_map, tree_unflatten

__all__ = ["functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
           "stack_module_state", "vjp", "vmap"]


def _fresh(tree: Any, keep: bool) -> Any:
    """The same values as new inputs: a view that wants a gradient, and passes it on where an outer derivative is
    wanted."""
    def make(x):
        if not isinstance(x, Variable) or not x.is_floating_point():
            return x
        return x.view_as(x) if keep and x.requires_grad else x.detach().requires_grad_()
    return tree_map(make, tree)


def _differentiated(func: Callable, argnums: int | tuple[int, ...], args: tuple, kwargs: dict) -> tuple:
    chosen = (argnums,) if isinstance(argnums, int) else argnums
    args = list(args)
    with enable_grad():
        for i in chosen:
            args[i] = _fresh(args[i], keep=True)
        leaves, spec = tree_flatten([args[i] for i in chosen])
        return func(*args, **kwargs), leaves, spec


def _grads(out: Tensor, leaves: list, g=None, create_graph: bool = True) -> list:
    wanted = [x for x in leaves if isinstance(x, Variable) and x.requires_grad]
    found = iter(autograd.grad(out, wanted, g, create_graph=create_graph, retain_graph=True, allow_unused=True)
                 if out.requires_grad else [None] * len(wanted))
    result = []
    for x in leaves:
        g = next(found) if isinstance(x, Variable) and x.requires_grad else None
        result.append(zeros_like(x) if g is None else g)
    return result


def grad_and_value(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """The function that returns func's gradients, and its value."""
    def wrapped(*args, **kwargs):
        outer = any(isinstance(x, Variable) and x.requires_grad for x in tree_flatten((args, kwargs))[0])
        out, leaves, spec = _differentiated(func, argnums, args, kwargs)
        out, aux = out if has_aux else (out, None)
        if not isinstance(out, Variable):
            raise RuntimeError("grad_and_value(f)(*args): Expected f(*args) to return a tensor, got "
                               f"{type(out).__name__}")
        if out.dim() != 0:
            raise RuntimeError("grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor, got tensor with "
                               f"{out.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?")
        grads = tree_unflatten(_grads(out, leaves), spec)
        grads = grads[0] if isinstance(argnums, int) else tuple(grads)
        if not outer:
            grads, out = tree_map(_detached, (grads, out))
            aux = tree_map(_detached, aux)
        return grads, (out, aux) if has_aux else out
    return wrapped


def _detached(x):
    return x.detach() if isinstance(x, Variable) else x


def grad(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """The function that returns func's gradients."""
    both = grad_and_value(func, argnums, has_aux)

    def wrapped(*args, **kwargs):
        grads, value = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads
    return wrapped


def vjp(func: Callable, *primals, has_aux: bool = False) -> tuple:
    """func's value, and the function from gradients of the value to those of the primals."""
    outer = any(isinstance(x, Variable) and x.requires_grad for x in tree_flatten(primals)[0])
    out, leaves, spec = _differentiated(func, tuple(range(len(primals))), primals, {})
    out, aux = out if has_aux else (out, None)
    outs, look = tree_flatten(out)

    def pull(*cotangents):
        gs, _ = tree_flatten(cotangents[0] if len(cotangents) == 1 else cotangents)
        total = [_grads(o, leaves, g) for o, g in zip(outs, gs, strict=True)]
        sums = [sum(column[1:], column[0]) for column in zip(*total)]
        return tuple(tree_unflatten(sums if outer else [_detached(g) for g in sums], spec))

    value = tree_unflatten([_detached(o) for o in outs], look)
    return (value, pull, aux) if has_aux else (value, pull)


def linearize(func: Callable, *primals) -> tuple:
    """func's value, and the function from changes of the primals to those of the value. It is the gradient of vjp,
    which is linear in what it is given."""
    out, leaves, _ = _differentiated(func, tuple(range(len(primals))), primals, {})
    outs, look = tree_flatten(out)
    with enable_grad():
        probes = [zeros_like(o).requires_grad_() for o in outs]
        columns = zip(*[_grads(o, leaves, probe) for o, probe in zip(outs, probes)])
        pulled = [sum(column[1:], column[0]) for column in columns]

    def push(*tangents):
        changes = [_grads(g, probes, t) for g, t in zip(pulled, tree_flatten(tangents)[0], strict=True)
                   if isinstance(g, Variable) and g.requires_grad]
        if not changes:
            return tree_unflatten([zeros_like(o) for o in outs], look)
        return tree_unflatten([sum(column[1:], column[0]) for column in zip(*changes)], look)

    return out, push


def jvp(func: Callable, primals: tuple, tangents: tuple, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """func's value, and its change along the tangents."""
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise RuntimeError("jvp(f, primals, tangents): Expected primals and tangents to be tuples. E.g. it should be "
                           "valid to call f(*primals).")
    outer = any(isinstance(x, Variable) and x.requires_grad for x in tree_flatten((primals, tangents))[0])
    aux = None

    def value(*args):
        nonlocal aux
        out = func(*args)
        if has_aux:
            out, aux = out
        return out

    out, push = linearize(value, *primals)
    change = push(*tangents)
    if not outer:
        out, change, aux = tree_map(_detached, (out, change, aux))
    return (out, change, aux) if has_aux else (out, change)


def jacrev(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, **kwargs) -> Callable:
    """The function that returns func's Jacobians, (output's shape, input's shape)."""
    def wrapped(*args, **kwargs):
        outer = any(isinstance(x, Variable) and x.requires_grad for x in tree_flatten((args, kwargs))[0])
        out, leaves, spec = _differentiated(func, argnums, args, kwargs)
        out, aux = out if has_aux else (out, None)
        outs, look = tree_flatten(out)
        result = []
        for o in outs:
            rows = [_grads(element, leaves) for element in o.reshape(-1)]
            columns = [stack([row[i] for row in rows]).reshape(*o.shape, *x.shape) for i, x in enumerate(leaves)]
            tree = tree_unflatten(columns if outer else [_detached(c) for c in columns], spec)
            result.append(tree[0] if isinstance(argnums, int) else tuple(tree))
        result = tree_unflatten(result, look)
        return (result, aux) if has_aux else result
    return wrapped


def jacfwd(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, **kwargs) -> Callable:
    """The same Jacobians, column by column."""
    def wrapped(*args):
        chosen = (argnums,) if isinstance(argnums, int) else argnums
        outer = any(isinstance(x, Variable) and x.requires_grad for x in tree_flatten(args)[0])
        aux = None

        def of_chosen(*xs):
            nonlocal aux
            full = list(args)
            for i, x in zip(chosen, xs):
                full[i] = x
            out = func(*full)
            if has_aux:
                out, aux = out
            return out

        inputs = [args[i] for i in chosen]
        out, push = linearize(of_chosen, *inputs)
        leaves, spec = tree_flatten(inputs)
        outs, look = tree_flatten(out)
        columns = []                                           # for each leaf, for each output
        for k, x in enumerate(leaves):
            parts = []
            for i in range(x.numel()):
                tangents = [zeros_like(y) for y in leaves]
                tangents[k].view(-1)[i] = 1
                parts.append(tree_flatten(push(*tree_unflatten(tangents, spec)))[0])
            columns.append([stack([part[o] for part in parts], -1).reshape(*outs[o].shape, *x.shape)
                            for o in range(len(outs))])
        result = []
        for o in range(len(outs)):
            tree = tree_unflatten([column[o] if outer else _detached(column[o]) for column in columns], spec)
            result.append(tree[0] if isinstance(argnums, int) else tuple(tree))
        result = tree_unflatten(result, look)
        return (result, aux) if has_aux else result
    return wrapped


def hessian(func: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    return jacfwd(jacrev(func, argnums), argnums)


def vmap(func: Callable, in_dims: int | tuple = 0, out_dims: int | tuple = 0, randomness: str = "error", *,
         chunk_size: int | None = None) -> Callable:
    """func of each sample along a dimension, its results side by side. (torch runs them at once.)"""
    def wrapped(*args, **kwargs):
        dims = (in_dims,) * len(args) if isinstance(in_dims, int) else tuple(in_dims)
        if len(dims) != len(args):
            raise ValueError(f"vmap: in_dims has {len(dims)} entries for {len(args)} inputs")
        columns, sizes, looks = [], set(), []
        for arg, dim in zip(args, dims):
            leaves, look = tree_flatten(arg)
            per_leaf = [dim] * len(leaves) if dim is None or isinstance(dim, int) else tree_flatten(dim)[0]
            split = [(unbind(x, d), True) if d is not None and isinstance(x, Variable) else (x, False)
                     for x, d in zip(leaves, per_leaf)]
            sizes |= {len(parts) for parts, mapped in split if mapped}
            columns.append(split)
            looks.append(look)
        if len(sizes) != 1:
            raise ValueError(f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
                             f"{sorted(sizes)} for the mapped dimension" if sizes else
                             "vmap: at least one input must be mapped over")
        samples = [func(*(tree_unflatten([parts[i] if mapped else parts for parts, mapped in column], look)
                          for column, look in zip(columns, looks)), **kwargs) for i in range(sizes.pop())]
        flat = [tree_flatten(sample) for sample in samples]
        look = flat[0][1]
        count = look.num_leaves
        outs = [out_dims] * count if isinstance(out_dims, int) else list(out_dims)
        return tree_unflatten([stack([leaves[k] for leaves, _ in flat], outs[k]) for k in range(count)], look)
    return wrapped


def stack_module_state(models: list[Module]) -> tuple[dict, dict]:
    """The parameters, and the buffers, of models of one kind, stacked."""
    params = {k: stack([dict(m.named_parameters())[k] for m in models]).detach().requires_grad_()
              for k, _ in models[0].named_parameters()}
    buffers = {k: stack([dict(m.named_buffers())[k] for m in models]) for k, _ in models[0].named_buffers()}
    return params, buffers
