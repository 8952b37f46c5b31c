"""The training loop, for both engines; it reads top to bottom.

Nothing in a step depends on how the run came to it: the learning rate, the batch and the random draws of step s are
functions of s and the seed (schedule.py, data.py; each micro-batch seeds the engine's stream anew). So a run that was
stopped anywhere and resumed, with any number of ranks, makes the same steps as one that was never stopped.
"""

from __future__ import annotations

import contextlib
import math
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from gpt.config import Config
from minigrad.serialization import atomic_write, save_json
from train import checkpoints, data, engines, metrics
from train.config import TrainConfig, differences, from_dict, model_config, to_dict, to_toml
from train.engines import Engine
from train.errors import DiskError, UserError
from train.postmortem import examine
from train.samples import sample
from train.schedule import learning_rate


@dataclass
class Result:
    """How a run ended."""
    folder: Path
    step: int
    finished: bool
    loss: float | None = None
    val_loss: float | None = None
    signal: int | None = None


def pretrain(config: TrainConfig, resume: bool = False) -> Result:
    """Train as configured; with `resume`, go on from the newest checkpoint in config.out."""
    engine = engines.start(config)
    with contextlib.ExitStack() as held:
        held.callback(engine.close)
        try:
            shape, corpus, batches = engine.in_turn(lambda: material(config, engine.ranks))
            folder = engine.first(lambda: claim(config, resume, held))
            return Run(replace(config, out=str(folder)), shape, corpus, batches, engine, folder).go(resume)
        except Exception as error:
            explained = engine.explain(error)
            if explained is error:
                raise
            raise explained from error


def material(config: TrainConfig, ranks: int) -> tuple[Config, data.Corpus, data.Batches]:
    """What is trained, and on what; all that a user can have got wrong comes out here, before anything is written."""
    if config.tensorboard:
        metrics.summary_writer()
    corpus = data.load(config)
    corpus.tokens.check_beginnings(corpus.tokenizer.n_vocab)
    shape = model_config(config, corpus.tokenizer.n_vocab)
    return shape, corpus, data.batches(config, corpus, shape.context_length, ranks)


def claim(config: TrainConfig, resume: bool, held: contextlib.ExitStack) -> Path:
    """The folder of the run, locked for as long as `held` is. Nothing that others left in it is lost."""
    folder = Path(config.out or free_folder(config))
    if not resume and checkpoints.found(folder):
        raise UserError(f"{folder} holds a run already: go on with --resume {folder}, or give --out another folder")
    if not resume and (kept := checkpoints.strangers(folder)):
        raise UserError(f"{folder} has {', '.join(kept)} already, which a run would write over: give --out another "
                        "folder")
    if resume and not folder.is_dir():
        raise UserError(f"--resume {folder}: there is no such folder")
    held.enter_context(checkpoints.locked(folder))
    return folder


def free_folder(config: TrainConfig) -> Path:
    name = Path(config.data.split(",")[0].replace(":", "-").rstrip("/*")).stem or "run"
    return next(p for i in range(1, 10**6) if not (p := Path("runs") / f"{name}-{i}").exists())


@dataclass
class Run:
    config: TrainConfig
    shape: Config
    corpus: data.Corpus
    batches: data.Batches
    engine: Engine
    folder: Path

    def go(self, resume: bool) -> Result:
        config, engine = self.config, self.engine
        checkpoint = engine.first(lambda: self.checkpoint(resume))

        self.model = engine.build(self.shape, config.seed, config.activation_checkpointing)
        self.step, self.evaluated, self.best = 0, -1, None            # best: (validation loss, step)
        self.drawn = time.monotonic()
        if checkpoint:
            engine.load_weights(self.model, checkpoint.weights() if engine.rank == 0 else {})
            self.step, self.evaluated = checkpoint.step, checkpoint.state["evaluated"]
            self.best = checkpoint.state["best"] and tuple(checkpoint.state["best"])
            self.keep_micro_batches(checkpoint.state)
        self.trained = engine.prepare(self.model)
        self.optimizer = engine.optimizer(self.model, config)
        if checkpoint:
            engine.load_moments(self.model, self.optimizer, checkpoint.moments() if engine.rank == 0 else {},
                                checkpoint.state["optimizer_steps"])
            engine.load_state(checkpoint.state.get("engine", {}))
            self.say(f"resumed {self.folder} at step {self.step} of {config.steps}")
        self.references = dict(zip(("unigrams", "bigrams"), self.introduce()))
        self.metrics = None                                            # rank 0 has them
        engine.first(self.open_metrics)

        result = Result(self.folder, self.step, False)
        with stopping(self.folder) as stop, self.progress() as bar:
            while True:
                due = self.step % config.eval_every == 0 or self.step == config.steps
                if due and self.evaluated != self.step and not engine.most(stop.signal):
                    result.val_loss = self.evaluate()
                    if not math.isfinite(result.val_loss):
                        self.give_up("loss", result.val_loss, self.evaluation_losses)
                if config.sample_every and self.step and self.step % config.sample_every == 0:
                    self.show(sample(engine, self.model, self.corpus.tokenizer, config, self.step))
                done, stopped = self.step == config.steps, engine.most(stop.signal)
                improved = self.best is not None and self.best[1] == self.step
                if done or stopped or self.step and (improved or self.step % config.save_every == 0):
                    self.save(last=done or stopped)
                if done or stopped:
                    break

                began = time.perf_counter()
                loss = self.train_step(self.trained)
                lr = self.learning_rate(self.step)
                norm = engine.gradient_norm(self.model, self.optimizer, config.clip)
                if not engine.ready_to_step(loss, norm):
                    what, value = ("loss", loss) if not math.isfinite(loss) else ("gradient norm", norm)
                    self.give_up(what, value, lambda: self.train_step(self.model))
                engine.step(self.optimizer, lr)
                self.step += 1
                result.loss = loss
                self.note(bar, loss, norm, lr, time.perf_counter() - began)
        result.step, result.finished, result.signal = self.step, done, stopped or None
        result.val_loss = result.val_loss if result.val_loss is not None else self.best and self.best[0]
        if self.metrics:
            self.metrics.close()
            self.conclude(result)
        return result

    def train_step(self, model: Any) -> float:
        """Gradients of one batch, this rank's micro-batches of it, and their mean loss over all ranks."""
        engine, losses = self.engine, []
        mine = range(engine.rank, self.batches.micro_batches, engine.ranks)
        for number in mine:
            ids, targets = engine.feed(self.batches, self.step, number)                                   # (B, T)
            engine.torch.manual_seed(data.mix(self.config.seed, self.step, number))
            with engine.accumulating(model, last=number == mine[-1]):
                with engine.autocast():
                    loss = engine.loss(model, ids, targets) / len(mine)
                engine.backward(loss)
            losses.append(loss.detach())
        return engine.mean(sum(loss.item() for loss in losses))        # a GPU is waited for once, not in between

    def evaluate(self) -> float:
        """The losses are noted, and the validation's, or the training part's if there is no other, is returned."""
        losses = self.evaluation_losses()
        self.evaluated = self.step
        loss = losses["val_loss"] if losses["val_loss"] is not None else losses["train_loss"]
        if math.isfinite(loss) and self.step and (self.best is None or loss < self.best[0]):
            self.best = (loss, self.step)                              # step 0 has not learnt, and is not kept
        if self.metrics:
            perplexity = math.exp(min(loss, 700))
            self.metrics.add({"step": self.step, **losses, "perplexity": perplexity})
            known = ", ".join(f"{key.removesuffix('_loss')} loss {value:.3f}" for key, value in losses.items()
                              if value is not None)
            self.say(f"step {self.step:>6}: {known}, perplexity {perplexity:.1f}")
        return loss

    def evaluation_losses(self) -> dict[str, float | None]:
        """On the fixed sets, of the validation and of the training part."""
        losses = {}
        self.model.eval()
        with self.engine.torch.no_grad():
            for name, windows in (("val_loss", self.batches.val), ("train_loss", self.batches.train)):
                parts = self.batches.evaluation(windows)
                losses[name] = self.mean_loss(parts) if parts else None
        self.model.train()
        return losses

    def mean_loss(self, parts: list[tuple[np.ndarray, np.ndarray]]) -> float:
        """Each rank takes its share of the parts. All take as many, for a sharded model is called by all or none."""
        engine, total = self.engine, 0.0
        for number in range(engine.rank, -(-len(parts) // engine.ranks) * engine.ranks, engine.ranks):
            ids, targets = parts[min(number, len(parts) - 1)]
            with engine.autocast():
                loss = engine.loss(self.trained, engine.tensor(ids), engine.tensor(targets))
            total += loss.item() * len(ids) * (number < len(parts))
        return engine.mean(total) * engine.ranks / sum(len(ids) for ids, _ in parts)

    def learning_rate(self, step: int) -> float:
        c = self.config
        return learning_rate(step, steps=c.steps, lr=c.lr, min_lr=c.min_lr, start_lr=c.start_lr, warmup=c.warmup,
                             schedule=c.schedule)

    # ---- what is kept --------------------------------------------------------------------------------------------

    def save(self, last: bool) -> None:
        """A checkpoint. If the disk is full, training goes on and tries again; the last attempt is an error."""
        weights = self.engine.weights(self.model)
        moments = self.engine.moments(self.model, self.optimizer)
        if self.engine.rank:
            return
        try:
            path = checkpoints.save(self.folder, self.step, weights, moments, self.state(), self.describe)
            checkpoints.prune(self.folder, self.config.keep, self.best and self.best[1])
            best = self.folder / "checkpoints" / f"step-{self.best[1] if self.best else self.step:08d}"
            checkpoints.publish(self.folder, best if best.exists() else path)
            if last or time.monotonic() - self.drawn > 60:
                self.draw()
        except DiskError as error:
            kept = checkpoints.found(self.folder)
            advice = f"{error}. The newest that is kept is {kept[0].name if kept else 'none'}"
            if last:
                go_on = f"go on with --resume {self.folder}" if kept else "start again"
                raise DiskError(f"{advice}: make room, and {go_on}") from error
            self.say(f"{advice}; training goes on, and tries again")

    def state(self) -> dict[str, Any]:
        return {"evaluated": self.evaluated, "best": self.best and list(self.best),
                "tokens": self.step * self.config.batch_size * self.shape.context_length,
                "optimizer_steps": self.engine.steps_made(self.step), "learning_rate": self.learning_rate(self.step),
                "random": {"seed": self.config.seed, "next": [self.step, 0]},
                "position": {"epoch": self.batches.epoch(self.step), "window": self.step * self.config.batch_size},
                "micro_batch": self.batches.micro_batch, "engine": self.engine.state(),
                "data": self.corpus.fingerprint, "config": to_dict(self.config), "model": self.shape.to_dict()}

    def describe(self, folder: Path) -> None:
        save_json(self.shape.to_dict(), folder / "config.json")
        self.corpus.tokenizer.save(folder)

    def checkpoint(self, resume: bool) -> checkpoints.Checkpoint | None:
        """What to go on from."""
        checkpoints.tidy(self.folder)
        if not resume:
            return None
        checkpoint = checkpoints.newest(self.folder, self.say)
        self.check_same(checkpoint)
        return checkpoint

    def keep_micro_batches(self, state: dict[str, Any]) -> None:
        """Dropout is drawn by micro-batch: they stay as they were, if that can be with this number of ranks."""
        before = replace(self.batches, micro_batch=state.get("micro_batch", self.batches.micro_batch))
        if before.micro_batches % self.engine.ranks == 0:
            self.batches = before
        elif self.shape.drop_rate:
            self.say(f"{self.engine.ranks} ranks share micro-batches of {self.batches.micro_batch}, which were of "
                     f"{before.micro_batch}: dropout is drawn differently from here on")

    def open_metrics(self) -> None:
        self.write_settings()
        self.metrics = metrics.Metrics(self.folder, self.step, self.evaluated == self.step, self.config.tensorboard)

    def write_settings(self) -> None:
        try:
            with atomic_write(self.folder / "config.toml", "w") as file:
                file.write(to_toml(self.config))
            self.describe(self.folder)
        except OSError as error:
            raise DiskError(f"{self.folder} cannot be written to: {error.strerror or error}") from error

    def check_same(self, checkpoint: checkpoints.Checkpoint) -> None:
        """A run is resumed as what it was."""
        changed = differences(checkpoint.state["config"], to_dict(self.config))
        if not changed and checkpoint.state["data"] != self.corpus.fingerprint:
            changed = [f"the tokens of {self.config.data} are not those that it was trained on"]
        if not changed:
            model, old = self.shape.to_dict(), checkpoint.state["model"]
            changed = [f"the model's {key} was {old.get(key)!r} and is {value!r}" for key, value in model.items()
                       if old.get(key) != value]
        if changed:
            raise UserError(f"{checkpoint.path} is of another configuration: {'; '.join(changed)}. Resume without "
                            "these changes, or start a new run with another --out")

    def draw(self) -> None:
        self.drawn = time.monotonic()
        with contextlib.suppress(OSError):                   # a picture can be drawn again from metrics.jsonl
            metrics.plot(self.folder / "loss.png", {self.folder.name: metrics.read(self.metrics.path)}, self.references)

    def give_up(self, what: str, value: float, again: Callable[[], Any]) -> None:
        """Loss or gradients are no numbers: say where that began, and keep what is needed to look into it."""
        found = examine(self, again)
        path = self.folder / f"postmortem-step-{self.step:08d}"
        weights, moments = self.engine.weights(self.model), self.engine.moments(self.model, self.optimizer)
        if self.engine.rank == 0:
            with contextlib.suppress(OSError):
                checkpoints.write(path, weights, moments, self.state() | {"step": self.step, "found": found},
                                  self.describe)
                self.draw()
        last = f"; --resume {self.folder} goes on from the last checkpoint" * bool(checkpoints.found(self.folder))
        raise Diverged(f"step {self.step}: the {what} is {value}. {found}. Weights and settings before the step are in "
                       f"{path}. A lower --lr, a longer --warmup or --clip 1 may help{last}")

    # ---- what is seen --------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        if self.engine.rank == 0:
            tqdm.write(text, file=sys.stdout)
            sys.stdout.flush()

    def show(self, text: str) -> None:
        self.say("    | " + re.sub(r"\n\s*\n", "\n\n", text.strip()).replace("\n", "\n    | "))

    def introduce(self) -> tuple[float, ...]:
        """Say what is about to happen; what the corpus pays without a model."""
        train, val = self.corpus.split(self.config.val_fraction)
        c, parameters = self.config, sum(p.numel() for p in self.model.parameters())
        self.say(f"{c.model} model on {self.engine.name} ({self.engine.device}): {parameters:,} parameters, context "
                 f"{self.shape.context_length}, {self.corpus.tokenizer.n_vocab} tokens in the vocabulary")
        self.say(f"{c.data}: {len(train):,} tokens to train on, {len(val):,} to validate; {c.steps} steps of "
                 f"{c.batch_size * self.shape.context_length:,} tokens are {self.batches.epoch(c.steps):.1f} epochs")
        # 6 FLOPs per weight in a product and token (2 forward, 4 backward), 12 C T per layer for attention's products
        products = sum(p.numel() for name, p in self.model.named_parameters() if p.ndim >= 2 and "pos_emb" not in name)
        if not self.shape.tied:
            products -= self.shape.vocab_size * self.shape.emb_dim
        self.flops = 6 * products + 12 * self.shape.n_layers * self.shape.emb_dim * self.shape.context_length
        self.peak, source = self.engine.peak()
        self.say(f"peak: {self.peak / 1e9:,.0f} GFLOP/s, {source}")
        if len(val) < 2:
            return ()
        unigram, bigram = data.entropies(train, val, self.corpus.tokenizer.n_vocab)
        self.say(f"validation loss to beat: {unigram:.3f} knowing how often each token comes (unigrams), {bigram:.3f} "
                 "knowing the token before (bigrams)")
        return unigram, bigram

    def progress(self) -> tqdm:
        return tqdm(total=self.config.steps, initial=self.step, unit="step", dynamic_ncols=True,
                    disable=self.engine.rank != 0 or not sys.stderr.isatty())

    def note(self, bar: tqdm, loss: float, norm: float, lr: float, seconds: float) -> None:
        tokens = self.config.batch_size * self.shape.context_length / seconds
        mfu = tokens * self.flops / self.peak
        bar.update()
        bar.set_postfix_str(f"loss {loss:.3f}, {tokens:,.0f} tok/s, MFU {mfu:.0%}", refresh=False)
        if self.metrics and (self.step - 1) % self.config.log_every == 0:
            self.metrics.add({"step": self.step - 1, "loss": loss, "lr": lr, "grad_norm": norm,
                              "tokens_per_s": round(tokens), "mfu": round(mfu, 4)})

    def conclude(self, result: Result) -> None:
        if not result.finished:
            self.say(f"stopped after step {self.step} of {self.config.steps}, and saved. Go on with\n"
                     f"    python -m train pretrain --resume {self.folder}")
            return
        if self.best:
            beside = "".join(f", {name} {value:.3f}" for name, value in self.references.items())
            kind = "validation" if len(self.batches.val) else "training"
            self.say(f"best {kind} loss {self.best[0]:.3f} at step {self.best[1]}{beside}: "
                     f"perplexity {math.exp(min(self.best[0], 700)):.1f}")
        self.say(f"written to {self.folder}: model.safetensors (the best), checkpoints/, metrics.jsonl, loss.png. "
                 f"Next:\n    python -m gpt generate --model {shlex.quote(str(self.folder))} --prompt "
                 f"{shlex.quote(self.prompt())} --temperature 0.8 --stream")

    def prompt(self) -> str:
        """--sample-prompt, or what the data begin with, if the vocabulary has not its characters."""
        tokenizer = self.corpus.tokenizer
        try:
            tokenizer.encode_ordinary(self.config.sample_prompt)
            return self.config.sample_prompt
        except ValueError:
            return tokenizer.decode(self.corpus.tokens.read(0, min(12, len(self.corpus.tokens))).tolist())


class Diverged(Exception):
    """Training cannot go on. The command line prints it and exits with status 1."""


class Interrupted(KeyboardInterrupt):
    """By a second signal, before anything was saved."""

    def __init__(self, number: int, folder: Path) -> None:
        self.signal = number
        kept = checkpoints.found(folder)
        super().__init__(f"Not saved; --resume {folder} goes on from {kept[0].name}" if kept else "Nothing was saved")


class stopping:
    """Inside, SIGINT, SIGTERM and SIGHUP are noted and the loop ends when it is ready; a second one ends it at once.

    One that comes within moments is the same: who presses Ctrl-C or cancels a job reaches all of its processes, and
    those that have started others (torchrun, srun, timeout) pass it on."""

    SAME = 2.0                                               # seconds

    def __init__(self, folder: Path = Path()) -> None:
        self.signal, self._when, self._folder = 0, 0.0, folder

    def __enter__(self) -> stopping:
        self._former = {}
        for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(number) != signal.SIG_IGN:   # nohup's, or a shell's for what runs in the background
                with contextlib.suppress(ValueError):        # not in the main thread: nobody sends us any
                    self._former.setdefault(number, signal.signal(number, self._note))
        return self

    def _note(self, number: int, frame: Any) -> None:
        if not self.signal:
            self.signal, self._when = number, time.monotonic()
        elif time.monotonic() - self._when > self.SAME:
            raise Interrupted(number, self._folder)

    def __exit__(self, *exc: Any) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)


def resumed_config(folder: Path) -> dict[str, Any]:
    """The settings of a run, for --resume: what is not given again is as it was."""
    if not folder.is_dir():
        raise UserError(f"--resume {folder}: there is no such folder")
    for path in checkpoints.found(folder):
        with contextlib.suppress(ValueError):
            return to_dict(from_dict(checkpoints.read(path).state["config"], str(path))) | {"out": str(folder)}
    raise UserError(f"--resume {folder}: no checkpoint that is whole is in this folder; start again with a new --out")


def newest_run(root: Path = Path("runs")) -> Path:
    runs = [p.parent for p in root.glob("*/checkpoints")] if root.is_dir() else []
    if not runs:
        raise UserError("--resume: there is no run in runs/; give the folder of one")
    return max(runs, key=lambda p: (p / "checkpoints").stat().st_mtime)


def lines_of(folder: Path) -> Iterator[metrics.Line]:
    return iter(metrics.read(folder / "metrics.jsonl"))
