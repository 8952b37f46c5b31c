"""What every tokenizer is: text to ids, ids to bytes to text, and special tokens that text alone cannot forge.

A kind of tokenizer says how ordinary text is encoded and what bytes each id stands for; the rest is here. It need not
be a BPE: a greedy longest match or a sentencepiece model fits the same three methods.
"""

from __future__ import annotations

import codecs
import copy
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

END_OF_TEXT = "<|endoftext|>"


def valid_unicode(text: str) -> str:
    """`text` as UTF-8 can hold it: a surrogate pair becomes its character, a lone surrogate U+FFFD (as in tiktoken)."""
    if not isinstance(text, str):
        raise TypeError(f"expected text as a str, not {type(text).__name__} (encode_bytes takes bytes)")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


@lru_cache(maxsize=256)
def any_of(strings: frozenset[str]) -> re.Pattern[str]:
    """A pattern that finds the leftmost of `strings`, and the longest of those that start there."""
    return re.compile("|".join(map(re.escape, sorted(strings, key=lambda s: (-len(s), s)))))


class Tokenizer(ABC):
    """Ids 0 ... n_vocab - 1 and the bytes they stand for. Immutable: with_special_tokens returns another tokenizer.

    special_tokens  name to id; text is encoded to one only where the caller allows it
    n_vocab         what an embedding needs: the largest id plus one (also called vocab_size)
    eot_token       the id that ends a text, or None
    """

    special_tokens: Mapping[str, int]
    n_vocab: int
    eot_token: int | None

    def __init__(self, tokens: dict[int, bytes], special_tokens: Mapping[str, int], end_of_text: str | None = None):
        """`tokens`: the bytes of every id that is not special; `end_of_text`: a special token's name."""
        for name, id in special_tokens.items():
            if not isinstance(name, str) or not name or valid_unicode(name) != name:
                raise ValueError(f"a special token is a non-empty str of valid Unicode, not {name!r}")
            if not isinstance(id, int) or isinstance(id, bool) or id < 0:
                raise ValueError(f"special token {name!r} has id {id!r}; ids are integers from 0")
            if tokens.get(id, name.encode()) != name.encode():
                raise ValueError(f"special token {name!r} has id {id}, which is the ordinary token {tokens[id]!r}")
        if len(set(special_tokens.values())) < len(special_tokens):
            raise ValueError(f"two special tokens share an id: {dict(special_tokens)}")
        self._bytes = tokens | {id: name.encode() for name, id in special_tokens.items()}
        self.special_tokens = dict(special_tokens)
        self.n_vocab = max(self._bytes, default=-1) + 1
        self._end_of_text = end_of_text
        self.eot_token = self.special_tokens.get(end_of_text) if end_of_text else None

    @property
    def vocab_size(self) -> int:
        return self.n_vocab

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_vocab={self.n_vocab}, special_tokens={list(self.special_tokens)[:8]})"

    # ---- what a kind of tokenizer says ------------------------------------------------------------------------------

    @abstractmethod
    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of `text`, in which special tokens are ordinary text."""

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write the files from which get_tokenizer(folder) makes this tokenizer again."""

    def _encode(self, text: str, allowed: frozenset[str]) -> list[int]:
        """The ids of `text`, in which the special tokens `allowed` are tokens and all others ordinary text."""
        if not allowed:
            return self.encode_ordinary(text)
        ids, start = [], 0
        for match in any_of(allowed).finditer(text):
            ids += self.encode_ordinary(text[start:match.start()])
            ids.append(self.special_tokens[match.group()])
            start = match.end()
        return ids + self.encode_ordinary(text[start:])

    # ---- text to ids ------------------------------------------------------------------------------------------------

    def encode(self, text: str, allowed_special: Literal["all"] | Collection[str] = frozenset(),
               disallowed_special: Literal["all"] | Collection[str] = "all") -> list[int]:
        """The ids of `text`. By default text that contains a special token is refused, as tiktoken does: a token like
        <|endoftext|> in a user's text is more often an attack or an accident than meant. `allowed_special` names those
        to encode as their ids; with disallowed_special=() all others are ordinary text.
        """
        text = valid_unicode(text)
        names = frozenset(self.special_tokens)
        allowed = self._names("allowed_special", allowed_special, names) & names
        disallowed = self._names("disallowed_special", disallowed_special, names - allowed)
        if disallowed and (found := any_of(disallowed).search(text)):
            token = found.group()
            raise ValueError(f"the text contains the special token {token!r} at character {found.start()}: pass "
                             f"allowed_special={{{token!r}}} to encode it as one, or disallowed_special=() to encode "
                             "it as ordinary text")
        return self._encode(text, allowed)

    @staticmethod
    def _names(argument: str, given: Literal["all"] | Collection[str], every: frozenset[str]) -> frozenset[str]:
        if isinstance(given, str):
            if given != "all":
                raise ValueError(f'{argument} is "all" or a set of special tokens, not the str {given!r}')
            return every
        return frozenset(given)

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of arbitrary bytes: valid UTF-8 as `encode_ordinary` has it, any other byte by itself."""
        single = None
        ids = []
        for i, part in enumerate(re.split("([\udc80-\udcff]+)", bytes(data).decode("utf-8", "surrogateescape"))):
            if i % 2 == 0:
                ids += self.encode_ordinary(part) if part else []
                continue
            single = single or {token: id for id, token in self._bytes.items() if len(token) == 1}
            for char in part:
                byte = bytes([ord(char) - 0xDC00])
                if byte not in single:
                    raise ValueError(f"byte {byte!r} is not valid UTF-8 there, and this vocabulary has no token for it")
                ids.append(single[byte])
        return ids

    # ---- ids to text ------------------------------------------------------------------------------------------------

    def token_bytes(self, id: int) -> bytes:
        """The bytes that one id stands for; a single token may be a part of a character."""
        try:
            return self._bytes[operator.index(id)]
        except KeyError:
            raise ValueError(f"id {id} is not in the vocabulary ({len(self._bytes)} tokens, ids below {self.n_vocab})"
                             ) from None
        except TypeError:
            raise TypeError(f"ids are integers, not {type(id).__name__}") from None

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b"".join(map(self.token_bytes, ids))

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """The text of `ids`. Bytes that are not UTF-8 become U+FFFD, or what `errors` says, as in bytes.decode."""
        return self.decode_bytes(ids).decode("utf-8", errors)

    def stream_decoder(self, errors: str = "replace") -> StreamDecoder:
        return StreamDecoder(self, errors)

    def decode_stream(self, ids: Iterable[int], errors: str = "replace") -> Iterator[str]:
        """The text of `ids` in whole characters, each as soon as it is complete. Joined, the pieces are decode(ids)."""
        decoder = StreamDecoder(self, errors)
        for id in ids:
            if text := decoder.push(id):
                yield text
        if text := decoder.finish():
            yield text

    # ---- special tokens ---------------------------------------------------------------------------------------------

    def with_special_tokens(self, tokens: Iterable[str] | Mapping[str, int], end_of_text: str | None = None) -> Self:
        """This vocabulary and more special tokens, numbered from n_vocab on in the order given unless `tokens` says
        the ids. (gpt.resize.resize_vocabulary gives the model's embedding the new rows.)
        """
        if isinstance(tokens, str):
            raise ValueError(f"with_special_tokens takes a list of tokens, not the str {tokens!r}")
        added = tokens if isinstance(tokens, Mapping) else {}
        if not isinstance(tokens, Mapping):
            for id, name in enumerate(tokens, self.n_vocab):
                if name in added:
                    raise ValueError(f"special token {name!r} is given twice")
                added[name] = id
        for name, id in added.items():
            if name in self.special_tokens:
                raise ValueError(f"{name!r} is a special token already (id {self.special_tokens[name]})")
            if id in self._bytes:
                raise ValueError(f"special token {name!r} has id {id}, which is the token {self._bytes[id]!r}")
        end_of_text = end_of_text or self._end_of_text or (END_OF_TEXT if END_OF_TEXT in added else None)
        other = copy.copy(self)
        ordinary = {id: token for id, token in self._bytes.items() if id not in set(self.special_tokens.values())}
        Tokenizer.__init__(other, ordinary, {**self.special_tokens, **added}, end_of_text)
        return other


class StreamDecoder:
    """Text from ids that arrive one by one, without ever splitting a character.

    A character may be spread over several tokens; its first bytes wait here until the last has come.
    """

    def __init__(self, tokenizer: Tokenizer, errors: str = "replace"):
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors)

    def push(self, id: int) -> str:
        """The characters that `id` completes; often one word, sometimes none."""
        return self._utf8.decode(self._tokenizer.token_bytes(id))

    def finish(self) -> str:
        """What is left of a character that never became complete; the decoder is then as new."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest
