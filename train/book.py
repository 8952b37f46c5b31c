"""python -m train book: the pretraining run of *Build a Large Language Model (From Scratch)*, chapter 5, to the digit.

Seed 123, GPT-2's vocabulary, one short story. The printed losses depend on every random draw in between: the loaders
draw a 64-bit seed whenever they are iterated over, also by an evaluation, and dropout goes on from there. On the NumPy
engine the same stream gives the same losses, without torch.

--recipe D is appendix D's: the same with linear warm-up, cosine decay and clipped gradients.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gpt
from gpt.config import GPT2Config
from gpt.tokenizers import Tokenizer, get_tokenizer
from train import text
from train.errors import UserError

CONTEXT, BATCH, SEED = 256, 2, 123
START = "Every effort moves you"

GOLDEN = """\
Ep 1 (Step 000000): Train loss 9.781, Val loss 9.933
Ep 1 (Step 000005): Train loss 8.111, Val loss 8.339
Ep 2 (Step 000010): Train loss 6.661, Val loss 7.048
Ep 2 (Step 000015): Train loss 5.961, Val loss 6.616
Ep 3 (Step 000020): Train loss 5.726, Val loss 6.600
Ep 3 (Step 000025): Train loss 5.201, Val loss 6.348
Ep 4 (Step 000030): Train loss 4.417, Val loss 6.278
Ep 4 (Step 000035): Train loss 4.069, Val loss 6.226
Ep 5 (Step 000040): Train loss 3.732, Val loss 6.160
Ep 6 (Step 000045): Train loss 2.850, Val loss 6.179
Ep 6 (Step 000050): Train loss 2.427, Val loss 6.141
Ep 7 (Step 000055): Train loss 2.104, Val loss 6.134
Ep 7 (Step 000060): Train loss 1.882, Val loss 6.233
Ep 8 (Step 000065): Train loss 1.320, Val loss 6.238
Ep 8 (Step 000070): Train loss 0.985, Val loss 6.242
Ep 9 (Step 000075): Train loss 0.717, Val loss 6.293
Ep 9 (Step 000080): Train loss 0.541, Val loss 6.393
Ep 10 (Step 000085): Train loss 0.391, Val loss 6.452
""".splitlines()


@dataclass(frozen=True)
class Recipe:
    """Chapter 5's, unless said otherwise."""
    epochs: int = 10
    lr: float = 4e-4
    eval_every: int = 5
    eval_batches: int = 5
    warmup: int = 0
    low_lr: float = 0.0            # before the warm-up and after the decay
    clip: float = 0.0

    def learning_rate(self, step: int, steps: int) -> float:
        """The book's count: step 0 has low_lr, step `warmup` has lr, and low_lr would be one step after the last."""
        if not self.warmup:
            return self.lr
        if step < self.warmup:
            return self.low_lr + step * (self.lr - self.low_lr) / self.warmup
        progress = (step - self.warmup) / (steps - self.warmup)
        return self.low_lr + (self.lr - self.low_lr) * 0.5 * (1 + math.cos(math.pi * progress))


RECIPES = {"5": Recipe(), "D": Recipe(epochs=15, lr=1e-3, eval_batches=1, warmup=27, low_lr=1e-5, clip=1.0)}


@dataclass(frozen=True)
class Evaluation:
    epoch: int
    step: int
    train_loss: float
    val_loss: float
    lr: float

    def __str__(self) -> str:
        return (f"Ep {self.epoch + 1} (Step {self.step:06d}): Train loss {self.train_loss:.3f}, "
                f"Val loss {self.val_loss:.3f}")


def story(max_download: int = 200) -> str:
    return text.read("the-verdict", max_download)[0].text


def train(recipe: Recipe, verdict: str, tokenizer: Tokenizer, config: GPT2Config, engine: str = "numpy"
          ) -> Iterator[Evaluation | str]:
    """Evaluations, and the sample after each epoch, as they come."""
    torch = importlib.import_module("minigrad" if engine == "numpy" else "torch")
    generation = importlib.import_module("gpt.generate" if engine == "numpy" else "gpt.mirror.generate")
    torch.manual_seed(SEED)
    cut = int(0.9 * len(verdict))
    train_loader = loader(torch, tokenizer.encode(verdict[:cut]), config.context_length, shuffle=True)
    val_loader = loader(torch, tokenizer.encode(verdict[cut:]), config.context_length, shuffle=False)
    torch.manual_seed(SEED)
    model = gpt.build(config, engine)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=0.1)
    step, steps = 0, recipe.epochs * len(train_loader)
    for epoch in range(recipe.epochs):
        for ids, targets in train_loader:
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate(step, steps)
            optimizer.zero_grad()
            cross_entropy(torch, model, ids, targets).backward()
            if recipe.clip and step >= recipe.warmup:
                torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            if step % recipe.eval_every == 0:
                model.eval()
                with torch.no_grad():
                    losses = [mean_loss(torch, model, x, recipe.eval_batches) for x in (train_loader, val_loader)]
                model.train()
                yield Evaluation(epoch, step, *losses, group["lr"])
            step += 1
        ids = tokenizer.encode(START)
        yield tokenizer.decode(ids + generation.generate(model, [ids], 50)[0]).replace("\n", " ")


def loader(torch: Any, ids: list[int], context: int, shuffle: bool) -> Any:
    """Windows of the text that lie side by side, and the same one token further."""
    windows = [(torch.tensor(ids[i:i + context]), torch.tensor(ids[i + 1:i + context + 1]))
               for i in range(0, len(ids) - context, context)]
    data = importlib.import_module(f"{torch.__name__}.utils.data")
    return data.DataLoader(windows, batch_size=BATCH, shuffle=shuffle, drop_last=shuffle)


def cross_entropy(torch: Any, model: Any, ids: Any, targets: Any) -> Any:
    return torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), targets.flatten())


def mean_loss(torch: Any, model: Any, batches: Any, count: int) -> float:
    """Over the first `count` batches. Like the book's, it asks the loader for one more batch than it uses."""
    total, count = 0.0, min(count, len(batches))
    for i, (ids, targets) in enumerate(batches):
        if i == count:
            break
        total += cross_entropy(torch, model, ids, targets).item()
    return total / count


# ---- the command --------------------------------------------------------------------------------------------------

def add_parser(commands) -> None:
    p = commands.add_parser("book", help="the book's pretraining run, its printed losses to three decimals",
                            description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--engine", choices=("numpy", "torch"), default="numpy", help="what computes (default: numpy)")
    p.add_argument("--recipe", choices=tuple(RECIPES), default="5", help="chapter 5 or appendix D (default: 5)")
    p.add_argument("--evaluations", type=int, metavar="N", help="stop after N evaluations (default: all; chapter 5 has "
                   f"{len(GOLDEN)}, and takes a quarter of an hour)")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        tokenizer = get_tokenizer("gpt2")
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from None
    recipe, verdict, began = RECIPES[args.recipe], story(), time.perf_counter()
    if args.evaluations is not None and args.evaluations < 1:
        raise UserError(f"--evaluations must be positive, not {args.evaluations}")
    if args.engine == "torch" and importlib.util.find_spec("torch") is None:
        raise UserError("--engine torch needs PyTorch, which is not installed: use --engine numpy")
    print(f"on {args.engine}: a GPT-2 of 162 million parameters, {len(verdict):,} characters", flush=True)
    lines: list[str] = []
    for event in train(recipe, verdict, tokenizer, GPT2Config(context_length=CONTEXT), args.engine):
        print(event, flush=True)
        if isinstance(event, Evaluation):
            lines.append(str(event))
            if len(lines) == args.evaluations:
                break
    print(f"{time.perf_counter() - began:.0f} s")
    if args.recipe == "5":
        wrong = [f"    {line}\n    {golden}  (the book)" for line, golden in zip(lines, GOLDEN) if line != golden]
        print(f"{len(lines) - len(wrong)} of {len(lines)} lines are the book's", *wrong, sep="\n")
        return 1 if wrong else 0
    return 0
