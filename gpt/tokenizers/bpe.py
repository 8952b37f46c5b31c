"""Byte-level byte-pair encoding, run by tiktoken: OpenAI's vocabularies and those of train_bpe.

A vocabulary is a rank for every token. Text is cut into pieces by a pattern; in each piece the adjacent pair whose
concatenation has the lowest rank is merged, again and again. The rank is the id too.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import regex
import tiktoken

from gpt.tokenizers.base import END_OF_TEXT, Tokenizer, valid_unicode
from gpt.tokenizers.files import METADATA, read_json, reading, write, write_json
from gpt.tokenizers.patterns import pattern_named

RANKS = "tokenizer.tiktoken"


def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """`pattern`, made total: a character that it leaves out is a piece of its own, so that no text is ever lost. Nor
    may a match be empty, which ends where the search began (\\G): the search would go on behind the next character."""
    if not isinstance(pattern, str):
        raise ValueError(f"a pattern is a str, not {pattern!r}")
    try:
        filled = f"(?:{pattern})(?!\\G)" if regex.match(pattern, "") else pattern
        return regex.compile(f"{filled}|(?s:.)")
    except regex.error as error:
        raise ValueError(f"the pattern {pattern!r} is not a regular expression: {error}") from None


class BytePairTokenizer(Tokenizer):
    """Ranks (bytes to id), the pattern that cuts text into pieces (or its name in PATTERNS), and special tokens."""

    def __init__(self, ranks: Mapping[bytes, int], pattern: str = "gpt2",
                 special_tokens: Mapping[str, int] | None = None, end_of_text: str | None = END_OF_TEXT,
                 name: str = "bpe"):
        super().__init__({id: token for token, id in ranks.items()}, special_tokens or {}, end_of_text)
        if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
            raise ValueError(f"the vocabulary lacks {len(missing)} of the 256 bytes, the first is {missing[0]}")
        self.name, self.pattern, self.ranks = name, pattern_named(pattern), dict(ranks)
        total = compile_pattern(self.pattern).pattern
        try:
            self._encoding = tiktoken.Encoding(name, pat_str=total, mergeable_ranks=self.ranks, special_tokens={})
        except ValueError as error:
            raise ValueError(f"tiktoken does not take this vocabulary: {error}") from None

    def encode_ordinary(self, text: str) -> list[int]:
        text = valid_unicode(text)
        try:
            return self._encoding.encode_ordinary(text)
        except BaseException as error:
            # The stack of tiktoken's pattern engine is finite: a run of a million spaces before a word overflows it
            # (a panic, which no `except Exception` sees). Python's engine has no such limit.
            if type(error).__name__ != "PanicException":
                raise
        whole = tiktoken.Encoding(self.name, pat_str="(?s:.+)", mergeable_ranks=self.ranks, special_tokens={})
        return [id for piece in compile_pattern(self.pattern).finditer(text)
                for id in whole.encode_ordinary(piece.group())]

    def save(self, folder: str | Path) -> None:
        """tokenizer.tiktoken, a line of base64 and rank for each token as in OpenAI's files, and its metadata."""
        lines = [b"%s %d\n" % (base64.b64encode(token), rank)
                 for token, rank in sorted(self.ranks.items(), key=lambda item: item[1])]
        data = b"".join(lines)
        write(Path(folder) / RANKS, data)
        write_json(Path(folder) / METADATA, {
            "type": "bpe", "name": self.name, "pattern": self.pattern, "special_tokens": self.special_tokens,
            "end_of_text": self._end_of_text, "tokens": len(lines), "sha256": hashlib.sha256(data).hexdigest()})

    @classmethod
    def load(cls, folder: str | Path) -> BytePairTokenizer:
        metadata, path = Path(folder) / METADATA, Path(folder) / RANKS
        meta, data = read_json(metadata), path.read_bytes()
        with reading(path):
            ranks = _parse_ranks(data)
            if len(ranks) != meta.get("tokens"):
                raise ValueError(f"{len(ranks)} tokens, but {metadata.name} says {meta.get('tokens')}: truncated?")
            if hashlib.sha256(data).hexdigest() != meta.get("sha256"):
                raise ValueError(f"its checksum is not the one in {metadata.name}: changed since it was saved")
        with reading(metadata):
            return cls(ranks, meta["pattern"], meta["special_tokens"], meta["end_of_text"], meta["name"])

    @classmethod
    def from_tiktoken(cls, name: str) -> BytePairTokenizer:
        """One of OpenAI's vocabularies ("gpt2", "cl100k_base", ...), from tiktoken's cache or the network."""
        from tiktoken_ext.openai_public import ENCODING_CONSTRUCTORS
        try:
            settings = ENCODING_CONSTRUCTORS[name]()
        except Exception as error:    # no network has many faces
            raise FileNotFoundError(_how_to_get(name, error)) from None
        return cls(settings["mergeable_ranks"], settings["pat_str"], settings["special_tokens"], name=name)


def _parse_ranks(data: bytes) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    lines: dict[int, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        try:
            encoded, rank_text = line.split()
            token, rank = base64.b64decode(encoded, validate=True), int(rank_text)
        except ValueError:
            raise ValueError(f"line {number} is {line[:60]!r}, not a token in base64 and its rank") from None
        if not token or rank < 0:
            raise ValueError(f"line {number}: an empty token or a negative rank")
        if rank in lines:
            raise ValueError(f"line {number}: rank {rank} is that of line {lines[rank]} already")
        if token in ranks:
            raise ValueError(f"line {number}: token {token!r} stands in line {lines[ranks[token]]} already")
        ranks[token], lines[rank] = rank, number
    return ranks


def _how_to_get(name: str, error: Exception) -> str:
    base, names, folder = "https://openaipublic.blob.core.windows.net/encodings/", [f"{name}.tiktoken"], ""
    if name == "gpt2":
        base, names = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/", ["vocab.bpe", "encoder.json"]
        folder = ", or put vocab.bpe and encoder.json under these names in any folder and give that folder's path"
    cache = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    where = f"{cache} (TIKTOKEN_CACHE_DIR)" if cache else f"{Path(tempfile.gettempdir()) / 'data-gym-cache'}"
    files = " and ".join(f"{base + file} as {hashlib.sha1((base + file).encode()).hexdigest()}" for file in names)
    return (f"the vocabulary {name!r} is not in tiktoken's cache {where} and cannot be downloaded "
            f"({type(error).__name__}): where there is a network, save {files}, and set TIKTOKEN_CACHE_DIR to "
            f"their folder{folder}")
