"""GPT-2's weights under others' names and shapes, and back. One table serves loading and saving.

    ours, and the book's          Hugging Face's                          OpenAI's
    tok_emb.weight                wte.weight                              model/wte
    trf_blocks.0.norm1.weight     h.0.ln_1.weight                         model/h0/ln_1/g
    ....att.W_query.weight        h.0.attn.c_attn.weight, the first       model/h0/attn/c_attn/w, of shape [1, C, 3C]
      (C, C), x Wᵀ                  third of the columns (C, 3C), x W
    out_head.weight               lm_head.weight, absent where tied       (tied)

Hugging Face's names may begin with `transformer.`. The book's own model calls a norm's weight and bias scale and
shift, and keeps its causal masks among the weights, as Hugging Face's once did.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gpt.config import GPT2Config
from gpt.weights.stored import FLOATS, CheckpointError, Stored

LISTED = 40          # names of a kind in an error message


class Row(NamedTuple):
    """Their tensor, perhaps transposed, is ours, one below the other."""
    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False

    def parts(self, stored: Stored) -> dict[str, Stored]:
        def part(i: int) -> Any:
            def view(array: np.ndarray) -> np.ndarray:
                turned = array.T if self.transposed else array
                rows = len(turned) // len(self.ours)
                return turned[i * rows:(i + 1) * rows]
            return view
        if len(self.ours) == 1 and not self.transposed:
            return {self.ours[0]: stored}
        return {name: stored.viewed(part(i)) for i, name in enumerate(self.ours)}

    def shape(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """Theirs, from ours."""
        first, *rest = shapes[self.ours[0]]
        shape = (first * len(self.ours), *rest)
        return shape[::-1] if self.transposed else shape

    def whole(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        array = arrays[self.ours[0]]
        if len(self.ours) > 1:
            array = np.concatenate([arrays[name] for name in self.ours])
        return array.T if self.transposed else array


def hugging_face(names: Iterable[str]) -> list[Row]:
    """The table for a model whose tensors have these names."""
    rows = [Row("wte.weight", ("tok_emb.weight",)), Row("wpe.weight", ("pos_emb.weight",))]
    for i in range(n_layers(names)):
        them, us = f"h.{i}", f"trf_blocks.{i}"
        for end in ("weight", "bias"):
            turned = end == "weight"                       # their Conv1D computes x W + b, our Linear x Wᵀ + b
            rows += [
                Row(f"{them}.ln_1.{end}", (f"{us}.norm1.{end}",)),
                Row(f"{them}.attn.c_attn.{end}", tuple(f"{us}.att.W_{x}.{end}" for x in ("query", "key", "value")),
                    turned),
                Row(f"{them}.attn.c_proj.{end}", (f"{us}.att.out_proj.{end}",), turned),
                Row(f"{them}.ln_2.{end}", (f"{us}.norm2.{end}",)),
                Row(f"{them}.mlp.c_fc.{end}", (f"{us}.ff.layers.0.{end}",), turned),
                Row(f"{them}.mlp.c_proj.{end}", (f"{us}.ff.layers.2.{end}",), turned),
            ]
    return [*rows, Row("ln_f.weight", ("final_norm.weight",)), Row("ln_f.bias", ("final_norm.bias",)),
            Row("lm_head.weight", ("out_head.weight",))]


def n_layers(names: Iterable[str]) -> int:
    found = (re.match(r"trf_blocks\.(\d+)\.", name) for name in names)
    return max((int(m[1]) + 1 for m in found if m), default=0)


# ---- names ------------------------------------------------------------------------------------------------------

_PREFIXES = re.compile(r"^(_orig_mod\.|module\.|transformer\.)+")      # torch.compile's, DDP's, GPT2LMHeadModel's
_IGNORED = re.compile(r"h\.\d+\.attn\.(masked_)?bias|trf_blocks\.\d+\.att\.mask")
_OPENAI_ENDS = {"g": "weight", "b": "bias", "w": "weight"}


def canonical(name: str) -> str:
    """A tensor's name as it stands in the table above, in its first or second column."""
    if name.startswith("model/"):
        *path, end = name.removeprefix("model/").split("/")
        path = [re.sub(r"^h(\d+)$", r"h.\1", part) for part in path]
        return ".".join([*path, _OPENAI_ENDS[end]] if end in _OPENAI_ENDS else [*path, end, "weight"])
    name = _PREFIXES.sub("", name)
    if name.startswith(("trf_blocks.", "final_norm.")):
        name = re.sub(r"\bscale$", "weight", re.sub(r"\bshift$", "bias", name))
    return name


def canonical_shape(name: str, stored: Stored) -> Stored:
    """OpenAI's matrices are kernels of a convolution over one position, [1, in, out]."""
    if name.startswith("model/") and len(stored.shape) == 3 and stored.shape[0] == 1:
        return stored.viewed(lambda array: array[0])
    return stored


# ---- loading ----------------------------------------------------------------------------------------------------

def fit(tensors: Mapping[str, Stored], shapes: Mapping[str, tuple[int, ...]], ties: Mapping[str, str] = {},
        source: str = "the checkpoint") -> dict[str, Stored]:
    """For each of the model's tensors, by its name, the stored one that belongs there; or one CheckpointError that
    lists everything that does not fit.

    `shapes` are the model's. `ties` tells which of its names are other names' tensors: where the file holds such a one
    of its own, it must be equal. A head that the file lacks, since it was tied there, is the token embedding."""
    rows, given, names = _matched(tensors, shapes, source)
    missing, wrong, unexpected = [], [], []
    fitted: dict[str, Stored] = {}
    for row in rows:
        ours = [name for name in row.ours if name in shapes]
        if row.theirs not in given:
            if ours and row.ours[0] != "out_head.weight":
                same = row.ours == (row.theirs,)
                missing.append(row.theirs if same else f"{row.theirs} (for {', '.join(ours)})")
            continue
        stored = given.pop(row.theirs)
        if not ours:
            if not _is_zero(row, stored):
                unexpected.append(f"{names[row.theirs]} (the model has no {', '.join(row.ours)})")
        elif stored.shape != (expected := row.shape(shapes)):
            wrong.append(f"{names[row.theirs]} is {stored.shape}, expected {expected}")
        elif stored.dtype not in FLOATS:
            wrong.append(f"{names[row.theirs]} is {stored.dtype}, expected one of {', '.join(FLOATS)}")
        else:
            fitted |= row.parts(stored)
    unexpected += [names[name] for name in given]
    if not (missing or unexpected or wrong):
        if "out_head.weight" in shapes and "out_head.weight" not in fitted:
            fitted["out_head.weight"] = fitted["tok_emb.weight"]
        wrong = [f"{a} differs from {b}, and the model has one tensor for both: build it with tied=False"
                 for a, b in ties.items() if a in fitted and not _equal(fitted[a], fitted[b])]
    if missing or unexpected or wrong:
        raise CheckpointError(f"{source} does not fit the model; nothing was loaded."
                              + _listed("missing", missing) + _listed("unexpected", unexpected)
                              + _listed("of another shape or dtype", wrong))
    return {name: stored for name, stored in fitted.items() if name not in ties}


def _matched(tensors: Mapping[str, Stored], shapes: Mapping[str, Any],
             source: str) -> tuple[list[Row], dict[str, Stored], dict[str, str]]:
    """The table for the layout that the names show, the tensors by the names in it, and the names that those have in
    the file."""
    given: dict[str, Stored] = {}
    names: dict[str, str] = {}
    for name, stored in tensors.items():
        key = canonical(name)
        if _IGNORED.fullmatch(key):
            continue
        if key in given:
            raise CheckpointError(f"{source} holds {key} twice: as {names[key]} and as {name}")
        given[key], names[key] = canonical_shape(name, stored), name
    theirs = hugging_face(shapes)
    ours = [Row(name, (name,)) for name in shapes]
    ours += [Row(name, (name,)) for row in theirs for name in row.ours if name not in shapes]
    layouts = {len(given.keys() & {row.theirs for row in rows}): rows for rows in (theirs, ours)}
    if not any(layouts):
        raise CheckpointError(f"{source} is not a GPT-2 in a known layout (Hugging Face's, OpenAI's, the book's, or "
                              f"this project's): its tensors are {_short(sorted(tensors), 6)}")
    return layouts[max(layouts)], given, names


def _is_zero(row: Row, stored: Stored) -> bool:
    """Hugging Face's layout has a bias where a model has none: then it is zero."""
    return row.theirs.endswith("c_attn.bias") and stored.dtype in FLOATS and not stored.array().any()


def _equal(a: Stored, b: Stored) -> bool:
    return a is b or (a.shape == b.shape and np.array_equal(a.array(), b.array(), equal_nan=True))


def _listed(what: str, names: list[str]) -> str:
    return f"\n  {what} ({len(names)}): {_short(names, LISTED)}" if names else ""


def _short(names: list[str], most: int) -> str:
    """Names as they come from a file: cut, and without control codes."""
    shown = [ascii(name)[1:-1][:200] for name in names[:most]]
    return ", ".join(shown) + (f" ... and {len(names) - most} more" if len(names) > most else "")


# ---- saving -----------------------------------------------------------------------------------------------------

def to_hugging_face(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A model's tensors as GPT2LMHeadModel names and shapes them. Where it has a bias and the model none, zeros."""
    result = {}
    for row in hugging_face(arrays):
        prefix = "" if row.theirs == "lm_head.weight" else "transformer."
        if row.ours[0] in arrays:
            result[prefix + row.theirs] = row.whole(arrays)
        elif row.theirs.endswith("c_attn.bias"):
            query = arrays[row.ours[0].removesuffix("bias") + "weight"]
            result[prefix + row.theirs] = np.zeros(3 * len(query), query.dtype)
    return result


# ---- configurations ---------------------------------------------------------------------------------------------

_OPENAI_HPARAMS = {"n_vocab": "vocab_size", "n_ctx": "context_length", "n_embd": "emb_dim", "n_head": "n_heads",
                   "n_layer": "n_layers"}
_HF_SIZES = {"vocab_size": "vocab_size", "n_positions": "context_length", "n_embd": "emb_dim", "n_head": "n_heads",
             "n_layer": "n_layers"}
_HF_DROPOUTS = ("embd_pdrop", "attn_pdrop", "resid_pdrop")
_HF_FIXED = {"activation_function": ("gelu_new", "gelu_pytorch_tanh"), "scale_attn_weights": (True,),
             "scale_attn_by_inverse_layer_idx": (False,), "add_cross_attention": (False,)}


def from_hparams(values: Mapping[str, Any]) -> GPT2Config:
    """OpenAI's hparams.json."""
    if absent := [key for key in _OPENAI_HPARAMS if key not in values]:
        raise CheckpointError(f"hparams has no {', '.join(absent)}")
    return GPT2Config(**{ours: values[theirs] for theirs, ours in _OPENAI_HPARAMS.items()}, qkv_bias=True, tied=True,
                      init="gpt2")


def from_hf_config(values: Mapping[str, Any]) -> GPT2Config:
    """Hugging Face's config.json. What this model cannot compute is refused."""
    if (kind := values.get("model_type")) != "gpt2":
        raise CheckpointError(f"config.json is of a model of type {kind!r}, and this one is 'gpt2'")
    defaults = {"vocab_size": 50257, "n_positions": values.get("n_ctx", 1024), "n_embd": 768, "n_head": 12,
                "n_layer": 12}
    sizes = {ours: values.get(theirs, defaults[theirs]) for theirs, ours in _HF_SIZES.items()}
    for key, allowed in _HF_FIXED.items():
        if (value := values.get(key, allowed[0])) not in allowed:
            raise CheckpointError(f"config.json says {key}={value!r}, and this model is made for "
                                  + " or ".join(map(repr, allowed)))
    if (inner := values.get("n_inner")) not in (None, 4 * sizes["emb_dim"]):
        raise CheckpointError(f"config.json says n_inner={inner!r}, and this model is made for 4 * n_embd")
    drops = {key: values.get(key, 0.1) for key in _HF_DROPOUTS}
    if len(set(drops.values())) > 1:
        raise CheckpointError(f"config.json has different dropouts, {drops}, and this model has one for all: make them "
                              "equal (they matter in training alone), or pass config=GPT2Config(...)")
    return GPT2Config(**sizes, drop_rate=drops["resid_pdrop"], qkv_bias=values.get("qkv_bias", True),
                      tied=values.get("tie_word_embeddings", True), init="gpt2",
                      norm_eps=values.get("layer_norm_epsilon", 1e-5))


def to_hf_config(config: GPT2Config, dtype: str = "float32") -> dict[str, Any]:
    end = config.vocab_size - 1 if config.vocab_size == 50257 else None
    return ({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}
            | {theirs: getattr(config, ours) for theirs, ours in _HF_SIZES.items()}
            | {"n_ctx": config.context_length, "n_inner": None, "layer_norm_epsilon": config.norm_eps}
            | dict.fromkeys(_HF_DROPOUTS, config.drop_rate)
            | {key: allowed[0] for key, allowed in _HF_FIXED.items()}
            | {"initializer_range": 0.02, "tie_word_embeddings": config.tied, "qkv_bias": config.qkv_bias,
               "bos_token_id": end, "eos_token_id": end, "torch_dtype": dtype})
