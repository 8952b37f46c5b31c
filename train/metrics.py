"""What happened: metrics.jsonl, the plot, TensorBoard.

A line is of a step that was made, {"step": s, "loss": ..., "lr": ..., "grad_norm": ...}, or of an evaluation after s
steps, {"step": s, "val_loss": ..., "train_loss": ..., "perplexity": ...}.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any

from minigrad.serialization import atomic_write
from train.errors import DiskError, UserError

Line = dict[str, Any]


def read(path: Path) -> list[Line]:
    """The lines of metrics.jsonl. The last one may have been cut off by whatever ended the run; it is left out."""
    lines = []
    if path.exists():
        for text in path.read_text("utf-8", "replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                lines.append(line)
    return lines


def summary_writer() -> type:
    """TensorBoard's."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("--tensorboard needs torch and tensorboard: pip install torch tensorboard, or leave it out; "
                        "metrics.jsonl and loss.png are written in any case") from None
    return SummaryWriter


class Metrics:
    """metrics.jsonl, to be added to. A disk that is full costs lines, not the run: they wait for the next time."""

    def __init__(self, folder: Path, resumed_at: int, evaluated: bool, tensorboard: bool = False) -> None:
        """Lines of what comes after the checkpoint are dropped: it is done again."""
        self.path, self._waiting = folder / "metrics.jsonl", ""
        kept = [line for line in read(self.path)
                if line["step"] < resumed_at or line["step"] == resumed_at and evaluated and "val_loss" in line]
        try:
            with atomic_write(self.path, "w") as file:
                file.writelines(map(_text, kept))
        except OSError as error:
            raise DiskError(f"{self.path} cannot be written: {error.strerror or error}") from error
        self._size = self.path.stat().st_size
        self._board = None
        if tensorboard:
            self._board = summary_writer()(str(folder / "tensorboard"), purge_step=resumed_at)

    def add(self, line: Line) -> None:
        self._waiting += _text(line)
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(self._waiting)
            self._size, self._waiting = self._size + len(self._waiting), ""          # it is ASCII
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self.path, self._size)                                    # no half lines
        if self._board is not None:
            for name, value in line.items():
                if name != "step" and value is not None:
                    self._board.add_scalar(name, value, line["step"])

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _text(line: Line) -> str:
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
    return json.dumps(finite) + "\n"


def plot(path: Path, runs: dict[str, list[Line]], references: dict[str, float] | None = None, title: str = "") -> None:
    """Loss, learning rate and gradient norm by step, of one run or of several."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    loss, lr, norm = figure.subplots(3, 1, sharex=True, height_ratios=(4, 1, 1))
    for i, (name, lines) in enumerate(runs.items()):
        prefix, color = (f"{name}: ", f"C{i}") if len(runs) > 1 else ("", "C0")
        style = {"linestyle": "--"} if i else {}                             # curves that coincide are both seen
        train = [(x["step"], x["loss"], x["lr"], x["grad_norm"]) for x in lines if x.get("loss") is not None]
        val = [(x["step"], x["val_loss"]) for x in lines if x.get("val_loss") is not None]
        if train:
            steps, losses, rates, norms = zip(*train)
            loss.plot(steps, losses, color=color, alpha=0.5, linewidth=1, label=f"{prefix}training", **style)
            lr.plot(steps, rates, color=color, **style)
            norm.plot(steps, norms, color=color, linewidth=1, **style)
        if val:
            loss.plot(*zip(*val), color=color if len(runs) > 1 else "C1", marker=".", label=f"{prefix}validation",
                      **style)
    for name, value in (references or {}).items():
        loss.axhline(value, color="gray", linestyle=":", linewidth=1)
        loss.annotate(f"{name} {value:.2f}", (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                      fontsize=8, color="gray")
    loss.set_title(title, fontsize=10)
    loss.set_ylabel("loss (nats per token)")
    lr.set_ylabel("learning rate")
    norm.set_ylabel("gradient norm")
    norm.set_xlabel("step")
    if loss.lines:
        loss.legend()
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)
