"""python -m bench profile: a training step of GPT-2 op by op, on both engines, against what the machine can do.

Each op is measured alone, forward and backward, on the shapes that it has in the step, the engines in turn, and
multiplied by its number of calls. FLOPs and bytes are those of the task, not of an implementation: every operand is
read once and every result written once, and what is only needed inside of an op costs nothing. `best` is the time that
the task would take at the measured peak of matrix products or the measured rate of a copy, whichever is longer; the
last columns say how large a share of each engine's time that is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as dataclass_field

import numpy as np

from bench.arguments import at_least, new_file
from bench.machine import cores, described, machine
from bench.task import CONFIGS, SETTINGS, parameters
from gpt.config import GPT2Config

ENGINES = ("minigrad", "torch")
IDLE = 0.05                                                   # seconds: till the other engine's threads sleep
clock = time.perf_counter                                     # with one thread time.process_time, see run


@dataclass
class Op:
    """An op of the step: how often, floating-point operations and bytes of one call, forward and backward; and how an
    engine does it: its inputs' shapes, then a function of (engine, inputs)."""

    name: str
    calls: int
    flops: tuple[float, float]
    numbers: tuple[float, float]                              # read and written, 4 bytes each
    shapes: list[tuple[int, ...]]
    do: Callable
    ms: dict[str, tuple[float, float]] = dataclass_field(default_factory=dict)       # a step's: forward, backward

    def best(self, flops_per_second: float, bytes_per_second: float) -> float:
        """Milliseconds a step, forward and backward."""
        return 1e3 * self.calls * sum(max(f / flops_per_second, 4 * n / bytes_per_second)
                                      for f, n in zip(self.flops, self.numbers, strict=True))


def _linear(name: str, calls: int, m: int, k: int, n: int) -> Op:
    x, w, y = m * k, k * n, m * n
    return Op(name, calls, (2 * m * k * n, 4 * m * k * n), (x + w + y, 2 * x + 2 * w + y), [(m, k), (n, k), (n,)],
              lambda e, x, w, b: e.nn.functional.linear(x, w, b))


def _head(e, x, w):
    F, classes = e.nn.functional, e.arange(x.shape[0]) % w.shape[0]
    if e.__name__ == "minigrad":
        return F.linear_cross_entropy(x, w, classes)
    return F.cross_entropy(F.linear(x, w), classes)


def step_ops(config: GPT2Config, batch: int) -> list[Op]:
    """Numbers of operations per element are nominal: what the formula says, an exponential or a root counted as 8."""
    L, C, T, V, B, H = (config.n_layers, config.emb_dim, config.context_length, config.vocab_size, batch,
                        config.n_heads)
    N, P = B * T, parameters(config)
    heads = [(B, T, H, C // H)] * 3
    square = B * H * T * (T + 1) / 2                           # of causal attention's scores
    D = C // H
    return [
        Op("embedding", 1, (0, N * C), (2 * N * C, N * C + V * C), [(V, C)],
           lambda e, w: e.nn.functional.embedding(e.arange(N) % V, w)),
        Op("layer_norm", 2 * L + 1, (8 * N * C, 14 * N * C), (2 * N * C, 3 * N * C), [(N, C), (C,), (C,)],
           lambda e, x, w, b: e.nn.functional.layer_norm(x, (C,), w, b)),
        _linear("linear C, C", 4 * L, N, C, C),
        Op("attention", L, (square * (4 * D + 10), square * (10 * D + 12)), (4 * N * C, 8 * N * C), heads,
           lambda e, q, k, v: e.nn.functional.scaled_dot_product_attention(
               *(a.transpose(1, 2) for a in (q, k, v)), is_causal=True)),
        Op("add", 2 * L, (N * C, 0), (3 * N * C, 0), [(N, C), (N, C)], lambda e, x, y: x + y),
        _linear("linear C, 4C", L, N, C, 4 * C),
        Op("gelu", L, (15 * 4 * N * C, 25 * 4 * N * C), (8 * N * C, 12 * N * C), [(N, 4 * C)],
           lambda e, x: e.nn.functional.gelu(x, approximate="tanh")),
        _linear("linear 4C, C", L, N, 4 * C, C),
        Op("head and loss", 1, (2 * N * C * V + 10 * N * V, 4 * N * C * V), (N * C + C * V, 2 * N * C + 2 * C * V),
           [(N, C), (V, C)], _head),
        Op("AdamW", 1, (24 * P, 0), (7 * P, 0), [], None),
    ]


def measure(op: Op, rounds: int, parameters: int) -> None:
    """Fill in op.ms."""
    import torch

    import minigrad
    rng = np.random.default_rng(0)
    # Weights as small as a model's. With larger ones the logits' exponentials are denormal numbers, and the products
    # with these take a hundred times as long.
    arrays = [rng.standard_normal(s, np.float32) * np.float32(0.02 if k and len(s) == 2 else 1)
              for k, s in enumerate(op.shapes)]
    runs = {name: (_timed if op.do else _optimizer)(engine, op, arrays, parameters)
            for name, engine in (("minigrad", minigrad), ("torch", torch))}
    taken: dict[str, list] = {name: [] for name in ENGINES}
    for i in range(rounds + 1):
        for name in ENGINES if i % 2 else ENGINES[::-1]:
            time.sleep(IDLE)
            pair = runs[name]()
            if i:
                taken[name].append(pair)
    op.ms = {name: tuple(1e3 * op.calls * statistics.median(column) for column in zip(*pairs, strict=True))
             for name, pairs in taken.items()}


def _timed(engine, op: Op, arrays: list, _: int) -> Callable[[], tuple[float, float]]:
    inputs = [engine.tensor(a, requires_grad=True) for a in arrays]
    way = engine.ones_like(op.do(engine, *inputs).detach())

    def once() -> tuple[float, float]:
        for t in inputs:
            t.grad = None
        start = clock()
        out = op.do(engine, *inputs)
        middle = clock()
        out.backward(way)
        return middle - start, clock() - middle
    return once


def _optimizer(engine, op: Op, arrays: list, parameters: int) -> Callable[[], tuple[float, float]]:
    weight = engine.nn.Parameter(engine.zeros(parameters))
    weight.grad = engine.ones(parameters)
    optimizer = engine.optim.AdamW([weight], fused=True, **SETTINGS)

    def once() -> tuple[float, float]:
        start = clock()
        optimizer.step()
        return clock() - start, 0.0
    return once


def machine_limits() -> tuple[float, float]:
    """The best of several products of matrices, by either library, in FLOP/s; and of copies, in bytes/s."""
    import torch
    n = 1536
    a, b = (np.random.default_rng(i).standard_normal((n, n), np.float32) for i in range(2))
    out, ta, tb = np.empty_like(a), torch.from_numpy(a), torch.from_numpy(b)
    big = np.ones(1 << 24, np.float32)
    target = np.ones_like(big)

    def best(f: Callable) -> float:
        times = []
        for _ in range(6):
            start = clock()
            f()
            times.append(clock() - start)
        return min(times)
    product = min(best(lambda: np.matmul(a, b, out=out)), best(lambda: torch.mm(ta, tb)))
    tb, tt = torch.from_numpy(big), torch.from_numpy(target)
    copy = min(best(lambda: np.copyto(target, big)), best(lambda: tt.copy_(tb)))
    return 2 * n**3 / product, 2 * big.nbytes / copy


def show(ops: list[Op], peak: float, rate: float) -> None:
    print(f"{'':15}{'calls':>6}{'GFLOP':>9}{'MB':>8}{'best ms':>9}   {'minigrad ms':>18}{'torch ms':>18}{'ratio':>7}"
          f"{'share of best':>18}")
    print(f"{'':47}   {'forward backward':>18}{'forward backward':>18}{'':7}{'minigrad   torch':>18}")
    for op in ops:
        ours, theirs, best = op.ms["minigrad"], op.ms["torch"], op.best(peak, rate)
        print(f"{op.name:15}{op.calls:6}{op.calls * sum(op.flops) / 1e9:9.2f}{op.calls * 4e-6 * sum(op.numbers):8.0f}"
              f"{best:9.1f}   {ours[0]:9.1f}{ours[1]:9.1f}{theirs[0]:9.1f}{theirs[1]:9.1f}"
              f"{sum(ours) / sum(theirs):7.2f}{best / sum(ours):10.0%}{best / sum(theirs):8.0%}")
    best, ours, theirs = (sum(op.best(peak, rate) for op in ops), sum(sum(op.ms["minigrad"]) for op in ops),
                          sum(sum(op.ms["torch"]) for op in ops))
    print(f"{'all':15}{'':23}{best:9.1f}   {ours:18.1f}{theirs:18.1f}{ours / theirs:7.2f}{best / ours:10.0%}"
          f"{best / theirs:8.0%}")


def plot(ops: list[Op], peak: float, rate: float, path: str) -> None:
    """The roofline: FLOP/s against FLOPs a byte. Above the slanted line memory is too slow, above the flat one the
    processor."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(figsize=(9, 6))
    x = np.logspace(-2, 3.5, 100)
    axes.loglog(x, np.minimum(peak, rate * x) / 1e9, color="black", linewidth=1)
    for name, marker in zip(ENGINES, "os", strict=True):
        points = [(sum(op.flops) / (4 * sum(op.numbers)), op.calls * sum(op.flops) / sum(op.ms[name]) / 1e6)
                  for op in ops]
        axes.loglog(*zip(*points, strict=True), marker, label=name, fillstyle="none")
        if name == ENGINES[0]:
            for op, point in zip(ops, points, strict=True):
                axes.annotate(op.name, point, textcoords="offset points", xytext=(6, 4), fontsize=8)
    axes.set_xlabel("FLOPs a byte")
    axes.set_ylabel("GFLOP/s")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def add_parser(commands) -> None:
    parser = commands.add_parser("profile", help="a training step op by op, against the machine's limits",
                                 description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=CONFIGS, default="small", help="default: small")
    parser.add_argument("--rounds", type=at_least(1), default=9, help="turns of each engine (default: 9)")
    parser.add_argument("--threads", type=at_least(1), default=cores(), help="of each engine (default: all)")
    parser.add_argument("--plot", type=new_file(".png", ".svg"), metavar="FILE",
                        help="also draw the roofline there (.png, .svg)")
    parser.add_argument("--json", type=new_file(), metavar="FILE", help="also write the figures there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import torch

    import minigrad
    from minigrad.kernels import blas, memory
    torch.set_num_threads(args.threads)
    minigrad.set_num_threads(args.threads)
    blas.set_threads(args.threads)
    blas.let_threads_sleep()                  # as in a training step; else they would disturb the other side, too
    memory.keep_freed_memory()                # likewise; torch's memory is kept, too, which in a step of its own is not
    global clock
    if args.threads == 1:
        clock = time.process_time             # other programs on the machine disturb it less
    config, batch = CONFIGS[args.config]
    peak, rate = machine_limits()
    print(f"{args.config}, float32, {args.threads} threads; {described()}")
    print(f"matrix products at most {peak / 1e9:.0f} GFLOP/s, copies {rate / 1e9:.1f} GB/s")
    ops = step_ops(config, batch)
    for op in ops:
        measure(op, args.rounds, parameters(config))
    show(ops, peak, rate)
    if args.plot:
        plot(ops, peak, rate, args.plot)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"machine": machine(), "threads": args.threads, "flops_per_second": peak,
                       "bytes_per_second": rate, "config": config.to_dict(), "batch": batch,
                       "ops": [{"op": op.name, "calls": op.calls, "flops": op.calls * sum(op.flops),
                                "bytes": 4 * op.calls * sum(op.numbers), "best_ms": op.best(peak, rate),
                                **{f"{name}_ms": op.ms[name] for name in ENGINES}} for op in ops]}, f, indent=2)
    return 0
