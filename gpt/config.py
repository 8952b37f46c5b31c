"""What a model is built from: frozen dataclasses, free of any engine, that check themselves."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar


@dataclass(frozen=True)
class GPT2Config:
    """The shape of a GPT-2. The defaults are the book's: `GPT2Config(**GPT_CONFIG_124M) == GPT2Config()`."""

    vocab_size: int = 50257
    context_length: int = 1024
    emb_dim: int = 768
    n_heads: int = 12
    n_layers: int = 12
    drop_rate: float = 0.1
    qkv_bias: bool = False
    tied: bool = False                # the output head is the token embedding
    init: str = "torch"               # "torch": as the layers draw; "gpt2": normal, 0.02, and residual branches less
    norm_eps: float = 1e-5

    architecture: ClassVar[str] = "gpt2"

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "context_length", "emb_dim", "n_heads", "n_layers")
        check_divisible(self, "emb_dim", "n_heads")
        check_numbers(self, "drop_rate", "norm_eps")
        check_flags(self, "qkv_bias", "tied")
        if not 0 <= self.drop_rate < 1:
            raise ValueError(f"drop_rate must be in [0, 1), not {self.drop_rate!r}")
        if not self.norm_eps > 0:
            raise ValueError(f"norm_eps must be positive, not {self.norm_eps!r}")
        if self.init not in ("torch", "gpt2"):
            raise ValueError(f"init must be 'torch' or 'gpt2', not {self.init!r}")

    @property
    def head_dim(self) -> int:
        return self.emb_dim // self.n_heads

    def to_dict(self) -> dict[str, Any]:
        """What JSON holds; `from_dict` is the way back."""
        return {"architecture": self.architecture, **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GPT2Config:
        return from_fields(cls, values)


# ---- what configurations share -----------------------------------------------------------------------------------


def from_fields(cls: type, values: dict[str, Any]) -> Any:
    """cls of `values`, where each is known; "architecture", if there, must be the class's."""
    values = dict(values)
    if (name := values.pop("architecture", cls.architecture)) != cls.architecture:
        raise ValueError(f"{cls.__name__} is of architecture {cls.architecture!r}, not {name!r}")
    known = [f.name for f in fields(cls)]
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"{cls.__name__} has no {', '.join(map(repr, unknown))}; it has {', '.join(known)}")
    return cls(**values)


# A damaged file is refused at once: layers are objects, and ten million of them fill a machine without any weights.
LARGEST = {"n_layers": 10_000}


def check_sizes(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} must be a positive integer, not {value!r}")
        if value > (most := LARGEST.get(name, 2**31 - 1)):
            raise ValueError(f"{name} must be at most {most}, not {value}")


def check_numbers(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if type(value) not in (int, float):
            raise ValueError(f"{name} must be a number, not {value!r}")


def check_flags(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if type(value) is not bool:
            raise ValueError(f"{name} must be True or False, not {value!r}")


def check_divisible(config: Any, whole: str, parts: str) -> None:
    a, b = getattr(config, whole), getattr(config, parts)
    if a % b:
        raise ValueError(f"{whole} must be divisible by {parts}, and {a} is not by {b}")


# ---- which there are ----------------------------------------------------------------------------------------------

Config = GPT2Config                                                  # | LlamaConfig | ...: any architecture's
ARCHITECTURES: dict[str, type[Config]] = {c.architecture: c for c in (GPT2Config,)}

_OPENAI = GPT2Config(qkv_bias=True, tied=True, init="gpt2")
CONFIGS: dict[str, Config] = {
    "book-124M": GPT2Config(),
    "gpt2": _OPENAI,
    "gpt2-124M": _OPENAI,
    "gpt2-medium": replace(_OPENAI, emb_dim=1024, n_heads=16, n_layers=24),
    "gpt2-355M": replace(_OPENAI, emb_dim=1024, n_heads=16, n_layers=24),
    "gpt2-large": replace(_OPENAI, emb_dim=1280, n_heads=20, n_layers=36),
    "gpt2-774M": replace(_OPENAI, emb_dim=1280, n_heads=20, n_layers=36),
    "gpt2-xl": replace(_OPENAI, emb_dim=1600, n_heads=25, n_layers=48),
    "gpt2-1558M": replace(_OPENAI, emb_dim=1600, n_heads=25, n_layers=48),
    "tiny": GPT2Config(vocab_size=256, context_length=64, emb_dim=32, n_heads=2, n_layers=2),
    "small": GPT2Config(vocab_size=4096, context_length=256, emb_dim=256, n_heads=8, n_layers=6),
}


def resolve(config: Config | str) -> Config:
    """A configuration, from itself or from its name in CONFIGS."""
    if isinstance(config, str):
        if config not in CONFIGS:
            raise ValueError(f"no configuration is named {config!r}; there are {', '.join(CONFIGS)}")
        return CONFIGS[config]
    if not isinstance(config, tuple(ARCHITECTURES.values())):
        raise TypeError(f"config must be a configuration such as GPT2Config, or a name, not {type(config).__name__}")
    return config


def from_dict(values: dict[str, Any]) -> Config:
    """The configuration of whatever architecture `values`, made by `to_dict`, is of."""
    name = values.get("architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(map(repr, ARCHITECTURES))}, not {name!r}")
    return ARCHITECTURES[name].from_dict(values)
