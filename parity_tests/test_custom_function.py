"""autograd.Function and saved_tensors_hooks, on both engines."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad

from .programs import attempt, leaf, same


def make(T, forward, backward, **methods):
    members = {"forward": forward, "backward": backward, **methods}
    return type("F", (T.autograd.Function,), {name: staticmethod(f) for name, f in members.items()})


def orders(T, y, inputs, count: int = 3):
    """The gradients of y, theirs, and so on."""
    results, g = [], [y]
    for _ in range(count):
        total = sum((a * a).sum() for a in g)
        g = T.autograd.grad(total, inputs, create_graph=True)
        results += [a.detach() for a in g]
    return results


# ---- what is saved --------------------------------------------------------------------------------------------------

SAVED = {
    "an input": (lambda ctx, x, w: (ctx.save_for_backward(x, w), x**3 * w)[1],
                 lambda ctx, g: (lambda x, w: (g * 3 * x**2 * w, g * x**3))(*ctx.saved_tensors)),
    "the output": (lambda ctx, x, w: (lambda y: (ctx.save_for_backward(y, x, w), y)[1])((x * w).exp()),
                   lambda ctx, g: (lambda y, x, w: (g * y * w, g * y * x))(*ctx.saved_tensors)),
    "nothing": (lambda ctx, x, w: x * 2 + w * 3, lambda ctx, g: (g * 2, g * 3)),
}


@pytest.mark.parametrize("what", SAVED)
def test_three_orders(what):
    @same
    def program(T):
        F = make(T, *SAVED[what])
        x, w = leaf(T, 3, start=0.3), leaf(T, 3, start=0.1)
        y = F.apply(x * 0.5, w)
        return y.grad_fn.name(), orders(T, y, [x, w], 1 if what == "nothing" else 3)
    program()


@same
def test_outputs_of_several_saved(T):
    """Second and third order through saved outputs, used together and apart."""
    def forward(ctx, x, w):
        y = (x * w).exp()
        z = y * x
        ctx.save_for_backward(x, y, w, z, None)
        return y, z

    def backward(ctx, gy, gz):
        x, y, w, z, nothing = ctx.saved_tensors
        assert nothing is None
        gy = gy + gz * x
        return gy * y * w + gz * z / x, gy * y * x
    F = make(T, forward, backward)
    x, w = leaf(T, 3, start=0.3), leaf(T, 3, start=0.1)
    a, b = F.apply(x, w)
    both = orders(T, a * a + b.sin(), [x, w])
    first, second = F.apply(x, w)[0], F.apply(x, w)[1]
    return both, orders(T, first, [x, w]), orders(T, second, [x, w])


@same
def test_intermediate_values_saved(T):
    def forward(ctx, x):
        with T.enable_grad():
            inner = x.detach().requires_grad_()
            y = (inner**3).sum()
            g, = T.autograd.grad(y, inner)
        ctx.save_for_backward(g)
        return y.detach()
    x = leaf(T, 2)
    make(T, forward, lambda ctx, g: g * ctx.saved_tensors[0]).apply(x).backward()
    return x.grad


@same
def test_a_saved_leaf_comes_back_as_itself(T):
    """With its grad, its class and whatever was put on it; of other tensors comes one that is like them."""
    x, results = T.nn.Parameter(T.ones(2, dtype=T.float64)), []
    x.tag, x.grad = "mine", T.ones(2, dtype=T.float64)
    constant, made = T.ones(2, dtype=T.float64), x * 2

    def forward(ctx, *tensors):
        ctx.save_for_backward(*tensors)
        return tensors[0] * tensors[1] * tensors[2]

    def backward(ctx, g):
        a, b, c = ctx.saved_tensors
        results.extend([a is x, b is constant, type(a).__name__, a.tag, a.is_leaf, a.grad_fn, a.grad.tolist(),
                        c.is_leaf, c.grad_fn is made.grad_fn, c.retains_grad])
        return g * b * c, None, g * a * b
    y = make(T, forward, backward).apply(x, constant, made)
    g, = T.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = T.autograd.grad((g * g).sum(), x)
    return results, g.detach(), second


@same
def test_saved_values_are_watched_and_freed(T):
    def forward(ctx, x):
        y = x * 2
        ctx.save_for_backward(x, y)
        return y
    F, x, results = make(T, forward, lambda ctx, g: g * ctx.saved_tensors[1]), leaf(T, 2), []
    for written in (0, 1, 2):
        a = x * 1
        y = F.apply(a)
        (a, y, T.ones(2))[written].add_(1)
        results.append(attempt(y.sum().backward))
    s = F.apply(x).sum()
    s.backward(retain_graph=True)
    s.backward()
    results.append(attempt(s.backward))
    s = make(T, lambda ctx, x: x * 2, lambda ctx, g: g * 2).apply(x).sum()
    s.backward()
    return results, attempt(s.backward), x.grad


# ---- arguments and results ------------------------------------------------------------------------------------------


@same
def test_arguments_of_all_kinds(T):
    log = []

    def forward(ctx, x, n, w, v=None):
        log.append((ctx.needs_input_grad, T.is_grad_enabled()))
        return x * n + w

    def backward(ctx, g):
        log.append((ctx.needs_input_grad, T.is_grad_enabled(), g.requires_grad))
        return g * 2, None, g if ctx.needs_input_grad[2] else None, None
    F, x, w = make(T, forward, backward), leaf(T, 3), T.ones(3, dtype=T.float64)
    F.apply(x, 2, w, None).sum().backward()
    F.apply(x, 2, w, None).sum().backward(create_graph=True)
    F.apply(w, 2, w, None)
    with T.no_grad():
        y = F.apply(x, 2, w, None)
    return log, y.requires_grad, y.grad_fn, x.grad.detach()


@same
def test_results_of_all_kinds(T):
    log, x = [], leaf(T, 2)
    for materialize in (True, False):
        def forward(ctx, x, materialize=materialize):
            ctx.set_materialize_grads(materialize)
            mask = (x > 1).double()
            ctx.mark_non_differentiable(mask)
            return x * 2, x * 3, mask, x.argmax(), 7, None, "s"

        def backward(ctx, *grads):
            log.append([g if g is None else g.tolist() for g in grads])
            return grads[0] * 2 if grads[0] is not None else grads[1] * 3
        F = make(T, forward, backward)
        results = F.apply(x)
        log.append([(t.requires_grad, t.is_leaf) for t in results[:4]])
        (results[0] * results[2]).sum().backward()
        F.apply(x)[1].sum().backward()
        log.append(results[4:])
    return log, x.grad


@same
def test_inputs_handed_through(T):
    F, x = make(T, lambda ctx, x: x, lambda ctx, g: -g), leaf(T, 2)
    y = F.apply(x)
    y.sum().backward()
    u = x * 1
    v, z = F.apply(u), T.ones(2)
    results = [y is x, y.grad_fn.name(), F.apply(z) is z, y._is_view(), attempt(lambda: v.mul_(2))]
    u.mul_(2)
    results.append(attempt(lambda: v.sum().requires_grad))
    with T.no_grad():
        q = F.apply(x)
    a, b = make(T, lambda ctx, x: (x, x), lambda ctx, a, b: a + 2 * b).apply(x)
    (a * b).sum().backward()
    return results, q is x, q.requires_grad, a is b, x.grad


@same
def test_results_that_are_views_cannot_be_written_to(T):
    F, x = make(T, lambda ctx, x: x.view(-1), lambda ctx, g: g.view(2, 2) * 5), leaf(T, 2, 2)
    u = x * 1
    y = F.apply(u)
    y.sum().backward()
    refused = attempt(lambda: y.mul_(2))
    w = x * 1
    z = F.apply(w)
    w.mul_(2)
    return x.grad, refused, y.grad_fn.name(), attempt(lambda: (z * 1).sum().backward())


@same
def test_mark_dirty(T):
    def forward(ctx, x, w):
        x.mul_(w)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x, w)
        return x, w * 3

    def backward(ctx, g, h):
        x, w = ctx.saved_tensors
        return g * w, g * x / w + 3 * h
    F, results = make(T, forward, backward), []
    double = make(T, lambda ctx, x: (x.mul_(2), ctx.mark_dirty(x), x)[2], lambda ctx, g: g * 2).apply
    x, w = leaf(T, 3), leaf(T, 3)
    y = x * 1
    a, b = F.apply(y, w)
    (a * b).sum().backward()
    results += [a is y, x.grad.clone(), w.grad]
    for through_view in (True, False):
        y = x * 1
        v = y[:2]
        results += [double(v) is v, y.detach().clone()]
        t = v if through_view else y
        (t * t).sum().backward()
        results.append(x.grad.clone())
    y = x * 1
    q = y * y
    double(y)
    results += [attempt(q.sum().backward), attempt(double, leaf(T, 2)), double(T.ones(2))]
    with T.no_grad():
        results.append(double(x * 1))
    unreturned = make(T, lambda ctx, x: (ctx.mark_dirty(x.mul_(2)), x + 1)[1], lambda ctx, g: g)
    return results, attempt(unreturned.apply, x * 1)


@same
def test_hooks_and_targets_of_several_outputs(T):
    F = make(T, lambda ctx, x, w: (x * w, x + w), lambda ctx, a, b: (a * 2 + b, a * 3 + b))
    x, w = leaf(T, 2), leaf(T, 2)
    a, b = F.apply(x, w)
    z, ones = (a * b).sum(), T.ones(2, dtype=T.float64)
    results = [T.autograd.grad(z, [a, b, x], retain_graph=True), T.autograd.grad(z, b, retain_graph=True),
               T.autograd.grad(a.sum(), b, allow_unused=True, retain_graph=True),
               T.autograd.grad([a, b], w, [ones, ones])]
    a, b = F.apply(x, w)
    a.register_hook(lambda g: g * 10)
    b.retain_grad()
    log = []
    a.grad_fn.register_prehook(lambda outputs: (log.append(outputs), (outputs[0] + 1, outputs[1]))[1])
    b.grad_fn.register_hook(lambda inputs, outputs: log.append([inputs, outputs]))
    (a + b * b).sum().backward()
    return results, x.grad, w.grad, b.grad, log


# ---- other forms ----------------------------------------------------------------------------------------------------


@same
def test_setup_context(T):
    def setup_context(ctx, inputs, output):
        x, ctx.n = inputs
        ctx.save_for_backward(x, output)

    def backward(ctx, g):
        x, out = ctx.saved_tensors
        return g * ctx.n * out / x, None
    F, x = make(T, lambda x, n=3: x**n, backward, setup_context=setup_context), leaf(T, 2)
    return orders(T, F.apply(x), [x]), orders(T, F.apply(x, 2), [x])


@same
def test_once_differentiable(T):
    F = make(T, lambda ctx, x: (ctx.save_for_backward(x), x**2)[1],
             T.autograd.function.once_differentiable(lambda ctx, g: g * 2 * ctx.saved_tensors[0]))
    x, g = leaf(T, 2), T.ones(2, dtype=T.float64, requires_grad=True)
    first, = T.autograd.grad(F.apply(x).sum(), x, create_graph=True)
    second, = T.autograd.grad(F.apply(x), x, g, create_graph=True)
    return first, second.detach(), second.requires_grad, attempt(second.sum().backward)


@same
def test_vjp_is_another_name_of_backward(T):
    class F(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def vjp(ctx, g):
            return g * 2

    class Both(F):
        @staticmethod
        def backward(ctx, g):
            return g * 2
    x = leaf(T, 2)
    F.apply(x).sum().backward()
    return x.grad, attempt(lambda: Both.apply(x).sum().backward())


@same
def test_wrong_gradients(T):
    results, n = [], T.float64
    for wrong in (lambda g: (1,), lambda g: (None, None), lambda g: (g, None, None), lambda g: (g, None, g),
                  lambda g: [g, None], lambda g: g, lambda g: (g, g), lambda g: (T.ones(3, dtype=n), None),
                  lambda g: (T.ones(4, 2, dtype=n), None), lambda g: (g.float(), None), lambda g: (g[:1], None),
                  lambda g: ("g", None), lambda g: None, lambda g: ()):
        x = leaf(T, 2)
        y = make(T, lambda ctx, x, n: x * n, lambda ctx, g, wrong=wrong: wrong(g)).apply(x, 2)
        results.append([attempt(y.sum().backward), x.grad])
    return results


@same
def test_wrong_functions(T):
    def fail(ctx, x):
        raise KeyError(1)
    F, x = make(T, lambda ctx, x: x * 2, lambda ctx, g: g), leaf(T, 2)
    empty = type("Empty", (T.autograd.Function,), {})
    half = type("Half", (T.autograd.Function,), {"forward": staticmethod(lambda ctx, x: x * 2)})
    return [attempt(f) for f in (
        F.apply, lambda: F.apply(x, x), lambda: empty.apply(x), lambda: half.apply(x).sum().backward(),
        lambda: make(T, lambda ctx, x: ctx.save_for_backward(3), None).apply(x), lambda: make(T, fail, None).apply(x),
        T.is_grad_enabled, lambda: F.apply(x).backward(), lambda: F.apply(x=x))]


def test_no_reference_cycles():
    """Without the garbage collector, an application and what it saved go with its results."""
    F = make(minigrad, lambda ctx, x: (lambda y: (ctx.save_for_backward(x, y), (y, y * 2))[1])(x.exp()),
             lambda ctx, g, h: g * ctx.saved_tensors[1] + h * ctx.saved_tensors[1] * 2)
    x, gc_was_on = leaf(minigrad, 2), gc.isenabled()
    gc.disable()
    try:
        for walk in (False, True):
            y, z = F.apply(x)
            node, saved = weakref.ref(y.grad_fn.inputs[0][2]), weakref.ref(y)
            if walk:
                (y * z).sum().backward(retain_graph=True)
                g, = minigrad.autograd.grad((y * z).sum(), x, create_graph=True)
                minigrad.autograd.grad(g.sum(), x)
                del g
            del y, z
            assert node() is None and saved() is None
    finally:
        if gc_was_on:
            gc.enable()


# ---- saved_tensors_hooks --------------------------------------------------------------------------------------------


@same
def test_saved_tensors_hooks(T):
    x, results = leaf(T, 3), []
    hooks = T.autograd.graph.saved_tensors_hooks
    with hooks(lambda t: t.numpy().copy(), lambda a: T.tensor(a) * 10):
        y = x * x
    y.sum().backward()
    results.append(x.grad.clone())
    with hooks(lambda t: t.clone(), lambda t: t):
        y = x * 1
        z = y * y
        y.add_(1)                        # z saved a value of its own
    z.sum().backward()
    results.append(x.grad.clone())
    with T.autograd.graph.save_on_cpu():
        z = x.exp()
    g, = T.autograd.grad(z.sum(), x, create_graph=True)
    results.append(T.autograd.grad(g.sum(), x))
    F = make(T, lambda ctx, x: (ctx.save_for_backward(x), x**2)[1], lambda ctx, g: g * 2 * ctx.saved_tensors[0])
    with hooks(lambda t: t * 3, lambda t: t):
        z = F.apply(x)
    results.append(T.autograd.grad(z.sum(), x))
    with hooks(lambda t: t, lambda t: 1):
        z = x * x
    results.append(attempt(z.sum().backward))

    def refused():
        with T.autograd.graph.disable_saved_tensors_hooks("not here"), hooks(abs, abs):
            pass
    return results, attempt(refused)


@same
def test_pack_hooks_are_given_what_the_op_was_given(T):
    x, w, seen = leaf(T, 3), T.nn.Parameter(T.ones(3, dtype=T.float64)), []
    y, constant = x * 2, T.ones(3, dtype=T.float64)
    known = {"x": x, "w": w, "y": y, "constant": constant}

    def pack(t):
        name = next((n for n, other in known.items() if other is t), None)
        seen.append((name, type(t).__name__, t.requires_grad, t.is_leaf, t.grad_fn and t.grad_fn.name(), t.tolist(),
                     T.is_grad_enabled()))
        return t

    F = make(T, lambda ctx, x, y: (ctx.save_for_backward(x, y), x * y)[1],
             lambda ctx, g: tuple(g * t for t in ctx.saved_tensors))
    with T.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y * y, w * y, constant * y, y.exp(), y[1:].square(), F.apply(x, y)
        y.clone().mul_(w), w.detach() * x
    return seen


def test_pack_hooks_and_arguments_made_in_inference_mode():
    """Which count no writes. A checkpoint packs all arguments; torch refuses these."""
    x = leaf(minigrad, 3)
    with minigrad.inference_mode():
        constant = minigrad.ones(3, dtype=minigrad.float64)
    with minigrad.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        y = minigrad.utils.checkpoint.checkpoint(lambda x, c: x * 2 + c, x, constant, use_reentrant=False)
    y.sum().backward()
    assert x.grad.tolist() == [2, 2, 2]


@same
def test_pack_hooks_may_not_write(T):
    x = leaf(T, 3)
    y = x * 2
    F = make(T, lambda ctx, x: (ctx.save_for_backward(x), x**2)[1], lambda ctx, g: g * 2 * ctx.saved_tensors[0])

    def within(op):
        with T.autograd.graph.saved_tensors_hooks(lambda t: t.mul_(2), lambda t: t):
            op()
    return [attempt(lambda op=op: within(op)) for op in (lambda: y * y, lambda: y.exp(), lambda: F.apply(y))]


@given(st.sampled_from(["mul_", "pow_", "exp_", "tanh_", "div_", "addcmul_"]), st.booleans())
def test_hooks_see_what_in_place_ops_save(name, view):
    """What an in-place op saves is handed to the hooks before it is overwritten, or is a copy."""
    def run(packed: bool):
        x, w = leaf(minigrad, 3), leaf(minigrad, 3)
        y = x * 0.3
        t = y[1:] if view else y
        v = w[1:] if view else w
        args = {"mul_": (v,), "pow_": (2,), "div_": (v,), "addcmul_": (v, v)}.get(name, ())
        hooks = minigrad.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t)
        if packed:
            with hooks:
                getattr(t, name)(*args)
        else:
            getattr(t, name)(*args)
        y.sum().backward()
        return x.grad.tolist(), w.grad.tolist() if w.grad is not None else None
    assert run(True) == run(False)
