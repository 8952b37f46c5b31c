"""Pre-tokenized text: .bin files of uint16 or uint32 token ids, mapped into memory, so that it may be larger than it.

A folder of them has a tokens.json, which names the files in order with their lengths, the dtype, and the tokenizer,
whose files stand beside it. A bare .bin file, as other programs write them, has no header, and is of uint16 if the
vocabulary fits into that.
"""

from __future__ import annotations

import glob
import hashlib
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import numpy as np

from minigrad.serialization import load_json
from train.errors import UserError
from train.text import SUFFIXES

INDEX, PLAN = "tokens.json", "plan.json"         # the plan is there as long as shards are missing


class Tokens:
    """Token ids from several arrays as if they were one."""

    def __init__(self, arrays: list[np.ndarray], names: list[str] | None = None) -> None:
        self.arrays, self.names = arrays, names or ["the data"] * len(arrays)
        self._starts = [0, *accumulate(map(len, arrays))]

    def __len__(self) -> int:
        return self._starts[-1]

    def read(self, start: int, count: int) -> np.ndarray:
        """The tokens from `start` on, as int64."""
        pieces, i = [], bisect_right(self._starts, start) - 1
        while count:
            piece = self.arrays[i][start - self._starts[i]:][:count]
            pieces.append(piece)
            start, count, i = start + len(piece), count - len(piece), i + 1
        return np.concatenate(pieces).astype(np.int64)

    def check(self, ids: np.ndarray, start: int, vocab_size: int) -> None:
        """`ids`, which lie from `start` on, are of the vocabulary."""
        if len(ids) and ids.max() >= vocab_size:
            at = int(np.argmax(ids >= vocab_size))
            i = bisect_right(self._starts, start + at) - 1
            raise UserError(f"{self.names[i]} at token {start + at - self._starts[i]} has id {ids[at]}, and the "
                            f"tokenizer has {vocab_size}: the file is damaged, or was made with another tokenizer")

    def check_beginnings(self, vocab_size: int, most: int = 1 << 26) -> None:
        """All that is not too large is looked at before anything is written, and the rest when it is its turn."""
        for array, start in zip(self.arrays, self._starts):
            self.check(array[:max(most // len(self.arrays), 4096)], start, vocab_size)


def is_shards(source: str) -> bool:
    path = Path(source).expanduser()
    if path.is_dir():
        return any(p.name in (INDEX, PLAN) or p.suffix == ".bin" for p in path.iterdir() if p.is_file())
    return path.suffix == ".bin" or path.name == INDEX


def open_shards(source: str, dtype: str = "uint16") -> tuple[Tokens, Path | None]:
    """The tokens, and the folder of their tokenizer if it is known. `dtype` is of those that do not say it."""
    path = Path(source).expanduser()
    folder = path if path.is_dir() else path.parent
    if path.name != INDEX and (path.suffix == ".bin" or path.is_dir()) and \
            not any((folder / name).is_file() for name in (INDEX, PLAN)):
        files = [path] if path.is_file() else sorted(
            p for p in map(Path, glob.glob(str(path / "*.bin" if path.is_dir() else path), recursive=True))
            if p.is_file())
        if not files:
            raise UserError(f"--data {source}: no such file")
        if path.is_dir() and (text := [p.name for p in path.iterdir() if p.suffix.lower() in SUFFIXES]):
            raise UserError(f"--data {source}: the folder holds text ({text[0]}) and tokens ({files[0].name}): give "
                            f"'{path}/*{Path(text[0]).suffix}' or '{path}/*.bin'")
        return Tokens([_mapped(p, np.dtype(dtype).newbyteorder("<")) for p in files], [str(p) for p in files]), None
    if (folder / PLAN).is_file():
        raise UserError(f"{folder} is half of a corpus: python -m train tokenize was interrupted; run it again, and it "
                        "goes on")
    try:
        index = load_json(folder / INDEX)
        dtype, shards = index["dtype"], [(str(s["file"]), int(s["tokens"])) for s in index["shards"]]
        if dtype not in ("uint16", "uint32"):
            raise ValueError(f"dtype {dtype!r}")
        if any(Path(name).name != name for name, _ in shards):
            raise ValueError("a shard lies elsewhere")
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / INDEX} is damaged ({error}): run python -m train tokenize again") from None
    if path.suffix == ".bin":                    # some of a folder's
        asked = {path.name} if path.is_file() else {Path(p).name for p in glob.glob(str(path))}
        shards = [(name, count) for name, count in shards if name in asked]
    if not shards:
        raise UserError(f"--data {source}: there are no tokens of that name in {folder}")
    kind = np.dtype(dtype).newbyteorder("<")
    return Tokens([_mapped(folder / name, kind, count) for name, count in shards],
                  [str(folder / name) for name, _ in shards]), folder


def vocabulary_of(folder: Path) -> str:
    """A checksum of the tokenizer in the folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("tokenizer*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _mapped(path: Path, dtype: np.dtype, count: int | None = None) -> np.ndarray:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if count is None and size % dtype.itemsize or count is not None and size != count * dtype.itemsize:
        expected = f"{count * dtype.itemsize} bytes" if count is not None else f"a multiple of {dtype.itemsize} bytes"
        raise UserError(f"{path} has {size} bytes, expected {expected}: it is truncated or damaged, run python -m "
                        "train tokenize again")
    return np.memmap(path, dtype, "r") if size else np.empty(0, dtype)
