"""All there is to set, in one dataclass: its fields are the flags, their defaults and their help.

A configuration comes from the defaults, then a TOML file (--config), then flags. `Same` marks what makes a run the
run that it is: when it is resumed, those fields must be what they were, and all others may change.
"""

from __future__ import annotations

import argparse
import json
import tomllib
import types
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from gpt.config import CONFIGS, Config, resolve
from gpt.config import from_dict as model_of
from train.errors import UserError

SCHEDULES = ("cosine", "linear", "constant")


def setting(default: Any, help: str, *, same: bool = True, choices: tuple = (), group: str | None = None) -> Any:
    return field(default=default, metadata={"help": help, "same": same, "choices": choices, "group": group})


def free(default: Any, help: str, **rest: Any) -> Any:
    """A setting that may change when a run is resumed."""
    return setting(default, help, same=False, **rest)


@dataclass(frozen=True)
class TrainConfig:
    engine: str = free("numpy", "what computes", choices=("numpy", "torch"), group="the run")
    out: str = free("", "folder of the run (default: the first of runs/DATA-1, runs/DATA-2, ... that is free)")
    seed: int = setting(123, "seed of the weights, of dropout and of the order of the data")

    model: str = setting("tiny", f"a JSON or TOML file of a model's fields, or a named size: {', '.join(CONFIGS)}",
                         group="the model")
    context_length: int | None = setting(None, "tokens that the model sees at once (default: the model's)")
    emb_dim: int | None = setting(None, "width (default: the model's)")
    n_heads: int | None = setting(None, "attention heads (default: the model's)")
    n_layers: int | None = setting(None, "blocks (default: the model's)")
    drop_rate: float | None = setting(None, "dropout (default: the model's)")
    tied: bool | None = setting(None, "the output head is the token embedding (default: the model's)")
    init: str | None = setting(None, "how weights are drawn (default: the model's)", choices=("torch", "gpt2"))
    activation_checkpointing: bool = free(False, "keep one activation per block, compute the others again in backward")

    data: str = setting("python-docs", "python-docs (the default: what CPython ships), the-verdict, gutenberg:ID, a "
                        "file, folder or glob of text, .bin shards; several with commas", group="the data")
    tokenizer: str = setting("bpe", "bpe or char (trained on the data), gpt2 and OpenAI's others, or a folder")
    vocab_size: int = setting(1024, "tokens of a bpe trained on the data")
    val_fraction: float = setting(0.1, "the last part of the data, kept for validation")
    stride: int | None = setting(None, "tokens from one window to the next (default: the context, no overlap)")
    max_download: int = free(200, "largest file to fetch, in MB")

    steps: int = setting(1000, "optimizer steps", group="the optimizer")
    batch_size: int = setting(16, "windows per step, over all ranks and micro-batches")
    micro_batch: int | None = setting(None, "windows per forward pass; gradients of several are accumulated (default: "
                                            "the batch, divided over the ranks)")
    lr: float = setting(1e-3, "highest learning rate")
    min_lr: float = setting(1e-4, "learning rate of the last step (linear, cosine)")
    start_lr: float = setting(0.0, "where the warm-up begins; step 0 is one increment above it")
    warmup: int = setting(0, "steps of linear warm-up")
    schedule: str = setting("cosine", "what follows the warm-up", choices=SCHEDULES)
    weight_decay: float = setting(0.1, "of matrices; biases and norms have none")
    beta1: float = setting(0.9, "AdamW's mean of gradients")
    beta2: float = setting(0.95, "AdamW's mean of squared gradients")
    eps: float = setting(1e-8, "AdamW's epsilon")
    clip: float = setting(1.0, "largest gradient norm; 0 does not clip")

    eval_every: int = free(100, "steps between evaluations", group="what is seen and kept")
    eval_windows: int = setting(64, "windows of each evaluation, the same ones every time")
    sample_every: int = free(500, "steps between samples; 0 prints none")
    sample_prompt: str = free("The", "what samples begin with")
    sample_tokens: int = free(60, "length of samples")
    temperature: float = free(0.8, "of samples; 0 takes the most likely token")
    top_k: int = free(40, "samples come from the most likely k tokens; 0 from all")
    log_every: int = free(1, "steps between lines of metrics.jsonl")
    save_every: int = free(500, "steps between checkpoints, besides those that validate best")
    keep: int = free(2, "checkpoints to keep, beside the best")
    tensorboard: bool = free(False, "also write TensorBoard events (needs tensorboard)")

    device: str = free("auto", "cpu, cuda, cuda:1, ...; auto takes a GPU if there is one", group="torch only")
    precision: str = free("auto", "autocast; auto is bf16 on a GPU that has it, else fp32",
                          choices=("auto", "fp32", "bf16", "fp16"))
    compile: bool = free(False, "torch.compile")
    fused: bool = free(True, "the fused AdamW")
    tf32: bool = free(True, "TF32 products on GPUs, where fp32 is computed")
    parallel: str = free("ddp", "how torchrun's ranks share the work", choices=("ddp", "fsdp"))
    deterministic: bool = free(False, "deterministic algorithms only")
    threads: int = free(0, "CPU threads; 0 leaves it to the engine", group="the machine")

    def __post_init__(self) -> None:
        for name in ("batch_size", "eval_every", "eval_windows", "log_every", "save_every", "keep", "vocab_size",
                     "max_download"):
            _require(self, name, 1)
        for name in ("steps", "warmup", "sample_every", "sample_tokens", "threads", "top_k", "seed", "temperature",
                     "lr", "min_lr", "start_lr", "weight_decay", "eps", "clip"):
            _require(self, name, 0)
        for name in ("stride", "micro_batch"):
            if getattr(self, name) is not None:
                _require(self, name, 1)
        if 0 < self.temperature < 1e-10:
            raise UserError(f"{flag('temperature')} must be 0, or at least 1e-10, not {self.temperature}")
        for name in ("beta1", "beta2", "val_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{flag(name)} must be at least 0 and less than 1, not {getattr(self, name)}")
        if self.warmup > self.steps:
            raise UserError(f"{flag('warmup')} must be at most {flag('steps')}, and {self.warmup} is more than "
                            f"{self.steps}")
        if self.micro_batch is not None and self.batch_size % self.micro_batch:
            raise UserError(f"{flag('batch_size')} must be a multiple of {flag('micro_batch')}, and {self.batch_size} "
                            f"is not one of {self.micro_batch}")
        for f in fields(self):
            choices, value = f.metadata["choices"], getattr(self, f.name)
            if isinstance(value, str) and not _is_text(value):
                raise UserError(f"{flag(f.name)} must be text without the byte 0, in UTF-8, not {value!r}")
            if choices and value not in choices and value is not None:
                raise UserError(f"{flag(f.name)} must be one of {', '.join(choices)}, not {value!r}")


MOST = {"seed": 2**63 - 1, "threads": 1024, "batch_size": 2**24}        # more has no meaning, or fits nowhere


def _require(config: TrainConfig, name: str, least: int) -> None:
    value = getattr(config, name)
    if not value >= least or value == float("inf"):
        raise UserError(f"{flag(name)} must be at least {least}, not {value}")
    if value > MOST.get(name, value):
        raise UserError(f"{flag(name)} must be at most {MOST[name]}, not {value}")


def _is_text(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:                   # half of a character, or a file's name in another encoding
        return False


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


# ---- from flags and files ----------------------------------------------------------------------------------------

TYPES = {f.name: hint for f in fields(TrainConfig) for hint in [get_type_hints(TrainConfig)[f.name]]}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each field. One that is not given is absent from the result, so that a file can speak for it."""
    parser.add_argument("--config", metavar="FILE.toml", help="settings from a file; flags win")
    into: Any = parser
    for f in fields(TrainConfig):
        if f.metadata["group"]:
            into = parser.add_argument_group(f.metadata["group"])
        default = "" if f.default is None or f.default == "" or "default" in f.metadata["help"] else \
            f" (default: {f.default})"
        options: dict[str, Any] = {"help": (f.metadata["help"] + default).replace("%", "%%"),
                                   "default": argparse.SUPPRESS, "dest": f.name}
        kind = plain(TYPES[f.name])
        if kind is bool:
            into.add_argument(flag(f.name), action=argparse.BooleanOptionalAction, **options)
        else:
            options |= {"choices": f.metadata["choices"]} if f.metadata["choices"] else \
                {"metavar": {int: "N", float: "X", str: "..."}[kind]}
            into.add_argument(flag(f.name), type=kind, **options)


def plain(hint: Any) -> type:
    """int of `int | None`."""
    return next(t for t in get_args(hint) if t is not type(None)) if get_origin(hint) is types.UnionType else hint


def from_flags(args: argparse.Namespace, base: dict[str, Any] | None = None) -> TrainConfig:
    """Defaults (or `base`, a resumed run's), then --config, then flags."""
    given = {f.name: getattr(args, f.name) for f in fields(TrainConfig) if hasattr(args, f.name)}
    from_file = {} if args.config is None else checked(read_settings(Path(args.config)), args.config)
    return from_dict({**(base or {}), **from_file, **given})


def read_settings(path: Path) -> dict[str, Any]:
    """A TOML file of settings, flat or in tables that only order them. Dashes and underscores are the same."""
    flat: dict[str, Any] = {}
    for key, value in read_table(path).items():
        for name, item in value.items() if isinstance(value, dict) else [(key, value)]:
            if (name := name.replace("-", "_")) in flat:
                raise UserError(f"{path} sets {name} twice")
            flat[name] = item
    return flat


def read_table(path: Path) -> dict[str, Any]:
    """A TOML or JSON file."""
    try:
        text = path.read_text("utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold names and values, not a {type(values).__name__}")
    return values


def from_dict(values: dict[str, Any], source: str = "the configuration") -> TrainConfig:
    return TrainConfig(**checked(values, source))


def checked(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Settings that there are, of their types."""
    if unknown := sorted(set(values) - set(TYPES)):
        raise UserError(f"{source}: there is no setting {', '.join(map(repr, unknown))}: see python -m train pretrain "
                        "--help")
    result = {}
    for name, value in values.items():
        kind = plain(TYPES[name])
        if kind is float and type(value) is int and abs(value) < 2**53:
            value = float(value)
        if type(value) is not kind and not (value is None and kind is not TYPES[name]):
            raise UserError(f"{source}: {name} must be of type {kind.__name__}, not {value!r}")
        result[name] = value
    return result


def to_dict(config: TrainConfig) -> dict[str, Any]:
    return asdict(config)


def _toml(value: Any) -> str:
    """As JSON, whose strings are TOML's but for two: no character is half of one, and DEL is not written as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def to_toml(config: TrainConfig) -> str:
    """What --config reads: every setting, with its help."""
    lines = []
    for f in fields(TrainConfig):
        if f.metadata["group"]:
            lines += ["", f"# {f.metadata['group']}"]
        value = getattr(config, f.name)
        text = f"{f.name} = {_toml(value)}" if value is not None else f"# {f.name} is the default"
        lines.append(f"{text:32}  # {f.metadata['help']}")
    return "\n".join(lines).lstrip("\n") + "\n"


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Which of the settings that make a run are not the same."""
    same: list[Field] = [f for f in fields(TrainConfig) if f.metadata["same"]]
    get = lambda values, f: values.get(f.name, None if f.default is MISSING else f.default)
    return [f"{f.name} was {get(old, f)!r} and is {get(new, f)!r}" for f in same if get(old, f) != get(new, f)]


# ---- the model's configuration ------------------------------------------------------------------------------------

SHAPE = ("context_length", "emb_dim", "n_heads", "n_layers", "drop_rate", "tied", "init")


def model_config(config: TrainConfig, vocab_size: int) -> Config:
    """The named or written-down model with the flags' changes and the tokenizer's vocabulary."""
    path = Path(config.model)
    if config.model in CONFIGS:
        values = resolve(config.model).to_dict()
    elif path.suffix in (".json", ".toml"):
        values = {"architecture": "gpt2", **read_table(path)}
    else:
        raise UserError(f"--model {config.model!r} is neither a named size ({', '.join(CONFIGS)}) nor a .json or .toml "
                        "file")
    changes = {name: getattr(config, name) for name in SHAPE if getattr(config, name) is not None}
    try:
        return model_of(values | changes | {"vocab_size": vocab_size})
    except (ValueError, TypeError) as error:
        raise UserError(f"--model {config.model}: {error}") from None
