"""GPT-like models, written once: on minigrad, and from the same files on PyTorch (`gpt.mirror`)."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from gpt.config import Config

_MODELS = {"gpt2": "GPT2"}                                   # architecture, which is its file: class
_PACKAGES = {"numpy": "gpt", "torch": "gpt.mirror"}


def build(config: Config | str, engine: Literal["numpy", "torch"] = "numpy") -> Any:
    """A model with new weights: `build(GPT2Config(n_layers=2))`, `build("gpt2-medium", engine="torch")`.

    The weights are drawn from the engine's default generator; after `manual_seed` with one seed, both engines draw
    the same."""
    from gpt.config import resolve

    if engine not in _PACKAGES:
        raise ValueError(f"engine must be one of {', '.join(map(repr, _PACKAGES))}, not {engine!r}")
    if engine == "torch" and importlib.util.find_spec("torch") is None:
        raise ImportError("engine 'torch' needs PyTorch, which is not installed: pip install 'minigrad[torch]', or use "
                          "engine='numpy'")
    config = resolve(config)
    module = importlib.import_module(f"{_PACKAGES[engine]}.{config.architecture}")
    return getattr(module, _MODELS[config.architecture])(config)
