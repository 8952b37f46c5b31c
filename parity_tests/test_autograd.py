"""The rules of autograd, on both engines: who is a leaf, where gradients go, what is refused; and depth."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad

from .programs import attempt, leaf, same

# ---- leaves ---------------------------------------------------------------------------------------------------------


@same
def test_leaves(T):
    x = leaf(T, 3)
    y = x * 2
    with T.no_grad():
        quiet, view = x * 2, x.view(3, 1)
    tensors = (x, y, y.detach(), quiet, view, x[0], x.data, x.view(3, 1), T.arange(3) * 2, T.zeros(2))
    return [(t.is_leaf, t.requires_grad, t.grad_fn is None) for t in tensors]


@same
def test_requires_grad_refuses(T):
    x = leaf(T, 3)
    y = x * 2
    return [attempt(lambda: y.requires_grad_(False)), attempt(lambda: y.requires_grad_().is_leaf),
            attempt(lambda: T.arange(3).requires_grad_()), attempt(lambda: T.arange(3).requires_grad_(False)),
            attempt(setattr, y, "requires_grad", False), attempt(setattr, T.tensor([True]), "requires_grad", True),
            attempt(T.tensor, [1, 2], requires_grad=True), x.requires_grad_(False).requires_grad]


@same
def test_detach_and_data(T):
    x = leaf(T, 3)
    y = x * 2
    y.detach()[0] = 9
    z = (x * 3).detach_()
    q = y * y
    y.detach().add_(1)
    counted = attempt(lambda: q.sum().backward())
    q = y * y
    y.data.add_(1)
    q.sum().backward()                  # unseen: torch's documented trap
    d = x[:2].detach()
    return [y, z.is_leaf, z.requires_grad, attempt(lambda: y.view(3).detach_()), counted, x.grad, d._is_view(),
            d.is_leaf, x.data._is_view()]


@same
def test_data_can_be_replaced(T):
    x = leaf(T, 3)
    x.data = T.zeros(2, dtype=T.float64)
    return [x, x.is_leaf, attempt(setattr, x, "data", T.zeros(2, dtype=T.int64)), attempt(setattr, x, "data", 3)]


# ---- .grad ----------------------------------------------------------------------------------------------------------


@same
def test_gradients_accumulate(T):
    x = leaf(T, 3)
    for k in range(3):
        (x * x * k).sum().backward()
    g = x.grad
    (x * 1.0).sum().backward()
    return g is x.grad, g


@same
def test_gradients_accumulate_with_a_graph(T):
    x = leaf(T, 3)
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    (x**2).sum().backward()
    first = x.grad is g, g.detach().clone(), g.requires_grad
    (x**2).sum().backward(create_graph=True)
    return first, x.grad.detach(), x.grad is g, T.autograd.grad(x.grad.sum(), x)


@same
def test_what_grad_can_be_set_to(T):
    x, y = leaf(T, 3), T.ones(3)
    values = (T.ones(2), T.ones(3), x, 1, [1.0], None, T.ones(3, dtype=T.float64), T.ones(1, 3, dtype=T.float64))
    results = [attempt(setattr, x, "grad", value) for value in values]
    y.grad = T.ones(3)
    del x.grad
    return results, x.grad, y.grad


@same
def test_accumulation_refuses_to_write_to_expanded_gradients(T):
    x = leaf(T, 3)
    x.grad = T.ones(1, dtype=T.float64).expand(3)
    return attempt(lambda: (x * 2).sum().backward())


@same
def test_retain_grad(T):
    x = leaf(T, 3)
    y = x * 2
    y.retain_grad()
    y.retain_grad()
    z = y * y
    z.retain_grad()
    s = z.sum()
    s.backward(retain_graph=True)
    once = y.grad.clone()
    s.backward()
    return once, y.grad, z.grad, y.retains_grad, x.retains_grad, attempt(T.ones(2).retain_grad), attempt(x.retain_grad)


@same
def test_retain_grad_follows_writes(T):
    results = []
    for write in ("x.mul_(3)", "x[0].mul_(3)", "x[0] = 5", "x[:2].detach()"):
        x = leaf(T, 3)
        y = x * 2
        y.retain_grad()
        exec(write, {"x": y})
        (y * y).sum().backward()
        results += [y.grad, x.grad, y.retains_grad]
    x = leaf(T, 3)
    y = x * 2
    v = y[:2]
    v.retain_grad()
    y.mul_(3)
    (v * v).sum().backward()
    return results, v.grad, v.retains_grad


def test_reading_grad_of_a_non_leaf_warns():
    for T in (minigrad, torch):
        y = leaf(T, 3) * 2
        with pytest.warns(UserWarning, match="not a leaf"):
            assert y.grad is None


def test_gradients_share_no_memory():
    """Not with each other, nor with what the user passed in: also where the rules hand g on as it is. (torch does let
    the results of autograd.grad share.)"""
    T = minigrad
    for create_graph in (False, True):
        x, w, v, g = leaf(T, 4), leaf(T, 4), leaf(T, 4), T.ones(4, dtype=T.float64)
        y = x + w
        y.retain_grad()
        kept = []
        v.register_hook(kept.append)
        with pytest.warns(UserWarning) if create_graph else np.errstate():
            (y.view(2, 2) + v.view(2, 2)).view(4).backward(g, create_graph=create_graph)
        arrays = [t.array for t in (x.grad, w.grad, y.grad, v.grad, g)]
        for i, a in enumerate(arrays):
            assert not any(np.shares_memory(a, b) for b in arrays[i + 1:]) or create_graph and i == 2, (create_graph, i)
    x, w, g = leaf(T, 4), leaf(T, 4), T.ones(4, dtype=T.float64)
    y = x + w
    results = T.autograd.grad([y, y.view(2, 2)], [x, w, x, y], [g, g.view(2, 2)]) + T.autograd.grad(x, x, g)
    arrays = [t.array for t in (*results, g)]
    for i, a in enumerate(arrays):
        assert not any(np.shares_memory(a, b) for b in arrays[i + 1:]), i


OPS = {"add": lambda a, b: a + b, "same": lambda a, b: a + a, "mul": lambda a, b: a * b.cos(),
       "sin": lambda a, b: a.sin(), "turn": lambda a, b: a.t(), "flat": lambda a, b: a.reshape(9).view(3, 3),
       "row": lambda a, b: a.sum(0) + b, "cut": lambda a, b: a[:2].repeat(2, 1)[:3] + b}


@given(st.lists(st.tuples(st.sampled_from(sorted(OPS)), st.integers(0, 20), st.integers(0, 20), st.booleans()),
                min_size=1, max_size=12), st.booleans())
def test_sums_of_gradients_leave_alone_what_others_hold(steps, retain):
    """A sum is written over its first summand, unless somebody looks at that: here hooks and the user do."""
    found = []
    for T in (minigrad, torch):
        x = T.arange(9.0, dtype=T.float64).reshape(3, 3).sin().requires_grad_()
        given_one = T.ones(3, 3, dtype=T.float64)
        made, kept, retained = [x, x * 2], [], []
        for op, i, j, watched in steps:
            y = OPS[op](made[-1 - i % len(made)], made[-1 - j % len(made)])
            if watched:
                y.register_hook(lambda g, kept=kept: kept.append((g, g * 1)))
                y.retain_grad()
                retained.append(y)
            made.append(y)
        loss = sum(made[2:], made[1])
        loss.backward(given_one, retain_graph=retain)
        if retain:
            loss.backward(given_one)
        assert all((g == then).all() for g, then in kept) and (given_one == 1).all()
        found.append([t.detach().numpy() for t in (x.grad, *(g for g, _ in kept), *(y.grad for y in retained))])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


# ---- backward and grad ----------------------------------------------------------------------------------------------


@same
def test_what_backward_takes(T):
    x, f64 = leaf(T, 3), {"dtype": T.float64}

    def run(*outputs, **kwargs):
        x.grad = None
        return attempt(lambda: T.autograd.backward(list(outputs), **kwargs)), x.grad
    tries = [lambda g=g: (x * 2).backward(g) for g in (None, T.ones(2, **f64), T.ones(3), T.ones(3, dtype=T.int64), 3,
                                                       [1.0, 1, 1])]
    tries += [lambda: (x * 2)[:1].backward(), lambda: T.ones(1).backward(), lambda: (x * 2).sum().backward(1.0),
              lambda: (x * 2).sum().backward(T.ones(1)), lambda: (x[:0] * 1).backward()]
    return [attempt(f) for f in tries], [
        run(x.sum(), (x * 2).sum()), run(x.sum(), x * 2, grad_tensors=[None, T.ones(3, **f64)]), run(),
        run(x.sum(), x * 2, grad_tensors=[T.ones(3)]), run(x.sum(), T.ones(3), grad_tensors=[None, T.ones(3)])]


@same
def test_backward_to_chosen_inputs(T):
    x, w = leaf(T, 3), leaf(T, 3)

    def run(wanted, retain=False):
        y = x * w
        x.grad = w.grad = None
        if retain:
            y.retain_grad()
        z = (y * y).sum()
        result = attempt(lambda: z.backward(inputs=wanted(x, y, z)))
        return result, x.grad, w.grad, y.grad, z.grad
    return [run(f, retain) for retain in (False, True) for f in (
        lambda x, y, z: [x], lambda x, y, z: [y], lambda x, y, z: [y, x], lambda x, y, z: z, lambda x, y, z: [],
        lambda x, y, z: [T.ones(3)], lambda x, y, z: [leaf(T, 2)])]


@same
def test_what_grad_takes(T):
    x, w, u, G = leaf(T, 3), leaf(T, 3), leaf(T, 2), T.autograd.grad
    f64 = {"dtype": T.float64}
    ones, two = T.ones(3, **f64), T.tensor(2.0, **f64)

    def z():
        return (x * w).pow(2).sum()
    return [attempt(f) for f in (
        lambda: G(z(), [x, u]), lambda: G(z(), [x, u], allow_unused=True),
        lambda: G(z(), [x, u], materialize_grads=True),
        lambda: G(z(), [x, u], allow_unused=False, materialize_grads=True), lambda: G(z(), []), lambda: G([], [x]),
        lambda: G(z(), T.ones(2)), lambda: G(z(), [1]), lambda: G(x * 2, x), lambda: G(x * 2, x, T.ones(2, **f64)),
        lambda: G([x * 2, x.sum()], x, [ones, None]), lambda: G([x * 2, x.sum()], x, [ones]),
        lambda: G([x * 2, x.sum()], [x, x], [ones, two]), lambda: G(T.ones(1), x), lambda: G(z(), x, 2.0),
        lambda: G(z(), x.view(3)), lambda: G(x, x, ones), lambda: G((x * T.tensor([0, 1, 2])).sum(), x),
        lambda: G(x.long().sum(), x), lambda: G(x.exp().sum(), [x, w, x], allow_unused=True))]


@same
def test_gradients_of_intermediate_tensors_and_views(T):
    x, G = leaf(T, 3), T.autograd.grad
    y = x * 2
    v = y[:2]
    z = (v * v).sum() + y.sum()
    return [G(z, [v, y, x], retain_graph=True), G(z, y, retain_graph=True), G(z, z, retain_graph=True),
            G([z, y], [y, z], [None, T.ones(3, dtype=T.float64)], retain_graph=True), attempt(lambda: G(y.sum(), v))]


@same
def test_only_the_paths_to_the_inputs_are_walked(T):
    """No hook elsewhere is called, nothing elsewhere is freed."""
    seen, x, w = [], leaf(T, 3), leaf(T, 3)
    a, b = x.exp(), w.exp()
    for name, t in (("a", a), ("b", b), ("x", x), ("w", w)):
        t.register_hook(lambda g, name=name: seen.append(name))
    z = (a * b).sum()
    T.autograd.grad(z * 1, x)
    return list(seen), [attempt(f) for f in (z.backward, b.sum().backward, a.sum().backward)], x.grad, w.grad, seen


@same
def test_a_target_keeps_its_saved_values(T):
    x = leaf(T, 3)
    y = x.exp()
    g, = T.autograd.grad((y * 2).sum(), y)
    y.sum().backward()
    return g, x.grad


@same
def test_second_backward(T):
    """It fails only where something was saved. (torch also saves the 2 of x * 2, as a tensor.)"""
    results, x = [], leaf(T, 3)
    for f in (lambda: x + 1, lambda: x * x, lambda: x.exp(), lambda: x.view(3, 1), lambda: x - x,
              lambda: -x, lambda: x.clone(), lambda: x**2, lambda: T.cat([x, x]), lambda: x.expand(2, 3), lambda: x @ x,
              lambda: x.sqrt(), lambda: x.tanh()):
        s = f().sum()
        s.backward()
        results.append(attempt(s.backward))
    return results


@same
def test_what_create_graph_retains(T):
    x, G = leaf(T, 3), T.autograd.grad
    z = (x**3).sum()
    g, = G(z, x, create_graph=True)
    h, = G(g.sum(), x)
    again = [attempt(G, z, x), attempt(G, z, x), attempt(G, g.sum(), x)]
    z = (x**3).sum()
    g, = G(z, x, create_graph=True, retain_graph=False)
    return h, again, g.detach(), attempt(G, z, x)


@same
def test_four_orders(T):
    functions = (lambda x: x**5, lambda x: x.exp(), lambda x: x.sin() * x.cos(), lambda x: x.tanh(), lambda x: 1 / x,
                 lambda x: x.sigmoid(), lambda x: x.log(), lambda x: x.sqrt(), lambda x: x.prod(),
                 lambda x: x.softmax(0),
                 lambda x: x.cumsum(0) ** 4, lambda x: (x @ x) ** 2, lambda x: x.erf(), lambda x: x.std() ** 2,
                 lambda x: x.logsumexp(0), lambda x: (x.view(1, -1) * x.view(-1, 1)).pow(3))
    results = []
    for f in functions:
        x = T.tensor([0.3, 0.7, 1.1], dtype=T.float64, requires_grad=True)
        g = f(x).sum()
        for _ in range(4):
            g, = T.autograd.grad((g * T.tensor([1.0, 2, 3], dtype=T.float64)).sum(), x, create_graph=True)
            results.append(g.detach())
    return results


@same
def test_what_a_node_shows(T):
    x = leaf(T, 2)
    y = x * 2
    y.grad_fn.metadata["key"] = 1
    names, node = [], (y + 1).sum().grad_fn
    while node is not None:
        names.append((node.name(), len(node.next_functions)))
        node = node.next_functions[0][0] if node.next_functions else None
    accumulate = y.grad_fn.next_functions[0][0]
    return (names, accumulate.variable is x, y.grad_fn.metadata, y.grad_fn is y.grad_fn,
            [edge for edge, _ in T.where(x > 0, x, x.detach()).grad_fn.next_functions][1])


# ---- depth ----------------------------------------------------------------------------------------------------------

CHAINS = {
    "ops": lambda x: lambda y: y + 1,
    "views": lambda x: lambda y: y.t(),
    "writes": lambda x: lambda y: y.add_(1),
}


@pytest.mark.parametrize("kind", CHAINS)
def test_a_chain_of_100_000_ops(kind):
    """Forward, backward and deallocation, on a small stack: nothing of it is recursive."""
    errors = []

    def run():
        try:
            x = minigrad.ones(1, 1, requires_grad=True)
            y, step = x * 1, CHAINS[kind](x.detach())
            for _ in range(100_000):
                y = step(y)
            y.sum().backward()
            assert x.grad.item() == 1
            y = x * 1
            for _ in range(10_000):
                y = step(y)
            del y                                   # deallocated without a backward
            gc.collect()
        except BaseException as error:
            errors.append(error)
    former = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(former)
    assert not errors


@same
def test_wide_and_deep_graphs(T):
    x = leaf(T, 2)
    y, total = x * 2, 0
    for _ in range(5_000):
        total = total + y * y                       # y is used 10,000 times
    total.sum().backward()
    z = x
    for _ in range(1_000):
        z = z * 0.5 + z * 0.5                       # 2**1000 paths
    d, = T.autograd.grad(z.sum(), x)
    c = x
    for _ in range(500):
        c = c.sin()
    g, = T.autograd.grad(c.sum(), x, create_graph=True)
    return x.grad, d, g.detach(), T.autograd.grad(g.sum(), x)


def test_gradients_are_nobody_elses_under_a_debugger():
    """It holds references of its own, by which a gradient's owners are told."""
    code = """
import sys
def watch(frame, *_):
    frame.f_locals
    return watch
sys.settrace(watch)
import minigrad
x, y = (minigrad.ones(3).requires_grad_() for _ in range(2))
(x * 2).sum().backward()
sys.settrace(None)
x.grad, given = None, minigrad.ones(3)
(x + y).backward(given)
x.grad += 1
assert y.grad.tolist() == given.tolist() == [1, 1, 1]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name, most", [("add", 130), ("mul", 132), ("linear", 218), ("softmax", 112)])
def test_a_small_op_takes_few_calls(name, most):
    """Forward and backward of an op on a few numbers cost what Python's calls cost: these are counted, for a time would
    be another machine's. Python's versions differ by a few."""
    x, w, b = (minigrad.ones(*shape, requires_grad=True) for shape in ((8, 8), (8, 8), (8,)))
    op = {"add": lambda: x + w, "mul": lambda: x * w, "linear": lambda: minigrad.nn.functional.linear(x, w, b),
          "softmax": lambda: minigrad.softmax(x, -1)}[name]
    g, calls = minigrad.ones(8, 8), []

    def step() -> None:
        x.grad = w.grad = b.grad = None
        op().backward(g)
    step()
    former = sys.getprofile()
    sys.setprofile(lambda frame, event, arg: calls.append(event) if event in ("call", "c_call") else None)
    try:
        step()
    finally:
        sys.setprofile(former)
    assert len(calls) <= most
