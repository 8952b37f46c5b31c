"""python -m bench decode: text from GPT-2, token by token, beside torch's eager mode and beside the memory's speed.

One new token needs every weight once, for one product with a vector: it cannot take less time than reading them. That
is the bound, measured by reading the very weights with the same threads (the largest element of each: about the
least that can be done with a number). For the record there is also the rate of a copy.

Both engines have the same weights, in the same memory, and generate greedily from the same prompt, with the cache, by
gpt.generate. They take turns of a few tokens, after one that is not timed, and each turn reads the weights once for
the bound. Quoted are medians over the turns, and of the turns' ratios with their quartiles. The tokens must agree, or
there is no result.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bench.arguments import at_least, names_of, new_file
from bench.machine import cores, described
from bench.timing import quartiles
from gpt.config import CONFIGS, Config

SIDES = "minigrad", "torch"
BARS = {"torch": 1.0, "bound": 0.7}                 # minigrad's speed over theirs, at least


def add_parser(commands) -> None:
    parser = commands.add_parser("decode", help="tokens a second beside torch eager and the memory's bandwidth",
                                 description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", type=names_of(CONFIGS), default="book-124M",
                        help=f"of {', '.join(CONFIGS)} (default: book-124M)")
    for name, what in (("n_layers", "layers"), ("emb_dim", "width"), ("n_heads", "heads"), ("vocab_size", "vocabulary"),
                       ("context_length", "context")):
        parser.add_argument(f"--{what}", dest=name, type=int, metavar="N", help="instead of the configuration's")
    parser.add_argument("--prompt", type=at_least(1), default=128, metavar="N",
                        help="tokens of the prompt (default: 128)")
    parser.add_argument("--new", type=int, default=256, metavar="N", help="tokens to generate (default: 256)")
    parser.add_argument("--turn", type=at_least(1), default=8, metavar="N", help="tokens of a turn (default: 8)")
    parser.add_argument("--uncached", type=at_least(0), default=4, metavar="N",
                        help="tokens to generate without the cache, too (default: 4)")
    parser.add_argument("--threads", type=at_least(1), default=cores(),
                        help="of each side (default: all)")
    parser.add_argument("--json", type=new_file(), metavar="FILE", help="also write the figures there")
    parser.set_defaults(run=run, error=parser.error)


@dataclass
class Figures:
    """Seconds, by side: for the prompt, and per token of each turn; per pass over the weights, and per copy."""

    weights: int                                    # bytes that a token reads
    prompt: dict[str, float] = field(default_factory=dict)
    token: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in (*SIDES, "bound", "copy")})
    uncached: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in SIDES})
    same: bool = True

    def ratio(self, to: str) -> tuple[float, float, float]:
        """minigrad's speed over another's: median and quartiles of the turns."""
        pairs = zip(self.token[to], self.token["minigrad"], strict=True)
        lower, middle, upper = quartiles([other / ours for other, ours in pairs])
        return middle, lower, upper

    def ok(self) -> bool:
        return self.same and all(self.ratio(to)[0] >= bar for to, bar in BARS.items())

    def to_dict(self) -> dict[str, Any]:
        return {"weight_bytes_per_token": self.weights, "same_tokens": self.same, "bars": BARS, "ok": self.ok(),
                "prompt_seconds": self.prompt,
                "tokens_per_second": {s: 1 / statistics.median(t) for s, t in self.token.items() if s != "copy"},
                "uncached_tokens_per_second": {s: 1 / statistics.median(t) for s, t in self.uncached.items() if t},
                "read_bytes_per_second": self.weights / statistics.median(self.token["bound"]),
                "copy_bytes_per_second": self.weights / statistics.median(self.token["copy"]),
                "speed_over": {to: dict(zip(("median", "lower_quartile", "upper_quartile"), self.ratio(to),
                                            strict=True)) for to in BARS},
                "seconds_per_token_by_turn": self.token}


# ---- the sides ---------------------------------------------------------------------------------------------------

def models(config: Config) -> dict[str, Any]:
    """The same random weights on both engines, in one memory."""
    import torch

    import gpt.gpt2
    import gpt.mirror.engine
    import gpt.mirror.gpt2
    from gpt.engine import no_init

    with no_init():
        ours = gpt.gpt2.GPT2(config).eval()
    # Drawing 163 million numbers takes seconds; one million do, over and over: their number is a prime, so that no
    # two rows of a matrix are the same.
    some = np.random.default_rng(0).standard_normal(1_000_003, dtype=np.float32) * 0.02
    for name, p in ours.named_parameters():
        flat = p.detach().numpy().reshape(-1)
        for start in range(0, flat.size, some.size):
            flat[start:start + some.size] = some[:flat.size - start]
        if name.endswith("bias"):
            flat[:] = 0
        elif "norm" in name:
            flat[:] = 1
    with gpt.mirror.engine.no_init():
        theirs = gpt.mirror.gpt2.GPT2(config).eval()
    theirs.load_state_dict({name: torch.from_numpy(t.numpy()) for name, t in ours.state_dict().items()}, assign=True)
    return {"minigrad": ours, "torch": theirs}


def read_weights(model: Any) -> list[np.ndarray]:
    """What one token needs of the weights: all but the embeddings, of which it looks up a row; the head may be one."""
    head = model.out_head.weight
    return [p.detach().numpy() for name, p in model.named_parameters() if p is head or "emb." not in name]


def readers(weights: list[np.ndarray], threads: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Functions that read all the weights once, and that copy them, by so many threads."""
    pool = ThreadPoolExecutor(threads)
    pieces = [piece for w in weights for piece in np.array_split(w.reshape(-1), threads)]
    shares = [pieces[i::threads] for i in range(threads)]
    room = [np.empty(max(p.size for p in share), np.float32) for share in shares]

    def read(i: int) -> None:
        for piece in shares[i]:
            piece.max()

    def copy(i: int) -> None:
        for piece in shares[i]:
            np.copyto(room[i][:piece.size], piece)

    def all_of(work: Callable[[int], None]) -> Callable[[], None]:
        return lambda: [None for _ in pool.map(work, range(threads))] and None

    return all_of(read), all_of(copy)


def seconds(f: Callable[[], Any]) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def measure(config: Config, prompt: int, new: int, turn: int, uncached: int, threads: int) -> Figures:
    import torch

    import gpt.generate
    import gpt.mirror.generate
    import minigrad

    torch.set_num_threads(threads)
    minigrad.set_num_threads(threads)
    sides = models(config)
    weights = read_weights(sides["minigrad"])
    figures = Figures(sum(w.nbytes for w in weights))
    read, copy = readers(weights, threads)
    generators = {"minigrad": gpt.generate, "torch": gpt.mirror.generate}
    ids = [np.random.default_rng(1).integers(0, config.vocab_size, prompt).tolist()]
    tokens: dict[str, list[int]] = {s: [] for s in SIDES}

    def take(steps: Iterator[list[int]], side: str, n: int) -> float:
        return seconds(lambda: tokens[side].extend(id for id, in itertools.islice(steps, n)))

    # A short run first warms up what is only done once; then the first token is the prompt's, and is no turn's.
    streams = {}
    for side, model in sides.items():
        generators[side].generate(model, ids, 2)
        streams[side] = generators[side].stream(model, ids, new)
        figures.prompt[side] = take(streams[side], side, 1)
    for i in range((new - 1) // (turn + 1)):
        for side in (SIDES if i % 2 else SIDES[::-1]):
            take(streams[side], side, 1)            # the other side's threads may still wait for work, and be busy so
            figures.token[side].append(take(streams[side], side, turn) / turn)
        figures.token["bound"].append(seconds(read))
        figures.token["copy"].append(seconds(copy))
    figures.same = tokens["minigrad"] == tokens["torch"]

    plain = {side: generators[side].stream(model, ids, uncached, cache=False) for side, model in sides.items()}
    cached, tokens = tokens, {s: [] for s in SIDES}
    for _ in range(uncached):
        for side in SIDES:
            figures.uncached[side].append(take(plain[side], side, 1))
    figures.same &= all(tokens[side] == cached[side][:uncached] for side in SIDES)
    return figures


# ---- the command -------------------------------------------------------------------------------------------------

def run(args: argparse.Namespace) -> int:
    given = {f: getattr(args, f) for f in ("n_layers", "emb_dim", "n_heads", "vocab_size", "context_length")}
    if args.new < args.turn + 2:
        args.error(f"--new must be at least {args.turn + 2}, for one turn of {args.turn} tokens, not {args.new}")
    try:
        configs = {name: replace(CONFIGS[name], **{f: n for f, n in given.items() if n is not None})
                   for name in args.configs}
    except ValueError as error:
        args.error(str(error))
    if any(args.prompt + args.new > config.context_length for config in configs.values()):
        args.error("the prompt and the new tokens must fit into the context: past it, all is recomputed")
    print(f"tokens a second, batch 1, float32, {args.threads} threads; prompt {args.prompt}, {args.new} new, turns of "
          f"{args.turn}; {described()}")
    found = {}
    for name, config in configs.items():
        figures = found[name] = measure(config, args.prompt, args.new, args.turn, args.uncached, args.threads)
        _show(name, figures)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({name: figures.to_dict() for name, figures in found.items()}, f, indent=2)
    return 0 if all(figures.ok() for figures in found.values()) else 1


def _show(name: str, figures: Figures) -> None:
    d = figures.to_dict()
    print(f"\n{name}: {figures.weights / 1e6:.0f} MB of weights a token; "
          f"read at {d['read_bytes_per_second'] / 1e9:.1f} GB/s, copied at {d['copy_bytes_per_second'] / 1e9:.1f} GB/s")
    print(f"{'':10}{'tok/s':>8}   {'quartiles':16}{'prompt, s':>11}{'without cache, tok/s':>23}")
    for side in (*SIDES, "bound"):
        low, middle, high = (1 / t for t in reversed(quartiles(figures.token[side])))
        line = f"{side:10}{middle:>8.2f}   {f'{low:.2f} to {high:.2f}':16}"
        if side in SIDES:
            line += f"{figures.prompt[side]:>11.2f}"
            if side in d["uncached_tokens_per_second"]:
                line += f"{d['uncached_tokens_per_second'][side]:>23.2f}"
        print(line.rstrip())
    for to, bar in BARS.items():
        middle, low, high = figures.ratio(to)
        print(f"minigrad / {to:6}{middle:>8.2f}   {f'{low:.2f} to {high:.2f}':16} (bar: at least {bar:.2f})")
    if not figures.same:
        print("VOID: the tokens differ")
