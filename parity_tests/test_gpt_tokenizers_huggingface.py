"""Hugging Face's files: the same ids as the tokenizers package gives, on any text, or a refusal."""

from __future__ import annotations

import json
import unicodedata
from functools import lru_cache

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, trainers

from gpt.tokenizers import BytePairTokenizer, HuggingFaceTokenizer, get_tokenizer, train_bpe
from parity_tests.test_gpt_tokenizers import TEXT, TOPICS, WORDS, bpe, gpt2_files, hugging_face, needs, well_formed

ByteLevel, Split, Sequence = pre_tokenizers.ByteLevel, pre_tokenizers.Split, pre_tokenizers.Sequence
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
LETTERS = r"\b[a-z]+$|[A-Z]"

# Characters that Unicode had by version 14: what is a letter among the newer ones depends on who is asked.
ASSIGNED = st.text(st.characters(exclude_categories=("Cs", "Cn")))
ANY_TEXT = st.one_of(ASSIGNED, WORDS, st.tuples(WORDS, ASSIGNED, WORDS).map("".join))


def whole(pattern: str) -> pre_tokenizers.PreTokenizer:
    return Sequence([Split(Regex(pattern), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])


PRE_TOKENIZERS = {
    "gpt2": ByteLevel(add_prefix_space=False),
    "prefix": ByteLevel(add_prefix_space=True),
    "llama3": whole(LLAMA3),
    "qwen": whole(QWEN),
    "digits": Sequence([pre_tokenizers.Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]),
    "numbers": Sequence([pre_tokenizers.Digits(individual_digits=False), ByteLevel(add_prefix_space=True)]),
    "three": Sequence([Split(Regex(r"\p{N}{1,3}"), "isolated"), Split(Regex("[一-龥ぁ-ん]+"), "isolated"), Split(
        Regex(r"[!-/:-~]?[A-Za-z]+|[^\r\n\p{L}\p{N}]?\p{L}+|\s+"), "isolated"), ByteLevel(False, use_regex=False)]),
    "lines": whole(LETTERS),
    "string": Sequence([Split(" ", "merged_with_next"), ByteLevel(False, use_regex=False)]),
}
for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
    for invert in (False, True):
        PRE_TOKENIZERS[f"{behavior}-{invert}"] = Sequence(
            [Split(Regex(r"\s|[a-d.]"), behavior, invert), ByteLevel(add_prefix_space=True, use_regex=False)])


@lru_cache
def trained(pre_tokenizer: str = "gpt2", normalizer: str = "", alphabet: bool = True, **model) -> tokenizers.Tokenizer:
    """A BPE made by the tokenizers package itself."""
    theirs = tokenizers.Tokenizer(models.BPE(**model))
    theirs.pre_tokenizer = PRE_TOKENIZERS[pre_tokenizer]
    if normalizer:
        theirs.normalizer = NORMALIZERS[normalizer]
    theirs.train_from_iterator([TEXT], trainers.BpeTrainer(
        vocab_size=600, show_progress=False, initial_alphabet=ByteLevel.alphabet() if alphabet else [],
        special_tokens=["<|endoftext|>", *([model["unk_token"]] if "unk_token" in model else [])]))
    return theirs


NORMALIZERS = {
    "NFC": normalizers.NFC(), "NFD": normalizers.NFD(),
    "several": normalizers.Sequence([normalizers.Replace("ab", "é"), normalizers.NFC(), normalizers.Lowercase()])}


def ours(theirs: tokenizers.Tokenizer) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer(json.loads(theirs.to_str()))


def assert_same(mine: HuggingFaceTokenizer, theirs: tokenizers.Tokenizer, text: str) -> None:
    """Special tokens allowed, for they are theirs always; the template's (BOS ...) left out, for they are not text."""
    expected = theirs.encode(well_formed(text), add_special_tokens=False).ids
    assert mine.encode(text, "all") == expected


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_every_pre_tokenizer(name):
    theirs = trained(name)
    mine = ours(theirs)
    assert_same(mine, theirs, TEXT)
    assert mine.n_vocab == theirs.get_vocab_size()

    @given(text=ANY_TEXT)
    def same(text):
        assert_same(mine, theirs, text)
    same()


@pytest.mark.parametrize("name", NORMALIZERS)
def test_every_normalizer(name):
    theirs = trained(normalizer=name)
    mine = ours(theirs)

    @given(text=st.one_of(WORDS, st.text(st.sampled_from("abAÉe\u0301\u0327ΣσςŒﬁ½Å\u212b한")), ASSIGNED))
    def same(text):
        assert_same(mine, theirs, text)
    same()


@pytest.mark.parametrize("model", [dict(), dict(unk_token="[UNK]"), dict(unk_token="[UNK]", fuse_unk=True)], ids=str)
@given(text=ANY_TEXT)
def test_bytes_that_have_no_token(model, text):
    """A vocabulary that was trained without its alphabet has only the bytes it has seen."""
    theirs = trained(alphabet=False, **model)
    assert_same(ours(theirs), theirs, text)


@given(words=st.lists(st.text("abc", min_size=1, max_size=12), min_size=1, max_size=8), text=st.text("abc"))
def test_trained_on_runs(words, text):
    theirs = tokenizers.Tokenizer(models.BPE())
    theirs.pre_tokenizer = ByteLevel(add_prefix_space=False)
    theirs.train_from_iterator(words, trainers.BpeTrainer(vocab_size=40, show_progress=False))
    assert_same(ours(theirs), theirs, text)


@given(data=st.data())
def test_any_list_of_merges(data):
    """Merges that no training would give: out of order, two ways to one token, tokens that nothing makes."""
    tokens = ["a", "b", "c"]
    for _ in range(data.draw(st.integers(0, 12))):
        tokens.append(data.draw(st.sampled_from(tokens)) + data.draw(st.sampled_from(tokens)))
    tokens = list(dict.fromkeys(tokens))
    pairs = [(a, b) for a in tokens for b in tokens if a + b in tokens]
    merges = data.draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    vocab = dict(zip(tokens, data.draw(st.permutations(range(len(tokens))))))
    theirs = tokenizers.Tokenizer(models.BPE(vocab, merges, ignore_merges=data.draw(st.booleans())))
    theirs.pre_tokenizer = ByteLevel(add_prefix_space=False)
    assert_same(ours(theirs), theirs, data.draw(st.text("abc ", max_size=30)))


FLAGS = st.fixed_dictionaries({flag: st.booleans() for flag in ("single_word", "lstrip", "rstrip", "normalized")})


@given(added=st.lists(st.tuples(st.sampled_from(["ab", "b", "a b", "é", "e\u0301", "  ", "<x>", "<x>a", "_"]), FLAGS,
                                st.booleans()), max_size=4,
                      unique_by=lambda token: unicodedata.normalize("NFC", token[0])),    # theirs takes either of two
       text=st.one_of(st.lists(st.sampled_from(["a", "b", " ", "é", "e\u0301", "<x>", "_", "\n", "1"])).map("".join)))
@example(added=[("<x>", dict(single_word=True, lstrip=False, rstrip=False, normalized=False), False)], text="a\n<x>")
def test_added_tokens(added, text):
    theirs = tokenizers.Tokenizer.from_str(trained(normalizer="NFC").to_str())
    for content, flags, special in added:
        (theirs.add_special_tokens if special else theirs.add_tokens)([AddedToken(content, **flags, special=special)])
    mine = ours(theirs)
    assert_same(mine, theirs, text)
    assert mine.n_vocab == 1 + max(theirs.get_vocab(with_added_tokens=True).values())


def test_gpt_neox():
    path = needs("MINIGRAD_CACHE", "20B_tokenizer.json") / "20B_tokenizer.json"
    theirs, mine = tokenizers.Tokenizer.from_file(str(path)), get_tokenizer(path)
    assert mine.n_vocab == 50277 and mine.eot_token == 0
    assert_same(mine, theirs, TOPICS[:100_000])

    @given(text=st.one_of(ANY_TEXT, st.lists(st.sampled_from([" " * n for n in (1, 2, 3, 23, 24, 25, 50)] + [
        "a", "\n", "<|padding|>", "é"])).map("".join)))
    def same(text):
        assert_same(mine, theirs, text)
        assert mine.decode(mine.encode_ordinary(text)) == theirs.normalizer.normalize_str(text)
    same()


def gpt2_folder(folder, vocab: str, merges: str) -> None:
    """OpenAI's two files, which tiktoken's cache holds under other names."""
    cache = gpt2_files()
    for name, cached in ((merges, "6d1cbeee0f20b3d9449abfede4726ed8212e3aee"),
                         (vocab, "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6")):
        (folder / name).write_bytes((cache / cached).read_bytes())


@pytest.mark.parametrize("names", [("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")])
def test_gpt2s_own_files(names, tmp_path):
    gpt2_folder(tmp_path, *names)
    mine, tiktoken = get_tokenizer(tmp_path), get_tokenizer("gpt2")
    assert (mine.n_vocab, mine.eot_token) == (50257, 50256)
    assert mine.encode(TOPICS) == tiktoken.encode(TOPICS)

    @given(text=ANY_TEXT)
    def same(text):
        assert mine.encode(text, "all") == tiktoken.encode(text, "all")
        assert mine.decode(mine.encode(text, "all")) == text
    same()


def write_vocab_and_merges(folder) -> HuggingFaceTokenizer:
    mine = hugging_face()
    model = mine.spec["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"] | {"<|endoftext|>": len(model["vocab"])}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, model["merges"])]) + "\n")
    return mine


def test_vocab_and_merges(tmp_path):
    mine = write_vocab_and_merges(tmp_path)
    again = get_tokenizer(tmp_path)
    assert again.encode(TEXT) == mine.encode(TEXT) == bpe().encode(TEXT) and again.eot_token == mine.eot_token

    (tmp_path / "special_tokens_map.json").write_text(json.dumps(
        {"eos_token": {"content": "</s>"}, "additional_special_tokens": ["<a>"], "unk_token": "<|endoftext|>"}))
    (tmp_path / "added_tokens.json").write_text('{"</s>": 2000, "<a>": 2001}')
    (tmp_path / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    again = get_tokenizer(tmp_path)
    assert again.special_tokens == {"<|endoftext|>": 1023, "</s>": 2000, "<a>": 2001} and again.eot_token == 2000
    assert again.encode("low<a>", "all") == [*mine.encode(" low"), 2001]


def test_transformers_reads_what_we_save(tmp_path):
    from transformers import PreTrainedTokenizerFast
    hugging_face().with_special_tokens(["<|user|>"]).save(tmp_path)
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    text = TEXT[:2000] + "<|user|>"
    assert theirs.encode(text, add_special_tokens=False) == get_tokenizer(tmp_path).encode(text, "all")
    assert theirs.decode(theirs.encode(text, add_special_tokens=False)) == text


@pytest.mark.parametrize("pattern", ["gpt2", "llama3"])
def test_a_trained_bpe_in_their_format(pattern):
    mine = train_bpe(TEXT, 1500, pattern=pattern)
    exported = HuggingFaceTokenizer.from_bpe(mine)
    theirs = tokenizers.Tokenizer.from_str(json.dumps(exported.spec))

    @given(text=ANY_TEXT)
    def same(text):
        assert exported.encode(text, "all") == mine.encode(text, "all")
        assert_same(exported, theirs, text)
    same()


def test_what_cannot_be_exported_says_why():
    alphabet = {bytes([byte]): byte for byte in range(256)}
    with pytest.raises(ValueError, match="no two tokens before it make the token b'abc' of rank 256"):
        HuggingFaceTokenizer.from_bpe(BytePairTokenizer(alphabet | {b"abc": 256}))
    with pytest.raises(ValueError, match="possessive"):
        HuggingFaceTokenizer.from_bpe(BytePairTokenizer(alphabet, r"\w{1,3}+"))


# ---- refusals and damage --------------------------------------------------------------------------------------------

def spec(**changes) -> dict:
    return json.loads(trained().to_str()) | changes


def model(**changes) -> dict:
    return spec(model=spec()["model"] | changes)


REFUSED = [
    (spec(model={"type": "Unigram", "vocab": []}), "the model 'Unigram' is not supported"),
    (spec(model={"type": "WordPiece", "vocab": {}}), "the model 'WordPiece' is not supported"),
    (spec(normalizer={"type": "Precompiled"}), "the normalizer 'Precompiled' is not supported"),
    (spec(normalizer={"type": "Sequence", "normalizers": [{"type": "BertNormalizer"}]}), "'BertNormalizer'"),
    (spec(pre_tokenizer=None), "does not end in ByteLevel"),
    (spec(pre_tokenizer={"type": "Metaspace"}), "does not end in ByteLevel, 'Metaspace' is not supported"),
    (spec(pre_tokenizer={"type": "Sequence", "pretokenizers": []}), "does not end in ByteLevel"),
    (spec(pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Punctuation"}, {"type": "ByteLevel"}]}),
     "the pre-tokenizer 'Punctuation' is not supported"),
    (spec(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}, {"type": "ByteLevel"}]}),
     "not a regular expression here"),
    (model(dropout=0.1), "dropout = 0.1 is not supported"),
    (model(byte_fallback=True), "byte_fallback = True is not supported"),
    (model(end_of_word_suffix="</w>"), "end_of_word_suffix = '</w>' is not supported"),
    (model(unk_token="[UNK]"), r"unk_token '\[UNK\]' is not in the vocabulary"),
    (model(merges=["x"]), "merge 0 is 'x', not two tokens"),
    (model(merges=[["a", "nothing"]]), "merge 0 has or makes the token 'nothing', which is not in the vocabulary"),
    (model(vocab={"a": 1, "b": 1}, merges=[]), "two tokens of the vocabulary share an id"),
    (model(vocab={"a": "1"}, merges=[]), "the token 'a' has id '1'"),
    (spec(model=None), "damaged"),
    (spec(added_tokens=[{"id": 3}]), "'special' is missing|'content' is missing"),
]


@pytest.mark.parametrize("content, message", REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_supported_is_refused(content, message, tmp_path):
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as caught:
        get_tokenizer(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'tokenizer.json'}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("data, message", [
    (b"", "not valid JSON"), (b'{"model": {"type"', "not valid JSON .*truncated or damaged"), (b"[]", "a JSON object"),
    (b"\xff\xfe", "not UTF-8"), (b"{}", "'model' is missing"), (b"[" * 100_000, "not valid JSON")])
def test_damaged_json(data, message, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        get_tokenizer(tmp_path / "tokenizer.json")
    assert str(caught.value).startswith(f"{tmp_path / 'tokenizer.json'}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("damage, message", [
    (lambda lines: lines[:9] + ["oops"] + lines[10:], "line 10 is 'oops', not two tokens"),
    (lambda lines: lines[:9] + ["a b c"] + lines[10:], "line 10 is 'a b c', not two tokens"),
    (lambda lines: lines[:9] + ["zz qq"] + lines[10:], "line 10: 'zz qq' has or makes a token that .* has not"),
])
def test_damaged_merges(damage, message, tmp_path):
    write_vocab_and_merges(tmp_path)
    path = tmp_path / "merges.txt"
    path.write_text("\n".join(damage(path.read_text().split("\n"))))
    with pytest.raises(ValueError, match=message) as caught:
        get_tokenizer(tmp_path)
    assert str(caught.value).startswith(str(path))
