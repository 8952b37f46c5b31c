"""One token a character: the smallest vocabulary that a text can be written in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from gpt.tokenizers.base import END_OF_TEXT, Tokenizer, valid_unicode
from gpt.tokenizers.files import METADATA, read_json, reading, write_json


class CharacterTokenizer(Tokenizer):
    """The characters of `characters`, numbered in its order."""

    def __init__(self, characters: str, special_tokens: Mapping[str, int] | None = None,
                 end_of_text: str | None = END_OF_TEXT):
        self._ids = {char: id for id, char in enumerate(valid_unicode(characters))}
        if len(self._ids) < len(characters):
            raise ValueError("a character occurs twice in the vocabulary, or is not valid Unicode")
        super().__init__({id: char.encode() for char, id in self._ids.items()}, special_tokens or {}, end_of_text)

    @classmethod
    def train(cls, text: str, special_tokens: Iterable[str] = ()) -> CharacterTokenizer:
        """The distinct characters of `text` in the order of their code points, then the special tokens."""
        characters = "".join(sorted(set(valid_unicode(text))))
        return cls(characters, {name: id for id, name in enumerate(special_tokens, len(characters))})

    def encode_ordinary(self, text: str) -> list[int]:
        text = valid_unicode(text)
        try:
            return [self._ids[char] for char in text]
        except KeyError as error:
            char = error.args[0]
            raise ValueError(f"the character {char!r} (U+{ord(char):04X}) at {text.index(char)} is not among the "
                             f"{len(self._ids)} of this vocabulary: train it on a text that has it") from None

    def save(self, folder: str | Path) -> None:
        write_json(Path(folder) / METADATA, {
            "type": "characters", "characters": "".join(self._ids),
            "special_tokens": self.special_tokens, "end_of_text": self._end_of_text})

    @classmethod
    def load(cls, folder: str | Path) -> CharacterTokenizer:
        path = Path(folder) / METADATA
        data = read_json(path)
        with reading(path):
            return cls(data["characters"], data["special_tokens"], data["end_of_text"])
