"""nn.Module and the containers against torch's: the same program on both must show the same."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import re
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minigrad

PROGRAMS: dict[str, Callable[[ModuleType], Any]] = {}


def program(f: Callable[[ModuleType], Any]) -> Callable[[ModuleType], Any]:
    PROGRAMS[f.__name__] = f
    return f


def shown(x: Any) -> Any:
    """What a program returned, as values that compare across engines."""
    if isinstance(x, torch.Tensor | minigrad.Tensor):
        return type(x).__name__, str(x.dtype), tuple(x.shape), x.requires_grad, x.detach().numpy().tolist()
    if isinstance(x, dict):
        return [(k, shown(v)) for k, v in x.items()]
    if isinstance(x, list | tuple | set):
        return [shown(y) for y in x]
    if isinstance(x, torch.nn.Module | minigrad.nn.Module):
        return repr(x)
    return said(x) if isinstance(x, str) else x


def said(text: str) -> str:
    """A message by torch's name, without torch's addresses."""
    text = re.sub(r"( at| Refer to| See)? ?https?://\S+( for( more)? details\.)?", "", text)
    return text.replace("minigrad.", "torch.")


def attempt(f: Callable, *args: Any) -> Any:
    """The result, or the error's class and message; warnings come along."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            out = shown(f(*args))
        except Exception as error:
            out = said(f"{type(error).__name__}: {error}")
    return out, [said(str(w.message)) for w in caught]


def several(*actions: Callable[[], Any]) -> list:
    return [attempt(action) for action in actions]


# ---- what the programs build ------------------------------------------------------------------------------------

def tree(engine: ModuleType) -> Any:
    """A module with parameters, buffers, shared and missing parts."""
    nn = engine.nn

    class Block(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            self.first = nn.Linear(width, width)
            self.act = nn.ReLU()
            self.scale = nn.Parameter(engine.ones(width))
            self.register_buffer("steps", engine.zeros(1))
            self.register_buffer("cache", engine.ones(2), persistent=False)
            self.register_buffer("nothing", None)
            self.register_parameter("none", None)

        def forward(self, x):
            return self.act(self.first(x)) * self.scale

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([Block(3), Block(3)])
            self.shared = self.blocks[0]
            self.head = nn.Sequential(OrderedDict(norm=nn.LayerNorm(3), out=nn.Linear(3, 2, bias=False)))
            self.tied = self.head.out.weight

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    engine.manual_seed(0)
    return Net()


# ---- attributes and registration --------------------------------------------------------------------------------

@program
def listing(engine):
    net = tree(engine)
    return (list(net.named_parameters()), [n for n, _ in net.named_parameters("p", recurse=False)],
            [n for n, _ in net.named_parameters(remove_duplicate=False)], [n for n, _ in net.named_buffers()],
            [n for n, _ in net.named_buffers(remove_duplicate=False)], [n for n, _ in net.named_modules()],
            [n for n, _ in net.named_modules(prefix="q", remove_duplicate=False)], [n for n, _ in net.named_children()],
            len(list(net.parameters())), len(list(net.buffers())), len(list(net.modules())), len(list(net.children())))


@program
def representation(engine):
    class Two(engine.nn.Module):
        def extra_repr(self):
            return "a=1\nb=2"
    return repr(tree(engine)), repr(Two()), repr(engine.nn.Module())


@program
def assignment_errors(engine):
    nn, net = engine.nn, tree(engine)
    p, t = nn.Parameter(engine.zeros(2)), engine.zeros(2)

    class Early(nn.Module):
        def __init__(self, value, register=None):
            if register:
                getattr(self, register)("x", value)
            self.x = value
    return several(
        lambda: setattr(net, "tied", t), lambda: setattr(net, "tied", 3), lambda: setattr(net, "head", t),
        lambda: setattr(net.shared, "steps", 3), lambda: setattr(net, "head", "text"),
        lambda: Early(p), lambda: Early(nn.ReLU()), lambda: Early(nn.Buffer(t)),
        lambda: Early(t, "register_buffer"), lambda: Early(p, "register_parameter"),
        lambda: net.register_parameter("tied", t), lambda: net.register_parameter("a.b", p),
        lambda: net.register_parameter("", p), lambda: net.register_parameter(3, p),
        lambda: net.register_parameter("train", p), lambda: net.register_parameter("y", p * 2),
        lambda: net.register_buffer("a.b", t), lambda: net.register_buffer("", t), lambda: net.register_buffer(3, t),
        lambda: net.register_buffer("train", t), lambda: net.register_buffer("z", 3),
        lambda: net.register_buffer("z", [1]), lambda: net.add_module("a.b", nn.ReLU()),
        lambda: net.add_module("", nn.ReLU()), lambda: net.add_module(3, nn.ReLU()), lambda: net.add_module("m", t),
        lambda: net.add_module("m", 3), lambda: net.add_module("train", nn.ReLU()), lambda: net.missing,
        lambda: delattr(net, "missing"), lambda: nn.Module(3), lambda: nn.Module(a=3), lambda: nn.Module()(3),
        lambda: net.train("yes"), lambda: setattr(net, "tied", p * 2))


@program
def assignment(engine):
    """Each kind of value in the place of each other."""
    nn, seen = engine.nn, []

    def values():
        return (nn.Parameter(engine.ones(1)), nn.ReLU(), nn.Buffer(engine.ones(1)),
                nn.Buffer(engine.ones(1), persistent=False), engine.zeros(1), None, 3)
    for i in range(len(values())):
        for j in range(len(values())):
            m = nn.Module()
            m.x = values()[i]
            outcome = attempt(lambda m=m, j=j: setattr(m, "x", values()[j]))
            seen.append((i, j, outcome, list(m._parameters), list(m._buffers), list(m._modules),
                         sorted(m._non_persistent_buffers_set), "x" in m.__dict__, list(m.state_dict())))
            seen.append(attempt(lambda m=m: delattr(m, "x")))
            seen.append((list(m._parameters), list(m._buffers), list(m._modules), "x" in m.__dict__))
    return seen


@program
def buffers_keep_their_kind(engine):
    m = engine.nn.Module()
    m.register_buffer("a", engine.zeros(1), persistent=False)
    m.a = engine.ones(1)
    m.register_buffer("b", engine.zeros(1))
    m.b = engine.nn.Buffer(engine.ones(1), persistent=False)
    m.c = engine.nn.Buffer(engine.ones(1))
    m.d = engine.ones(1)
    return (list(m.state_dict()), [n for n, _ in m.named_buffers()], m.a, m.b, isinstance(m.c, engine.nn.Buffer),
            isinstance(m.a, engine.nn.Buffer), repr(m.c))


@program
def lookups(engine):
    net = tree(engine)
    return several(
        lambda: net.get_submodule("head.out"), lambda: net.get_submodule(""), lambda: net.get_submodule("blocks.1.act"),
        lambda: net.get_submodule("head.x"), lambda: net.get_submodule("tied"), lambda: net.get_submodule("x.y"),
        lambda: net.get_parameter("head.out.weight"), lambda: net.get_parameter("head.out.x"),
        lambda: net.get_parameter("head"), lambda: net.get_parameter("blocks.0.steps"),
        lambda: net.get_buffer("blocks.0.steps"), lambda: net.get_buffer("tied"), lambda: net.get_buffer("x"),
        lambda: net.set_submodule("head.out", engine.nn.Linear(1, 1, bias=False)), lambda: net,
        lambda: net.set_submodule("", engine.nn.ReLU()), lambda: net.set_submodule("head.new", engine.nn.ReLU()),
        lambda: net.set_submodule("head.newer", engine.nn.ReLU(), strict=True), lambda: net.set_submodule("nope.x", 3),
        lambda: net.set_submodule("head.norm", 3), lambda: net)


@program
def modes_and_gradients(engine):
    net = tree(engine)
    seen = [[m.training for m in net.eval().modules()]]
    net.blocks[1].train()
    seen.append([m.training for m in net.modules()])
    seen.append(net.train() is net and net.requires_grad_(False) is net)
    seen.append([p.requires_grad for p in net.parameters()])
    net.requires_grad_(True)
    net(engine.ones(2, 3)).sum().backward()
    grads = [p.grad for p in net.parameters()]
    net.zero_grad(set_to_none=False)
    seen += [[g is p.grad and g.abs().sum().item() for g, p in zip(grads, net.parameters(), strict=True)]]
    net.zero_grad()
    order = []
    net.apply(lambda m: order.append(type(m).__name__))
    return seen, [p.grad for p in net.parameters()], order


@program
def casts(engine):
    net = tree(engine)
    net.register_buffer("count", engine.arange(2))
    first = net.tied
    net(engine.ones(2, 3)).sum().backward()
    seen = []
    for cast in ("double", "half", "float"):
        assert getattr(net, cast)() is net
        seen.append([(str(p.dtype), str(p.grad.dtype), p.is_leaf) for p in net.parameters()])
        seen.append([str(b.dtype) for b in net.buffers()])
    seen += [net.tied is first, net.head.out.weight is net.tied, net.to(engine.float64) is net, str(net.tied.dtype)]
    net.to("cpu", engine.float16)
    seen += [str(net.tied.dtype), str(net.to(engine.zeros(1, dtype=engine.float64)).tied.dtype)]
    seen += several(lambda: net.to(engine.int64), lambda: net.type(engine.float32).count, lambda: net.cpu().tied)
    return seen


# ---- state dicts ------------------------------------------------------------------------------------------------

@program
def state_dicts(engine):
    net = tree(engine)
    state = net.state_dict()
    into: dict = {}
    returned = net.state_dict(destination=into, prefix="p.")
    return (state, dict(state._metadata), type(state).__name__, returned is into, list(into),
            hasattr(into, "_metadata"), [type(v).__name__ for v in net.state_dict(keep_vars=True).values()],
            [v.requires_grad for v in net.state_dict(keep_vars=True).values()],
            attempt(lambda: list(net.state_dict({}, "x."))))


@program
def state_shares_memory(engine):
    net = tree(engine)
    state = net.state_dict()
    with engine.no_grad():
        state["tied"].fill_(7)
    return net.tied, net.head.out.weight


@program
def loading_errors(engine):
    net, state = tree(engine), tree(engine).state_dict()

    def changed(**entries):
        new = OrderedDict(state)
        for key, value in entries.items():
            key = key.replace("__", ".")
            if value is None:
                del new[key]
            else:
                new[key] = value
        return new
    wrong, extra = engine.zeros(5), engine.zeros(1)
    return several(
        lambda: net.load_state_dict(changed()), lambda: net.load_state_dict(changed(tied=None)),
        lambda: net.load_state_dict(changed(tied=None), strict=False),
        lambda: net.load_state_dict(changed(tied=wrong)),
        lambda: net.load_state_dict(changed(tied=wrong), strict=False),
        lambda: net.load_state_dict(changed(more=extra, head__more=extra, blocks__7__x=extra)),
        lambda: net.load_state_dict(changed(more=extra, tied=None, head__norm__bias=wrong, head__norm__weight=wrong)),
        lambda: net.load_state_dict(changed(tied=3)), lambda: net.load_state_dict(changed(tied=np.ones((2, 3)))),
        lambda: net.load_state_dict([1]), lambda: net.load_state_dict(None), lambda: net.load_state_dict({}),
        lambda: net.load_state_dict(changed(blocks__0__cache=engine.zeros(2))),
        lambda: repr(net.load_state_dict(changed())), lambda: repr(net.load_state_dict({}, strict=False)),
        lambda: net.load_state_dict(changed(tied=wrong), assign=True),
        lambda: engine.nn.Linear(2, 2).load_state_dict({"weight": wrong, "x": extra}))


@program
def loading(engine):
    """copy_ casts and broadcasts a one-element vector to a scalar; assign takes the tensor itself."""
    nn, net = engine.nn, tree(engine)
    net.shared.steps = engine.tensor(5.0)
    state = {k: v.double() + 1 for k, v in net.state_dict().items()}
    state["blocks.0.steps"] = engine.ones(1)
    before, first = net.tied, net.blocks[0].scale
    result = net.load_state_dict(state, strict=False)
    seen = [result.missing_keys, result.unexpected_keys, before is net.tied, str(net.tied.dtype), net.state_dict()]
    net.head.requires_grad_(False)
    state = OrderedDict((k, v.double()) for k, v in net.state_dict().items())
    net.load_state_dict(state, assign=True)
    seen += [first is net.blocks[0].scale, str(net.tied.dtype), net.blocks[0].scale.requires_grad,
             net.head.norm.weight.requires_grad, type(net.blocks[0].scale).__name__, net.blocks[0].steps]
    p = nn.Parameter(engine.ones(3), requires_grad=False)
    net.head.norm.load_state_dict({"weight": p, "bias": p}, assign=True)
    return [*seen, net.head.norm.weight is p, p.requires_grad]


@program
def extra_state(engine):
    class Counter(engine.nn.Module):
        def __init__(self):
            super().__init__()
            self.n = 3

        def get_extra_state(self):
            return {"n": self.n}

        def set_extra_state(self, state):
            self.n = state["n"] + 1
    outer = engine.nn.Sequential(Counter(), engine.nn.ReLU())
    state = outer.state_dict()
    outer.load_state_dict(state)
    return (state, outer[0].n, attempt(lambda: outer.load_state_dict({})),
            attempt(lambda: engine.nn.Sequential(engine.nn.ReLU()).load_state_dict(state)),
            attempt(lambda: engine.nn.Module().get_extra_state()), attempt(lambda:
            engine.nn.Module().set_extra_state(1)))


@program
def state_hooks(engine):
    net, seen = engine.nn.Sequential(engine.nn.Linear(1, 1), engine.nn.ReLU()), []
    net[0].register_state_dict_pre_hook(lambda m, prefix, keep: seen.append(("pre", type(m).__name__, prefix, keep)))
    net[0].register_state_dict_post_hook(lambda m, state, prefix, local: seen.append(
        ("post", list(state), prefix, local)))
    net[0].register_load_state_dict_pre_hook(lambda m, state, prefix, *rest: seen.append(
        ("load", type(m).__name__, list(state), prefix, *rest)))
    net.register_load_state_dict_post_hook(lambda m, keys: (seen.append((list(keys.missing_keys),
    list(keys.unexpected_keys))),
                                                            keys.missing_keys.clear())[0])
    net.load_state_dict({"x": engine.ones(1), "0.weight": engine.ones(1, 1)}, strict=False)
    net.load_state_dict({"0.weight": engine.ones(1, 1)})
    handle = net[1].register_state_dict_post_hook(lambda *a: {"instead": 1})
    seen.append(attempt(net.state_dict))
    handle.remove()
    net[1]._register_state_dict_hook(lambda m, state, prefix, local: OrderedDict(instead=1))
    seen.append(attempt(net.state_dict))
    net.register_load_state_dict_post_hook(lambda m, keys: 1)
    return seen, attempt(lambda: net.load_state_dict(net[0].state_dict(prefix="0.")))


# ---- hooks ------------------------------------------------------------------------------------------------------

@program
def forward_hooks(engine):
    seen = []
    m = engine.nn.Linear(2, 2)
    x = engine.ones(1, 2)

    def note(name, result=None):
        def hook(*args, **kwargs):
            seen.append((name, [type(a).__name__ for a in args], sorted(kwargs)))
            return result
        return hook
    m.register_forward_pre_hook(note("pre 1"))
    m.register_forward_pre_hook(note("pre 2"), prepend=True)
    m.register_forward_pre_hook(note("pre kwargs"), with_kwargs=True)
    handle = m.register_forward_hook(note("post 1"))
    m.register_forward_hook(note("post 0"), prepend=True)
    m.register_forward_hook(note("post kwargs"), with_kwargs=True)
    m(x)
    handle.remove()
    handle.remove()
    m(input=x)
    with m.register_forward_hook(lambda m, args, out: out * 0 + 5):
        seen.append(m(x))
    with m.register_forward_pre_hook(lambda m, args: args[0] * 0):
        seen.append(attempt(lambda: m(x)))
    with m.register_forward_pre_hook(lambda m, args: (args[0] * 0,)):
        seen.append(attempt(lambda: m(x)))
    with m.register_forward_pre_hook(lambda m, args, kwargs: ((x * 2,), {}), with_kwargs=True):
        seen.append(attempt(lambda: m(x)))
    with m.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True):
        seen.append(attempt(lambda: m(x)))
    return seen, m(x)


@program
def hooks_that_are_always_called(engine):
    seen = []

    class Broken(engine.nn.Module):
        def forward(self, x):
            raise ValueError("broken")
    m = Broken()
    m.register_forward_hook(lambda *args: seen.append("ordinary"))
    m.register_forward_hook(lambda *args: seen.append(("always", args[1:])), always_call=True)
    m.register_forward_hook(lambda *args: 1 / 0, always_call=True)
    return attempt(lambda: m(1)), seen


@program
def backward_hooks(engine):
    seen, nn = [], engine.nn

    class Two(nn.Module):
        def forward(self, a, b, n=None):
            return a * b, a + b
    m = Two()
    m.register_full_backward_hook(lambda m, gi, go: seen.append(("hook", gi, go)))
    m.register_full_backward_pre_hook(lambda m, go: seen.append(("pre", go)))
    for needs in ((True, True), (True, False), (False, True), (False, False)):
        a, b = (engine.tensor([v], requires_grad=r) for v, r in zip((2.0, 3.0), needs, strict=True))
        out = m(a, b)
        if any(needs):
            out[0].sum().backward()
            seen.append((a.grad, b.grad))
            (m(a, b)[0] + m(a, b)[1]).sum().backward()
            seen.append((a.grad, b.grad))
    linear = nn.Linear(2, 1)
    with engine.no_grad():
        linear.weight.fill_(2)
        linear.bias.fill_(1)
    linear.register_full_backward_hook(lambda m, gi, go: seen.append(("linear", gi, go)))
    linear(engine.ones(1, 2)).sum().backward()
    x = engine.ones(1, 2, requires_grad=True)
    linear.register_full_backward_hook(lambda m, gi, go: tuple(None if g is None else g * 10 for g in gi))
    linear.register_full_backward_pre_hook(lambda m, go: (go[0] * 3,))
    linear(x).sum().backward()
    seen.append(x.grad)
    linear.register_full_backward_hook(lambda m, gi, go: seen.append(("last", gi, go)))
    linear.register_full_backward_hook(lambda m, gi, go: seen.append("first"), prepend=True)
    with engine.no_grad():
        linear(x)
    linear(x).sum().backward()
    return [*seen, x.grad, linear.weight.grad]


# ---- copies -----------------------------------------------------------------------------------------------------

@program
def copies(engine):
    net = engine.nn.Sequential(engine.nn.Linear(2, 2), engine.nn.BatchNorm1d(2))
    net.extra = net[0].weight
    net[0].weight.mark = "kept"
    net(engine.ones(2, 2) * engine.arange(2)[:, None]).sum().backward()
    twin, shallow = copy.deepcopy(net), copy.copy(net)
    with engine.no_grad():
        net[0].weight.fill_(7)
    return (twin, twin[0].weight is twin.extra, type(twin.extra).__name__, twin.extra.requires_grad,
            twin.extra.grad is not None, getattr(twin.extra, "mark", None), twin[0].weight.detach().sum().item() == 28,
            shallow[0] is net[0], [n for n, _ in twin.named_parameters()])


@program
def pickles(engine):
    net = engine.nn.Sequential(engine.nn.Linear(2, 2), engine.nn.ReLU())
    with engine.no_grad():
        net[0].weight.fill_(7)
    again = pickle.loads(pickle.dumps(net))
    return again, again[0].weight, type(again[0].weight).__name__


@program
def parameters_as_tensors(engine):
    nn, t = engine.nn, engine.arange(3.0)
    p = nn.Parameter(t)
    with engine.no_grad():
        p[0] = 9
    q = nn.Parameter(t, requires_grad=False)
    return (repr(p), repr(q), t, p, q, p.is_leaf, isinstance(p, engine.Tensor), type(p * 2).__name__,
            type(p.data).__name__, type(p.detach()).__name__, nn.Parameter(), repr(nn.Parameter(engine.ones(()))),
            attempt(lambda: nn.Parameter(engine.arange(3))), attempt(lambda: nn.Parameter(p * 2).is_leaf),
            nn.Parameter(engine.arange(3), requires_grad=False), type(copy.deepcopy(p)).__name__)


# ---- containers -------------------------------------------------------------------------------------------------

@program
def sequential(engine):
    nn = engine.nn

    def make(*sizes):
        return nn.Sequential(*(nn.Linear(n, n, bias=False) for n in sizes))
    s, named = make(1, 2, 3, 4), nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh()))
    return several(
        lambda: s[0], lambda: s[-1], lambda: s[1:3], lambda: s[4], lambda: s[-5], lambda: s["a"], lambda: len(s),
        lambda: named[0], lambda: named[:1], lambda: named.b, lambda: list(named), lambda: make(1) + make(2),
        lambda: make(1) + [1], lambda: make(1) * 3, lambda: 2 * make(1, 2), lambda: make(1) * 0, lambda: make(1) * "a",
        lambda: make(1, 2).append(nn.ReLU()), lambda: make(1, 2).insert(1, nn.ReLU()), lambda: make(1).insert(3,
        nn.ReLU()), lambda: make(1, 2, 3).insert(-1, nn.ReLU()), lambda: make(1).insert(0, 3), lambda:
        make(1).extend(make(2, 3)), lambda: (s.pop(0), s), lambda: (s.__delitem__(slice(0, 2)), s), lambda:
        (s.__setitem__(0, nn.ReLU()), s), lambda: s.__setitem__(9, nn.ReLU()), lambda: s.__setitem__(0, 3), lambda:
        nn.Sequential(3), lambda: nn.Sequential(), lambda: (named.__setitem__(1, nn.ReLU()), named), lambda:
        (named.__delitem__(0), named), lambda: make(1, 1)(engine.zeros(2, 1)),
        lambda: [n for n in dir(make(1, 2)) if n.isdigit()],
        lambda: make(1).__iadd__(make(2)), lambda: make(1, 2).__imul__(2), lambda: make(1).__imul__(0))


@program
def module_list(engine):
    nn = engine.nn

    def make(*sizes):
        return nn.ModuleList([nn.Linear(n, n) for n in sizes])
    m = make(1, 1, 2, 2, 2, 3)
    return several(
        lambda: m, lambda: m[0], lambda: m[-1], lambda: m[1:3], lambda: m[::2], lambda: m[6], lambda: m[-7],
        lambda: len(m), lambda: make(1) + make(2), lambda: make(1) + [nn.ReLU()], lambda: make(1).append(nn.ReLU()),
        lambda: make(1).append(3), lambda: make(1).extend(3), lambda: make(1).extend([nn.ReLU(), nn.Tanh()]),
        lambda: (m.pop(0), m), lambda: (m.insert(1, nn.ReLU()), m), lambda: (m.__delitem__(slice(0, 2)), m),
        lambda: (m.__delitem__(-1), m), lambda: (m.__setitem__(0, nn.Tanh()), m), lambda: m.__setitem__(9, nn.ReLU()),
        lambda: nn.ModuleList(), lambda: m(3), lambda: nn.ModuleList([3]), lambda: [type(x).__name__ for x in m],
        lambda: [n for n, _ in m.named_parameters()], lambda: [n for n in dir(m) if n.isdigit()], lambda: m["0"],
        lambda: make(1, 2).pop(slice(0, 1)), lambda: make(1).insert(0, nn.ReLU()))


@program
def module_dict(engine):
    nn = engine.nn
    m = nn.ModuleDict({"b": nn.ReLU(), "a": nn.Linear(1, 1)})
    return several(
        lambda: m, lambda: m["a"], lambda: m["x"], lambda: m.a, lambda: list(m), lambda: len(m), lambda: "b" in m,
        lambda: list(m.keys()), lambda: list(m.items()), lambda: list(m.values()),
        lambda: (m.update({"c": nn.Tanh()}), m), lambda: (m.update([("e", nn.Tanh()), ["d", nn.ReLU()]]), m),
        lambda: m.update(3), lambda: m.update([3]), lambda: m.update([(1, 2, 3)]),
        lambda: (m.__setitem__("z", nn.ReLU()), m), lambda: m.__setitem__("z", 3),
        lambda: m.__setitem__("keys", nn.ReLU()), lambda: m.__setitem__("a.b", nn.ReLU()), lambda: m.pop("z"),
        lambda: m.pop("z"), lambda: m.__delitem__("nope"), lambda: (m.__delitem__("a"), m), lambda: m(1),
        lambda: (m.update(nn.ModuleDict({"y": nn.ReLU(), "x": nn.ReLU()})), m), lambda: (m.clear(), m),
        lambda: nn.ModuleDict())


@program
def parameter_list(engine):
    nn, one = engine.nn, engine.ones
    m = nn.ParameterList([one(2), nn.Parameter(one(1, 3)), 3, "text"])
    return several(
        lambda: m, lambda: m[0], lambda: m[-2], lambda: m[1:3], lambda: m[9], lambda: len(m), lambda: list(m),
        lambda: m.append(one(1)), lambda: m.extend([one(1), None]), lambda: m.extend(3), lambda: m.extend(one(3)),
        lambda: (m.__setitem__(0, one(5)), m), lambda: m.__setitem__(99, one(5)), lambda: list(m.named_parameters()),
        lambda: m.state_dict(), lambda: m(1), lambda: nn.ParameterList(), lambda: (m.__iadd__([one(7)]), m),
        lambda: nn.ParameterList(one(1) * i for i in range(2)), lambda: [n for n in dir(m) if n.isdigit()],
        lambda: m[0:0], lambda: nn.ParameterList([engine.arange(2.0).half()]))


@program
def parameter_dict(engine):
    nn, one = engine.nn, engine.ones
    m = nn.ParameterDict({"b": one(2), "a": nn.Parameter(one(1, 3)), "t": 3})
    return several(
        lambda: m, lambda: m["a"], lambda: m["x"], lambda: list(m), lambda: len(m), lambda: "b" in m,
        lambda: list(m.keys()), lambda: list(m.items()), lambda: list(m.values()), lambda: list(reversed(m)),
        lambda: m.get("x", 5), lambda: m.get("t"), lambda: m.setdefault("q", one(1)),
        lambda: m.setdefault("q", one(2)), lambda: m.copy(), lambda: m.update({"z": 1, "y": 2}), lambda: m,
        lambda: m.update([("k", one(1))]), lambda: m.update(3), lambda: m.update([3]),
        lambda: m.update([(1, 2, 3)]), lambda: m.pop("k"), lambda: m.pop("k"), lambda: m.popitem(),
        lambda: m | nn.ParameterDict({"new": one(1)}), lambda: m.fromkeys(["f", "g"], one(1)),
        lambda: (m.__delitem__("a"), m), lambda: m.__setitem__("a.b", one(1)),
        lambda: list(m.named_parameters()), lambda: m(1), lambda: m.state_dict(), lambda: nn.ParameterDict())


@program
def where_attributes_are_found(engine):
    """Registers come last: after the class's attributes, those of the classes behind it, and the module's own."""
    nn = engine.nn

    class Owner(nn.Module):
        def __init__(self, part=True):
            super().__init__()
            if part:
                self.part, self.scale = nn.Identity(), nn.Parameter(engine.ones(1))
                self.register_buffer("count", engine.zeros(1))

    class Behind:
        part, scale, count = "of the class behind", "another", "a third"

    class Both(Owner, Behind):
        def __init__(self):
            super().__init__(part=False)

    class Property(Owner):
        scale = property(lambda self: "computed")

    class OtherKind(Owner):
        def __init__(self):
            super().__init__(part=False)
            self.part, self.scale, self.count = nn.Parameter(engine.ones(2)), nn.Buffer(engine.ones(3)), nn.Tanh()

    class NeverMade(nn.Module):
        def __init__(self):
            pass

    class Asked(Owner):
        def __getattr__(self, name):
            found = super().__getattr__(name)
            return found * 2 if name == "scale" else found

    class Kept:
        @property
        def scale(self):
            return self._kept

        @scale.setter
        def scale(self, value):
            self._kept = value * 10

    class Setter(nn.Module, Kept):
        def __init__(self):
            super().__init__()
            self.scale = 3

    owner, both, bare = Owner(), Both(), nn.Module()
    bare.part, bare.scale = nn.Tanh(), nn.Parameter(engine.ones(4))

    class Later(Owner, Behind):
        pass

    def seen_on_the_class():
        return [name in dir(cls) or name in vars(cls) for cls in (Owner, nn.Module, nn.Linear) for name in names]
    names = "part", "scale", "count"

    def shadowed():
        owner.__dict__["part"] = "its own"
        return owner.part

    def removed():
        del owner.scale, owner._buffers["count"]
        return [hasattr(owner, name) for name in names]

    return several(
        *(lambda m=m, n=n: getattr(m, n) for m in (owner, both, OtherKind(), bare, nn.Linear(1, 1)) for n in names),
        *(lambda n=n: getattr(Owner, n) for n in names), *(lambda n=n: getattr(Both, n) for n in names),
        seen_on_the_class, lambda: Asked().scale, lambda: Setter().scale, lambda: Later().part, lambda: Later().scale,
        shadowed, removed, lambda: owner.scale, Property, lambda: copy.deepcopy(both).part, lambda: Owner(False).part,
        lambda: NeverMade()(1), lambda: NeverMade().part)


@program
def parameter_dict_cleared(engine):
    m = engine.nn.ParameterDict({"a": engine.ones(1)})
    m |= engine.nn.ParameterDict({"b": engine.ones(2)})
    before = repr(m)
    m.clear()
    return before, m, len(m), list(m.parameters()), attempt(m.popitem)


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str) -> None:
    """The same results, errors and warnings, to the letter."""
    mine, theirs = attempt(PROGRAMS[name], minigrad), attempt(PROGRAMS[name], torch)
    for a, e in zip(flat(mine), flat(theirs), strict=False):
        assert a == e
    assert mine == theirs


def flat(x: Any) -> list:
    return [y for part in x for y in flat(part)] if isinstance(x, list | tuple) else [x]


# ---- random trees -----------------------------------------------------------------------------------------------

LEAVES = [("Linear", (2, 3)), ("Linear", (4, 1, False)), ("ReLU", ()), ("ReLU", (True,)), ("Dropout", (0.25,)),
          ("Identity", ()), ("LayerNorm", (3,)), ("Embedding", (3, 2, 0)), ("GELU", ()), ("Softmax", (1,)),
          ("Conv1d", (2, 4, 3, 2, 1)),
          ("MultiheadAttention", (4, 2)), ("BatchNorm1d", (3,)), ("Flatten", ()), ("Module", ()), ("GroupNorm", (1, 2))]
trees = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.tuples(st.sampled_from(["Sequential", "ModuleList", "ModuleDict"]), st.lists(inner, max_size=4)))


def built(engine: ModuleType, spec: tuple) -> Any:
    name, parts = spec
    kind = getattr(engine.nn, name)
    if isinstance(parts, tuple):
        return kind(*parts)
    children = [built(engine, part) for part in parts]
    if name == "ModuleDict":
        return kind({f"k{i}": child for i, child in enumerate(children)})
    return kind(*children) if name == "Sequential" else kind(children)


@given(trees, st.integers(0, 99))
def test_random_trees(spec: tuple, seed: int) -> None:
    """The same text, names and weights from the same seed; state dicts fit, both ways."""
    pair = []
    for engine in (minigrad, torch):
        engine.manual_seed(seed)
        pair.append(built(engine, spec))
    mine, theirs = pair
    assert repr(mine) == repr(theirs)
    assert [n for n, _ in mine.named_modules()] == [n for n, _ in theirs.named_modules()]
    ours, state = mine.state_dict(), theirs.state_dict()
    assert list(ours) == list(state) and dict(ours._metadata) == dict(state._metadata)
    for key, value in state.items():
        assert ours[key].numpy().tobytes() == value.numpy().tobytes(), key
    moved = {k: torch.from_numpy(np.asarray(v.numpy() + 1)) for k, v in ours.items()}
    assert repr(theirs.load_state_dict(moved)) == "<All keys matched successfully>"
    assert repr(mine.load_state_dict({k: minigrad.from_numpy(v.numpy()) for k, v in moved.items()})) == repr(
        theirs.load_state_dict(moved))
    for key, value in theirs.state_dict().items():
        assert mine.state_dict()[key].numpy().tobytes() == value.numpy().tobytes(), key


def test_modules_do_not_keep_their_activations() -> None:
    """A call leaves nothing behind, hooks or not."""
    net = minigrad.nn.Sequential(minigrad.nn.Linear(2, 2), minigrad.nn.ReLU())
    net.register_full_backward_hook(lambda *args: None)
    out = net(minigrad.ones(1, 2, requires_grad=True))
    out.sum().backward()
    ref = weakref.ref(out)
    del out
    gc.collect()
    assert ref() is None


def test_a_module_and_its_state_survive_a_file() -> None:
    net, file = minigrad.nn.Linear(2, 2), io.BytesIO()
    minigrad.save(net.state_dict(), file)
    file.seek(0)
    other = minigrad.nn.Linear(2, 2)
    other.load_state_dict(minigrad.load(file))
    assert minigrad.equal(other.weight, net.weight)
