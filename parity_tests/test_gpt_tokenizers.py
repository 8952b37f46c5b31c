"""Tokenizers: what holds for all of them, the BPE trainer against the textbook, and files that are damaged."""

from __future__ import annotations

import json
import os
import pickle
import pydoc_data.topics
import re
import subprocess
import sys
import time
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import regex
import tiktoken
from hypothesis import example, given
from hypothesis import strategies as st

from gpt.tokenizers import (
    PATTERNS,
    BytePairTokenizer,
    CharacterTokenizer,
    HuggingFaceTokenizer,
    get_tokenizer,
    train_bpe,
)
from gpt.tokenizers.simple import END_OF_TEXT, UNKNOWN, SimpleTokenizerV1, SimpleTokenizerV2, build_vocab, split_words
from gpt.tokenizers.training import count_pieces, learn_merges

TOPICS = "\n".join(pydoc_data.topics.topics.values())
TEXT = TOPICS[:20_000] + " naïve café, 你好，世界 🙂🙂 Ωμέγα\n\n\t x = 1234567"

# GPT-2's pattern as published, without anything possessive.
EAGER = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

# Text of all kinds: any Unicode at all, lone surrogates included, and runs of what the patterns tell apart.
UNICODE = st.text(st.characters(exclude_categories=()))
WORDS = st.lists(st.sampled_from(["a", "the", " the", " ", "  ", "\n", "\r\n", "\t", "\xa0", "'s", "'LL", "’s", "é",
                                  "e\u0301", "1", "234", "½", "!", "...", "你", "🙂", "\u200d", "\0", "ſ", "_",
                                  "<|endoftext|>"])).map("".join)
ANY_TEXT = st.one_of(UNICODE, WORDS, st.tuples(WORDS, UNICODE).map("".join))


@lru_cache
def bpe() -> BytePairTokenizer:
    return train_bpe(TEXT, 1024)


@lru_cache
def characters() -> CharacterTokenizer:
    return CharacterTokenizer.train(TEXT, ["<|endoftext|>", "<|pad|>"])


@lru_cache
def hugging_face() -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer.from_bpe(bpe())


BYTE_LEVEL = pytest.mark.parametrize("tokenizer", [bpe, hugging_face], ids=lambda make: make.__name__)
ALL = pytest.mark.parametrize("tokenizer", [bpe, hugging_face, characters], ids=lambda make: make.__name__)


def needs(variable: str, *names: str) -> Path:
    """A folder that an environment variable names, with files in it."""
    folder = Path(os.environ.get(variable, ""))
    if not os.environ.get(variable) or not all((folder / name).is_file() for name in names):
        print(reason := f"needs {variable}, a folder with {', '.join(names)}")
        pytest.skip(reason)
    return folder


def gpt2_files() -> Path:
    return needs("TIKTOKEN_CACHE_DIR", "6d1cbeee0f20b3d9449abfede4726ed8212e3aee",
                 "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6")


def well_formed(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# ---- what holds for every tokenizer ---------------------------------------------------------------------------------

@BYTE_LEVEL
@given(text=ANY_TEXT)
def test_any_text_comes_back(tokenizer, text):
    """All of Unicode; a lone surrogate, which UTF-8 cannot hold, comes back as U+FFFD."""
    ids = tokenizer().encode_ordinary(text)
    assert tokenizer().decode(ids) == well_formed(text)
    assert all(0 <= id < tokenizer().n_vocab for id in ids)
    assert ids == tokenizer().encode(text, disallowed_special=())


@BYTE_LEVEL
@given(data=st.one_of(st.binary(), st.tuples(ANY_TEXT, st.binary()).map(lambda p: well_formed(p[0]).encode() + p[1])))
def test_any_bytes_come_back(tokenizer, data):
    assert tokenizer().decode_bytes(tokenizer().encode_bytes(data)) == data


@given(text=ANY_TEXT)
def test_valid_bytes_are_encoded_as_the_text_they_are(text):
    assert bpe().encode_bytes(well_formed(text).encode()) == bpe().encode_ordinary(text)


@given(text=st.text(st.sampled_from(sorted(set(TEXT)))))
def test_known_characters_come_back(text):
    ids = characters().encode(text)
    assert characters().decode(np.array(ids, dtype=np.uint16)) == text and len(ids) == len(text)


def test_a_character_that_is_not_in_the_vocabulary_is_named():
    with pytest.raises(ValueError, match=r"character 'Ж' \(U\+0416\) at 2 is not among the \d+"):
        characters().encode("abЖ")


@ALL
@given(data=st.data())
def test_streaming_gives_the_same_text_and_never_half_a_character(tokenizer, data):
    """Ids at random, so that most of the bytes are not UTF-8 and characters are cut everywhere."""
    n = tokenizer().n_vocab
    ids = data.draw(st.lists(st.one_of(st.integers(0, min(n, 256) - 1), st.integers(0, n - 1))))
    if tokenizer is not characters:
        ids += tokenizer().encode_ordinary(data.draw(st.text(st.sampled_from("aé你🙂"))))
    pieces = list(tokenizer().decode_stream(iter(ids)))
    assert "".join(pieces) == tokenizer().decode(ids) and all(pieces)
    decoder = tokenizer().stream_decoder()
    assert "".join([*map(decoder.push, ids), decoder.finish()]) == tokenizer().decode(ids)
    assert decoder.finish() == ""


def test_streaming_waits_for_the_last_byte():
    decoder = bpe().stream_decoder()
    assert [decoder.push(byte) for byte in "é🙂!".encode()] == ["", "é", "", "", "", "🙂", "!"]
    assert decoder.push(0xF0) + decoder.finish() == "\ufffd"


@ALL
@given(parts=st.lists(st.sampled_from(["a b", " ", "<|endoftext|>", "<|pad|>", "<|", "|>", "x"])),
       allowed=st.sets(st.sampled_from(["<|endoftext|>", "<|pad|>"])))
def test_special_tokens_only_where_allowed(tokenizer, parts, allowed):
    tokenizer = tokenizer() if tokenizer is characters else tokenizer().with_special_tokens(["<|pad|>"])
    text = "".join(parts)
    found = {name for name in tokenizer.special_tokens if name in text}
    if found - allowed:
        with pytest.raises(ValueError, match="contains the special token"):
            tokenizer.encode(text, allowed_special=allowed)
    ids = tokenizer.encode(text, allowed_special=allowed, disallowed_special=())
    for name, id in tokenizer.special_tokens.items():
        assert ids.count(id) == (text.count(name) if name in allowed else 0)
    assert tokenizer.decode(ids) == text


@given(text=WORDS, allowed=st.sampled_from(["all", (), {"<|endoftext|>"}, {"<|other|>"}]),
       disallowed=st.sampled_from(["all", (), {"<|endoftext|>"}, {"<|other|>", "  "}]))
def test_special_tokens_are_tiktokens(text, allowed, disallowed):
    special = {"<|endoftext|>": 1023, "<|other|>": 1024, "  ": 1025}
    ours = BytePairTokenizer(bpe().ranks, "gpt2", special)
    theirs = tiktoken.Encoding("x", pat_str=PATTERNS["gpt2"], mergeable_ranks=bpe().ranks, special_tokens=special)
    outcome = []
    for tokenizer in (ours, theirs):
        try:
            kinds = allowed if allowed == "all" else set(allowed)
            outcome.append(tokenizer.encode(text, allowed_special=kinds, disallowed_special=disallowed))
        except ValueError:
            outcome.append("refused")
    assert outcome[0] == outcome[1]
    if outcome[0] != "refused":
        assert ours.decode(outcome[0]) == theirs.decode(outcome[0])


def test_the_longest_special_token_wins():
    tokenizer = bpe().with_special_tokens(["<|a|>", "<|a|><|b|>", "<|b|>"])
    ids = tokenizer.special_tokens
    assert tokenizer.encode("<|a|><|b|><|a|>", "all") == [ids["<|a|><|b|>"], ids["<|a|>"]]


@ALL
def test_adding_special_tokens(tokenizer, tmp_path):
    before = tokenizer()
    after = before.with_special_tokens(["<|user|>", "<|bot|>"])
    assert (after.n_vocab, after.vocab_size) == (before.n_vocab + 2,) * 2
    assert [after.special_tokens[name] for name in ("<|user|>", "<|bot|>")] == [before.n_vocab, before.n_vocab + 1]
    assert "<|user|>" not in before.special_tokens and after.eot_token == before.eot_token
    text = "Hi <|user|>a<|bot|>"
    assert after.decode(after.encode(text, allowed_special="all")) == text
    assert after.encode(TEXT) == before.encode(TEXT)
    after.save(tmp_path)
    again = get_tokenizer(tmp_path)
    assert again.encode(text, "all") == after.encode(text, "all") and again.special_tokens == after.special_tokens

    far = before.with_special_tokens({"<|far|>": 5000})
    assert far.n_vocab == 5001 and far.decode([5000]) == "<|far|>"
    with pytest.raises(ValueError, match="id 4999 is not in the vocabulary"):
        far.decode([4999])
    for bad, message in [(["<|endoftext|>"], "already"), (["<|x|>", "<|x|>"], "twice"), ([""], "non-empty"),
                         ({"<|x|>": 3}, "id 3, which is"), (["\ud800"], "valid Unicode"), ("<|x|>", "a list of tokens"),
                         ({"<|x|>": -1}, "ids are integers")]:
        with pytest.raises(ValueError, match=message):
            before.with_special_tokens(bad)


@ALL
def test_save_and_load(tokenizer, tmp_path):
    tokenizer().save(tmp_path / "new" / "folder")
    again = get_tokenizer(tmp_path / "new" / "folder")
    assert type(again) is type(tokenizer()) and again.encode(TEXT) == tokenizer().encode(TEXT)
    assert (again.special_tokens, again.eot_token, again.n_vocab) == (
        tokenizer().special_tokens, tokenizer().eot_token, tokenizer().n_vocab)
    assert again.eot_token is not None
    again.save(tmp_path / "again")
    for file in (tmp_path / "new" / "folder").iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
    assert not list((tmp_path / "again").glob(".*"))    # no temporary files


@ALL
def test_other_processes_get_the_same(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer().with_special_tokens(["<|x|>"])))
    assert again.encode(TEXT + "<|x|>", "all") == [*tokenizer().encode(TEXT), tokenizer().n_vocab]
    assert again.eot_token == tokenizer().eot_token


@ALL
def test_misuse_is_one_line(tokenizer):
    for call, error, message in [
            (lambda t: t.encode(b"x"), TypeError, "expected text as a str, not bytes"),
            (lambda t: t.encode("x", allowed_special="<|pad|>"), ValueError, 'is "all" or a set'),
            (lambda t: t.decode([t.n_vocab]), ValueError, "is not in the vocabulary"),
            (lambda t: t.decode([-1]), ValueError, "id -1 is not in the vocabulary"),
            (lambda t: t.decode([1.0]), TypeError, "ids are integers, not float"),
            (lambda t: t.decode([[1]]), TypeError, "ids are integers, not list")]:
        with pytest.raises(error, match=message) as caught:
            call(tokenizer())
        assert "\n" not in str(caught.value)


@ALL
def test_empty_text(tokenizer):
    assert tokenizer().encode("") == [] and tokenizer().decode([]) == ""
    assert tokenizer().encode_bytes(b"") == [] and list(tokenizer().decode_stream([])) == []


@BYTE_LEVEL
@pytest.mark.parametrize("char", ["a", " ", "\n", "\0", "'", "é", "🙂", "\t x"])
def test_huge_runs(tokenizer, char):
    text = char * 100_000 + "a"
    start = time.process_time()
    assert tokenizer().decode(tokenizer().encode(text)) == text
    assert time.process_time() - start < 5


def test_more_spaces_than_tiktoken_can_take():
    """Before a word, a run of a million overflows the stack of its pattern engine; ours must not notice."""
    text = " " * 1_100_000 + "a"
    ids = bpe().encode(text)
    assert bpe().decode(ids) == text and ids[-1] == bpe().encode(" a")[0]


# ---- training -------------------------------------------------------------------------------------------------------

def textbook(pieces: list[tuple[bytes, int]], n_merges: int) -> list[tuple[int, int]]:
    """The definition: count all adjacent pairs, take the most frequent, of several the one that occurs first (a Counter
    keeps the order of first occurrence, max takes the first of equals), replace from left to right, start again."""
    words, merges = [(list(piece), weight) for piece, weight in pieces], []
    while len(merges) < n_merges:
        counts = Counter()
        for word, weight in words:
            for pair in pairwise(word):
                counts[pair] += weight
        if not counts:
            break
        best = max(counts, key=counts.get)
        new = 256 + len(merges)
        merges.append(best)
        for word, _ in words:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i:i + 2] = [new]
                i += 1
    return merges


ALPHABETS = st.sampled_from([b"a", b"ab", b"abc", bytes([0, 255])])
PIECES = ALPHABETS.flatmap(lambda alphabet: st.lists(
    st.tuples(st.lists(st.sampled_from(alphabet), max_size=24).map(bytes), st.integers(1, 4)), max_size=8,
    unique_by=lambda piece: piece[0]))


@given(pieces=PIECES, n_merges=st.integers(0, 60))
def test_merges_are_the_textbooks(pieces, n_merges):
    merges = learn_merges(dict(pieces), n_merges)
    assert merges == textbook(pieces, n_merges)
    tokens = [bytes([byte]) for byte in range(256)]
    for a, b in merges:
        tokens.append(tokens[a] + tokens[b])
    assert len(set(tokens)) == len(tokens)    # what lets ranks by bytes stand for merges


@given(text=st.one_of(st.text(st.sampled_from("aab ")), st.text(st.sampled_from("ab c\n'se1é")), ANY_TEXT),
       n_merges=st.integers(0, 30))
def test_training_on_text_is_the_textbooks(text, n_merges):
    """Without the detour over distinct pieces: every piece of the text in turn."""
    tokens = [bytes([byte]) for byte in range(256)]
    for a, b in textbook([(p.encode(), 1) for p in EAGER.findall(well_formed(text))], n_merges):
        tokens.append(tokens[a] + tokens[b])
    trained = train_bpe(text, 256 + n_merges, special_tokens=())
    assert [trained.token_bytes(id) for id in range(trained.n_vocab)] == tokens


@given(text=st.text(st.sampled_from("aab b")), other=st.text(st.sampled_from("aab b")), n_merges=st.integers(0, 30))
def test_tiktoken_replays_the_merges(text, other, n_merges):
    """On any text: the merges in their order, each everywhere, are what encoding by ranks of bytes gives."""
    trained = train_bpe(text, 256 + n_merges, special_tokens=())
    ids = []
    for piece in EAGER.findall(other):
        word = list(piece.encode())
        merges = textbook([(p.encode(), 1) for p in EAGER.findall(text)], n_merges)
        for new, pair in enumerate(merges, 256):
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == pair:
                    word[i:i + 2] = [new]
                i += 1
        ids += word
    assert trained.encode(other) == ids


@given(text=ANY_TEXT, pattern=st.sampled_from([*PATTERNS, r"\w+", r"[^\n]*", r"(?i)b*|A?"]))
@example(text="0\n0", pattern=r"[^\n]*")
def test_any_pattern_keeps_all_of_the_text(text, pattern):
    tokenizer = train_bpe(text, 300, pattern=pattern)
    assert tokenizer.decode(tokenizer.encode_ordinary(text)) == well_formed(text)


@given(text=WORDS)
def test_gpt2s_pattern_cuts_as_the_published_one(text):
    assert list(count_pieces([text], PATTERNS["gpt2"])) == list(dict.fromkeys(p.encode() for p in EAGER.findall(text)))


def test_ties_go_to_the_first_pair_in_the_text():
    assert [learn_merges({b"xyab": 1, b"abxy": 1}, 1), learn_merges({b"abxy": 1, b"xyab": 1}, 1)] == [
        [(120, 121)], [(97, 98)]]


def test_special_tokens_in_the_training_text_are_no_part_of_it():
    with_ends = train_bpe("low lower<|endoftext|>lowest low", 270)
    assert with_ends.ranks == train_bpe(["low lower", "lowest low"], 270).ranks
    assert not any(b"|" in token and len(token) > 1 for token in with_ends.ranks)


def test_a_short_text_gives_a_small_vocabulary_and_min_frequency_a_smaller_one():
    assert train_bpe("", 4096).n_vocab == 257 and train_bpe("aaaa", 4096).n_vocab == 259
    assert train_bpe("aaaa bb", 4096, min_frequency=2).n_vocab == 258
    for arguments, message in [(("x", 256), "at least 257"), (("x", 300, "("), "not a regular expression"),
                               (("x", 300, "gpt2", (), 0), "min_frequency")]:
        names = ("text", "vocab_size", "pattern", "special_tokens", "min_frequency")
        with pytest.raises(ValueError, match=message):
            train_bpe(**dict(zip(names, arguments)))
    with pytest.raises(TypeError, match=r"special_tokens must be a list of tokens, such as \['<end>'\]"):
        train_bpe("x", 300, special_tokens="<end>")
    with pytest.raises(TypeError, match=r"vocab_size must be an integer, not 300\.5"):
        train_bpe("x", 300.5)


def test_training_is_fast():
    """Vocabulary 4,096 on half a megabyte in at most 3 seconds of one core: the whole of it, best of two."""
    seconds = []
    for _ in range(2):
        start = time.process_time()
        tokenizer = train_bpe(TOPICS, 4096)
        seconds.append(time.process_time() - start)
    n = len(TOPICS.encode())
    print(f"{n:,} bytes, vocabulary {tokenizer.n_vocab:,}: {min(seconds):.2f} s; "
          f"{n / len(tokenizer.encode(TOPICS)):.2f} bytes a token")
    assert tokenizer.n_vocab == 4096 and n > 400_000
    assert min(seconds) <= 3


# ---- OpenAI's vocabularies ------------------------------------------------------------------------------------------

def test_gpt2_is_tiktokens(tmp_path):
    gpt2_files()
    ours, theirs = get_tokenizer("gpt2"), tiktoken.get_encoding("gpt2")
    assert (ours.n_vocab, ours.eot_token) == (50257, theirs.eot_token)
    assert ours.encode(TOPICS) == theirs.encode(TOPICS)
    assert ours.encode("Hello, I am") == [15496, 11, 314, 716]

    @given(text=ANY_TEXT)
    def same(text):
        assert ours.encode(text, "all") == theirs.encode(text, allowed_special="all")
    same()
    ours.save(tmp_path)
    assert get_tokenizer(tmp_path).encode(TOPICS) == ours.encode(TOPICS)


def test_offline_the_error_says_what_to_do(tmp_path):
    """In a process of its own, which a dead proxy keeps from the network."""
    (tmp_path / "cache").mkdir()
    code = "from gpt.tokenizers import get_tokenizer\ntry: get_tokenizer('gpt2')\nexcept OSError as e: print(e)"
    proxy = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = os.environ | proxy | {"TIKTOKEN_CACHE_DIR": str(tmp_path / "cache")}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True,
                         cwd=Path(__file__).parents[1]).stdout
    assert out.count("\n") == 1
    for part in ("'gpt2'", f"{tmp_path / 'cache'} (TIKTOKEN_CACHE_DIR)", "vocab.bpe and encoder.json",
                 "main/vocab.bpe as 6d1cbeee0f20b3d9449abfede4726ed8212e3aee",
                 "main/encoder.json as 6c7ea1a7e38e3a7f062df639a5b80947f075ffe6"):
        assert part in out


def test_importing_brings_no_engine():
    code = "import gpt.tokenizers, sys; print(*(m for m in ('torch', 'minigrad', 'tokenizers') if m in sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                         cwd=Path(__file__).parents[1]).stdout
    assert out.strip() == ""


# ---- finding one ----------------------------------------------------------------------------------------------------

def test_names_that_are_trained_on_a_text():
    assert get_tokenizer("char", text="hello").n_vocab == 4
    assert get_tokenizer("bpe", text=TEXT, vocab_size=300).n_vocab == 300
    with pytest.raises(ValueError, match="is trained on a text"):
        get_tokenizer("char")


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no tokenizer 'gpt5': not one of the names char, .*tokenizer\.json"):
        get_tokenizer("gpt5")
    with pytest.raises(FileNotFoundError, match=r"holds no tokenizer; looked for .*vocab\.json \+ merges\.txt"):
        get_tokenizer(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"notes\.txt: not a tokenizer's file"):
        get_tokenizer(tmp_path / "notes.txt")
    for kind in ("rune", [], {}, None):
        (tmp_path / "tokenizer.meta.json").write_text(json.dumps({"type": kind}))
        with pytest.raises(ValueError, match=f"its type is {re.escape(repr(kind))}, expected one of bpe"):
            get_tokenizer(tmp_path)


# ---- damage ---------------------------------------------------------------------------------------------------------

def line(number: int, edit) -> object:
    def damage(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        lines[number] = edit(lines)
        return b"".join(lines)
    return damage


@pytest.mark.parametrize("damage, message", [
    (lambda d: d[:len(d) // 2], "truncated|not a token in base64"),
    (lambda d: b"".join(d.splitlines(keepends=True)[:700]), r"700 tokens, but tokenizer\.meta\.json says 1023"),
    (lambda d: b"", "0 tokens"),
    (line(5, lambda ls: b"!!!! 5\n"), r"line 6 is b'!!!! 5', not a token in base64 and its rank"),
    (line(5, lambda ls: b"BQ== five\n"), "line 6 is"),
    (line(5, lambda ls: b"BQ==\n"), "line 6 is"),
    (line(5, lambda ls: b" 5\n"), "line 6 is"),
    (line(5, lambda ls: b"BQ== -5\n"), "negative rank"),
    (line(900, lambda ls: ls[900].split()[0] + b" 17\n"), "line 901: rank 17 is that of line 18 already"),
    (line(900, lambda ls: ls[17].split()[0] + b" 900\n"), "line 901: token .* stands in line 18 already"),
    (line(900, lambda ls: b"AAECAw== 900\n"), "its checksum is not the one"),
])
def test_damaged_ranks(damage, message, tmp_path):
    bpe().save(tmp_path)
    path = tmp_path / "tokenizer.tiktoken"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        get_tokenizer(tmp_path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("change, message", [
    ({"pattern": "("}, "not a regular expression"), ({"pattern": 3}, "a pattern is a str, not 3"),
    ({"special_tokens": {"<|x|>": 17}}, "id 17"), ({"special_tokens": ["<|x|>"]}, "not a file of this kind"),
    ({"special_tokens": {"<|x|>": "9"}}, "ids are integers"), ({"pattern": None}, "a pattern is a str, not None"),
    ({"special_tokens": {"a": 2000, "b": 2000}}, "share an id")])
def test_damaged_metadata(change, message, tmp_path):
    bpe().save(tmp_path)
    path = tmp_path / "tokenizer.meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message) as caught:
        get_tokenizer(tmp_path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@ALL
@given(data=st.data())
def test_any_damage_ends_in_one_line_or_changes_nothing(tokenizer, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    tokenizer().save(folder)
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    good = path.read_bytes()
    start = data.draw(st.integers(0, len(good) - 1))
    change = data.draw(st.one_of(st.just(None), st.binary(min_size=1, max_size=4),
                                 st.sampled_from([b"{", b"]", b"null", b'"', b"-1", b"\xff", b"1e999"])))
    path.write_bytes(good[:start] if change is None else good[:start] + change + good[start + len(change):])
    try:
        get_tokenizer(folder)
    except ValueError as error:
        assert str(folder) in str(error) and str(error).isprintable()


def test_a_missing_half_is_named(tmp_path):
    bpe().save(tmp_path)
    (tmp_path / "tokenizer.tiktoken").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.tiktoken"):
        get_tokenizer(tmp_path)


# ---- the book's chapter 2 -------------------------------------------------------------------------------------------

SENTENCE = '"It\'s the last he painted, you know," Mrs. Gisburn said -- with pardonable pride.'


def test_simple_tokenizers():
    words = split_words(SENTENCE)
    assert words == ['"', "It", "'", "s", "the", "last", "he", "painted", ",", "you", "know", ",", '"', "Mrs", ".",
                     "Gisburn", "said", "--", "with", "pardonable", "pride", "."]
    first = SimpleTokenizerV1(build_vocab(SENTENCE))
    assert first.decode(first.encode(SENTENCE)) == (
        '" It\' s the last he painted, you know," Mrs. Gisburn said -- with pardonable pride.')
    with pytest.raises(KeyError, match="Hello"):
        first.encode("Hello, do you like tea?")

    second = SimpleTokenizerV2(build_vocab(SENTENCE, (END_OF_TEXT, UNKNOWN)))
    ids = second.encode("Hello, you know <|endoftext|> the palace.")
    assert second.decode(ids) == "<|unk|>, you know <|endoftext|> the <|unk|>."
    with pytest.raises(ValueError, match=re.escape("needs '<|unk|>'")):
        SimpleTokenizerV2(build_vocab(SENTENCE))


@given(text=st.text(st.sampled_from("ab ,.;!?()'\"-_\n\t:")))
def test_simple_words_are_the_text_without_its_spaces(text):
    words = split_words(text)
    assert "".join(words) == re.sub(r"\s", "", text) and all(words)
    tokenizer = SimpleTokenizerV1(build_vocab(text))
    assert [tokenizer.int_to_str[id] for id in tokenizer.encode(text)] == words
    assert sorted(tokenizer.str_to_int.values()) == list(range(len(set(words))))


def test_the_books_facts():
    text = (needs("MINIGRAD_CACHE", "the-verdict.txt") / "the-verdict.txt").read_text(encoding="utf-8")
    words = split_words(text)
    assert (len(text), len(words), len(build_vocab(text))) == (20_479, 4_690, 1_130)
    tokenizer = SimpleTokenizerV1(build_vocab(text))
    assert tokenizer.encode(SENTENCE) == [
        1, 56, 2, 850, 988, 602, 533, 746, 5, 1126, 596, 5, 1, 67, 7, 38, 851, 6, 1108, 754, 793, 7]
    gpt2_files()
    assert len(get_tokenizer("gpt2").encode(text)) == 5_145
