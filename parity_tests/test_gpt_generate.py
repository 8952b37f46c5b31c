"""Generation: the book's rule, whatever is cached, batched or streamed; and how a token is chosen."""

from __future__ import annotations

import functools
import importlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import generation as hf

import gpt
import minigrad
from gpt.config import GPT2Config
from gpt.sampling import Sampling, StoppableText
from gpt.tokenizers import BytePairTokenizer, CharacterTokenizer, train_bpe

ENGINES = {"numpy": (minigrad, importlib.import_module("gpt.generate")),
           "torch": (torch, importlib.import_module("gpt.mirror.generate"))}
generate = ENGINES["numpy"][1]
TINY = GPT2Config(vocab_size=17, context_length=6, emb_dim=8, n_heads=2, n_layers=2, drop_rate=0.1)

SAMPLINGS = st.builds(
    Sampling, temperature=st.sampled_from([0.0, 0.5, 1.0, 3.0]), top_k=st.none() | st.integers(1, 20),
    top_p=st.none() | st.sampled_from([0.3, 0.8, 1.0]), min_p=st.none() | st.sampled_from([0.0, 0.05, 0.5]),
    repetition_penalty=st.sampled_from([1.0, 0.7, 1.3]))
CONFIGS = st.builds(
    lambda heads, width, **kw: GPT2Config(emb_dim=heads * width, n_heads=heads, **kw), heads=st.integers(1, 3),
    width=st.integers(1, 4), vocab_size=st.integers(2, 17), context_length=st.integers(1, 5),
    n_layers=st.integers(1, 2), drop_rate=st.just(0.3), qkv_bias=st.booleans(), tied=st.booleans())


def model_of(config: GPT2Config, engine: str = "numpy", dtype: str = "float64"):
    """Weights in double precision, so that no near tie is decided by rounding, and large enough to say something."""
    t = ENGINES[engine][0]
    t.manual_seed(123)
    model = gpt.build(config, engine=engine).to(getattr(t, dtype))
    with t.no_grad():
        for p in model.parameters():
            p.mul_(2)
    return model


shared_model = functools.cache(model_of)          # for tests that leave it as it is


@functools.cache
def bpe(text: str, vocab_size: int) -> BytePairTokenizer:
    return train_bpe(text, vocab_size)


@st.composite
def cases(draw, rows: int = 2):
    config = draw(CONFIGS)
    ids = st.integers(0, config.vocab_size - 1)
    prompts = draw(st.lists(st.lists(ids, min_size=1, max_size=8), min_size=1, max_size=rows))
    return config, prompts, draw(st.integers(0, 7)), draw(SAMPLINGS)


def by_the_book(model, prompt: list[int], n: int, temperature: float = 0.0, top_k: int | None = None,
                eos_id: int | None = None) -> list[int]:
    """Chapter 5's loop, as its text describes it: crop, forward, last logits, top-k, temperature, draw."""
    t, rows = (torch if isinstance(model, torch.nn.Module) else minigrad), list(prompt)
    for _ in range(n):
        with t.no_grad():
            logits = model(t.tensor([rows[-model.config.context_length:]]))[:, -1, :]
        if top_k is not None:
            kept, _ = t.topk(logits, top_k)
            logits = t.where(logits < kept[:, -1:], t.tensor(-t.inf, dtype=logits.dtype), logits)
        if temperature:
            id = t.multinomial(t.softmax(logits / temperature, -1), num_samples=1).item()
        else:
            id = t.argmax(logits, -1).item()
        if id == eos_id:
            break
        rows.append(id)
    return rows[len(prompt):]


# ---- the rule ----------------------------------------------------------------------------------------------------

@given(cases(), st.integers(1, 5))
def test_the_cache_changes_no_token(case, slide):
    config, prompts, n, sampling = case
    model, out = model_of(config), []
    for cache in (True, False):
        minigrad.manual_seed(7)
        out.append(generate.generate(model, prompts, n, sampling, cache=cache, slide=min(slide, config.context_length)))
    assert out[0] == out[1]
    assert [len(row) for row in out[0]] == [n] * len(prompts)


@given(cases(), st.integers(0, 1000), st.tuples(st.booleans(), st.booleans()))
def test_the_same_seed_gives_the_same_tokens_on_both_engines(case, seed, own_generator):
    config, prompts, n, sampling = case
    out = []
    for (engine, (t, g)), own in zip(ENGINES.items(), own_generator, strict=True):
        model = model_of(config, engine)
        generator = t.Generator().manual_seed(seed) if own else None
        t.manual_seed(0 if own else seed)
        out.append(g.generate(model, prompts, n, sampling, generator=generator))
    assert out[0] == out[1]


@given(st.sampled_from(list(ENGINES)), cases(rows=1))
def test_one_prompt_follows_the_book(engine, case):
    config, prompts, n, sampling = case
    t, g = ENGINES[engine]
    model, k = model_of(config, engine).eval(), min(sampling.top_k or config.vocab_size, config.vocab_size)
    t.manual_seed(7)
    expected = by_the_book(model, prompts[0], n, sampling.temperature, k)
    t.manual_seed(7)
    assert g.generate(model, prompts, n, Sampling(sampling.temperature, k)) == [expected]
    if expected:
        stop = expected[len(expected) // 2]
        t.manual_seed(7)
        expected = by_the_book(model, prompts[0], n, sampling.temperature, k, eos_id=stop)
        t.manual_seed(7)
        assert g.generate(model, prompts, n, Sampling(sampling.temperature, k), stop_tokens=[stop]) == [expected]


@given(cases(rows=3))
def test_greedily_a_row_is_what_it_is_alone(case):
    config, prompts, n, sampling = case
    model, sampling = model_of(config), replace(sampling, temperature=0.0)
    together = generate.generate(model, prompts, n, sampling)
    assert together == [generate.generate(model, [p], n, sampling)[0] for p in prompts]


@given(cases(rows=1), st.integers(2, 5))
def test_a_sliding_window_is_recomputed_once_in_so_many_steps(case, slide):
    config, prompts, n, _ = case
    assume(slide <= config.context_length)
    model, calls, prompt = model_of(config), [], prompts[0]
    features = model.features
    model.features = lambda ids, cache: calls.append(ids.shape[1]) or features(ids, cache)
    generate.generate(model, [prompt], n, slide=slide)
    assert len(calls) == n
    context = config.context_length
    whole = [i for i, T in enumerate(calls) if T > 1]
    assert all(b - a >= slide for a, b in pairwise(whole[1:]))
    calls.clear()
    generate.generate(model, [prompt], n, slide=slide, cache=False)
    for i, T in enumerate(calls):
        length = len(prompt) + i
        assert length == T if length <= context else context - slide < T <= context


def test_in_single_precision_and_past_the_context_too():
    config = GPT2Config(vocab_size=300, context_length=32, emb_dim=32, n_heads=4, n_layers=3)
    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, 300, n).tolist() for n in (3, 20, 31, 40)]
    out = []
    for engine, (t, g) in ENGINES.items():
        model = model_of(config, engine, dtype="float32")
        for cache in (True, False):
            t.manual_seed(5)
            out.append(g.generate(model, prompts, 24, Sampling(0.9, top_k=40, top_p=0.95), cache=cache, slide=4))
    assert out[0] == out[1] == out[2] == out[3]


@pytest.mark.parametrize("engine", ENGINES)
def test_chapter_4_prints_these_ids(engine):
    t, g = ENGINES[engine]
    t.manual_seed(123)
    model = gpt.build("book-124M", engine=engine)
    assert sum(p.numel() for p in model.parameters()) == 163_009_536
    assert g.generate(model, [[15496, 11, 314, 716]], 6) == [[27018, 24086, 47843, 30961, 42348, 7267]]


# ---- the model is left as it was -----------------------------------------------------------------------------------

@pytest.mark.parametrize("engine", ENGINES)
def test_modes_are_as_they_were_whenever_the_caller_has_the_word(engine):
    t, g = ENGINES[engine]
    model = model_of(TINY, engine)
    model.trf_blocks[0].eval()
    modes = [m.training for m in model.modules()]
    steps = g.stream(model, [[1, 2]], 5)
    for ids in steps:
        assert len(ids) == 1
        assert [m.training for m in model.modules()] == modes
        assert t.is_grad_enabled()
        assert model(t.tensor([[1, 2]])).requires_grad
        break
    steps.close()
    assert all(p.grad is None for p in model.parameters())
    model.features = lambda ids, cache: 1 / 0
    with pytest.raises(ZeroDivisionError):
        g.generate(model, [[1]], 1)
    assert [m.training for m in model.modules()] == modes
    assert t.is_grad_enabled()


def test_dropout_is_off():
    model = model_of(replace(TINY, drop_rate=0.9)).train()
    assert generate.generate(model, [[1, 2]], 8) == generate.generate(model.eval(), [[1, 2]], 8)


# ---- choosing ----------------------------------------------------------------------------------------------------

LOGITS = st.lists(st.lists(st.sampled_from([-8.0, -2.5, -1.0, -0.25, 0.0, 0.5, 1.0, 1.5, 3.0, 9.0]), min_size=9,
                           max_size=9), min_size=1, max_size=3)


def transformers_logits(logits: torch.Tensor, s: Sampling, rows: list[list[int]]) -> torch.Tensor:
    def processed(processors: list, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return hf.LogitsProcessorList(processors)(ids, scores)

    penalty = [hf.RepetitionPenaltyLogitsProcessor(s.repetition_penalty)]
    logits = torch.cat([processed(penalty, torch.tensor([ids]), logits[i:i + 1]) for i, ids in enumerate(rows)])
    rest = []
    if s.temperature:
        rest.append(hf.TemperatureLogitsWarper(s.temperature))
    if s.top_k is not None:
        rest.append(hf.TopKLogitsWarper(s.top_k))
    if s.top_p is not None:
        rest.append(hf.TopPLogitsWarper(s.top_p))
    if s.min_p is not None:
        rest.append(hf.MinPLogitsWarper(s.min_p))
    return processed(rest, torch.tensor([[0]] * len(rows)), logits)


@pytest.mark.parametrize("engine", ENGINES)
@given(st.data(), SAMPLINGS)
def test_logits_are_adjusted_as_by_transformers(engine, data, sampling):
    t, g = ENGINES[engine]
    # Distinct, for of tied tokens transformers keeps one or the other, as sorting happens to place them.
    values = data.draw(LOGITS)
    values = [[x + 1e-3 * j for j, x in enumerate(row)] for row in values]
    rows = [data.draw(st.lists(st.integers(0, 8), min_size=1, max_size=5)) for _ in values]
    seen = t.zeros((len(rows), 9), dtype=t.bool)
    for i, ids in enumerate(rows):
        seen[i, t.tensor(ids)] = True
    ours = g.adjust(t.tensor(values, dtype=t.float64), sampling, seen)
    theirs = transformers_logits(torch.tensor(values, dtype=torch.float64), sampling, rows)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)


def test_ties_with_the_least_of_top_k_stay():
    logits = minigrad.tensor([[1.0, 2.0, 2.0, 0.0, 2.0]])
    assert generate.adjust(logits, Sampling(top_k=2)).isfinite().tolist() == [[False, True, True, False, True]]


def test_what_has_been_generated_counts_as_seen():
    config = replace(TINY, context_length=32)
    model = model_of(config)
    free = generate.generate(model, [[1], [2, 3]], 12)
    assert any(len(set(row)) < len(row) for row in free)
    held = generate.generate(model, [[1], [2, 3]], 12, Sampling(repetition_penalty=1e6))
    assert all(len(set(p + row)) == len(p + row) for p, row in zip([[1], [2, 3]], held, strict=True))


@pytest.mark.parametrize("settings", [
    {"temperature": -1}, {"temperature": float("nan")}, {"temperature": float("inf")}, {"temperature": 1e-40},
    {"top_k": 0}, {"top_k": 2.5}, {"top_k": True}, {"top_p": 0}, {"top_p": 1.1}, {"top_p": float("nan")},
    {"min_p": -0.1}, {"min_p": 2}, {"repetition_penalty": 0}, {"repetition_penalty": float("inf")},
    {"temperature": "warm"}, {"top_p": "all"}, {"temperature": None}])
def test_settings_that_mean_nothing_are_refused(settings):
    name, = settings
    with pytest.raises(ValueError, match=f"^{name} must be .*not "):
        Sampling(**settings)


@pytest.mark.parametrize("engine", ENGINES)
def test_wrong_arguments_are_named(engine):
    t, g = ENGINES[engine]
    model = model_of(TINY, engine)
    for prompts, error, words in (
            ([], ValueError, "at least one"), ([[1], []], ValueError, "prompt 1 has no tokens"),
            ([[17]], ValueError, "token id 17: the model has 17"), ([[-1]], ValueError, "token id -1"),
            ([[1.5]], TypeError, "prompt 0 holds 1.5"), ([1, 2], TypeError, r"such as \[\[15496, 11\]\]"),
            (["Hello"], TypeError, "stream_text"), (t.tensor([1, 2]), ValueError, r"not of shape \(2,\)")):
        with pytest.raises(error, match=words):
            g.stream(model, prompts, 3)               # at once, not when the first token is asked for
    for options in ({"max_new_tokens": -1}, {"max_new_tokens": 1.5}, {"slide": 0}, {"slide": 7}, {"vocabulary": 0}):
        with pytest.raises(ValueError, match=f"^{next(iter(options))} must be an integer"):
            g.stream(model, [[1]], **{"max_new_tokens": 3, **options})
    with pytest.raises(TypeError, match=r"stop_tokens holds 'end': .*stop_strings"):
        g.stream(model, [[1]], 3, stop_tokens=[2, "end"])
    with pytest.raises(TypeError, match="Sampling"):
        g.stream(model, [[1]], 3, 0.8)
    with t.no_grad():
        model.final_norm.bias.fill_(t.nan)
    with pytest.raises(ValueError, match="NaN"):
        g.generate(model, [[1]], 3)
    assert g.generate(model, [[1]], 0) == [[]]


def test_a_tensor_is_a_batch_of_prompts():
    model = model_of(TINY)
    assert generate.generate(model, minigrad.tensor([[1, 2], [3, 4]]), 4) == \
        generate.generate(model, [[1, 2], [3, 4]], 4)


def test_settings_are_one_class_on_both_engines():
    assert ENGINES["torch"][1].Sampling is generate.Sampling is Sampling


# ---- text --------------------------------------------------------------------------------------------------------

TEXT = "héllo wörld, こんにちは 🌍🙂 abcabcabd "


@given(st.text("abc", max_size=12), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_text_ends_before_the_stop_string_that_is_complete_first(text, stops, data):
    tokenizer = bpe("abc abcabc aab bbc cab " * 3, 257 + data.draw(st.integers(0, 6)))
    ends = [(i + len(s), i) for s in stops if (i := text.find(s)) >= 0]
    expected = text[:min(ends)[1]] if ends else text
    stream, out = StoppableText(tokenizer, stops), ""
    for id in tokenizer.encode(text):
        out += stream.push(id)
        assert expected.startswith(out)                    # what has been said is never taken back
        if stream.stopped:
            break
    assert out + stream.finish() == expected
    assert stream.stopped == bool(ends)


@given(st.text(max_size=20))
def test_no_character_is_ever_split(text):
    tokenizer = bpe(TEXT, 262)
    stream = StoppableText(tokenizer)
    pieces = [stream.push(id) for id in tokenizer.encode(text)]
    pieces.append(stream.finish())
    assert "".join(pieces) == text
    assert all(text.startswith("".join(pieces[:i])) for i in range(len(pieces) + 1))


@settings(max_examples=max(settings().max_examples // 2, 1))         # three generations each
@given(st.sampled_from(list(ENGINES)), st.integers(0, 1000),
       st.lists(st.text("helo wrd", min_size=1, max_size=9), min_size=1, max_size=2),
       st.lists(st.text("helo wrd", min_size=1, max_size=2), max_size=2))
def test_streamed_text_is_the_text(engine, seed, prompts, stops):
    tokenizer = CharacterTokenizer.train("hello world")
    t, g = ENGINES[engine]
    model = shared_model(replace(TINY, vocab_size=tokenizer.n_vocab), engine)
    options = {"stop_strings": stops, "stop_tokens": [tokenizer.encode("h")[0]]}

    t.manual_seed(seed)
    texts = [""] * len(prompts)
    ended = set()
    for row, id, text in g.stream_text(model, tokenizer, prompts, 6, Sampling(1.0), **options):
        assert row not in ended
        texts[row] += text
        if id is None:
            ended.add(row)
    assert ended == set(range(len(prompts)))

    t.manual_seed(seed)
    assert g.generate_text(model, tokenizer, prompts, 6, Sampling(1.0), **options) == texts
    t.manual_seed(seed)
    for text, ids in zip(texts, g.generate(model, [tokenizer.encode(p) for p in prompts], 6, Sampling(1.0)),
                         strict=True):
        whole = tokenizer.decode(ids)
        assert whole.startswith(text)
        ends = [(i + len(s), i) for s in [*stops, "h"] if (i := whole.find(s)) >= 0]
        assert text == (whole[:min(ends)[1]] if ends else whole)


def test_wrong_texts_are_named():
    tokenizer = CharacterTokenizer.train("hello world")
    model = model_of(replace(TINY, vocab_size=tokenizer.n_vocab))
    for prompts, options, words in (("hello", {}, "not one text"), (["h"], {"stop_strings": "end"}, "not one string"),
                                    (["h"], {"stop_strings": [""]}, "not ''")):
        with pytest.raises((TypeError, ValueError), match=words):
            generate.stream_text(model, tokenizer, prompts, 3, **options)


@given(st.integers(1, 17), st.integers(0, 50))
def test_ids_that_the_tokenizer_has_not_are_never_chosen(n, seed):
    model = shared_model(TINY).eval()
    minigrad.manual_seed(seed)
    (ids,) = generate.generate(model, [[0]], 6, Sampling(3.0), vocabulary=n)
    assert max(ids) < n
    likeliest = model(minigrad.tensor([[0]]))[0, -1, :n].argmax().item()
    assert generate.generate(model, [[0]], 1, vocabulary=n) == [[likeliest]]
