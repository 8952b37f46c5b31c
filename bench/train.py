"""python -m bench train: a training step of GPT-2 beside torch's, in time and in memory.

Each side is a process of its own, with the same weights, tokens and number of threads; they take turns, a few steps
each, so that whatever else the machine does falls on all of them. Quoted are the medians and their ratio, which the
bars are about; and the quartiles of each turn's ratio. The losses must agree, or there is no result.

    minigrad        NumPy
    torch           eager, with the fused AdamW
    compile         the same under torch.compile
    torch-chunked   eager, with F.linear_cross_entropy in chunks in the place of the head and cross_entropy
    bound           what no implementation can leave out: the matrix products by NumPy, and the optimizer's traffic
    torch-bound     the same by torch: what is between the two is, for the most part, their BLAS
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from bench import peers, trainee
from bench.arguments import at_least, names_of, new_file
from bench.machine import cores, described, machine
from bench.task import CONFIGS, flops, parameters
from bench.timing import quartiles
from gpt.config import GPT2Config

BARS = {"char": (1.00, 0.40), "small": (0.95, 0.70), "book": (0.90, 0.85)}      # ratios to torch: time, memory
STEPS = {"char": 20, "small": 5, "book": 3}       # steps a turn: the first may find its memory reclaimed


def add_parser(commands) -> None:
    parser = commands.add_parser("train", help="a training step beside torch eager and torch.compile",
                                 description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", type=names_of(CONFIGS), default="char,small",
                        help="of char, small, book (default: char,small)")
    parser.add_argument("--sides", type=names_of(trainee.SIDES), default="minigrad,torch,compile,bound,torch-bound",
                        help="of " + ", ".join(trainee.SIDES))
    parser.add_argument("--rounds", type=at_least(1), default=11, help="turns of each side (default: 11)")
    parser.add_argument("--threads", type=at_least(1), default=cores(), help="of each side (default: all)")
    parser.add_argument("--dropout", type=float, default=0.0, help="probability (default: 0)")
    parser.add_argument("--scale", action="store_true", help="instead: sweep context, width, layers and batch")
    parser.add_argument("--plot", type=new_file(".png", ".svg"), metavar="FILE",
                        help="with --scale: also draw the sweeps there (.png, .svg)")
    parser.add_argument("--peers", action="store_true", help="on char also HIPS autograd and tinygrad, where installed")
    parser.add_argument("--clip", action="store_true", help="clip the gradients' norm")
    parser.add_argument("--json", type=new_file(), metavar="FILE", help="also write the figures there")
    parser.set_defaults(run=run, error=parser.error)


class Side:
    """A process that takes steps."""

    def __init__(self, name: str, config: GPT2Config, batch: int, threads: int, clip: bool):
        given = {"side": name, "config": config.to_dict(), "batch": batch, "threads": threads, "clip": clip}
        variables = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL")}
        self.process = subprocess.Popen([sys.executable, "-m", "bench.trainee", json.dumps(given)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | variables)
        self.name, self.turns, self.losses, self.cpu, self.peak = name, [], [], [], 0

    def take(self, steps: int) -> None:
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the process of {self.name} ended: see above")
        answer = json.loads(answer)
        self.turns.append(statistics.median(answer["times"]))
        self.losses += answer["losses"]
        self.cpu.append(answer["cpu"])
        self.peak = answer["peak"]

    def close(self) -> None:
        with suppress(BrokenPipeError):          # it ended before it read what it was to do
            self.process.stdin.close()
        self.process.wait()


@dataclass
class Result:
    """What one side took: seconds a step, its spread, processor seconds, bytes at the peak; ratios to torch."""

    side: str
    seconds: float
    quartiles: tuple[float, float]
    cpu_seconds: float
    peak_bytes: int
    tokens_per_second: float
    ratio: float | None = None
    turns: tuple[float, float, float] | None = None        # quartiles of the ratios, turn by turn
    cpu_ratio: float | None = None
    memory_ratio: float | None = None
    losses: list[float] = field(default_factory=list, repr=False)


def measure(config: GPT2Config, batch: int, sides: list[str], rounds: int, steps: int, threads: int,
            clip: bool = False) -> list[Result]:
    """Let the sides take turns."""
    running = []
    try:
        for name in sides:
            running.append(Side(name, config, batch, threads, clip))
        for i in range(rounds + 1):
            for side in running if i % 2 else running[::-1]:
                side.take(max(steps, 2) if i == 0 else steps)
    finally:
        for side in running:
            side.close()
    check_losses(running)
    torch = next((s for s in running if s.name == "torch"), None)
    return [_result(side, torch, batch * config.context_length) for side in running]


def check_losses(sides: list[Side]) -> None:
    """All sides learn alike, to single precision's rounding, which grows with the steps."""
    learning = [s for s in sides if not s.name.endswith("bound")]
    for side in learning[1:]:
        n = min(20, len(side.losses))
        apart = np.abs(np.subtract(side.losses[:n], learning[0].losses[:n])) / np.abs(learning[0].losses[:n])
        if not (apart < 1e-3).all():
            raise SystemExit(f"no result: after {int(np.argmin(apart < 1e-3))} steps the losses of {side.name} and "
                             f"{learning[0].name} differ: {side.losses[:n]}, {learning[0].losses[:n]}")


def _result(side: Side, torch: Side | None, tokens: int) -> Result:
    turns = side.turns[1:]                                     # the first one warms up
    low, seconds, high = quartiles(turns)
    result = Result(side.name, seconds, (low, high), statistics.median(side.cpu[1:]), side.peak, tokens / seconds,
                    losses=side.losses)
    if torch is not None:
        result = replace(result, ratio=seconds / statistics.median(torch.turns[1:]),
                         turns=quartiles([a / b for a, b in zip(turns, torch.turns[1:], strict=True)]),
                         cpu_ratio=statistics.median(a / b for a, b in zip(side.cpu[1:], torch.cpu[1:], strict=True)),
                         memory_ratio=side.peak / torch.peak)
    return result


def show(name: str, config: GPT2Config, batch: int, results: list[Result]) -> None:
    work = flops(config, batch)
    print(f"\n{name}: {config.n_layers} layers, width {config.emb_dim}, {config.n_heads} heads, context "
          f"{config.context_length}, batch {batch}, vocabulary {config.vocab_size}; "
          f"{parameters(config) / 1e6:.1f} M parameters, {work / 1e9:.1f} GFLOP a step")
    print(f"{'':15}{'ms a step':>10}{'CPU ms':>9}{'tokens/s':>10}{'GFLOP/s':>9}{'peak MB':>9}   ratios to torch: of "
          "medians; by turn: quartiles; CPU, memory")
    for r in results:
        ratios = "" if r.ratio is None else (f"{r.ratio:.2f}; {' '.join(f'{q:.2f}' for q in r.turns)}; "
                                             f"{r.cpu_ratio:.2f}, {r.memory_ratio:.2f}")
        print(f"{r.side:15}{r.seconds * 1e3:10.1f}{r.cpu_seconds * 1e3:9.0f}{r.tokens_per_second:10.0f}"
              f"{work / r.seconds / 1e9:9.0f}{r.peak_bytes / 1e6:9.0f}   {ratios}", flush=True)
    by_side = {r.side: r for r in results}
    if "minigrad" in by_side and "bound" in by_side:
        print(f"the bound is {by_side['bound'].seconds / by_side['minigrad'].seconds:.0%} of minigrad's step")


# ---- sweeps ------------------------------------------------------------------------------------------------------

def sweeps() -> dict[str, list[tuple[int, GPT2Config, int]]]:
    """What is varied: its values, each with a configuration and a batch size."""
    base = GPT2Config(vocab_size=1024, context_length=256, emb_dim=384, n_heads=6, n_layers=2, drop_rate=0.0)
    return {"context": [(T, replace(base, context_length=T), 1) for T in (256, 512, 1024, 2048, 4096)],
            "width": [(C, replace(base, emb_dim=C, n_heads=C // 64), 2) for C in (128, 256, 512, 1024)],
            "layers": [(L, replace(base, n_layers=L), 2) for L in (1, 2, 4, 8)],
            "batch": [(B, base, B) for B in (1, 2, 4, 8)]}


def scale(args: argparse.Namespace) -> dict:
    """Time and memory of both engines along each sweep."""
    figures: dict[str, list] = {}
    for name, points in sweeps().items():
        print(f"\n{name:10}{'minigrad ms':>13}{'torch ms':>10}{'ratio':>7}{'minigrad MB':>13}{'torch MB':>10}"
              f"{'ratio':>7}")
        for value, config, batch in points:
            ours, theirs = measure(config, batch, ["minigrad", "torch"], args.rounds, 1, args.threads, args.clip)
            print(f"{value:10}{ours.seconds * 1e3:13.1f}{theirs.seconds * 1e3:10.1f}{ours.ratio:7.2f}"
                  f"{ours.peak_bytes / 1e6:13.0f}{theirs.peak_bytes / 1e6:10.0f}{ours.memory_ratio:7.2f}", flush=True)
            figures.setdefault(name, []).append({"value": value, "results": [vars(ours), vars(theirs)]})
    if args.plot:
        _plot_scale(figures, args.plot)
    return figures


def _plot_scale(figures: dict[str, list], path: str) -> None:
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(2, len(figures), figsize=(4 * len(figures), 7), squeeze=False)
    for column, (name, points) in zip(axes.T, figures.items(), strict=True):
        for side, marker in ((0, "o"), (1, "s")):
            results = [p["results"][side] for p in points]
            for place, values in ((column[0], [r["seconds"] * 1e3 for r in results]),
                                  (column[1], [r["peak_bytes"] / 1e6 for r in results])):
                place.plot([p["value"] for p in points], values, marker, linestyle="-", label=results[0]["side"],
                           fillstyle="none")
                place.set_xlabel(name)
        for place in column:
            place.set_ylim(bottom=0)                    # only now: it ends the search for limits that all lines fit in
        column[0].set_ylabel("ms a step")
        column[1].set_ylabel("peak MB")
        column[0].legend()
    figure.tight_layout()
    figure.savefig(path)


# ---- the command -------------------------------------------------------------------------------------------------

def run(args: argparse.Namespace) -> int:
    if args.plot and not args.scale:
        args.error("--plot draws the sweeps: give --scale, too")
    if not 0 <= args.dropout < 1:
        args.error(f"--dropout is a probability from 0 to below 1, not {args.dropout}")
    print(f"float32, {args.threads} threads; {described()}", flush=True)
    figures, missed = {}, False
    if args.scale:
        figures = scale(args)
        args.configs = []
    for name in args.configs:
        config, batch = CONFIGS[name]
        config = replace(config, drop_rate=args.dropout)
        sides = list(args.sides)
        if args.peers and name == "char":
            for peer in peers.PEERS:
                if reason := peers.missing(peer):
                    print(f"without {peer}: {reason}")
                else:
                    sides.append(peer)
        results = measure(config, batch, sides, args.rounds, STEPS[name], args.threads, args.clip)
        show(name, config, batch, results)
        ours = next((r for r in results if r.side == "minigrad"), None)
        if ours and ours.ratio is not None:
            bars = BARS[name]
            print(f"bars: time {ours.ratio:.2f} of at most {bars[0]:.2f}, memory {ours.memory_ratio:.2f} of at most "
                  f"{bars[1]:.2f}")
            missed |= ours.ratio > bars[0] or ours.memory_ratio > bars[1]
        figures[name] = {"config": config.to_dict(), "batch": batch, "results": [vars(r) for r in results]}
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"machine": machine(), "threads": args.threads, "figures": figures}, f, indent=2)
    return int(missed)
