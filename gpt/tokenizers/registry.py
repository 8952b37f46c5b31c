"""From a name or a path to a tokenizer."""

from __future__ import annotations

from pathlib import Path

from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.bpe import BytePairTokenizer
from gpt.tokenizers.characters import CharacterTokenizer
from gpt.tokenizers.files import METADATA, read_json
from gpt.tokenizers.huggingface import HuggingFaceTokenizer
from gpt.tokenizers.training import train_bpe

# OpenAI's vocabularies, and the models that have them.
OPENAI = {name: name for name in ("gpt2", "r50k_base", "p50k_base", "p50k_edit", "cl100k_base", "o200k_base",
                                  "o200k_harmony")}
OPENAI |= {prefix + "gpt2" + size: "gpt2" for prefix in ("", "openai-community/")
           for size in ("", "-medium", "-large", "-xl", "-124M", "-355M", "-774M", "-1558M")}

OWN = {"bpe": BytePairTokenizer, "characters": CharacterTokenizer, "huggingface": HuggingFaceTokenizer}


def get_tokenizer(name_or_path: str | Path, *, text: str | None = None, vocab_size: int = 4096) -> Tokenizer:
    """The tokenizer that a name or a path means.

    "gpt2", "cl100k_base", ...     OpenAI's, through tiktoken's cache
    "char", "bpe"                  trained on `text` ("bpe" with `vocab_size` tokens)
    a folder                       with what save() wrote, or a Hugging Face tokenizer.json, vocab.json + merges.txt, or
                                   OpenAI's encoder.json + vocab.bpe
    a file                         a tokenizer.json under any name
    """
    name = str(name_or_path)
    if name in OPENAI:
        return BytePairTokenizer.from_tiktoken(OPENAI[name])
    if name in ("char", "bpe"):
        if text is None:
            raise ValueError(f'the tokenizer "{name}" is trained on a text: get_tokenizer("{name}", text=...)')
        return CharacterTokenizer.train(text) if name == "char" else train_bpe(text, vocab_size)

    path = Path(name_or_path)
    if path.is_file():
        if path.suffix == ".json" and path.name != METADATA:
            return HuggingFaceTokenizer.load(path)
        path = path.parent if path.name == METADATA else path
    if (path / METADATA).is_file():
        kind = read_json(path / METADATA).get("type")
        if not isinstance(kind, str) or kind not in OWN:
            raise ValueError(f"{path / METADATA}: its type is {kind!r}, expected one of {', '.join(OWN)}")
        return OWN[kind].load(path)
    if (path / "tokenizer.json").is_file():
        return HuggingFaceTokenizer.load(path)
    for vocab, merges in (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")):
        if (path / vocab).is_file() and (path / merges).is_file():
            return HuggingFaceTokenizer.from_vocab_and_merges(path / vocab, path / merges)
    files = f"{METADATA}, tokenizer.json, vocab.json + merges.txt or encoder.json + vocab.bpe"
    if path.is_dir():
        raise FileNotFoundError(f"{path}: this folder holds no tokenizer; looked for {files}")
    if path.is_file():
        raise ValueError(f"{path}: not a tokenizer's file; expected a tokenizer.json, or a folder with {files}")
    names = ", ".join(["char", "bpe", *sorted(set(OPENAI.values()))])
    raise FileNotFoundError(f"no tokenizer {name!r}: not one of the names {names}, nor a folder with {files}")
