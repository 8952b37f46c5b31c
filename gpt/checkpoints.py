"""Real weights in and out: Hugging Face's folders, OpenAI's originals, the book's .pth files, and our own folders.

    model = from_pretrained("gpt2")                    a name: from the caches, or downloaded
    model = from_pretrained("runs/shakespeare")        a folder: config.json (or hparams.json) and weights
    load_weights(model, "gpt2-book.pth")               a file, into a model that is there already
    save_pretrained(model, "out")                      model.safetensors and config.json
    save_pretrained(model, "out", format="hf")         the same, for transformers.GPT2LMHeadModel.from_pretrained

Layouts, names and downloads are described in gpt/weights; none of it runs code from a file. Either everything fits
and is copied, one tensor at a time, or one CheckpointError lists what does not and the model is as it was.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from gpt.config import GPT2Config, from_dict
from gpt.weights import hub, layouts
from gpt.weights.files import array_of, flatten, open_weights
from gpt.weights.stored import CheckpointError, Stored
from minigrad.serialization import load_json, save_json
from minigrad.serialization.safetensors import save_arrays

from .engine import no_init, torch
from .gpt2 import GPT2

__all__ = ["CheckpointError", "from_pretrained", "load_config", "load_weights", "save_pretrained"]
_MODULES = {"numpy": "gpt.checkpoints", "torch": "gpt.mirror.checkpoints"}


def from_pretrained(name: str | os.PathLike[str], engine: Literal["numpy", "torch"] | None = None, *,
                    config: GPT2Config | None = None, revision: str = "main", download: bool = True,
                    **overrides: Any) -> GPT2:
    """A model with weights: of the file or folder `name`, or of the model that is called so ("gpt2", "gpt2-medium",
    "openai-community/gpt2", any OWNER/NAME with GPT-2's architecture).

    Its configuration is the folder's, or `config`; `overrides` are fields to change, such as drop_rate=0.0 or
    tied=False. The model is of the default dtype, whatever the file's; the random stream is not touched; it is in
    training mode, as any new one."""
    if engine is not None:
        if engine not in _MODULES:
            raise ValueError(f"engine must be one of {', '.join(map(repr, _MODULES))}, not {engine!r}")
        module = importlib.import_module(_MODULES[engine])
        return module.from_pretrained(name, config=config, revision=revision, download=download, **overrides)
    path = hub.find(name, revision, download)
    config = replace(load_config(path) if config is None else config, **overrides)
    with no_init():
        model = GPT2(config)
    return load_weights(model, path)


def load_weights(model: GPT2, source: str | os.PathLike[str] | Mapping[str, Any]) -> GPT2:
    """Copy weights into a model, from a file or folder, or from what is in memory: a state dict of either engine, or
    the `params` of the book's gpt_download.py. Returns the model."""
    if isinstance(source, Mapping):
        try:
            _copy(model, flatten(source), "the mapping")
        except RuntimeError as error:
            raise CheckpointError(str(error)) from None
    else:
        with open_weights(Path(source).expanduser()) as tensors:
            _copy(model, tensors, str(source))
    return model


def _copy(model: GPT2, tensors: Mapping[str, Stored], source: str) -> None:
    state = _raw(model).state_dict(keep_vars=True)
    first: dict[int, str] = {}
    ties = {name: first[id(t)] for name, t in state.items() if first.setdefault(id(t), name) != name}
    fitted = layouts.fit(tensors, {name: tuple(t.shape) for name, t in state.items()}, ties, source)
    with torch.no_grad():
        for name, stored in fitted.items():
            for place, array in stored.pieces():
                state[name][place].copy_(torch.from_numpy(array))


def load_config(path: str | os.PathLike[str]) -> GPT2Config:
    """The configuration of a folder, or of the folder of a file: our config.json, Hugging Face's, or hparams.json."""
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    for name in ("config.json", "hparams.json"):
        if not (file := folder / name).is_file():
            continue
        try:
            values = load_json(file)
            if not isinstance(values, dict):
                raise ValueError("it is not an object")
            if name == "hparams.json":
                return layouts.from_hparams(values)
            return from_dict(values) if "architecture" in values else layouts.from_hf_config(values)
        except (ValueError, TypeError, RuntimeError) as error:
            message = str(error)
            raise CheckpointError(message if str(file) in message else f"{file}: {message}") from None
    raise FileNotFoundError(f"no config.json and no hparams.json in {str(folder)!r}: pass config=GPT2Config(...), or "
                            "build the model and load_weights(model, path)")


def save_pretrained(model: GPT2, folder: str | os.PathLike[str], format: Literal["ours", "hf"] = "ours") -> None:
    """Write model.safetensors and config.json into a folder, which is made if it is not there. A tied head is not
    stored twice. bfloat16 weights are stored as float32, which holds them exactly."""
    if format not in ("ours", "hf"):
        raise ValueError(f"format must be 'ours' or 'hf', not {format!r}")
    folder, model = Path(folder).expanduser(), _raw(model)
    state = model.state_dict(keep_vars=True)
    _check_config(model.config, {name: tuple(t.shape) for name, t in state.items()})
    arrays = {name: array_of(t) for name, t in state.items()}
    if state["out_head.weight"] is state["tok_emb.weight"]:
        del arrays["out_head.weight"]
    config = model.config.to_dict()
    if format == "hf":
        config = layouts.to_hf_config(model.config, arrays["tok_emb.weight"].dtype.name)
        arrays = layouts.to_hugging_face(arrays)
    folder.mkdir(parents=True, exist_ok=True)
    save_arrays(arrays, folder / "model.safetensors", {"format": "pt"})
    save_json(config, folder / "config.json")


def _raw(model: Any) -> GPT2:
    """The model inside of what torch.compile and DistributedDataParallel make of it."""
    for wrapper in ("_orig_mod", "module"):
        model = getattr(model, wrapper, model)
    return model


def _check_config(config: GPT2Config, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A model whose layers were exchanged (another head, LoRA) is not what config.json would say."""
    with no_init():
        expected = {name: tuple(t.shape) for name, t in GPT2(config).state_dict().items()}
    if odd := [name for name in expected.keys() | shapes.keys() if expected.get(name) != shapes.get(name)]:
        raise CheckpointError(f"the model is not what its configuration says, at {', '.join(sorted(odd)[:8])}: change "
                              "model.config with it, or save its state_dict() by torch.save or save_safetensors")
