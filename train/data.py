"""From a corpus to batches. Which batch a step sees follows from its number alone, so a position needs no saving.

The tokens are cut into windows of context + 1, `stride` apart. Epoch e goes through them in the order of
torch.randperm, from a generator seeded with (seed, e); a step takes the next batch_size windows of that endless
sequence. The batch is cut into micro-batches by number, whoever computes them: so neither an interruption nor the
number of ranks changes what a step learns from.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from gpt.tokenizers import Tokenizer, get_tokenizer
from train import text
from train.config import TrainConfig
from train.errors import UserError
from train.fetch import cache
from train.shards import Tokens, is_shards, open_shards, vocabulary_of

BPE_VERSION = 1                  # a cached tokenizer is of this train_bpe


@dataclass(frozen=True)
class Corpus:
    """Tokens, and how they are made."""
    tokens: Tokens
    tokenizer: Tokenizer
    fingerprint: str             # of the tokens: a run goes on with the very same ones, or not at all

    def split(self, val_fraction: float) -> tuple[Slice, Slice]:
        """The first part to train on, the last to validate."""
        cut = len(self.tokens) - int(len(self.tokens) * val_fraction)
        return Slice(self.tokens, 0, cut), Slice(self.tokens, cut, len(self.tokens))


@dataclass(frozen=True)
class Slice:
    tokens: Tokens
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def read(self, start: int, count: int) -> np.ndarray:
        return self.tokens.read(self.start + start, count)


# ---- tokens -------------------------------------------------------------------------------------------------------

def load(config: TrainConfig) -> Corpus:
    """Find the data and make tokens of them. Nothing is written but to the cache."""
    parts = [part for part in map(str.strip, config.data.split(",")) if part]
    try:
        kinds = list(map(is_shards, parts))
    except OSError as error:
        raise UserError(f"--data {config.data}: {error.filename} cannot be read: {error.strerror}") from None
    if any(kinds):
        if not all(kinds):
            raise UserError(f"--data {config.data} is text and tokens: python -m train tokenize makes tokens of the "
                            "text, with the same --tokenizer")
        tokens, tokenizer = load_shards(config, parts)
        digest = hashlib.sha256()
        for array in tokens.arrays:              # not all of them: they may be larger than memory
            digest.update(f"{len(array)}".encode() + array[:4096].tobytes() + array[-4096:].tobytes())
        return Corpus(tokens, tokenizer, digest.hexdigest())
    documents = text.read(config.data, config.max_download)
    for document in documents:
        if not document.text.strip():
            raise UserError(f"{document.name} is empty: leave it out")
    tokenizer = find_tokenizer(config, None, documents)
    ids = encode(tokenizer, documents)
    return Corpus(Tokens([ids]), tokenizer, hashlib.sha256(ids.tobytes()).hexdigest())


def load_shards(config: TrainConfig, parts: list[str]) -> tuple[Tokens, Tokenizer]:
    opened = [open_shards(part) for part in parts]
    kinds = {folder and vocabulary_of(folder) for _, folder in opened}
    if len(kinds) > 1:
        raise UserError(f"--data {config.data}: they were made with different tokenizers, as far as they say: "
                        "python -m train tokenize makes one corpus of several texts")
    tokenizer = find_tokenizer(config, opened[0][1])
    if kinds == {None} and tokenizer.n_vocab > 1 << 16:
        opened = [open_shards(part, "uint32") for part in parts]
    return Tokens([a for t, _ in opened for a in t.arrays], [name for t, _ in opened for name in t.names]), tokenizer


def encode(tokenizer: Tokenizer, documents: list[text.Document]) -> np.ndarray:
    """All documents, with the end-of-text token between them where there is one."""
    ids: list[int] = []
    for i, document in enumerate(documents):
        if i and tokenizer.eot_token is not None:
            ids.append(tokenizer.eot_token)
        try:
            ids += tokenizer.encode_ordinary(document.text)
        except ValueError as error:
            raise UserError(f"{document.name}: {error}") from None
    return np.array(ids, np.int64)


def find_tokenizer(config: TrainConfig, folder: Path | None, documents: list[text.Document] = ()) -> Tokenizer:
    """The one that the shards were made with, one that is trained on the documents, or the one that --tokenizer names.

    A trained one is kept in the cache, as far as that can be written to."""
    try:
        if folder is not None:
            return get_tokenizer(folder)
        if config.tokenizer not in ("bpe", "char"):
            return get_tokenizer(config.tokenizer)
        if not documents:
            raise UserError("a .bin file does not say which tokenizer it was made with: give --tokenizer, for example "
                            "gpt2, or the folder of one")
        joined = "\n".join(document.text for document in documents)
        if config.tokenizer == "char":
            return get_tokenizer("char", text=joined)
        key = hashlib.sha256(f"{BPE_VERSION} {config.vocab_size}\n{joined}".encode("utf-8", "replace")).hexdigest()
        cached = cache() / "tokenizers" / key[:16]
        try:
            return get_tokenizer(cached)
        except (OSError, ValueError):
            tokenizer = get_tokenizer("bpe", text=joined, vocab_size=config.vocab_size)
        with contextlib.suppress(OSError):       # a cache that cannot be written to costs a second a run
            tokenizer.save(cached)
        return tokenizer
    except (OSError, ValueError) as error:
        raise UserError(f"--tokenizer {config.tokenizer}: {error}") from None


# ---- batches ------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Windows:
    """Pairs of inputs and targets, each `context` tokens, the targets one further."""
    tokens: Slice
    context: int
    stride: int
    vocab_size: int

    def __len__(self) -> int:
        return max((len(self.tokens) - self.context - 1) // self.stride + 1, 0)

    def batch(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        starts = [int(i) * self.stride for i in which]
        rows = np.stack([self.tokens.read(start, self.context + 1) for start in starts])                 # (B, T + 1)
        if rows.max() >= self.vocab_size:
            for start, row in zip(starts, rows):
                self.tokens.tokens.check(row, self.tokens.start + start, self.vocab_size)
        return rows[:, :-1], rows[:, 1:]


@dataclass(frozen=True)
class Batches:
    """The batches of a run."""
    train: Windows
    val: Windows
    seed: int
    batch_size: int
    micro_batch: int
    eval_windows: int

    @property
    def micro_batches(self) -> int:
        return self.batch_size // self.micro_batch

    def micro(self, step: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets (B, T) of a step's micro-batch."""
        first = step * self.batch_size + number * self.micro_batch
        return self.train.batch(np.array([self._window(i) for i in range(first, first + self.micro_batch)]))

    def _window(self, i: int) -> int:
        epoch, place = divmod(i, len(self.train))
        return int(order(len(self.train), self.seed, epoch)[place])

    def evaluation(self, windows: Windows) -> list[tuple[np.ndarray, np.ndarray]]:
        """The fixed set: windows that lie evenly over the part, in micro-batches."""
        count = min(self.eval_windows, len(windows))
        which = np.arange(count) * len(windows) // max(count, 1)
        return [windows.batch(which[i:i + self.micro_batch]) for i in range(0, count, self.micro_batch)]

    def epoch(self, step: int) -> float:
        return step * self.batch_size / len(self.train)


@lru_cache(maxsize=4)
def order(n: int, seed: int, epoch: int) -> np.ndarray:
    """torch.randperm(n, generator=torch.Generator().manual_seed(mix(seed, epoch)))"""
    from minigrad import Generator, randperm
    return randperm(n, generator=Generator().manual_seed(mix(seed, epoch))).array


def mix(*numbers: int) -> int:
    """One 32-bit seed from several numbers; seeds that are neighbours give streams that have nothing in common."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def batches(config: TrainConfig, corpus: Corpus, context: int, ranks: int = 1) -> Batches:
    """Check that the data suffice, and cut them up."""
    if config.batch_size % ranks:
        raise UserError(f"--batch-size is what all ranks do together: {config.batch_size} is not a multiple of {ranks}")
    micro = config.micro_batch or config.batch_size // ranks
    if config.batch_size // micro % ranks:
        raise UserError(f"{config.batch_size // micro} micro-batches of {micro} cannot be shared by {ranks} ranks: "
                        "make --batch-size a multiple of --micro-batch times ranks")
    train, val = corpus.split(config.val_fraction)
    vocab = corpus.tokenizer.n_vocab
    result = Batches(Windows(train, context, config.stride or context, vocab), Windows(val, context, context, vocab),
                     config.seed, config.batch_size, micro, config.eval_windows)
    for name, part, windows in (("training", train, result.train), ("validation", val, result.val)):
        if not len(windows) and (name == "training" or config.val_fraction):
            raise UserError(f"the data are too short: {len(part)} tokens are left for {name}, and one window needs "
                            f"{context + 1}. Give more text, a smaller --context-length, or another --val-fraction")
    return result


# ---- what there is to learn ---------------------------------------------------------------------------------------

def entropies(train: Slice, val: Slice, vocab_size: int, most: int = 4_000_000) -> tuple[float, float]:
    """What one must pay per token of the validation part, in nats, knowing how often each token comes in the training
    part (unigrams), and what follows what (bigrams, which fall back on unigrams: (n(ab) + k p(b)) / (n(a) + k))."""
    a, b = train.read(0, min(len(train), most)), val.read(0, min(len(val), most))
    p = (np.bincount(a, minlength=vocab_size) + 1) / (len(a) + vocab_size)
    unigram = float(-np.log(p[b[1:]]).mean())
    pairs, counts = np.unique(a[:-1] * vocab_size + a[1:], return_counts=True)
    asked = b[:-1] * vocab_size + b[1:]
    at = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
    together = np.where(pairs[at] == asked, counts[at], 0)
    before = np.bincount(a[:-1], minlength=vocab_size)[b[:-1]]
    k = 20                                       # how many sightings a unigram's opinion is worth
    bigram = float(-np.log((together + k * p[b[1:]]) / (before + k)).mean())
    return unigram, bigram
