"""The book's first two tokenizers (chapter 2): whole words and punctuation marks, looked up in a table."""

from __future__ import annotations

import re
from collections.abc import Iterable

END_OF_TEXT, UNKNOWN = "<|endoftext|>", "<|unk|>"


def split_words(text: str) -> list[str]:
    """Words, punctuation marks and double dashes, without the white space between them."""
    return [word for part in re.split(r"""([,.:;?_!"()']|--|\s)""", text) if (word := part.strip())]


def build_vocab(text: str, special_tokens: Iterable[str] = ()) -> dict[str, int]:
    """The distinct words of `text` in sorted order, then the special tokens, numbered from 0."""
    return {word: id for id, word in enumerate([*sorted(set(split_words(text))), *special_tokens])}


class SimpleTokenizerV1:
    """Knows the words of its vocabulary and no others."""

    def __init__(self, vocab: dict[str, int]):
        self.str_to_int = vocab
        self.int_to_str = {id: word for word, id in vocab.items()}

    def _id(self, word: str) -> int:
        if word not in self.str_to_int:
            raise KeyError(f"the word {word!r} is not in the vocabulary of {len(self.str_to_int)}")
        return self.str_to_int[word]

    def encode(self, text: str) -> list[int]:
        return [self._id(word) for word in split_words(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The words with a space between them, but none before a punctuation mark: not always the text that was."""
        return re.sub(r"""\s+([,.:;?!"()'])""", r"\1", " ".join(self.int_to_str[id] for id in ids))


class SimpleTokenizerV2(SimpleTokenizerV1):
    """Any word that is not in the vocabulary is <|unk|>, which must be."""

    def __init__(self, vocab: dict[str, int]):
        if UNKNOWN not in vocab:
            raise ValueError(f'the vocabulary needs {UNKNOWN!r}: build_vocab(text, ("{END_OF_TEXT}", "{UNKNOWN}"))')
        super().__init__(vocab)

    def _id(self, word: str) -> int:
        return self.str_to_int.get(word, self.str_to_int[UNKNOWN])
