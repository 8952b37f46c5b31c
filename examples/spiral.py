"""A first network: tell the arms of a spiral apart.

    python examples/spiral.py                  # a few seconds; the picture lands in runs/spiral.png
    python examples/spiral.py --arms 5 --steps 1000

Read it from `main` up. Replace `minigrad` by `torch` and it runs there too.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import minigrad as mg
import minigrad.nn.functional as F
from minigrad import nn, optim


def spirals(arms: int, points: int, noise: float) -> tuple[mg.Tensor, mg.Tensor]:
    """`points` points on each arm: positions (N, 2) in about [-1, 1]^2, and the arm each lies on (N,)."""
    radius = mg.linspace(0.05, 1, points).repeat(arms)                            # (N,)
    arm = mg.arange(arms).repeat_interleave(points)                               # (N,)
    angle = 2 * np.pi * (1.75 * radius + arm / arms)                              # 1.75 turns, the arms evenly apart
    xy = mg.stack([radius * angle.cos(), radius * angle.sin()], dim=1)            # (N, 2)
    return xy + noise * mg.randn(xy.shape), arm


def mlp(hidden: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, hidden), nn.GELU(),
        nn.Linear(hidden, hidden), nn.GELU(),
        nn.Linear(hidden, classes),
    )


def accuracy(model: nn.Module, x: mg.Tensor, y: mg.Tensor) -> float:
    with mg.no_grad():
        return (model(x).argmax(dim=-1) == y).float().mean().item()


def train(model: nn.Module, x: mg.Tensor, y: mg.Tensor, steps: int, lr: float) -> None:
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    progress = tqdm(range(steps), desc="training", unit="step")
    for step in progress:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 0 or step == steps - 1:
            progress.set_postfix(loss=f"{loss.item():.3f}", accuracy=f"{accuracy(model, x, y):.1%}")


def draw(model: nn.Module, x: mg.Tensor, y: mg.Tensor, path: Path, side: int = 240) -> None:
    """What the network believes about every point of the plane, under the points it has not seen."""
    span = mg.linspace(-1.25, 1.25, side)
    grid = mg.stack([span.repeat(side), span.repeat_interleave(side)], dim=1)     # (side * side, 2)
    with mg.no_grad():
        belief = F.softmax(model(grid), dim=-1)                                   # (side * side, classes)
    sure, arm = belief.max(dim=-1)

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    colours = {"cmap": "tab10", "vmin": 0, "vmax": 9}
    axes.imshow(arm.reshape(side, side).numpy(), alpha=(0.6 * sure**2).reshape(side, side).numpy(),
                extent=(-1.25, 1.25, -1.25, 1.25), origin="lower", **colours)
    axes.scatter(x[:, 0].numpy(), x[:, 1].numpy(), c=y.numpy(), s=12, edgecolors="white", linewidths=0.4, **colours)
    axes.set(xticks=[], yticks=[], title=f"{accuracy(model, x, y):.1%} of {len(x)} unseen points")
    figure.savefig(path, dpi=120)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def at_least(low: float, kind: type = int):
    """An argparse type: a number of this kind, not below `low`."""

    def parse(text: str) -> float:
        value = kind(text)
        if not low <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not in the range {low} and up")
        return value

    parse.__name__ = kind.__name__                      # argparse names the type in "invalid int value"
    return parse


def main() -> None:
    parser = Parser(description="Train a small network, on NumPy alone, to tell the arms of a spiral apart.",
                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--arms", type=at_least(2), default=3, help="arms of the spiral, one class each")
    parser.add_argument("--points", type=at_least(10), default=200, help="points on each arm")
    parser.add_argument("--noise", type=at_least(0, float), default=0.02, help="how far the points stray")
    parser.add_argument("--hidden", type=at_least(1), default=64, help="width of the two hidden layers")
    parser.add_argument("--steps", type=at_least(1), default=400, help="steps of AdamW, each on all training points")
    parser.add_argument("--lr", type=at_least(0, float), default=0.01, help="learning rate")
    parser.add_argument("--seed", type=at_least(0), default=1, help="seed; the same seed gives the same run")
    parser.add_argument("--out", type=Path, default=Path("runs/spiral.png"), help="where the picture goes")
    args = parser.parse_args()
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"cannot write {args.out}: {error.strerror}")

    mg.manual_seed(args.seed)
    x, y = spirals(args.arms, args.points, args.noise)
    seen, unseen = mg.randperm(len(x)).split([len(x) - len(x) // 4, len(x) // 4])
    model = mlp(args.hidden, args.arms)
    print(f"{args.arms} arms, {len(seen)} points to learn from, {len(unseen)} to be tested on; "
          f"{sum(p.numel() for p in model.parameters()):,} parameters")

    train(model, x[seen], y[seen], args.steps, args.lr)
    print(f"accuracy on the unseen points: {accuracy(model, x[unseen], y[unseen]):.1%}")
    try:
        draw(model, x[unseen], y[unseen], args.out)
    except (OSError, ValueError) as error:              # ValueError: a suffix that no picture format has
        sys.exit(f"cannot write {args.out}: {error}")
    print(f"what it learned: {args.out}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nstopped")
