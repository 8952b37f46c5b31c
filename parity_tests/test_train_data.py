"""From text to batches: what a step sees, where text comes from, and what is refused."""

from __future__ import annotations

import hashlib
import http.server
import math
import signal
import threading
import types

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt.tokenizers import get_tokenizer
from minigrad.serialization import load_json
from train import data, fetch, text, tokenize
from train.__main__ import main
from train.config import TrainConfig
from train.errors import UserError
from train.shards import Tokens, open_shards


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def corpus(n: int) -> data.Corpus:
    class Tokenizer:
        n_vocab = n
    return data.Corpus(Tokens([np.arange(n)]), Tokenizer(), "")


# ---- batches ------------------------------------------------------------------------------------------------------

@given(st.integers(2, 300), st.integers(1, 20), st.integers(1, 25))
def test_windows_are_the_books(n, context, stride):
    """for i in range(0, len(ids) - context, stride): ids[i:i + context], ids[i + 1:i + context + 1]"""
    windows = data.Windows(data.Slice(Tokens([np.arange(n)]), 0, n), context, stride, n)
    expected = [(list(range(i, i + context)), list(range(i + 1, i + context + 1)))
                for i in range(0, n - context, stride)]
    assert len(windows) == len(expected)
    if expected:
        ids, targets = windows.batch(np.arange(len(windows)))
        assert list(zip(ids.tolist(), targets.tolist())) == expected


@given(st.integers(1, 200), st.integers(0, 2**40), st.integers(0, 5))
def test_an_epochs_order_is_torchs(n, seed, epoch):
    generator = torch.Generator().manual_seed(data.mix(seed, epoch))
    assert data.order(n, seed, epoch).tolist() == torch.randperm(n, generator=generator).tolist()


@given(st.integers(20, 80), st.integers(1, 6), st.sampled_from([1, 2, 3]), st.integers(0, 9))
def test_batches_do_not_depend_on_who_makes_them(n, batch, micro_batches, seed):
    """Cut into micro-batches or not, the steps of an epoch see each window once."""
    batch *= micro_batches
    configs = (TrainConfig(seed=seed, batch_size=batch, val_fraction=0.0),
               TrainConfig(seed=seed, batch_size=batch, micro_batch=batch // micro_batches, val_fraction=0.0))
    whole, cut = (data.batches(c, corpus(n), 4) for c in configs)
    epochs = math.lcm(len(whole.train), batch) // len(whole.train)
    seen = []
    for step in range(len(whole.train) * epochs // batch):
        ids, targets = whole.micro(step, 0)
        parts = [cut.micro(step, i) for i in range(cut.micro_batches)]
        assert ids.tolist() == np.concatenate([p[0] for p in parts]).tolist()
        assert targets.tolist() == np.concatenate([p[1] for p in parts]).tolist()
        seen += ids[:, 0].tolist()
    per_epoch = np.array(seen).reshape(epochs, -1)
    assert all(sorted(row) == [4 * i for i in range(len(whole.train))] for row in per_epoch.tolist())


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.data())
def test_tokens_read_over_the_ends_of_arrays(lengths, draw):
    whole = np.arange(sum(lengths))
    parts = np.split(whole, np.cumsum(lengths)[:-1])
    start = draw.draw(st.integers(0, len(whole)))
    count = draw.draw(st.integers(1, len(whole) - start)) if start < len(whole) else 0
    if count:
        assert Tokens(parts).read(start, count).tolist() == whole[start:start + count].tolist()


def test_entropies_of_a_corpus_that_is_known():
    """Of a uniform coin 1 bit; of a strict alternation 1 bit by unigrams and (nearly) nothing by bigrams."""
    coin = np.random.default_rng(0).integers(0, 2, 20000)
    for ids, bigram in ((coin, math.log(2)), (np.arange(20000) % 2, 0.0)):
        whole = Tokens([ids])
        u, b = data.entropies(data.Slice(whole, 0, 15000), data.Slice(whole, 15000, 20000), 2)
        assert u == pytest.approx(math.log(2), abs=2e-3) and b == pytest.approx(bigram, abs=3e-3)


def test_the_default_corpus_needs_no_network(monkeypatch):
    monkeypatch.setattr(fetch.urllib.request, "urlopen", None)
    found = data.load(TrainConfig(vocab_size=300))
    assert len(found.tokens) > 100_000 and found.tokenizer.n_vocab == 300
    again = data.load(TrainConfig(vocab_size=300))                           # the tokenizer from the cache
    assert again.fingerprint == found.fingerprint and any((fetch.cache() / "tokenizers").iterdir())


def test_a_cache_that_cannot_be_written_to_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "a.txt").write_text("some text " * 50)
    assert data.load(TrainConfig(data="a.txt", vocab_size=260)).tokenizer.n_vocab <= 260


# ---- where text comes from ------------------------------------------------------------------------------------------

def test_files_folders_and_globs(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name, content in (("b.txt", "two\r\nlines"), ("a.md", "\ufeffone"), ("deep/c.txt", "three"), ("x.png", "no")):
        (tmp_path / "in" / name).write_text(content, newline="")
    assert [d.text for d in text.read("in")] == ["one", "two\nlines", "three"]
    assert [d.text for d in text.read("in/*.txt,in/a.md")] == ["two\nlines", "one"]
    tokenizer = get_tokenizer("bpe", text="abc", vocab_size=257)
    joined = data.encode(tokenizer, [text.Document("a", "x"), text.Document("b", "y")])
    assert tokenizer.decode(joined) == "x<|endoftext|>y"


@pytest.mark.parametrize("name, content, says", [
    ("none.txt", None, "no such file"), ("empty.txt", b"", "is empty"), ("short.txt", b"ab" * 20, "too short"),
    ("latin.txt", "caf\xe9 ".encode("latin1") * 99, r"not UTF-8 text \(byte 3\)"), ("s/", None, "no such file"),
    ("bad.bin", b"123", "truncated or damaged"), ("noone.bin", b"1234", "give --tokenizer"),
    ("nul.txt", b"text\0text", "has the byte 0"),
])
def test_data_that_will_not_do(name, content, says, tmp_path, capsys):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(["pretrain", "--data", name]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(UserError, match=says):
        raise UserError(error)
    assert not (tmp_path / "runs").exists()


class Server(http.server.BaseHTTPRequestHandler):
    body, length = b"", None

    def do_GET(self):
        self.send_response(404 if self.path == "/none" else 200)
        if self.length is not None:
            self.send_header("Content-Length", str(self.length))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_what_is_fetched_is_checked_limited_and_kept(server, monkeypatch):
    Server.body, Server.length = b"some text", 9
    right = hashlib.sha256(Server.body).hexdigest()
    for options, says in (({"sha256": "0" * 64}, "damaged on the way"), ({"limit_mb": 0}, "larger than 0 MB")):
        with pytest.raises(UserError, match=says):
            fetch.fetch(f"{server}/a", "a.txt", **options)
        assert not list(fetch.cache().rglob("*.txt*"))
    path = fetch.fetch(f"{server}/a", "a.txt", sha256=right)
    assert path.read_bytes() == b"some text"
    assert fetch.fetch("http://127.0.0.1:9/gone", "a.txt", sha256=right) == path          # not asked for again
    path.write_bytes(b"some tixt")
    with pytest.raises(UserError, match="is damaged"):
        fetch.fetch(f"{server}/a", "a.txt", sha256=right)

    noted = fetch.fetch(f"{server}/b", "b.txt")                            # its first checksum holds from then on
    noted.write_bytes(b"other")
    with pytest.raises(UserError, match="is damaged"):
        fetch.fetch(f"{server}/b", "b.txt")
    for length, limit, says in ((20, 1, "9 bytes came of 20|IncompleteRead"), (None, 0, "larger than 0 MB")):
        Server.length = length
        with pytest.raises(UserError, match=says):
            fetch.fetch(f"{server}/c", "c.txt", limit_mb=limit)
    with pytest.raises(UserError, match="Not Found"):
        fetch.fetch(f"{server}/none", "d.txt")
    with pytest.raises(UserError, match="needs no network"):
        fetch.fetch("http://127.0.0.1:9/x", "d.txt")


def test_gutenbergs_books_come_without_the_licence(server, monkeypatch):
    book = ("The Project Gutenberg eBook\r\n*** START OF THE PROJECT GUTENBERG EBOOK MIDDLEMARCH ***\r\nMiss Brooke\r\n"
            "*** END OF THE PROJECT GUTENBERG EBOOK MIDDLEMARCH ***\r\nlicence")
    Server.body, Server.length = book.encode(), None
    monkeypatch.setenv("GUTENBERG_URL", server + "/{id}")
    assert text.read("gutenberg:145")[0].text == "Miss Brooke\n"
    with pytest.raises(UserError, match="no such file"):
        text.read("gutenberg:pride")


# ---- shards -------------------------------------------------------------------------------------------------------

def test_shards_hold_the_tokens_of_the_uncut_text(tmp_path):
    words = "\n\n".join(d.text for d in text.python_docs()[:12])
    (tmp_path / "a.txt").write_text(words)
    (tmp_path / "b.txt").write_text("ünïcode wörds and plain ones " * 300)
    command = ["tokenize", "--data", "a.txt,b.txt", "--tokenizer", "bpe", "--vocab-size", "400", "--workers", "2"]
    assert main([*command, "--out", "shards", "--piece-mb", "0.01"]) == 0
    piece = int(0.01 * (1 << 20))
    tokens, folder = open_shards("shards")
    tokenizer = get_tokenizer(folder)
    documents = [text.Document(name, (tmp_path / name).read_text()) for name in ("a.txt", "b.txt")]
    # A piece ends at a word's end, less than 100 bytes past its size: so many begin in each file, and several in all.
    sizes = [(tmp_path / name).stat().st_size for name in ("a.txt", "b.txt")]
    most, least = (sum(math.ceil(size / length) for size in sizes) for length in (piece, piece + 100))
    assert least <= len(tokens.arrays) <= most and least > len(sizes)
    assert np.array_equal(tokens.read(0, len(tokens)), data.encode(tokenizer, documents))
    index = (tmp_path / "shards/tokens.json").read_bytes()
    assert load_json(tmp_path / "shards/tokens.json")["tokens"] == len(tokens)
    loaded = data.load(TrainConfig(data="shards"))
    assert len(loaded.tokens) == len(tokens) and loaded.tokenizer.n_vocab == tokenizer.n_vocab
    last = tmp_path / "shards/000001.bin"
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"000001.bin has \d+ bytes, expected"):
        data.load(TrainConfig(data="shards"))
    (tmp_path / "shards/tokens.json").write_bytes(index[:-9])
    with pytest.raises(UserError, match=r"tokens\.json is damaged"):
        data.load(TrainConfig(data="shards"))


def test_tokenizing_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("plain words in a row " * 2000)
    pieces = tokenize.cut([tmp_path / "a.txt"], 9000)
    tokenizer = get_tokenizer("bpe", text="plain words in a row", vocab_size=280)
    monkeypatch.setattr(tokenize, "_in_parallel", lambda pieces, total, out, dtype, workers: stop(pieces[:2], out))

    def stop(some, out):
        tokenize._begin(str(out), "uint16")
        for piece in some:
            tokenize._one(piece)
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            tokenize.tokenize(pieces, tokenizer, tmp_path / "out", 1)
    finally:
        signal.signal(signal.SIGINT, handler)
    with pytest.raises(UserError, match="half of a corpus"):
        data.load(TrainConfig(data=str(tmp_path / "out")))
    made, asked = list((tmp_path / "out").glob("*.bin")), []
    monkeypatch.undo()
    whole = tokenize._in_parallel
    monkeypatch.setattr(tokenize, "_in_parallel", lambda pieces, *rest: (asked.extend(pieces), whole(pieces, *rest)))
    total = tokenize.tokenize(pieces, tokenizer, tmp_path / "out", 1)
    assert len(made) == 2 and [p.shard for p in asked] == [p.shard for p in pieces[2:]]
    tokens, _ = open_shards(str(tmp_path / "out"))
    assert tokens.read(0, total).tolist() == tokenizer.encode("plain words in a row " * 2000)


def test_shards_by_their_names(tmp_path):
    """Several, a folder of bare ones, uint32 where ids need it, and never read as text."""
    tokenizer = get_tokenizer("bpe", text="text", vocab_size=257)
    tokenizer.save(tmp_path / "tok")
    (tmp_path / "bins").mkdir()
    for name, ids in (("bins/a.bin", range(9)), ("bins/b.bin", range(100, 120)), ("wide.bin", range(70000, 70009))):
        np.array(ids, "<u4" if name == "wide.bin" else "<u2").tofile(tmp_path / name)

    def read(source, **rest):
        tokens = data.load(TrainConfig(data=source, **{"tokenizer": "tok"} | rest)).tokens
        return tokens.read(0, len(tokens)).tolist()

    both = [*range(9), *range(100, 120)]
    assert read("bins") == read("bins/*.bin") == read("bins/a.bin, bins/b.bin") == read("*/*.bin") == both
    (tmp_path / "t.txt").write_text("some text " * 99)
    with pytest.raises(UserError, match="is text and tokens"):
        read("t.txt,bins/a.bin")
    (tmp_path / "bins/t.txt").write_text("text")
    with pytest.raises(UserError, match=r"text \(t.txt\) and tokens"):
        read("bins")
    assert main(["tokenize", "--data", "t.txt", "--tokenizer", "tok", "--workers", "1", "--out", "made"]) == 0
    assert read("made/000000.bin", tokenizer="bpe") == read("made") == read("made/*.bin") == read("made/tokens.json")
    with pytest.raises(UserError, match="different tokenizers"):
        read("made,bins/a.bin")


@pytest.mark.parametrize("size, dtype", [(65536, "<u2"), (65537, "<u4")])
def test_bare_shards_are_as_wide_as_their_vocabulary(size, dtype, tmp_path, monkeypatch):
    ids = np.array([0, 1, 2, 65535])
    ids.astype(dtype).tofile(tmp_path / "a.bin")
    large = types.SimpleNamespace(n_vocab=size)
    monkeypatch.setattr(data, "find_tokenizer", lambda *_: large)
    tokens = data.load(TrainConfig(data=str(tmp_path / "a.bin"))).tokens
    assert np.array_equal(tokens.read(0, len(tokens)), ids)


@pytest.mark.parametrize("flags, says", [
    (["--piece-mb", "inf"], "--piece-mb"), (["--data", ","], "names nothing"), (["--out", "t.txt"], "is a file"),
    (["--data", "nul.txt"], "has the byte 0"),
])
def test_tokenize_refuses_in_a_line(flags, says, tmp_path, capsys):
    (tmp_path / "t.txt").write_text("some text")
    (tmp_path / "nul.txt").write_text("some\0text")
    command = ["tokenize", "--data", "t.txt", "--tokenizer", "char", "--workers", "1", "--out", "made", *flags]
    assert main(command) == 2 and not (tmp_path / "made").exists()
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_ids_are_looked_at_before_anything_is_written(tmp_path, capsys):
    np.full(3000, 600, "<u2").tofile(tmp_path / "odd.bin")
    get_tokenizer("bpe", text="text", vocab_size=257).save(tmp_path / "tok")
    assert main(["pretrain", "--data", "odd.bin", "--tokenizer", "tok"]) == 2
    assert "odd.bin at token 0 has id 600, and the tokenizer has 257" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_an_id_that_the_vocabulary_has_not_is_found(tmp_path):
    np.arange(600, dtype="<u2").tofile(tmp_path / "odd.bin")
    get_tokenizer("bpe", text="text", vocab_size=257).save(tmp_path / "tok")
    config = TrainConfig(data="odd.bin", tokenizer="tok", val_fraction=0.0)
    batches = data.batches(config, data.load(config), 64)
    with pytest.raises(UserError, match=r"odd.bin at token \d+ has id \d+, and the tokenizer has 257"):
        for step in range(4):
            batches.micro(step, 0)
