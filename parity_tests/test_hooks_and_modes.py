"""Hooks, grad modes, inference tensors and anomaly detection, on both engines."""

from __future__ import annotations

import asyncio
import itertools
import threading
import warnings

import pytest
import torch

import minigrad

from .programs import attempt, leaf, same

# ---- hooks ----------------------------------------------------------------------------------------------------------


@same
def test_order(T):
    log, x = [], leaf(T, 2)
    x.register_hook(lambda g: log.append("x1"))
    y = x * 2
    node = y.grad_fn
    node.register_hook(lambda inputs, outputs: log.append(["node", *inputs, *outputs]))
    node.register_prehook(lambda outputs: log.append(["pre", *outputs]))
    y.register_hook(lambda g: log.append("y1"))
    y.register_hook(lambda g: log.append("y2"))
    x.register_hook(lambda g: log.append("x2"))
    x.register_post_accumulate_grad_hook(lambda t: log.append(("post", t is x, t.grad.tolist())))
    y.retain_grad()
    y.sum().backward()
    return log


@same
def test_hooks_replace_gradients(T):
    log, x, w = [], leaf(T, 2), leaf(T, 2)
    x.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: log.append(g.tolist()))
    y = x * w
    y.register_hook(lambda g: g + 1)
    y.retain_grad()
    y.register_hook(lambda g: g + 100)
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 10, inputs[1]))
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 2,))
    y.sum().backward()
    return log, x.grad, y.grad, w.grad


@same
def test_what_hooks_of_nodes_may_return(T):
    changes = (lambda g: g * 2, lambda g: None, lambda g: g[:1], lambda g: g.float(), lambda g: 1.0,
               lambda g: g.detach().numpy(), lambda g: T.ones((), dtype=T.float64))
    wraps = (lambda new, rest: (new, *rest), lambda new, rest: [new, *rest], lambda new, rest: (new, new, *rest),
             lambda new, rest: new, lambda new, rest: (), lambda new, rest: (new, *(new for _ in rest)))
    results = []
    for change, wrap, register in itertools.product(changes, wraps, ("register_hook", "register_prehook")):
        x = leaf(T, 2)
        y = x * 1 * T.ones(2, dtype=T.float64)
        getattr(y.grad_fn, register)(lambda gs, *_, change=change, wrap=wrap: wrap(change(gs[0]), gs[1:]))
        results += [attempt((y + 0 * x).sum().backward), x.grad]
    return results


@same
def test_what_hooks_may_return(T):
    results = []
    for hook in (lambda g: 1, lambda g: g[:1], lambda g: g.float(), lambda g: g.long(), lambda g: [g],
                 lambda g: T.ones((), dtype=T.float64), lambda g: g.view(1, 2)):
        x = leaf(T, 2)
        x.register_hook(hook)
        results += [attempt((x * 2).sum().backward), x.grad]
        x = leaf(T, 2)
        y = x * 2
        y.register_hook(hook)
        results += [attempt((y * 2).sum().backward), x.grad]
    x = leaf(T, 2)
    x.register_post_accumulate_grad_hook(lambda t: 3)
    return results, attempt(lambda: (x * 2).sum().backward())


@same
def test_removal(T):
    log, x = [], leaf(T, 2)

    def run():
        (x * 2).sum().backward()
        log.append("end")
    first, second = x.register_hook(lambda g: log.append(1)), x.register_hook(lambda g: log.append(2))
    first.remove()
    first.remove()
    run()
    second.remove()
    with x.register_hook(lambda g: log.append(3)):
        run()
    handles = [x.register_hook(lambda g: (log.append(4), handles[0].remove(), handles[1].remove(), None)[-1])]
    handles.append(x.register_hook(lambda g: log.append(5)))
    run()
    run()
    x.register_hook(lambda g: (x.register_hook(lambda g: log.append(7)), log.append(6))[1])
    run()
    node = (x * 2).grad_fn
    node.register_hook(lambda i, o: log.append(8)).remove()
    run()
    return log


@same
def test_hooks_that_raise_leave_nothing_behind(T):
    x, w = leaf(T, 2), leaf(T, 2)

    def fail(g):
        raise KeyError("no")
    handle = x.register_hook(fail)
    result = attempt((x * w).sum().backward)
    handle.remove()
    first = result, x.grad, T.is_grad_enabled()
    w.grad = None
    (x * w).sum().backward()
    return first, x.grad, w.grad


@same
def test_hooks_and_create_graph(T):
    log, x = [], leaf(T, 2)
    x.register_hook(lambda g: log.append((T.is_grad_enabled(), g.requires_grad)))
    (x**2).sum().backward()
    (x**2).sum().backward(create_graph=True)
    y = x**2
    y.register_hook(lambda g: g * x.detach() * x)
    g, = T.autograd.grad((y * y).sum(), x, create_graph=True)
    return log, g.detach(), T.autograd.grad(g.sum(), x)


@same
def test_hooks_and_targets(T):
    """A target's own hooks change what grad returns only where nothing else is reached through it."""
    x = leaf(T, 2)
    x.register_hook(lambda g: g + 1)

    def y():
        y = x * 2
        y.register_hook(lambda g: g * 5)
        return y, (y * y).sum()
    (a, s), (b, t) = y(), y()
    return T.autograd.grad(s, [a, x]), T.autograd.grad(t, b)


@same
def test_hooks_of_views_and_writes(T):
    log, x = [], leaf(T, 4)
    v = x[:2]
    v.register_hook(lambda g: log.append(("v", g.tolist())))
    x.register_hook(lambda g: log.append(("x", g.tolist())))
    (v * 3).sum().backward()
    y = x * 1
    y.register_hook(lambda g: log.append(("before", g.tolist())))
    y.mul_(2)
    y.register_hook(lambda g: log.append(("after", g.tolist())))
    w = y[1:]
    w.register_hook(lambda g: log.append(("w", g.tolist())))
    (y + T.cat([w, w[:1]])).sum().backward()
    return log, x.grad


@same
def test_post_accumulate_hooks(T):
    log, x = [], leaf(T, 2)

    def step(t):
        log.append(t.grad.tolist())
        with T.no_grad():
            t.sub_(t.grad, alpha=0.1)
        t.grad = None
    x.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        (x * x).sum().backward()
    T.autograd.grad((x * x).sum(), x)
    (x * x).sum().backward(inputs=[x])
    y = x * 2
    return log, x, attempt(y.register_post_accumulate_grad_hook, print), attempt(T.ones(2).register_hook, print)


@same
def test_a_hook_outlives_its_tensor(T):
    log, x = [], leaf(T, 2)
    y = x * 2
    y.register_hook(lambda g: log.append(1))
    z = y.sum()
    del y
    z.backward()
    return log


# ---- modes ----------------------------------------------------------------------------------------------------------


@same
def test_modes_nest(T):
    log, enabled, x = [], T.is_grad_enabled, leaf(T, 2)

    def note():
        log.append((enabled(), T.is_inference_mode_enabled()))
    with T.no_grad():
        note()
        with T.enable_grad():
            note()
            with T.set_grad_enabled(False):
                note()
            note()
        with T.inference_mode(False):
            note()
        note()
    with T.inference_mode():
        note()
        with T.inference_mode(False):
            note()
        with T.enable_grad():
            note()
            log.append((x * 2).requires_grad)
        note()
    T.set_grad_enabled(False)
    note()
    T.set_grad_enabled(True)
    with T.set_grad_enabled(False):
        note()
    note()
    for mode in (T.no_grad, T.inference_mode):
        try:
            with mode():
                raise ValueError
        except ValueError:
            note()
    return log


def test_a_mode_can_be_entered_within_itself():
    """torch's own objects remember only the last entry, and leave gradients off."""
    quiet = minigrad.no_grad()
    with quiet, quiet:
        pass
    assert minigrad.is_grad_enabled()


@same
def test_decorators(T):
    enabled = T.is_grad_enabled

    def state(*args):
        return enabled(), T.is_inference_mode_enabled()
    decorators = (T.no_grad(), T.no_grad, T.enable_grad, T.enable_grad(), T.set_grad_enabled(False), T.inference_mode,
                  T.inference_mode(), T.inference_mode(False))
    T.set_grad_enabled(True)
    functions = [d(state) for d in decorators]

    class C:
        @T.no_grad()
        def method(self):
            return state()

        @classmethod
        @T.no_grad()
        def of_class(cls):
            return state()

    @T.no_grad()
    def nested(n):
        return [enabled(), *(nested(n - 1) if n else ()), enabled()]
    outside = [f() for f in functions], C().method(), C.of_class(), nested(3), enabled()
    with T.no_grad():
        return outside, [f() for f in functions], functions[0].__name__


@same
def test_generators_run_inside_and_yield_outside(T):
    log, enabled = [], T.is_grad_enabled

    @T.no_grad()
    def numbers():
        try:
            log.append(("in", enabled()))
            log.append(("sent", (yield 1), enabled()))
            try:
                yield 2
            except KeyError:
                log.append(("caught", enabled()))
            with T.enable_grad():
                yield 3
                log.append(("own mode", enabled()))
        finally:
            log.append(("finally", enabled()))
        return 7

    g = numbers()
    results = [next(g), enabled(), g.send("s"), enabled(), g.throw(KeyError("k")), enabled()]
    stop = attempt(next, g)
    g = numbers()
    next(g)
    g.close()
    closed = enabled()
    g = numbers()
    next(g)
    thrown = attempt(g.throw, ValueError)
    return results, stop.value, closed, thrown, enabled(), list(numbers()), log


@same
def test_coroutines(T):
    """Both engines call the function within the mode, which is over when the coroutine runs."""
    @T.no_grad()
    async def f():
        before = T.is_grad_enabled()
        await asyncio.sleep(0)
        return before, T.is_grad_enabled()
    return asyncio.run(f()), T.is_grad_enabled()


@same
def test_threads_start_with_gradients(T):
    log = []

    def run():
        log.append((T.is_grad_enabled(), T.is_inference_mode_enabled()))
        T.set_grad_enabled(False)
    with T.inference_mode():
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    return log, T.is_grad_enabled()


@same
def test_inference_tensors(T):
    n = leaf(T, 3)
    base, f64 = n.detach().clone(), {"dtype": T.float64}
    with T.inference_mode():
        x, spoilt, v = T.ones(3, **f64), T.ones(3, **f64), n[:2]        # torch's refusals come after the write
        made = (x * 2, v, n.detach(), n * 2, n.clone(), base.view(3), x.view(3))
        inside = [(t.requires_grad, t.is_inference(), t.is_leaf) for t in made]
        x.add_(1)
        base.add_(1)
        inside.append(attempt(lambda: T.ones(3).view(3).mul_(2)))
    outside = [attempt(f) for f in (
        lambda: spoilt.add_(1), lambda: n * x, lambda: n + x, lambda: x * 2, lambda: (x * 2).is_inference(),
        lambda: x.requires_grad_(), lambda: x[:2].is_inference(), lambda: spoilt.view(3).add_(1),
        lambda: x.clone().add_(1),
        lambda: v * 2, lambda: (v * n[:2]).sum().backward(), lambda: x.detach().is_inference(), lambda: n.exp() * x,
        lambda: n.mul(2) + x, lambda: T.where(x > 0, n, n), lambda: spoilt.copy_(n), lambda: n.detach().copy_(x))]
    with T.no_grad():
        outside += [attempt(lambda: spoilt.add_(1)), attempt(lambda: n * x)]
    return inside, base, outside, n.grad


# ---- anomaly detection ----------------------------------------------------------------------------------------------


def test_anomaly_detection_names_the_line():
    for T in (minigrad, torch):
        x = T.tensor([0.0, 4.0], requires_grad=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with T.autograd.detect_anomaly():
                y = x.sqrt() * 0  # the culprit
                with pytest.raises(RuntimeError, match="'SqrtBackward0' returned nan values in its 0th output"):
                    y.sum().backward()
        assert any("the culprit" in str(w.message) or "y = x.sqrt() * 0" in str(w.message) for w in caught), T


@same
def test_anomaly_modes(T):
    def run(x0):
        x = T.tensor([x0, 4.0], requires_grad=True)
        return attempt(lambda: (x.sqrt() * 0).sum().backward()), x.grad
    on, results = T.autograd.detect_anomaly, []
    with on():
        results += [run(0.0), run(1.0)]
        with T.autograd.set_detect_anomaly(False):
            results.append(run(0.0))
        with on(check_nan=False):
            results.append(run(0.0))
        results.append(run(0.0))
    results.append(run(0.0))
    T.autograd.set_detect_anomaly(True)
    results.append(run(-1.0))
    T.autograd.set_detect_anomaly(False)
    results.append(run(-1.0))
    return results


def test_infinity_only_warns():
    x = minigrad.tensor([0.0, 4.0], requires_grad=True)
    with minigrad.autograd.detect_anomaly(), pytest.warns(UserWarning, match="first infinite gradient"):
        x.sqrt().sum().backward()
    assert x.grad.tolist() == [float("inf"), 0.25]
