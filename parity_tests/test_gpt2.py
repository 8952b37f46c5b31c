"""GPT-2: minigrad against torch from the same file, and the book's printed facts."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import gpt
import minigrad
from gpt.config import CONFIGS, GPT2Config, from_dict

ENGINES = {"numpy": minigrad, "torch": torch}
TINY = GPT2Config(vocab_size=13, context_length=8, emb_dim=12, n_heads=3, n_layers=2)
engines = pytest.mark.parametrize("engine", ENGINES)


@st.composite
def configs(draw, **fixed) -> GPT2Config:
    heads = draw(st.integers(1, 4))
    values = dict(vocab_size=draw(st.integers(2, 40)), context_length=draw(st.integers(1, 12)), n_heads=heads,
                  emb_dim=heads * draw(st.integers(1, 6)), n_layers=draw(st.integers(1, 3)),
                  drop_rate=draw(st.sampled_from([0.0, 0.1, 0.5])), qkv_bias=draw(st.booleans()),
                  tied=draw(st.booleans()), init=draw(st.sampled_from(["torch", "gpt2"])))
    return GPT2Config(**values | fixed)


@st.composite
def problems(draw, **fixed) -> tuple[GPT2Config, np.ndarray]:
    """A configuration, and a batch of ids (B, T + 1)."""
    config = draw(configs(**fixed))
    shape = draw(st.integers(1, 3)), draw(st.integers(1, config.context_length)) + 1
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return config, rng.integers(config.vocab_size, size=shape)


def arrays(named) -> dict[str, np.ndarray]:
    return {name: x.detach().numpy().copy() for name, x in named}


# ---- the engines agree ---------------------------------------------------------------------------------------------

LR, EPS = 1e-3, 1e-8


def run(engine: str, config: GPT2Config, ids: np.ndarray, training: bool, dtype: str,
        starts: list[dict] | None = None) -> dict[str, list]:
    """Three steps of AdamW from the same seed: the weights before each step, its loss and gradients, and the weights at
    the end. With `starts`, each step is made from these weights, whatever the one before has led to."""
    t = ENGINES[engine]
    t.set_default_dtype(getattr(t, dtype))
    t.manual_seed(1234)
    model = gpt.build(config, engine=engine).train(training)
    optimizer = t.optim.AdamW(model.parameters(), lr=LR, eps=EPS, weight_decay=0.1)
    ids = t.tensor(ids)
    before, losses, gradients = [], [], []
    for step in range(3):
        if starts is not None and step:
            model.load_state_dict({name: t.tensor(w) for name, w in starts[step].items()})
        before.append(arrays(model.state_dict().items()))
        logits = model(ids[:, :-1])                                                       # (B, T, V)
        loss = t.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        gradients.append(arrays((name, p.grad) for name, p in model.named_parameters()))
        optimizer.step()
    return dict(before=before, losses=losses, gradients=gradients, weights=[arrays(model.state_dict().items())])


def assert_close(mine: dict, theirs: dict, tolerance: float) -> None:
    """Every array of the one within `tolerance` of the other's, measured by the latter's largest entry, or 1."""
    assert list(mine) == list(theirs)
    for name, expected in theirs.items():
        np.testing.assert_allclose(mine[name], expected, rtol=0, err_msg=name,
                                   atol=tolerance * max(1.0, np.abs(expected).max()))


@given(problem=problems(), training=st.booleans())
@example((GPT2Config(3, 1, emb_dim=1, n_heads=1, n_layers=3, drop_rate=0.0), np.array([[0, 2]])), True)
def test_training_is_the_same_in_float64(problem, training):
    mine, theirs = (run(engine, *problem, training, "float64") for engine in ENGINES)
    assert_close(mine["before"][0], theirs["before"][0], 1e-15)
    np.testing.assert_allclose(mine["losses"], theirs["losses"], rtol=1e-9)
    for g, expected in zip(mine["gradients"], theirs["gradients"]):
        assert_close(g, expected, 1e-9)
    for name, expected in theirs["weights"][0].items():
        allowed = 1e-9 * max(1.0, np.abs(expected).max()) + steps_apart(mine, theirs, name)
        assert (np.abs(mine["weights"][0][name] - expected) <= allowed).all(), name


def steps_apart(mine: dict, theirs: dict, name: str) -> np.ndarray:
    """By how much three steps of AdamW may differ where gradients differ by d. A step is lr m / (sqrt(v) + eps), m and
    v being means of the gradients and of their squares: d changes m and sqrt(v) by no more than d, and so the step by
    no more than 2 lr d / (sqrt(v) + eps), where sqrt(v) is at least the smallest |g|. That is nothing beside 1e-9,
    except where the true gradient is zero, and d (1e-14: the layer norm of one number is constant) is all there is."""
    name = name if name in theirs["gradients"][0] else "tok_emb.weight"               # tied
    g, expected = (np.stack([step[name] for step in each["gradients"]]) for each in (mine, theirs))
    return 3 * 2 * LR * np.abs(g - expected).max(0) / (np.abs(expected).min(0) + EPS)


@given(problem=problems(emb_dim=24), training=st.booleans())
@example((GPT2Config(3, 7, emb_dim=24, n_heads=1, n_layers=3, drop_rate=0.5), np.array([[2, 1, 1]])), True)
def test_training_is_the_same_in_float32(problem, training):
    """To the tolerances that are written here. AdamW makes steps of full size of any gradient, and so of what is zero
    but for rounding (a key's bias, which softmax does not see): there the weights are only as close as that allows. The
    next step starts from torch's, as another dropout may let the loss see them."""
    theirs = run("torch", *problem, training, "float32")
    mine = run("numpy", *problem, training, "float32", theirs["before"])
    for name, expected in theirs["before"][0].items():
        np.testing.assert_array_equal(mine["before"][0][name], expected)
    np.testing.assert_allclose(mine["losses"], theirs["losses"], rtol=2e-5)
    for g, expected in zip(mine["gradients"], theirs["gradients"]):
        assert_close(g, expected, 1e-4)
    for name, expected in theirs["weights"][0].items():
        known = np.min([np.abs(g[name]) for g in theirs["gradients"] if name in g] or [np.zeros(())], axis=0) > 1e-5
        difference = np.abs(mine["weights"][0][name] - expected)
        assert (difference <= np.where(known, 1e-4, 2 * 3 * LR)).all(), name


# ---- the book's facts ------------------------------------------------------------------------------------------------

GPT_CONFIG_124M = {"vocab_size": 50257, "context_length": 1024, "emb_dim": 768, "n_heads": 12, "n_layers": 12,
                   "drop_rate": 0.1, "qkv_bias": False}


@engines
def test_what_chapter_4_prints(engine):
    t = ENGINES[engine]
    t.manual_seed(123)
    model = gpt.build(GPT2Config(**GPT_CONFIG_124M), engine=engine)
    count = sum(p.numel() for p in model.parameters())
    assert f"{count:,}" == "163,009,536"
    assert f"{count - model.out_head.weight.numel():,}" == "124,412,160"
    assert f"{count * 4 / 1024**2:.2f} MB" == "621.83 MB"
    ids = t.tensor([[15496, 11, 314, 716]])                          # "Hello, I am"
    model.eval()
    with t.no_grad():
        for _ in range(6):
            ids = t.cat([ids, model(ids)[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert ids[0, 4:].tolist() == [27018, 24086, 47843, 30961, 42348, 7267]


@pytest.mark.parametrize(("name", "count"), [("book-124M", 163_009_536), ("gpt2-124M", 124_439_808),
                                             ("gpt2-355M", 354_823_168), ("gpt2-774M", 774_030_080),
                                             ("gpt2-1558M", 1_557_611_200)])
def test_the_sizes_that_openai_and_the_book_give(name, count):
    with torch.device("meta"):
        model = gpt.build(replace(CONFIGS[name], init="torch"), engine="torch")
    assert sum(p.numel() for p in model.parameters()) == count


def test_named_configurations():
    assert CONFIGS["book-124M"] == GPT2Config(**GPT_CONFIG_124M) == GPT2Config()
    for name, alias in (("gpt2", "gpt2-124M"), ("gpt2-medium", "gpt2-355M"), ("gpt2-large", "gpt2-774M"),
                        ("gpt2-xl", "gpt2-1558M")):
        assert CONFIGS[name] == CONFIGS[alias]
        assert CONFIGS[name].tied
        assert CONFIGS[name].qkv_bias


class BookAttention(torch.nn.Module):
    """The order in which the book's chapter 4 makes its layers, and uses its dropout."""

    def __init__(self, c: GPT2Config) -> None:
        super().__init__()
        self.heads = c.n_heads
        self.W_query, self.W_key, self.W_value = (torch.nn.Linear(c.emb_dim, c.emb_dim, bias=c.qkv_bias)
                                                  for _ in range(3))
        self.out_proj = torch.nn.Linear(c.emb_dim, c.emb_dim)
        self.dropout = torch.nn.Dropout(c.drop_rate)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (W(x).view(B, T, self.heads, C // self.heads).transpose(1, 2)
                   for W in (self.W_query, self.W_key, self.W_value))
        scores = (q @ k.transpose(2, 3)).masked_fill(torch.ones(T, T).triu(1).bool(), -torch.inf)
        weights = self.dropout(torch.softmax(scores / math.sqrt(C // self.heads), dim=-1))
        return self.out_proj((weights @ v).transpose(1, 2).reshape(B, T, C))


@given(problem=problems(tied=False, init="torch"))
def test_seed_for_seed_the_books_layout(problem):
    """Weights, and logits under dropout, are those of a model in plain torch, made and run as the book's is."""
    config, ids = problem
    C, p = config.emb_dim, config.drop_rate
    torch.manual_seed(123)
    tok, pos = torch.nn.Embedding(config.vocab_size, C), torch.nn.Embedding(config.context_length, C)
    blocks = []
    for _ in range(config.n_layers):
        attention = BookAttention(config)
        blocks.append((attention, torch.nn.Sequential(torch.nn.Linear(C, 4 * C), torch.nn.GELU("tanh"),
                                                      torch.nn.Linear(4 * C, C))))
    head = torch.nn.Linear(C, config.vocab_size, bias=False)
    drop, norm = torch.nn.Dropout(p), torch.nn.LayerNorm(C)
    x = drop(tok(torch.tensor(ids)[:, :-1]) + pos.weight[:ids.shape[1] - 1])
    for attention, ff in blocks:
        x = x + drop(attention(norm(x)))
        x = x + drop(ff(norm(x)))
    expected = head(norm(x)).detach().numpy()

    for engine, t in ENGINES.items():
        t.manual_seed(123)
        model = gpt.build(config, engine=engine)
        np.testing.assert_array_equal(model.out_head.weight.detach().numpy(), head.weight.detach().numpy())
        logits = model(t.tensor(ids[:, :-1])).detach().numpy()
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3 if C < 4 else 2e-5)


@engines
def test_the_books_names(engine):
    names = list(gpt.build(replace(TINY, n_layers=1, qkv_bias=True), engine=engine).state_dict())
    att = [f"att.{w}.{k}" for w in ("W_query", "W_key", "W_value", "out_proj") for k in ("weight", "bias")]
    ff = [f"ff.layers.{i}.{k}" for i in (0, 2) for k in ("weight", "bias")]
    norms = [f"norm{i}.{k}" for i in (1, 2) for k in ("weight", "bias")]
    assert names == ["tok_emb.weight", "pos_emb.weight", *(f"trf_blocks.0.{n}" for n in (*att, *ff, *norms)),
                     "final_norm.weight", "final_norm.bias", "out_head.weight"]


# ---- weights ---------------------------------------------------------------------------------------------------------

@engines
def test_tied_weights_are_one_parameter(engine):
    t, model = ENGINES[engine], gpt.build(replace(TINY, tied=True), engine=engine)
    assert model.out_head.weight is model.tok_emb.weight
    assert "out_head.weight" in model.state_dict()
    assert "out_head.weight" not in dict(model.named_parameters())
    model(t.zeros((1, 2), dtype=t.int64)).sum().backward()
    assert (model.tok_emb.weight.grad != 0).all()


@engines
def test_initial_weights_of_gpt2(engine):
    t = ENGINES[engine]
    t.manual_seed(0)
    config = GPT2Config(vocab_size=300, context_length=100, emb_dim=128, n_heads=2, n_layers=8, qkv_bias=True,
                        init="gpt2")
    for name, p in gpt.build(config, engine=engine).named_parameters():
        values = p.detach().numpy()
        if name.endswith("bias"):
            assert not values.any(), name
        elif "norm" in name:
            assert (values == 1).all(), name
        else:
            branch = name.endswith(("att.out_proj.weight", "ff.layers.2.weight"))
            assert values.std() == pytest.approx(0.02 / math.sqrt(16) if branch else 0.02, rel=0.03), name


# ---- errors ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("change", "message"), [
    ({"emb_dim": 10, "n_heads": 4}, "emb_dim must be divisible by n_heads, and 10 is not by 4"),
    ({"n_heads": 0}, "n_heads must be a positive integer, not 0"),
    ({"vocab_size": -1}, "vocab_size must be a positive integer, not -1"),
    ({"context_length": 8.0}, "context_length must be a positive integer, not 8.0"),
    ({"n_layers": 10**7}, "n_layers must be at most 10000, not 10000000"),
    ({"vocab_size": 10**30}, "vocab_size must be at most 2147483647, not 1000"),
    ({"n_layers": True}, "n_layers must be a positive integer, not True"),
    ({"drop_rate": 1.0}, "drop_rate must be in [0, 1), not 1.0"),
    ({"drop_rate": "0.1"}, "drop_rate must be a number, not '0.1'"),
    ({"norm_eps": 0.0}, "norm_eps must be positive, not 0.0"),
    ({"init": "xavier"}, "init must be 'torch' or 'gpt2', not 'xavier'"),
    ({"tied": 1}, "tied must be True or False, not 1"),
])
def test_what_a_configuration_refuses(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(TINY, **change)


def test_what_from_dict_refuses():
    with pytest.raises(ValueError, match="GPT2Config has no 'width'; it has vocab_size, "):
        GPT2Config.from_dict(asdict(TINY) | {"width": 3})
    with pytest.raises(ValueError, match="of architecture 'gpt2', not 'llama'"):
        GPT2Config.from_dict({"architecture": "llama"})
    with pytest.raises(ValueError, match=r"architecture must be one of 'gpt2', not \[\]"):
        from_dict({"architecture": []})


@engines
@pytest.mark.parametrize(("ids", "kind", "message"), [
    ([[0] * 9], ValueError, "9 tokens are more than the context's 8"),
    ([[0, 13]], IndexError, "token id 13 is outside the vocabulary, whose 13 ids begin at 0"),
    ([[-1, 2]], IndexError, "token id -1 is outside the vocabulary"),
    ([1, 2], ValueError, "ids must have two dimensions, (batch, time), not shape (2,)"),
    ([[1.0]], TypeError, "ids must be token ids, of dtype torch.int64 or torch.int32, not torch.float32"),
    ([[True]], TypeError, "not torch.bool"),
    ([[]], TypeError, "not torch.float32"),
])
def test_what_the_model_refuses(engine, ids, kind, message):
    model = gpt.build(TINY, engine=engine)
    with pytest.raises(kind, match=re.escape(message)):
        model(ENGINES[engine].tensor(ids))


@engines
def test_ids_may_be_int32_and_none(engine):
    t, model = ENGINES[engine], gpt.build(TINY, engine=engine).eval()
    ids = t.tensor([[1, 2, 3]])
    assert t.equal(model(ids.to(t.int32)), model(ids))
    assert model(ids[:0]).shape == (0, 3, 13)
    assert model.features(ids).shape == (1, 3, 12)
    assert t.equal(model.out_head(model.features(ids)), model(ids))
