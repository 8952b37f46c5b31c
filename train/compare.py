"""python -m train compare: one configuration on both engines, side by side.

Seeds, weights, batches and dropout are the same, so the curves differ only by rounding, which training amplifies.
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import replace
from pathlib import Path

from train import metrics
from train.config import TrainConfig, add_flags, from_flags
from train.errors import UserError

DEFAULTS = dict(steps=100, eval_every=25, sample_every=0)


def add_parser(commands) -> None:
    p = commands.add_parser("compare", help="the same run on both engines, and how far apart they are",
                            description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(p)
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("torch") is None:
        raise UserError("comparing needs PyTorch beside NumPy: pip install torch")
    stopped_by = compare(from_flags(args, DEFAULTS))
    return 128 + stopped_by if stopped_by else 0


def compare(config: TrainConfig) -> int | None:
    """Train on both; print and draw the losses and their differences. Returns the signal that stopped it, if any."""
    from train.loop import free_folder, pretrain

    out = Path(config.out or free_folder(replace(config, data="compare")))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} is not an empty folder: give a new one")
    runs = {}
    for engine in ("numpy", "torch"):
        device = {"device": "cpu", "precision": "fp32"} if engine == "numpy" else {}
        result = pretrain(replace(config, engine=engine, out=str(out / engine), **device))
        runs[engine] = metrics.read(out / engine / "metrics.jsonl")
        if not result.finished:
            return result.signal
    said = [table(key, *({x["step"]: x[key] for x in lines if x.get(key) is not None} for lines in runs.values()))
            for key in ("loss", "val_loss")]
    metrics.plot(out / "compare.png", runs, title="\n".join(said))
    print(f"both curves: {out / 'compare.png'}")
    return None


def table(key: str, ours: dict[int, float], theirs: dict[int, float]) -> str:
    """Print some ten lines, and the largest difference, which is returned too."""
    steps = sorted(ours.keys() & theirs.keys())
    if not steps:
        return ""
    print(f"\n{'step':>8}{'numpy ' + key:>18}{'torch ' + key:>18}{'difference':>14}")
    for step in sorted({*steps[::max(len(steps) // 10, 1)], steps[-1]}):
        print(f"{step:>8}{ours[step]:>18.6f}{theirs[step]:>18.6f}{ours[step] - theirs[step]:>14.1e}")
    worst = max(steps, key=lambda s: abs(ours[s] - theirs[s]))
    said = f"largest difference of the {key}: {abs(ours[worst] - theirs[worst]):.1e}, at step {worst}"
    print(said)
    return said
