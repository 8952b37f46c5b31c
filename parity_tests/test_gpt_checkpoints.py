"""Weights in and out, against models nobody here wrote: transformers' GPT2LMHeadModel, and the book's own layout."""

from __future__ import annotations

import importlib
import json
import pickle
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import gpt
import minigrad
from gpt.config import CONFIGS, GPT2Config
from gpt.weights import layouts
from gpt.weights.files import array_of, open_weights
from gpt.weights.stored import CheckpointError

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

CHECKPOINTS = {name: importlib.import_module(f"{package}.checkpoints")
               for name, package in (("numpy", "gpt"), ("torch", "gpt.mirror"))}
LIBRARIES = {"numpy": minigrad, "torch": torch}
ENGINES = st.sampled_from(sorted(CHECKPOINTS))


@st.composite
def configs(draw, **fixed) -> GPT2Config:
    heads = draw(st.integers(1, 3))
    fields = dict(vocab_size=draw(st.integers(2, 40)), context_length=draw(st.integers(1, 9)), n_heads=heads,
                  emb_dim=heads * draw(st.integers(1, 6)), n_layers=draw(st.integers(1, 3)), drop_rate=0.0,
                  qkv_bias=draw(st.booleans()), tied=draw(st.booleans()), norm_eps=draw(st.sampled_from([1e-5, 1e-6])))
    return GPT2Config(**fields | fixed)


def hf_model(config: GPT2Config, seed: int = 0) -> transformers.GPT2LMHeadModel:
    """Random, biases and norms too."""
    torch.manual_seed(seed)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=config.vocab_size, n_positions=config.context_length, n_embd=config.emb_dim, n_head=config.n_heads,
        n_layer=config.n_layers, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0, layer_norm_epsilon=config.norm_eps,
        tie_word_embeddings=config.tied, bos_token_id=0, eos_token_id=0, attn_implementation="eager"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model.eval()


def our_model(engine: str, config: GPT2Config, seed: int = 0):
    LIBRARIES[engine].manual_seed(seed)
    model = gpt.build(config, engine)
    with LIBRARIES[engine].no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def weights(model) -> dict[str, np.ndarray]:
    return {name: array_of(t) for name, t in model.state_dict().items()}


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A new folder for each example."""
    top = tmp_path_factory.mktemp("checkpoints")
    return lambda: Path(tempfile.mkdtemp(dir=top))


# ---- transformers -----------------------------------------------------------------------------------------------

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def save_hf(model: transformers.GPT2LMHeadModel, folder: Path, form: str, dtype: torch.dtype, prefix: bool,
            buffers: bool) -> None:
    """As the hub has them: today's files by transformers itself, older ones by hand."""
    if form in ("single", "sharded"):
        (model if prefix else model.transformer).to(dtype).save_pretrained(
            folder, **({"max_shard_size": 3000} if form == "sharded" else {}))
        return
    model.config.save_pretrained(folder)
    state = {name.removeprefix("" if prefix else "transformer."): t for name, t in model.to(dtype).state_dict().items()}
    if buffers:
        top = "transformer." if prefix else ""
        T = model.config.n_positions
        for i in range(model.config.n_layer):
            state[f"{top}h.{i}.attn.bias"] = torch.ones(T, T, dtype=torch.uint8).tril()[None, None]
            state[f"{top}h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    if form == "safetensors by hand":
        if model.config.tie_word_embeddings:
            del state["lm_head.weight"]
        save_file({name: t.contiguous() for name, t in state.items()}, folder / "model.safetensors")
    else:
        torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form == "zip")


few = settings(max_examples=max(settings().max_examples // 2, 1))        # transformers takes its time to save and load
FORMS = ["single", "sharded", "safetensors by hand", "zip", "legacy"]


@few
@given(configs(qkv_bias=True), ENGINES, st.sampled_from(FORMS), st.sampled_from(sorted(DTYPES)), st.booleans(),
       st.booleans(), st.integers(0, 99))
def test_hugging_face_folders_give_transformers_logits_and_gradients(folder, config, engine, form, dtype, prefix,
                                                                     buffers, seed):
    if not prefix and form in ("single", "sharded"):
        config = replace(config, tied=True)          # GPT2Model has no head of its own
    oracle = hf_model(config, seed)
    save_hf(oracle, path := folder(), form, DTYPES[dtype], prefix, buffers)
    library = LIBRARIES[engine]
    library.set_default_dtype(library.float64)
    try:
        model = CHECKPOINTS[engine].from_pretrained(path).eval()
    finally:
        library.set_default_dtype(library.float32)
    assert replace(model.config, init=config.init) == config
    oracle = oracle.to(DTYPES[dtype]).double()

    rng = np.random.default_rng(seed)
    ids = rng.integers(0, config.vocab_size, (2, rng.integers(1, config.context_length + 1)))
    direction = rng.normal(size=(*ids.shape, config.vocab_size))
    logits, expected = model(library.from_numpy(ids)), oracle(torch.from_numpy(ids)).logits
    close = partial(np.testing.assert_allclose, rtol=1e-9)
    close(array_of(logits), array_of(expected), atol=1e-9 * expected.abs().max().item())

    (logits * library.from_numpy(direction)).sum().backward()
    (expected * torch.from_numpy(direction)).sum().backward()
    ours = layouts.to_hugging_face({name: array_of(p.grad) for name, p in model.named_parameters()})
    theirs = {name: array_of(p.grad) for name, p in oracle.named_parameters()}
    assert ours.keys() == theirs.keys()
    scale = max(abs(g).max() for g in theirs.values())
    for name in theirs:
        close(ours[name], theirs[name], atol=1e-9 * scale, err_msg=name)


@few
@given(configs(), ENGINES, st.sampled_from(["float32", "float16"]))
def test_what_is_exported_transformers_loads_bit_for_bit(folder, config, engine, dtype):
    model, path = our_model(engine, config).to(getattr(LIBRARIES[engine], dtype)), folder()
    CHECKPOINTS[engine].save_pretrained(model, path, format="hf")
    theirs, info = transformers.GPT2LMHeadModel.from_pretrained(path, output_loading_info=True, dtype="auto")
    assert not any(info.values()), info
    arrays = weights(model)
    if config.tied:
        assert theirs.lm_head.weight is theirs.transformer.wte.weight
        del arrays["out_head.weight"]
    expected = layouts.to_hugging_face(arrays)
    assert_same({name: array_of(p) for name, p in theirs.named_parameters()}, expected)
    for mapped, part in (("W_query", 0), ("W_key", 1), ("W_value", 2)):        # without the table that wrote it
        C = config.emb_dim
        np.testing.assert_array_equal(array_of(theirs.transformer.h[0].attn.c_attn.weight)[:, part * C:(part + 1) * C],
                                      arrays[f"trf_blocks.0.att.{mapped}.weight"].T)

    theirs.save_pretrained(again := folder())
    for other, module in CHECKPOINTS.items():
        back = module.from_pretrained(again).to(getattr(LIBRARIES[other], dtype))
        assert_same(weights(back), weights(model))
        assert replace(back.config, init=config.init) == config


@given(configs(), ENGINES, ENGINES)
def test_our_own_folders_round_trip_across_engines(folder, config, writer, reader):
    model, path = our_model(writer, config), folder()
    CHECKPOINTS[writer].save_pretrained(model, path)
    back = gpt_from_pretrained(path, engine=reader)
    assert back.config == config and back.training
    assert_same(weights(back), weights(model))
    stored = load_file(path / "model.safetensors")                # the reference implementation reads it, too
    assert stored.keys() == set(weights(model)) - ({"out_head.weight"} if config.tied else set())
    assert type(back) is type(gpt.build(config, reader))


gpt_from_pretrained = CHECKPOINTS["numpy"].from_pretrained


@pytest.mark.parametrize("engine", CHECKPOINTS)
def test_layers_are_told_apart_beyond_ten_and_shards_may_be_pickles(engine, tmp_path):
    config = replace(TINY, n_layers=12, tied=True)
    oracle = hf_model(config)
    oracle.config.save_pretrained(tmp_path)
    state = oracle.state_dict()
    weight_map = {name: f"pytorch_model-{i % 3}.bin" for i, name in enumerate(state)}
    for shard in set(weight_map.values()):
        torch.save({name: t.clone() for name, t in state.items() if weight_map[name] == shard}, tmp_path / shard)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    arrays = weights(CHECKPOINTS[engine].from_pretrained(tmp_path))
    assert_same(layouts.to_hugging_face(arrays), {name: array_of(t) for name, t in state.items()})


# ---- the book ---------------------------------------------------------------------------------------------------

def book_state(model) -> dict[str, torch.Tensor]:
    """What the book's GPTModel saves: norms of its own, and causal masks."""
    T = model.config.context_length
    state = {}
    for name, array in weights(model).items():
        if "norm" in name:
            name = name.replace(".weight", ".scale").replace(".bias", ".shift")
        state[name] = torch.from_numpy(array.copy())
    for i in range(model.config.n_layers):
        state[f"trf_blocks.{i}.att.mask"] = torch.triu(torch.ones(T, T), diagonal=1)
    return state


@given(configs(), ENGINES, st.sampled_from(["", "_orig_mod.", "module."]),
       st.sampled_from([None, "model_state_dict", "state_dict"]), st.sampled_from(["pth", "legacy", "safetensors"]))
def test_the_books_files(folder, config, engine, prefix, wrapper, form):
    model = our_model("torch", replace(config, tied=False))
    state = {prefix + name: t for name, t in book_state(model).items()}
    if form == "safetensors":
        save_file(state, path := folder() / "book.safetensors")
    else:
        wrapped = {wrapper: state, "epoch": 3, "optimizer_state_dict": {"state": {}}} if wrapper else state
        torch.save(wrapped, path := folder() / "model.pth", _use_new_zipfile_serialization=form == "pth")
    for source in (path, state):
        target = CHECKPOINTS[engine].load_weights(our_model(engine, model.config, seed=1), source)
        assert_same(weights(target), weights(model))
    assert_same(weights(gpt_from_pretrained(path, engine, config=model.config)), weights(model))


def nested(model) -> dict:
    """The `params` of the book's gpt_download.py: OpenAI's arrays, squeezed, in nested dicts."""
    arrays = {k.removeprefix("transformer."): v for k, v in layouts.to_hugging_face(
        {k: v for k, v in weights(model).items() if k != "out_head.weight"}).items()}
    params = {"blocks": [{} for _ in range(model.config.n_layers)], "wte": arrays.pop("wte.weight"),
              "wpe": arrays.pop("wpe.weight"), "g": arrays.pop("ln_f.weight"), "b": arrays.pop("ln_f.bias")}
    for name, array in arrays.items():
        _, i, *path, end = name.split(".")
        block = params["blocks"][int(i)]
        for part in path:
            block = block.setdefault(part, {})
        block[("g" if "ln" in name else "w") if end == "weight" else "b"] = array
    return params


@given(configs(qkv_bias=True, tied=True), ENGINES, st.booleans())
def test_the_params_of_the_books_download(config, engine, tied):
    model = our_model("torch", config)
    params = nested(model)
    assert params["blocks"][0]["attn"]["c_attn"]["w"].shape == (config.emb_dim, 3 * config.emb_dim)
    target = CHECKPOINTS[engine].load_weights(our_model(engine, replace(config, tied=tied), seed=1), params)
    assert_same(weights(target), weights(model))


# ---- tied and untied --------------------------------------------------------------------------------------------

TINY = GPT2Config(vocab_size=7, context_length=5, emb_dim=6, n_heads=2, n_layers=2, qkv_bias=True)


@pytest.mark.parametrize("engine", CHECKPOINTS)
@pytest.mark.parametrize("format", ["ours", "hf"])
def test_a_tied_file_fills_an_untied_model_and_the_other_way_only_where_they_are_equal(engine, format, tmp_path):
    module = CHECKPOINTS[engine]
    tied = our_model(engine, replace(TINY, tied=True))
    module.save_pretrained(tied, tmp_path / "tied", format)
    untied = module.from_pretrained(tmp_path / "tied", tied=False)
    assert untied.out_head.weight is not untied.tok_emb.weight
    assert_same(weights(untied), weights(tied))

    module.save_pretrained(untied, tmp_path / "equal", format)              # two tensors, of equal values
    assert_same(weights(module.from_pretrained(tmp_path / "equal", tied=True)), weights(tied))

    module.save_pretrained(our_model(engine, TINY), tmp_path / "untied", format)
    before = weights(tied)["tok_emb.weight"].copy()
    with pytest.raises(CheckpointError, match=r"out_head.weight differs from tok_emb.weight.*tied=False"):
        module.load_weights(tied, tmp_path / "untied")
    np.testing.assert_array_equal(weights(tied)["tok_emb.weight"], before)


@pytest.mark.parametrize("engine", CHECKPOINTS)
def test_a_model_without_qkv_bias_takes_zeros_and_nothing_else(engine, tmp_path):
    module, config = CHECKPOINTS[engine], replace(TINY, qkv_bias=False)
    module.save_pretrained(our_model(engine, TINY), tmp_path, "hf")
    with pytest.raises(CheckpointError, match=r"unexpected \(2\): transformer\.h\.0\.attn\.c_attn\.bias \(the model"):
        module.load_weights(our_model(engine, config), tmp_path)
    module.save_pretrained(model := our_model(engine, config), tmp_path, "hf")
    assert_same(weights(module.from_pretrained(tmp_path)), weights(model))
    with_bias = weights(module.from_pretrained(tmp_path, qkv_bias=True))
    assert not with_bias["trf_blocks.0.att.W_key.bias"].any()


# ---- what does not fit ------------------------------------------------------------------------------------------

@given(configs(qkv_bias=True), ENGINES, st.booleans(), st.data())
def test_one_error_lists_everything_and_nothing_is_written(folder, config, engine, hugging_face, data):
    source = weights(our_model("numpy", replace(config, tied=False)))
    if hugging_face:
        source = layouts.to_hugging_face(source)
    heads = {"out_head.weight", "lm_head.weight"}                                # may be missing
    names = st.lists(st.sampled_from(sorted(source.keys() - heads)), unique=True, max_size=4)
    missing = data.draw(names)
    reshaped = [name for name in data.draw(names) if name not in missing]
    retyped = [name for name in data.draw(names) if name not in missing + reshaped]
    extra = data.draw(st.lists(st.sampled_from(["odd", "h.0.attn.rotary", "trf_blocks.0.att.W_other.weight",
                                                "h.99.ln_1.weight"]), unique=True, max_size=3))
    for name in missing:
        del source[name]
    for name in reshaped:
        source[name] = np.zeros((*source[name].shape, 1), np.float32)
    for name in retyped:
        source[name] = source[name].astype(np.int32)
    source |= {name: np.zeros(1, np.float32) for name in extra}
    if not missing + reshaped + retyped + extra:
        return
    model = our_model(engine, replace(config, tied=False), seed=1)
    before = {name: array.copy() for name, array in weights(model).items()}
    path = folder() / "model.safetensors"
    save_file({name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in source.items()}, path)
    for where in (source, path):
        with pytest.raises(CheckpointError) as caught:
            CHECKPOINTS[engine].load_weights(model, where)
        message = str(caught.value)
        lines = {line.split(" (")[0].strip(): line for line in message.splitlines()[1:]}
        assert set(lines) == ({"missing"} if missing else set()) | ({"unexpected"} if extra else set()) | (
            {"of another shape or dtype"} if reshaped + retyped else set())
        for kind, found in (("missing", missing), ("unexpected", extra),
                            ("of another shape or dtype", reshaped + retyped)):
            assert all(name.removeprefix("transformer.") in lines[kind] for name in found)
            assert not found or f"{kind} ({len(found)})" in lines[kind]
        assert_same(weights(model), before)


def test_an_error_is_bounded():
    config = replace(TINY, n_layers=48)
    source = {f"h.{i}.odd{j}" + "\x1b[2J" * 99: np.zeros(1, np.float32) for i in range(20) for j in range(20)}
    with pytest.raises(CheckpointError) as caught:
        CHECKPOINTS["numpy"].load_weights(gpt.build(config), source | {"tok_emb.weight": np.zeros((7, 6), np.float32)})
    message = str(caught.value)
    assert "unexpected (400)" in message and "... and 360 more" in message
    assert "missing (771)" in message
    assert len(message) < 20_000 and "\x1b" not in message
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("engine", CHECKPOINTS)
def test_other_models_and_other_values_are_refused(engine, tmp_path):
    module, model = CHECKPOINTS[engine], gpt.build(TINY, engine)
    before = {name: array.copy() for name, array in weights(model).items()}
    for source, message in (
            ({"model.layers.0.weight": np.zeros(3)}, "not a GPT-2 in a known layout .*model.layers.0.weight"),
            ({}, "expected a state dict"),
            ({"wte.weight": "x"}, "found other values: 'wte.weight'"),
            ({"wte.weight": np.zeros((7, 6)), "transformer.wte.weight": np.zeros((7, 6))}, "holds wte.weight twice"),
            ({"blocks": [{"attn": 3}], "wte": np.zeros((7, 6))}, "expected an array at model/h0/attn"),
    ):
        with pytest.raises(CheckpointError, match=message):
            module.load_weights(model, source)
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        module.load_weights(model, tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"expected one of model\.safetensors"):
        module.load_weights(model, tmp_path)
    assert_same(weights(model), before)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_no_code_runs(form, tmp_path):
    state, path, crater = {"wte.weight": Bomb(tmp_path / "crater")}, tmp_path / "pytorch_model.bin", tmp_path / "crater"
    if form == "pickle":
        path.write_bytes(pickle.dumps(state))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin"):
        CHECKPOINTS["numpy"].load_weights(gpt.build(TINY), tmp_path)
    assert not crater.exists()


# ---- damage -----------------------------------------------------------------------------------------------------

FILES = {"single": "model.safetensors", "sharded": "model.safetensors.index.json", "zip": "pytorch_model.bin",
         "legacy": "pytorch_model.bin"}


def written(form: str, folder: Path) -> Path:
    """A checkpoint; the file in it to damage."""
    save_hf(hf_model(replace(TINY, tied=True)), folder, form, torch.float32, True, False)
    return folder / FILES[form]


@pytest.fixture(scope="module")
def intact(folder) -> dict[str, Path]:
    return {form: written(form, folder()) for form in FILES}


@given(st.sampled_from(sorted(FILES)), st.data())
def test_a_truncated_file_is_one_error_that_names_it(folder, intact, form, data):
    content = intact[form].read_bytes()
    file = folder() / FILES[form]
    file.write_bytes(content[:data.draw(st.integers(0, len(content) - 3))])
    model = our_model("numpy", replace(TINY, tied=True))
    before = {name: array.copy() for name, array in weights(model).items()}
    with pytest.raises(CheckpointError, match=file.name):
        CHECKPOINTS["numpy"].load_weights(model, file.parent)
    assert_same(weights(model), before)


@given(data=st.data())
def test_a_flipped_bit_in_a_zip_archive_never_passes(folder, intact, data):
    config = replace(TINY, tied=True)
    content = bytearray(intact["zip"].read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file = folder() / "model.pth"
    file.write_bytes(content)
    model = our_model("numpy", config)
    before = {name: array.copy() for name, array in weights(model).items()}
    try:
        CHECKPOINTS["numpy"].load_weights(model, file)
        before = weights(CHECKPOINTS["numpy"].from_pretrained(intact["zip"]))    # a date, a field that says nothing
    except CheckpointError:
        pass
    assert_same(weights(model), before)


def test_shards_and_their_index_must_agree(tmp_path):
    def load():
        CHECKPOINTS["numpy"].load_weights(gpt.build(replace(TINY, tied=True)), tmp_path)

    index = written("sharded", tmp_path)
    content = json.loads(index.read_text())
    shard = min(content["weight_map"].values())
    load()
    for change, message in ((lambda m: m.update(odd=shard), "disagree on 1 tensor"),
                            (lambda m: m.update(odd="../secret.safetensors"), "not the name of a file beside it"),
                            (lambda m: m.update(odd="absent.safetensors"), "absent.safetensors"),
                            (dict.clear, "weight_map")):
        changed = dict(content["weight_map"])
        change(changed)
        index.write_text(json.dumps({"weight_map": changed}))
        with pytest.raises(CheckpointError, match=message):
            load()
    for text in ("[]", "null", '{"weight_map": []}'):
        index.write_text(text)
        with pytest.raises(CheckpointError, match="no 'weight_map'"):
            load()
    index.write_text(json.dumps(content))
    (tmp_path / shard).write_bytes((tmp_path / shard).read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=shard):
        load()
    (tmp_path / shard).unlink()
    with pytest.raises(CheckpointError, match=f"1 file.*{shard}"):
        load()


# ---- configurations ---------------------------------------------------------------------------------------------

@given(configs())
def test_configurations_survive_transformers(config):
    theirs = transformers.GPT2Config(**layouts.to_hf_config(config))
    assert layouts.from_hf_config(theirs.to_dict()) == replace(config, init="gpt2")


@pytest.mark.parametrize(("name", "change", "message"), [
    ("config.json", {"model_type": "llama"}, "of a model of type 'llama'"),
    ("config.json", {"activation_function": "relu"}, "activation_function='relu'"),
    ("config.json", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
    ("config.json", {"n_inner": 5}, "n_inner=5"),
    ("config.json", {"resid_pdrop": 0.5}, "different dropouts"),
    ("config.json", {"n_embd": "wide"}, "emb_dim must be|emb_dim"),
    ("config.json", {"n_head": 5}, "divisible"),
    ("config.json", {"architecture": "gpt9"}, "architecture must be one of"),
    ("hparams.json", {"n_vocab": None}, "vocab_size must be"),
])
def test_configurations_that_this_model_cannot_be_are_refused(name, change, message, tmp_path):
    values = {"config.json": layouts.to_hf_config(TINY),
              "hparams.json": {"n_vocab": 7, "n_ctx": 5, "n_embd": 6, "n_head": 2, "n_layer": 2}}[name]
    (tmp_path / name).write_text(json.dumps(values))
    assert CHECKPOINTS["numpy"].load_config(tmp_path).emb_dim == 6
    (tmp_path / name).write_text(json.dumps(values | change))
    with pytest.raises(CheckpointError, match=message) as caught:
        CHECKPOINTS["numpy"].load_config(tmp_path)
    assert str(tmp_path / name) in str(caught.value)


def test_a_folder_without_a_configuration_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no config.json.*config=GPT2Config"):
        CHECKPOINTS["numpy"].from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json: not valid JSON"):
        CHECKPOINTS["numpy"].from_pretrained(tmp_path)


def test_the_published_configurations_are_read_as_they_are_named(tmp_path):
    sizes = {"gpt2": (768, 12, 12), "gpt2-medium": (1024, 16, 24), "gpt2-large": (1280, 20, 36),
             "gpt2-xl": (1600, 25, 48)}
    for name, (n_embd, n_head, n_layer) in sizes.items():
        hparams = {"n_vocab": 50257, "n_ctx": 1024, "n_embd": n_embd, "n_head": n_head, "n_layer": n_layer}
        (tmp_path / "hparams.json").write_text(json.dumps(hparams))
        assert CHECKPOINTS["numpy"].load_config(tmp_path) == CONFIGS[name]
        theirs = transformers.GPT2Config(n_embd=n_embd, n_head=n_head, n_layer=n_layer)
        assert layouts.from_hf_config(theirs.to_dict()) == CONFIGS[name]


# ---- models without drawing -------------------------------------------------------------------------------------

@pytest.mark.parametrize("init", ["torch", "gpt2"])
@pytest.mark.parametrize("engine", CHECKPOINTS)
def test_models_are_built_without_touching_the_random_stream(engine, init):
    library = LIBRARIES[engine]
    no_init = CHECKPOINTS[engine].no_init
    library.manual_seed(5)
    expected = array_of(library.rand(3))
    library.manual_seed(5)
    with no_init():
        model = gpt.build(replace(TINY, init=init), engine)
    np.testing.assert_array_equal(array_of(library.rand(3)), expected)
    assert list(model.state_dict()) == list(gpt.build(TINY, engine).state_dict())
    np.testing.assert_array_equal(array_of(model.final_norm.weight), 1)
    assert all(p.requires_grad for p in model.parameters())
    library.manual_seed(5)
    after = gpt.build(TINY, engine)                               # drawing is on again
    library.manual_seed(5)
    assert_same(weights(gpt.build(TINY, engine)), weights(after))


def test_loading_leaves_the_random_stream_alone(tmp_path):
    for engine, module in CHECKPOINTS.items():
        library = LIBRARIES[engine]
        module.save_pretrained(our_model(engine, TINY), tmp_path)
        library.manual_seed(5)
        expected = array_of(library.rand(3))
        library.manual_seed(5)
        module.from_pretrained(tmp_path)
        np.testing.assert_array_equal(array_of(library.rand(3)), expected)


# ---- the rest ---------------------------------------------------------------------------------------------------

def test_saving_needs_a_known_format(tmp_path):
    with pytest.raises(ValueError, match="format must be 'ours' or 'hf', not 'onnx'"):
        CHECKPOINTS["numpy"].save_pretrained(gpt.build(TINY), tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()


def test_what_torch_wraps_is_saved_raw(tmp_path):
    compiled = torch.compile(model := our_model("torch", TINY))
    CHECKPOINTS["torch"].save_pretrained(compiled, tmp_path)
    CHECKPOINTS["torch"].load_weights(torch.compile(back := our_model("torch", TINY, seed=1)), tmp_path)
    assert_same(weights(back), weights(model))


@pytest.mark.parametrize("engine", CHECKPOINTS)
def test_a_model_that_is_not_what_its_configuration_says_is_not_saved(engine, tmp_path):
    model = our_model(engine, TINY)
    model.out_head = (torch.nn if engine == "torch" else minigrad.nn).Linear(TINY.emb_dim, 2)     # a classifier's
    with pytest.raises(CheckpointError, match=r"out_head\.bias, out_head\.weight: change model\.config"):
        CHECKPOINTS[engine].save_pretrained(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bfloat16_models_are_saved_exactly(tmp_path):
    model = our_model("torch", TINY).bfloat16()
    CHECKPOINTS["torch"].save_pretrained(model, tmp_path)
    back = CHECKPOINTS["torch"].from_pretrained(tmp_path)
    assert all(torch.equal(a, b.float()) for a, b in zip(back.state_dict().values(), model.state_dict().values()))


@given(st.lists(st.integers(0, 4), max_size=3), st.sampled_from(["float32", "float16", "bfloat16", "float64", "int64"]),
       st.booleans(), st.integers(0, 3))
def test_stored_tensors_are_what_torch_reads(folder, shape, dtype, transposed, skip):
    """Views, offsets, empty tensors and scalars, in both formats."""
    base = torch.randn([*shape, 5]).mul(3).to(getattr(torch, dtype))
    tensor = base[..., min(skip, 4)]
    tensor = tensor.transpose(0, -1) if transposed and tensor.dim() > 1 else tensor
    torch.save({"a": tensor, "b": base, "c": tensor}, pth := folder() / "x.pth")
    save_file({"a": tensor.contiguous().clone(), "b": base.clone(), "c": tensor.contiguous().clone()},
              safe := pth.with_suffix(".safetensors"))
    for path in (pth, safe):
        with open_weights(path) as tensors:
            for name, t in (("a", tensor), ("b", base), ("c", tensor)):
                assert tensors[name].shape == tuple(t.shape) and tensors[name].dtype == dtype
                np.testing.assert_array_equal(tensors[name].array(), array_of(t))
                np.testing.assert_array_equal(tensors[name].viewed(lambda x: x.T).array(), array_of(t).T)


def test_what_is_read_has_the_tensors_own_kind_only():
    assert array_of(SimpleNamespace(array=3)) is None
    assert array_of([1.0]) is None
