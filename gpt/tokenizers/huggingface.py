"""Byte-level BPE as Hugging Face writes it down: tokenizer.json, or vocab.json + merges.txt (OpenAI's encoder.json +
vocab.bpe are the same two under other names).

Text passes through added tokens (cut out first), a normalizer, pre-tokenizers (which cut it into pieces) and merges.
What is not a byte-level BPE, or asks for a step that is not here, is refused when it is loaded. A byte that has no
token, which a byte-level vocabulary need not have, becomes unk_token or, without one, is left out, as theirs does.

Letters and digits are what the regex package says they are, which knows a newer Unicode than Hugging Face's engine:
text with characters too new for that one may be cut otherwise.
"""

from __future__ import annotations

import copy
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import regex

from gpt.tokenizers.base import END_OF_TEXT, Tokenizer, any_of, valid_unicode
from gpt.tokenizers.files import METADATA, read_json, read_text, reading, write_json
from gpt.tokenizers.patterns import GPT2

if TYPE_CHECKING:
    from gpt.tokenizers.bpe import BytePairTokenizer

Json = dict[str, Any]
Cut = Callable[[str], Iterable[str]]

ENDS_OF_TEXT = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>")    # where no file names one

# Bytes are written as characters that print: those that do as themselves, the others as U+0100, U+0101, ...
PRINTING = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
CHAR_OF_BYTE = {byte: chr(byte) for byte in PRINTING}
CHAR_OF_BYTE |= {byte: chr(256 + n) for n, byte in enumerate(b for b in range(256) if b not in CHAR_OF_BYTE)}
BYTE_OF_CHAR = {char: byte for byte, char in CHAR_OF_BYTE.items()}


def _token_bytes(token: str) -> bytes:
    try:
        return bytes(BYTE_OF_CHAR[char] for char in token)
    except KeyError:    # a special token, written as it is
        return token.encode("utf-8", "replace")


class HuggingFaceTokenizer(Tokenizer):
    """What a tokenizer.json (`spec`) says, for text without the template's tokens: add_special_tokens=False there."""

    def __init__(self, spec: Json, end_of_text: str | None = None):
        self.spec = spec
        added = spec.get("added_tokens") or []
        special = {token["content"]: token["id"] for token in added if token["special"]}
        if end_of_text is None:
            end_of_text = next((name for name in ENDS_OF_TEXT if name in special), None)

        self._merge = _Merges(spec["model"])
        self._normalize = _normalizer(spec.get("normalizer"))
        self._cuts = _pre_tokenizers(spec.get("pre_tokenizer"))
        self._added = [_AddedTokens([t for t in added if not t["normalized"]], lambda text: text),
                       _AddedTokens([t for t in added if t["normalized"]], self._normalize)]
        tokens = {id: _token_bytes(token) for token, id in spec["model"]["vocab"].items()}
        tokens |= {token["id"]: token["content"].encode() for token in added}
        for id in special.values():
            tokens.pop(id)
        super().__init__(tokens, special, end_of_text)

    def __reduce__(self) -> tuple:
        return type(self), (self.spec, self._end_of_text)    # to other processes goes what it was made of

    def encode_ordinary(self, text: str) -> list[int]:
        return self._encode(valid_unicode(text), frozenset())

    def _encode(self, text: str, allowed: frozenset[str]) -> list[int]:
        ids = []
        as_given, normalized = self._added
        for part in as_given.cut(text, allowed):
            if isinstance(part, int):
                ids.append(part)
                continue
            for piece in normalized.cut(self._normalize(part), allowed):
                if isinstance(piece, int):
                    ids.append(piece)
                else:
                    ids += self._encode_words(piece)
        return ids

    def _encode_words(self, text: str) -> Iterator[int]:
        pieces = [text]
        for cut in self._cuts:
            pieces = [piece for whole in pieces for piece in cut(whole) if piece]
        for piece in pieces:
            yield from self._merge(piece.encode())

    def with_special_tokens(self, tokens: Iterable[str] | Mapping[str, int], end_of_text: str | None = None) -> Self:
        other = super().with_special_tokens(tokens, end_of_text)
        spec = copy.copy(self.spec)
        spec["added_tokens"] = [*(spec.get("added_tokens") or []), *(
            _special_spec(name, id) for name, id in other.special_tokens.items() if name not in self.special_tokens)]
        return type(self)(spec, other._end_of_text)

    # ---- files ------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        write_json(Path(folder) / "tokenizer.json", self.spec)
        write_json(Path(folder) / METADATA, {"type": "huggingface", "end_of_text": self._end_of_text})

    @classmethod
    def load(cls, path: str | Path) -> HuggingFaceTokenizer:
        """From a tokenizer.json or the folder that has one; its neighbours say which token ends a text."""
        path = Path(path)
        path = path / "tokenizer.json" if path.is_dir() else path
        spec = read_json(path)
        end_of_text = _end_of_text(path.parent)
        with reading(path):
            return cls(spec, end_of_text)

    @classmethod
    def from_vocab_and_merges(cls, vocab: str | Path, merges: str | Path) -> HuggingFaceTokenizer:
        """GPT-2's two files, with its pattern; special tokens as the files beside them say, or <|endoftext|>."""
        vocab, merges = Path(vocab), Path(merges)
        tokens, pairs = read_json(vocab), []
        for number, line in enumerate(read_text(merges).split("\n"), 1):
            if not line.strip() or line.startswith("#version"):
                continue
            pair = line.rstrip("\r").split(" ")
            if len(pair) != 2 or not all(pair):
                raise ValueError(f"{merges}: line {number} is {line[:60]!r}, not two tokens with a space between")
            if not set(pair) <= tokens.keys() or "".join(pair) not in tokens:
                raise ValueError(f"{merges}: line {number}: {line[:60]!r} has or makes a token that {vocab} has not")
            pairs.append(pair)

        folder = vocab.parent
        config = _optional(folder / "tokenizer_config.json")
        ids = tokens | _optional(folder / "added_tokens.json")
        names = {END_OF_TEXT: None} | dict.fromkeys(_optional(folder / "added_tokens.json"))
        for value in _optional(folder / "special_tokens_map.json").values():
            for token in value if isinstance(value, list) else [value]:
                names[token["content"] if isinstance(token, dict) else token] = None
        end_of_text = _end_of_text(folder)
        with reading(vocab):
            return cls(_spec(tokens, pairs, {name: ids[name] for name in names if name in ids},
                             _byte_level_spec(prefix=bool(config.get("add_prefix_space", False)))), end_of_text)

    @classmethod
    def from_bpe(cls, tokenizer: BytePairTokenizer) -> HuggingFaceTokenizer:
        """The same tokenizer in Hugging Face's format: transformers loads what its save() writes."""
        spell = lambda token: "".join(CHAR_OF_BYTE[byte] for byte in token)
        steps = _byte_level_spec(prefix=False)
        if tokenizer.pattern != GPT2:
            if regex.search(r"[\d,]\}\+", tokenizer.pattern):
                raise ValueError("the pattern has a possessive {m,n}+, which means something else to Hugging Face")
            steps = {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": tokenizer.pattern}, "behavior": "Isolated", "invert": False},
                steps | {"use_regex": False}]}
        merges = [[spell(left), spell(right)] for left, right in pairs_of(tokenizer.ranks)]
        vocab = {spell(token): rank for token, rank in sorted(tokenizer.ranks.items(), key=lambda item: item[1])}
        return cls(_spec(vocab, merges, tokenizer.special_tokens, steps), tokenizer._end_of_text)


def pairs_of(ranks: Mapping[bytes, int]) -> Iterator[list[bytes]]:
    """The merge that makes each token, in the order of the ranks: what the merges before it leave of its bytes."""
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [bytes([byte]) for byte in token]
        while len(parts) > 2:
            best, i = min((ranks.get(a + b, rank), i) for i, (a, b) in enumerate(pairwise(parts)))
            if best == rank:
                raise ValueError(f"no two tokens before it make the token {token!r} of rank {rank}")
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        if len(parts) == 2:
            yield parts


def _byte_level_spec(prefix: bool) -> Json:
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": True}


def _special_spec(name: str, id: int) -> Json:
    return {"id": id, "content": name, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False}


def _spec(vocab: dict[str, int], merges: list[list[str]], special: Mapping[str, int], pre_tokenizer: Json) -> Json:
    """A whole tokenizer.json; its readers want every field."""
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [_special_spec(name, id) for name, id in special.items()],
            "normalizer": None, "pre_tokenizer": pre_tokenizer, "post_processor": None,
            "decoder": _byte_level_spec(prefix=True),
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": vocab, "merges": merges}}


def _optional(path: Path) -> Json:
    return read_json(path) if path.is_file() else {}


def _end_of_text(folder: Path) -> str | None:
    """The end-of-text token that the files of a folder name."""
    token = _optional(folder / METADATA).get("end_of_text") or _optional(folder / "tokenizer_config.json").get(
        "eos_token") or _optional(folder / "special_tokens_map.json").get("eos_token")
    return token.get("content") if isinstance(token, dict) else token


# ---- the steps ------------------------------------------------------------------------------------------------------

def _refuse(kind: str, name: object) -> ValueError:
    return ValueError(f"{kind} {name!r} is not supported; this reads byte-level BPE as GPT-2, GPT-NeoX, Llama 3 and "
                      "GLM-4 have it")


class _AddedTokens:
    """Tokens that are cut out of the text before anything else is done to it: the leftmost, the longest there."""

    def __init__(self, tokens: list[Json], normalize: Callable[[str], str]):
        self._tokens = {normalize(token["content"]): token for token in tokens if token["content"]}

    def cut(self, text: str, allowed: frozenset[str]) -> Iterator[str | int]:
        names = frozenset(name for name, token in self._tokens.items()
                          if not token["special"] or token["content"] in allowed)
        start = 0
        for match in any_of(names).finditer(text) if names else ():
            token, begin, end = self._tokens[match.group()], *match.span()
            if begin < start:
                continue
            if token["single_word"] and regex.search(r"\w", text[max(begin - 1, 0):begin] + text[end:end + 1]):
                continue
            while token["lstrip"] and start < begin and regex.match(r"\s", text[begin - 1]):
                begin -= 1
            if token["rstrip"]:
                end = regex.compile(r"\s*").match(text, end).end()
            if start < begin:
                yield text[start:begin]
            yield token["id"]
            start = end
        if start < len(text):
            yield text[start:]


def _normalizer(spec: Json | None) -> Callable[[str], str]:
    match spec:
        case None:
            return lambda text: text
        case {"type": "NFC" | "NFD" | "NFKC" | "NFKD" as form}:
            return partial(unicodedata.normalize, form)
        case {"type": "Sequence", "normalizers": list(steps)}:
            functions = [_normalizer(step) for step in steps]

            def normalize(text: str) -> str:
                for function in functions:
                    text = function(text)
                return text
            return normalize
        case {"type": "Replace", "pattern": {"String": str(old)}, "content": str(new)}:
            return lambda text: text.replace(old, new)
        case {"type": "Lowercase"}:
            return lambda text: "".join(map(str.lower, text))    # character by character: no final sigma
    raise _refuse("the normalizer", spec.get("type", spec) if isinstance(spec, dict) else spec)


def _pre_tokenizers(spec: Json | None) -> list[Cut]:
    """The cuts, one after the other. The last must be ByteLevel, which also says that the vocabulary is of bytes."""
    steps = spec.get("pretokenizers", []) if spec and spec.get("type") == "Sequence" else [spec]
    if not steps or not steps[-1] or steps[-1].get("type") != "ByteLevel":
        raise _refuse("a pre-tokenizer that does not end in ByteLevel,", spec and spec.get("type"))
    return [_pre_tokenizer(step) for step in steps[:-1]] + _byte_level(steps[-1])


def _pre_tokenizer(spec: Json) -> Cut:
    match spec:
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": str(behavior), "invert": bool(invert)}:
            return _split(pattern, behavior, invert)
        case {"type": "Split", "pattern": {"String": str(text)}, "behavior": str(behavior), "invert": bool(invert)}:
            return _split(regex.escape(text), behavior, invert)
        case {"type": "Digits", "individual_digits": bool(individual)}:
            return _split(r"\p{N}", "Isolated" if individual else "Contiguous", False)
    raise _refuse("the pre-tokenizer", spec.get("type", spec))


def _byte_level(spec: Json) -> list[Cut]:
    cuts: list[Cut] = []
    if spec.get("add_prefix_space", True):
        cuts.append(lambda text: [text if text.startswith(" ") else " " + text])
    if spec.get("use_regex", True):
        cuts.append(_split(GPT2, "Isolated", False))
    return cuts


def _split(pattern: str, behavior: str, invert: bool) -> Cut:
    """Cut where `pattern` matches (with `invert`: where it does not); `behavior` says what becomes of the matches."""
    if behavior not in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        raise _refuse("the Split behavior", behavior)
    try:
        compiled = regex.compile(pattern, regex.MULTILINE)    # their ^ and $ are those of lines
    except regex.error as error:
        raise ValueError(f"the Split pattern {pattern!r} is not a regular expression here: {error}") from None

    def cut(text: str) -> Iterator[str]:
        spans, start = [], 0    # (text, whether it is a delimiter)
        for match in compiled.finditer(text):
            if match.start() == match.end():
                continue
            if start < match.start():
                spans.append((text[start:match.start()], invert))
            spans.append((match.group(), not invert))
            start = match.end()
        if start < len(text):
            spans.append((text[start:], invert))

        match behavior:
            case "Isolated":
                return (piece for piece, _ in spans)
            case "Removed":
                return (piece for piece, delimiter in spans if not delimiter)
            case "Contiguous":
                joined = lambda before, here: before == here
            case "MergedWithPrevious":
                joined = lambda before, here: here and not before
            case "MergedWithNext":
                joined = lambda before, here: before and not here
        pieces: list[str] = []
        for i, (piece, delimiter) in enumerate(spans):
            if i and joined(spans[i - 1][1], delimiter):
                pieces[-1] += piece
            else:
                pieces.append(piece)
        return iter(pieces)
    return cut


class _Merges:
    """The model: the bytes of a piece, merged by an explicit list of pairs, the earliest in the list first."""

    def __init__(self, model: Json):
        if model.get("type", "BPE") != "BPE":
            raise _refuse("the model", model["type"])
        for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
            if model.get(option):
                raise _refuse(f"the BPE option {option} =", model[option])
        vocab: dict[str, int] = model["vocab"]
        for token, id in vocab.items():
            if not isinstance(id, int) or isinstance(id, bool) or id < 0:
                raise ValueError(f"the token {token!r} has id {id!r}; ids are integers from 0")
        if len(set(vocab.values())) < len(vocab):
            raise ValueError("two tokens of the vocabulary share an id")
        unknown = model.get("unk_token")
        if unknown is not None and unknown not in vocab:
            raise ValueError(f"unk_token {unknown!r} is not in the vocabulary")
        self._unknown = None if unknown is None else vocab[unknown]
        self._fuse_unknown = bool(model.get("fuse_unk"))
        self._id_of_byte = [vocab.get(CHAR_OF_BYTE[byte], self._unknown) for byte in range(256)]
        self._whole = ({_token_bytes(token): id for token, id in vocab.items()} if model.get("ignore_merges") else {})
        self._rank: dict[tuple[int, int], tuple[int, int]] = {}    # pair: (rank, the token it makes)
        for rank, merge in enumerate(model["merges"]):
            pair = merge.split(" ") if isinstance(merge, str) else merge
            if len(pair) != 2:
                raise ValueError(f"merge {rank} is {merge!r}, not two tokens")
            a, b = pair
            for token in (a, b, a + b):
                if token not in vocab:
                    raise ValueError(f"merge {rank} has or makes the token {token!r}, which is not in the vocabulary")
            self._rank[vocab[a], vocab[b]] = rank, vocab[a + b]
        self._known: dict[bytes, list[int]] = {}

    def __call__(self, piece: bytes) -> list[int]:
        ids = self._known.get(piece)
        if ids is None:
            ids = [self._whole[piece]] if piece in self._whole else self._merged(piece)
            if len(piece) <= 64:    # words come again; bounded, whatever the text
                if len(self._known) >= 1 << 16:
                    self._known.clear()
                self._known[piece] = ids
        return ids

    def _merged(self, piece: bytes) -> list[int]:
        """A linked list of tokens and a heap of the pairs that can be merged: n log n, also for one run of a letter."""
        token = [id for id in map(self._id_of_byte.__getitem__, piece) if id is not None]
        if self._fuse_unknown:
            token = [id for i, id in enumerate(token) if not (i and id == token[i - 1] == self._unknown)]
        n, gone = len(token), -1
        left, right = list(range(-1, n - 1)), list(range(1, n + 1))
        find = self._rank.get
        heap = [(*found, i) for i in range(n - 1) if (found := find((token[i], token[i + 1])))]
        heapify(heap)
        while heap:
            _, new, i = heappop(heap)
            j = right[i]
            if token[i] == gone or j == n or find((token[i], token[j]), (0, gone))[1] != new:
                continue    # one of the two has been merged with another neighbour since
            token[i], token[j], right[i] = new, gone, right[j]
            if right[j] < n:
                left[right[j]] = i
                if found := find((new, token[right[j]])):
                    heappush(heap, (*found, i))
            if left[i] >= 0 and (found := find((token[left[i]], new))):
                heappush(heap, (*found, left[i]))
        return [id for id in token if id != gone]
