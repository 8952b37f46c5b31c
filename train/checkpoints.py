"""What must not be lost, and how it is kept.

    runs/NAME/
        config.toml                 every setting, as it was effective
        config.json, tokenizer...   with model.safetensors, the best so far, a model's folder: python -m gpt reads it
        model.safetensors
        metrics.jsonl, loss.png     what happened
        checkpoints/step-00000500/
            model.safetensors, config.json, tokenizer...
            optimizer.safetensors   exp_avg.NAME and exp_avg_sq.NAME by parameter
            state.json              step, best, settings, data, and a checksum of each file

A checkpoint is written into a folder of another name, every file synced, and renamed when it is whole. The schedule,
the position in the data and the random draws all follow from the step's number and the seed (see data.py, loop.py),
so that they are kept by being written down in state.json, and are the same for any engine and any number of ranks.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.serialization import load_json, load_safetensors, save_json
from minigrad.serialization.safetensors import save_arrays
from train.errors import DiskError, UserError

FORMAT = 1
NAME = re.compile(r"step-(\d{8,})")
WRITTEN = {"model.safetensors", "config.json", "config.toml", "metrics.jsonl", "loss.png"}
Arrays = dict[str, np.ndarray]


@dataclass
class Checkpoint:
    path: Path
    state: dict[str, Any]

    @property
    def step(self) -> int:
        return self.state["step"]

    def weights(self) -> Arrays:
        return _arrays(self.path / "model.safetensors")

    def moments(self) -> Arrays:
        return _arrays(self.path / "optimizer.safetensors")


def _arrays(path: Path) -> Arrays:
    return {name: t.array for name, t in load_safetensors(path).items()}


# ---- the folder of a run -----------------------------------------------------------------------------------------

@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder is ours, or another process's: then it is refused. However a process ends, its lock ends with it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "a+b", buffering=0)  # noqa: SIM115 (it is closed by the with below)
    except OSError as error:
        raise UserError(f"{folder} cannot be written to ({error.strerror}): give --out a folder of yours") from None
    with file:
        try:
            _lock(file)
        except OSError:
            file.seek(0)
            who = file.read().decode("utf-8", "replace").strip() or "who, it does not say"
            raise UserError(f"another run is training in {folder} ({who}): wait for it, or give --out another folder"
                            ) from None
        with contextlib.suppress(OSError):                 # a full disk: the name is only for the message
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield


def _lock(file: Any) -> None:
    try:
        import fcntl
    except ImportError:                                    # Windows
        import msvcrt
        file.seek(1 << 30)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def found(folder: Path) -> list[Path]:
    """The checkpoints of a run, newest first, whole or not."""
    folder = folder / "checkpoints"
    try:
        names = [p for p in folder.iterdir() if NAME.fullmatch(p.name)] if folder.is_dir() else []
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from None
    return sorted(names, key=lambda p: int(NAME.fullmatch(p.name)[1]), reverse=True)


def strangers(folder: Path) -> list[str]:
    """What a new run would write over, and is not what one left that ended before its first checkpoint."""
    try:
        names = {p.name for p in folder.iterdir() if p.is_file()} if folder.is_dir() else set()
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}): give --out a folder of yours") from None
    if ".lock" in names:
        names &= {"model.safetensors"}                     # its checkpoints were deleted, and its weights were not
    return sorted(n for n in names if n in WRITTEN or n.startswith("tokenizer"))


def tidy(folder: Path) -> None:
    """Remove what a killed process left half-written or half-deleted."""
    for path in (folder / "checkpoints").glob(".*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


# ---- writing ------------------------------------------------------------------------------------------------------

def save(folder: Path, step: int, weights: Arrays, moments: Arrays, state: dict[str, Any],
         describe: Callable[[Path], None]) -> Path:
    """Write a checkpoint, whole or not at all; `describe` adds the model's configuration and tokenizer."""
    path = folder / "checkpoints" / f"step-{step:08d}"
    if path.exists():
        return path                      # the same step of the same run: the same weights
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial := path.with_name(f".{path.name}.partial"), weights, moments, state | {"step": step}, describe)
        os.rename(partial, path)
        _sync(path.parent)
    except OSError as error:
        raise DiskError(f"the checkpoint of step {step} could not be written to {folder}: {error.strerror or error}"
                        ) from error
    return path


def write(path: Path, weights: Arrays, moments: Arrays, state: dict[str, Any],
          describe: Callable[[Path], None]) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        save_arrays(weights, path / "model.safetensors", {"format": "pt"})
        save_arrays(moments, path / "optimizer.safetensors", {"format": "pt"})
        describe(path)
        sums = {p.name: _checksum(p) for p in sorted(path.iterdir())}
        state = {"format": FORMAT, **state, "files": sums}
        save_json({**state, "sum": _sum(state)}, path / "state.json")
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _sum(state: dict[str, Any]) -> str:
    """A checksum of what state.json says."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def prune(folder: Path, keep: int, best: int | None) -> None:
    """Keep the newest `keep`, and the best."""
    for path in found(folder)[keep:]:
        if int(NAME.fullmatch(path.name)[1]) != best:
            doomed = path.with_name(f".{path.name}.gone")
            with contextlib.suppress(OSError):
                os.rename(path, doomed)
                shutil.rmtree(doomed, ignore_errors=True)


def publish(folder: Path, checkpoint: Path) -> None:
    """The run's folder has the weights of this checkpoint: the same file under a second name, where links exist."""
    source, target = checkpoint / "model.safetensors", folder / "model.safetensors"
    temporary = folder / f".{target.name}.{os.getpid()}.tmp"
    try:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        os.replace(temporary, target)
        temporary.unlink(missing_ok=True)                  # replace() leaves it if both are one file already
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DiskError(f"{target} could not be written: {error.strerror or error}") from error


# ---- reading ------------------------------------------------------------------------------------------------------

def newest(folder: Path, say: Callable[[str], None]) -> Checkpoint:
    """The newest checkpoint that is whole. Damaged ones are put aside, and it is said."""
    for path in found(folder):
        try:
            return read(path)
        except ValueError as error:
            say(f"{path} is damaged ({error}): the checkpoint before it is used")
            aside = path.with_name(path.name + ".damaged")
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(path, aside)
    raise UserError(f"{folder} has no checkpoint to resume from")


def read(path: Path) -> Checkpoint:
    try:
        state = load_json(path / "state.json")
        if state["format"] != FORMAT:
            raise ValueError(f"format {state['format']}, expected {FORMAT}")
        if state.pop("sum") != _sum(state):
            raise ValueError("the checksum of state.json does not match")
        for name, sum in state["files"].items():
            if _checksum(path / name) != sum:
                raise ValueError(f"the checksum of {name} does not match")
        if type(state["step"]) is not int or not {"model.safetensors", "optimizer.safetensors"} <= set(state["files"]):
            raise ValueError("state.json is incomplete")
    except (OSError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"state.json lacks {error}" if isinstance(error, KeyError) else str(error)) from None
    return Checkpoint(path, state)
