"""One side of `python -m bench train`: a process that builds a model, and takes training steps when it is told to.

It reads one command a line and answers with one line of JSON: a number n asks for n steps (their times in seconds and
their losses, the time of the processor, and the peak of resident memory so far); the end of the input ends it. The
sides thus take turns, and while one works the others wait in a read.

Engines train the same model on the same tokens from the same weights. A bound does, of the same step, only what no
implementation can leave out: the matrix products, and the optimizer's traffic.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench import peers
from bench.task import MAX_NORM, SETTINGS, batches, parameters, products
from gpt.config import GPT2Config


def minigrad_step(config: GPT2Config, batch: int, clip: bool) -> Callable[[], float]:
    import gpt
    import minigrad
    from minigrad.nn.utils import clip_grad_norm_
    minigrad.manual_seed(0)
    model = gpt.build(config, "numpy")
    return _step(minigrad, model, minigrad.optim.AdamW(model.parameters(), **SETTINGS), clip and clip_grad_norm_,
                 batches(config, batch), True)


def torch_step(config: GPT2Config, batch: int, clip: bool, compiled: bool = False,
               chunked: bool = False) -> Callable[[], float]:
    import torch
    from torch.nn.utils import clip_grad_norm_

    import gpt
    torch.manual_seed(0)
    model = gpt.build(config, "torch")
    optimizer = torch.optim.AdamW(model.parameters(), fused=True, **SETTINGS)
    if compiled:
        model = torch.compile(model)
    return _step(torch, model, optimizer, clip and clip_grad_norm_, batches(config, batch), chunked)


def _step(engine, model, optimizer, clip, data: Iterator, chunked: bool) -> Callable[[], float]:
    """One step of training, as any script for torch would write it. `chunked`: the head and the loss as one function,
    which need not hold all logits."""
    F, parameters = engine.nn.functional, list(model.parameters())

    def step() -> float:
        ids, targets = map(engine.from_numpy, next(data))
        optimizer.zero_grad()
        if chunked:
            x = model.features(ids).flatten(0, 1)                         # (B, T, C) -> (B T, C)
            loss = F.linear_cross_entropy(x, model.out_head.weight, targets.flatten())
        else:
            loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
        loss.backward()
        if clip:
            clip(parameters, MAX_NORM)
        optimizer.step()
        return loss.item()
    return step


# ---- the bound ---------------------------------------------------------------------------------------------------

def torch_bound_step(config: GPT2Config, batch: int, clip: bool) -> Callable[[], float]:
    import torch
    return bound_step(config, batch, clip, torch)


def bound_step(config: GPT2Config, batch: int, clip: bool, engine=np) -> Callable[[], float]:
    """The step's products alone, each into memory that is there already; and a copy of as many bytes as AdamW must
    move: it reads gradient, weight and two moments, and writes all but the gradient. NumPy and torch have the same
    names for all of it."""
    rng = np.random.default_rng(0)

    def matrix(*shape: int):
        return engine.asarray(rng.standard_normal(shape, np.float32))
    work = []
    for count, m, k, n in products(config, batch):
        operands = matrix(m, k), matrix(n, k), matrix(m, n)
        work.append((count, operands, [engine.empty_like(a) for a in operands]))
    T, D, heads = config.context_length, config.head_dim, batch * config.n_heads
    half = (T + 1) // 2                          # the causal half of a T x T product: as many rows as make half of it
    q, k, scores = matrix(heads, half, D), matrix(heads, T, D), matrix(heads, half, T)
    q_out, k_out, scores_out = (engine.empty_like(a) for a in (q, k, scores))
    source = matrix(min(parameters(config), 1 << 22))
    target = engine.ones_like(source)

    def step() -> float:
        for count, (x, w, y), (dx, dw, out) in work:
            for _ in range(count):
                engine.matmul(x, w.T, out=out)
                engine.matmul(y, w, out=dx)
                engine.matmul(y.T, x, out=dw)
        for _ in range(config.n_layers):
            for _ in range(3):                   # q k^T in both directions, and the gradient of the weights
                engine.matmul(q, k.mT, out=scores_out)
            for _ in range(2):                   # weights v, and the gradient of q
                engine.matmul(scores, k, out=q_out)
            for _ in range(2):                   # the gradients of k and v
                engine.matmul(scores.mT, q, out=k_out)
        left = 7 * parameters(config) / 2        # a copy reads and writes
        while left > 0:
            target[:] = source
            left -= len(source)
        return 0.0
    return step


# ---- the process -------------------------------------------------------------------------------------------------

SIDES: dict[str, Callable] = {
    "minigrad": minigrad_step,
    "torch": torch_step,
    "compile": lambda *given: torch_step(*given, compiled=True),
    "torch-chunked": lambda *given: torch_step(*given, chunked=True),
    "bound": bound_step,
    "torch-bound": torch_bound_step,
    "autograd": peers.autograd_step,
    "autograd-tuned": peers.autograd_tuned_step,
    "tinygrad": peers.tinygrad_step,
}


def peak_bytes() -> int:
    """The most memory that was resident at once."""
    status = Path("/proc/self/status")
    if status.exists():                          # of this program alone: ru_maxrss may be what the parent had
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    given = json.loads(sys.argv[1])
    threads = given["threads"]
    if given["side"] == "minigrad":
        import minigrad
        minigrad.set_num_threads(threads)
    elif given["side"].startswith(("torch", "compile")):
        import torch
        torch.set_num_threads(threads)
    step = SIDES[given["side"]](GPT2Config.from_dict(given["config"]), given["batch"], given["clip"])
    for line in sys.stdin:
        times, losses = [], []
        busy = time.process_time()
        for _ in range(int(line)):
            start = time.perf_counter()
            losses.append(step())
            times.append(time.perf_counter() - start)
        busy = time.process_time() - busy
        answer = {"times": times, "losses": losses, "cpu": busy / len(times), "peak": peak_bytes()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
