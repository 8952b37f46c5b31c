"""Pre-tokenized text: .bin files of uint16 or uint32 token ids, mapped into memory, so that it may be larger than it.

A folder of them has a tokens.json, which names the files in order with their lengths, the dtype, and the tokenizer,
whose files stand beside it. A bare .bin file, as other programs write them, is uint16 without a header.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import numpy as np

from minigrad.serialization import load_json
from train.errors import UserError

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

    def where(self, position: int) -> str:
        i = bisect_right(self._starts, position) - 1
        return f"{self.names[i]} at token {position - self._starts[i]}"


def is_shards(source: str) -> bool:
    path = Path(source).expanduser()
    return path.suffix == ".bin" or path.name == INDEX or any((path / name).is_file() for name in (INDEX, PLAN))


def open_shards(source: str) -> tuple[Tokens, Path | None]:
    """The tokens, and the folder of their tokenizer if it is known."""
    path = Path(source).expanduser()
    if path.suffix == ".bin":
        files = sorted(path.parent.glob(path.name)) if not path.exists() else [path]
        if not files:
            raise UserError(f"--data {source}: no such file")
        return Tokens([_mapped(p, np.dtype("<u2")) for p in files], [str(p) for p in files]), None
    folder = path.parent if path.name == INDEX else path
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
    if not shards:
        raise UserError(f"{folder} holds no tokens")
    kind = np.dtype(dtype).newbyteorder("<")
    return Tokens([_mapped(folder / name, kind, count) for name, count in shards],
                  [str(folder / name) for name, _ in shards]), folder


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
