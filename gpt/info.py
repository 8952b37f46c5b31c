"""What a model is and costs, told from its configuration, and from the headers of its files: no weight is read."""

from __future__ import annotations

import importlib
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

import gpt
from gpt.config import CONFIGS, Config
from gpt.tokenizers import get_tokenizer
from gpt.weights import hub
from gpt.weights.files import open_weights, weights_file


def find(name: str) -> tuple[Config, Path | None]:
    """The configuration that is meant, and where its files are: a path, a named size, or a checkpoint of the caches."""
    if not Path(name).expanduser().exists() and name in CONFIGS:
        return CONFIGS[name], None
    try:
        path = hub.find(name, download=False)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}. Sizes that need no files: {', '.join(CONFIGS)}") from None
    return importlib.import_module("gpt.checkpoints").load_config(path), path


def facts(config: Config, path: Path | None = None) -> dict[str, Any]:
    """Everything, by name; bytes and FLOPs are numbers.

    A product of a weight matrix with a token's features is a multiplication and an addition per weight: 2 FLOPs.
    Attention does as much with each key, and with each value, of the tokens before it: 4 per feature and layer.
    Backward takes twice what forward does."""
    engine = importlib.import_module("gpt.engine")
    with engine.no_init():
        model = gpt.build(config)
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    total, head = sum(sizes.values()), model.out_head.weight
    products = sum(m.weight.numel() for m in model.modules() if isinstance(m, engine.nn.Linear))
    attention = 4 * config.emb_dim * config.n_layers * config.context_length
    cache = model.new_cache(1, 1)
    per_token = sum(t.numel() * t.element_size() for t in (*cache.keys, *cache.values))
    found = {
        "config": config.to_dict(),
        "parameters": {
            "total": total,
            "embeddings": sum(n for name, n in sizes.items() if "emb." in name),
            "blocks": sum(n for name, n in sizes.items() if "blocks." in name),
            "final_norm": sum(n for name, n in sizes.items() if "final_norm" in name),
            "head": 0 if config.tied else head.numel(),
            "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        },
        "memory_bytes": {"float32": 4 * total, "float16": 2 * total, "training_adamw_float32": 16 * total},
        "flops_per_token": {
            "forward_first": 2 * products,
            "forward_full_context": 2 * products + attention,
            "training": 3 * (2 * products + attention // 2),
        },
        "kv_cache_bytes": {"per_token": per_token, "full_context": per_token * config.context_length},
    }
    if path is not None:
        found["files"] = _files(path)
    return found


def _files(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"path": str(path), "weights": None, "tokenizer": None}
    if weights_file(path) is not None:
        with open_weights(path) as tensors:
            dtypes = Counter({t.dtype: 0 for t in tensors.values()})
            for t in tensors.values():
                dtypes[t.dtype] += prod(t.shape)
        found["weights"] = {"tensors": len(tensors), "numbers_by_dtype": dict(dtypes)}
    try:
        tokenizer = get_tokenizer(path if path.is_dir() else path.parent)
        found["tokenizer"] = {"kind": type(tokenizer).__name__, "tokens": tokenizer.n_vocab}
    except FileNotFoundError:
        pass
    return found


def table(name: str, found: dict[str, Any]) -> str:
    c, p, m = found["config"], found["parameters"], found["memory_bytes"]
    f, k, files = found["flops_per_token"], found["kv_cache_bytes"], found.get("files")
    rows = [
        ("model", f"{name}: {c['architecture']}, {c['n_layers']} layers, {c['n_heads']} heads, width {c['emb_dim']}, "
                  f"vocabulary {c['vocab_size']}, context {c['context_length']}"),
        ("parameters", f"{p['total']:,}"),
        ("  embeddings", f"{p['embeddings']:,}"),
        ("  blocks", f"{p['blocks']:,}"),
        ("  final norm", f"{p['final_norm']:,}"),
        ("  output head", f"{p['head']:,}" if p["head"] else "the token embedding"),
        ("memory", f"{_bytes(m['float32'])} in float32, {_bytes(m['float16'])} in float16"),
        ("  to train", f"{_bytes(m['training_adamw_float32'])} and activations (float32, with gradients and AdamW)"),
        ("FLOPs per token", f"{_count(f['forward_first'])} forward, {_count(f['forward_full_context'])} at the end of "
                            "the context"),
        ("  to train", f"{_count(f['training'])}, forward and backward, on average over a full context"),
        ("KV cache", f"{k['per_token']:,} bytes per token (float32), {_bytes(k['full_context'])} for the context"),
    ]
    if files is not None:
        w, t = files["weights"], files["tokenizer"]
        held = w and ", ".join(f"{n:,} {dtype}" for dtype, n in w["numbers_by_dtype"].items())
        rows += [("weights", f"{held} in {w['tensors']} tensors" if w else "none there"),
                 ("tokenizer", f"{t['kind']}, {t['tokens']:,} tokens" if t else "none there")]
    return "\n".join(f"{label:17}{text}" for label, text in rows)


def _count(n: int) -> str:
    return f"{n / 1e6:,.1f} M" if n >= 1e6 else f"{n:,}"


def _bytes(n: int) -> str:
    return f"{n / 2**30:,.2f} GiB" if n >= 2**30 else f"{n / 2**20:,.2f} MiB" if n >= 2**20 else f"{n / 2**10:,.1f} KiB"
