"""python -m bench ops: what one small op costs, forward and backward, beside torch's eager mode.

With a few elements the arithmetic is nothing, and the time is the engine's own: building the tensor and its node,
and walking back. Both engines do the same work on the same values, and their gradients are compared first.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable

import numpy as np

from bench.arguments import at_least, new_file
from bench.machine import described
from bench.timing import interleaved

ROWS: dict[str, tuple[Callable, Callable]] = {       # op -> (its inputs' shapes for n elements, the op on an engine)
    "add": (lambda n: [n, n], lambda engine, x, y: x + y),
    "mul": (lambda n: [n, n], lambda engine, x, y: x * y),
    "matmul": (lambda n: [_square(n), _square(n)], lambda engine, x, y: x @ y),
    "sum": (lambda n: [n], lambda engine, x: x.sum()),
    "softmax": (lambda n: [n], lambda engine, x: engine.softmax(x, -1)),
    "linear": (lambda n: [_square(n), _square(n), _square(n)[:1]],
               lambda engine, x, w, b: engine.nn.functional.linear(x, w, b)),
}


def _square(n: tuple[int, ...]) -> tuple[int, int]:
    side = math.isqrt(math.prod(n))
    return side, side


def add_parser(commands) -> None:
    parser = commands.add_parser("ops", help="per-op overhead on scalars and on 64 elements, forward and backward",
                                 description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=at_least(1), default=21,
                        help="interleaved batches of each engine (default: 21)")
    parser.add_argument("--seconds", type=float, default=0.02, help="length of one batch (default: 0.02)")
    parser.add_argument("--json", type=new_file(), metavar="FILE", help="also write the figures there")
    parser.set_defaults(run=run)


def _step(engine, tensors: list, op: Callable, cotangent) -> Callable[[], None]:
    def step() -> None:
        for t in tensors:
            t.grad = None
        op(engine, *tensors).backward(cotangent)
    return step


def measure(name: str, n: tuple[int, ...], rounds: int, seconds: float):
    import torch

    import minigrad
    shapes, op = ROWS[name]
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.standard_normal(s), np.float32) for s in shapes(n)]
    ours = [minigrad.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    cotangent = np.ones(op(torch, *theirs).shape, np.float32)
    steps = _step(minigrad, ours, op, minigrad.tensor(cotangent)), _step(torch, theirs, op, torch.tensor(cotangent))
    for step in steps:
        step()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-5, atol=1e-6)
    return interleaved(*steps, rounds, seconds)


def run(args: argparse.Namespace) -> int:
    print(f"forward + backward, float32, us a call; {described()}")
    print(f"{'op':10}{'elements':>10}{'minigrad':>12}{'torch':>10}{'ratio':>9}   quartiles")
    figures = []
    for n in ((), (64,)):
        for name in ROWS:
            pair = measure(name, n, args.rounds, args.seconds)
            figures.append({"op": name, "elements": math.prod(n), "minigrad_us": pair.first, "torch_us": pair.second,
                            "ratio": pair.ratio})
            print(f"{name:10}{math.prod(n):>10}{pair.first:>12.1f}{pair.second:>10.1f}{pair.ratio:>9.2f}   "
                  f"{pair.spread[0]:.2f} to {pair.spread[1]:.2f}", flush=True)
    mean = math.exp(sum(math.log(f["ratio"]) for f in figures) / len(figures))
    print(f"geometric mean of the ratios minigrad / torch: {mean:.2f}  (bar: at most 1.00)")
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"geometric_mean": mean, "figures": figures}, f, indent=2)
    return 0 if mean <= 1 else 1
