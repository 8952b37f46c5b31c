"""python -m train tokenize: text files to .bin shards, in parallel, for corpora that do not fit into memory.

Files are cut into pieces of about --piece-mb, each piece becomes one shard, and each shard is written whole or not at
all: so the work can be interrupted, and begun again where it ended. A cut lies before the space between two words of
plain letters, where a token always begins: the shards' tokens, in order, are those of the uncut files.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import re
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gpt.tokenizers import Tokenizer, get_tokenizer
from minigrad.serialization import atomic_write, load_json, save_json
from train import text
from train.errors import DiskError, UserError
from train.fetch import cache
from train.shards import INDEX, PLAN, vocabulary_of

WORDS = re.compile(rb"(?<=[a-z])(?= [a-z])")     # between two letters and a space no pattern joins
LOOK = 1 << 16                                   # how far after a piece's end a cut is looked for


@dataclass(frozen=True)
class Piece:
    file: str
    start: int
    end: int
    shard: str
    first: bool                  # of its file: an end-of-text token comes before it, but for the very first


def add_parser(commands) -> None:
    p = commands.add_parser("tokenize", help="write text as .bin shards, for corpora larger than memory",
                            description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True, metavar="...", help="a file, folder or glob of text, or the-verdict, "
                   "gutenberg:ID, python-docs; several with commas")
    p.add_argument("--tokenizer", default="gpt2", metavar="...",
                   help="gpt2 and OpenAI's others, a folder, or bpe: trained on the data's beginning (default: gpt2)")
    p.add_argument("--vocab-size", type=int, default=8192, metavar="N", help="of a bpe that is trained (default: 8192)")
    p.add_argument("--out", required=True, metavar="FOLDER", help="where the shards go; then: pretrain --data FOLDER")
    p.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N",
                   help="processes (default: as many as there are processors)")
    p.add_argument("--piece-mb", type=float, default=16, metavar="X", help="text per shard (default: 16)")
    p.add_argument("--max-download", type=int, default=200, metavar="N", help="largest file to fetch, in MB")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.workers < 1 or not 0 < args.piece_mb < 1 << 20:
        raise UserError("--workers and --piece-mb must be positive, and a piece less than 1 TB")
    out = Path(args.out)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: give a new folder")
    files = _files(args.data, args.max_download)
    if not files:
        raise UserError(f"--data {args.data!r} names nothing: give python-docs, the-verdict, gutenberg:ID, or files")
    tokenizer = _tokenizer(args, files)
    pieces = cut(files, max(int(args.piece_mb * (1 << 20)), 1))
    _check_text(pieces)
    tokens = tokenize(pieces, tokenizer, out, args.workers)
    print(f"{tokens:,} tokens in {len(pieces)} shards. Next:\n    python -m train pretrain --data {out}")
    return 0


def _files(source: str, max_download: int) -> list[Path]:
    """Files as they lie; what is not a file of its own is put into the cache as one."""
    files: list[Path] = []
    for part in filter(None, map(str.strip, source.split(","))):
        if part in ("python-docs", "the-verdict") or part.startswith("gutenberg:"):
            joined = "\n".join(d.text for d in text.read(part, max_download)).encode()
            path = cache() / "text" / f"{hashlib.sha256(joined).hexdigest()[:16]}.txt"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(path) as file:
                    file.write(joined)
            except OSError as error:
                raise UserError(f"{path} cannot be written ({error.strerror}): set MINIGRAD_CACHE to a folder of yours"
                                ) from None
            files.append(path)
        else:
            files += text.find_files(part)
    if empty := [str(p) for p in files if not p.stat().st_size]:
        raise UserError(f"{empty[0]} is empty: leave it out")
    return files


def _tokenizer(args: argparse.Namespace, files: list[Path]) -> Tokenizer:
    try:
        if args.tokenizer not in ("bpe", "char"):
            return get_tokenizer(args.tokenizer)
        with open(files[0], "rb") as file:
            sample = file.read(16 << 20).decode("utf-8", "replace")
        return get_tokenizer(args.tokenizer, text=sample, vocab_size=args.vocab_size)
    except (OSError, ValueError) as error:
        raise UserError(f"--tokenizer {args.tokenizer}: {error}") from None


# ---- cutting ------------------------------------------------------------------------------------------------------

def cut(files: list[Path], size: int) -> list[Piece]:
    pieces = []
    for path in files:
        end, start = path.stat().st_size, 0
        with open(path, "rb") as file:
            while start < end:
                stop = _cut_after(file, start + size, end)
                pieces.append(Piece(str(path), start, stop, f"{len(pieces):06d}.bin", start == 0))
                start = stop
    return pieces


def _cut_after(file, at: int, end: int) -> int:
    while at < end:
        file.seek(at)
        if match := WORDS.search(file.read(LOOK), 1):
            return at + match.start()
        at += LOOK - 2
    return end


def _check_text(pieces: list[Piece]) -> None:
    """Whatever is no text at all is found before anything is written."""
    for piece in pieces:
        if piece.first:
            with open(piece.file, "rb") as file:
                head = file.read(4096)
            if b"\0" in head:
                raise UserError(f"{piece.file} is not text: it has the byte 0")
            try:
                head.decode("utf-8")
            except UnicodeDecodeError as error:
                if error.start < len(head) - 4:
                    raise UserError(f"{piece.file} is not UTF-8 text (byte {error.start}): convert it, for example "
                                    "with iconv -f latin1 -t utf-8") from None


# ---- tokenizing ---------------------------------------------------------------------------------------------------

def tokenize(pieces: list[Piece], tokenizer: Tokenizer, out: Path, workers: int) -> int:
    """Write the shards that are not there yet, then the index that makes them a corpus. Returns the tokens' number."""
    dtype = "uint16" if tokenizer.n_vocab <= 1 << 16 else "uint32"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (out / PLAN).exists() and any(out.iterdir()):
            raise UserError(f"--out {out} is not empty: give a new folder, or the one of an interrupted tokenize")
        (out / INDEX).unlink(missing_ok=True)
        tokenizer.save(out)
        plan = {"pieces": [asdict(p) for p in pieces], "tokenizer": vocabulary_of(out), "dtype": dtype,
                "files": [[p.file, *os.stat(p.file)[6:9:2]] for p in pieces if p.first]}
        if (out / PLAN).exists() and _old_plan(out) != plan:
            for old in out.glob("*.bin"):
                old.unlink()                       # of other text, or of another tokenizer
        save_json(plan, out / PLAN)
        missing = [p for p in pieces if not (out / p.shard).exists()]
        _in_parallel(missing, len(pieces), out, dtype, workers)
        counts = [(out / p.shard).stat().st_size // np.dtype(dtype).itemsize for p in pieces]
        save_json({"dtype": dtype, "tokens": sum(counts), "vocab_size": tokenizer.n_vocab,
                   "shards": [{"file": p.shard, "tokens": n} for p, n in zip(pieces, counts)]}, out / INDEX)
        (out / PLAN).unlink()
    except OSError as error:
        raise DiskError(f"{out} cannot be written to: {error.strerror or error}") from None
    return sum(counts)


def _old_plan(out: Path) -> object:
    try:
        return load_json(out / PLAN)
    except RuntimeError:
        return None


def _in_parallel(pieces: list[Piece], total: int, out: Path, dtype: str, workers: int) -> None:
    sizes = {p.shard: p.end - p.start for p in pieces}
    with (tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, desc="tokenizing", disable=None) as bar,
          ProcessPoolExecutor(min(workers, len(pieces)) or 1, multiprocessing.get_context("spawn"), _begin,
                              (str(out), dtype)) as pool):
        jobs = {pool.submit(_one, piece): piece for piece in pieces}
        try:
            for job in as_completed(jobs):
                job.result()
                bar.update(sizes[jobs[job].shard])
        except BaseException as error:
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):
                done = sum((out / f"{i:06d}.bin").exists() for i in range(total))
                raise KeyboardInterrupt(f"{done} of {total} shards are written: the same command goes on from there"
                                        ) from None
            raise


_worker: dict = {}


def _begin(out: str, dtype: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)             # the parent is asked, and says when to stop
    _worker.update(tokenizer=get_tokenizer(out), out=Path(out), dtype=np.dtype(dtype).newbyteorder("<"))


def _one(piece: Piece) -> None:
    tokenizer = _worker["tokenizer"]
    with open(piece.file, "rb") as file:
        file.seek(piece.start)
        data = file.read(piece.end - piece.start)
    try:
        decoded = data.removeprefix(b"\xef\xbb\xbf" if piece.first else b"").decode("utf-8")
        ids = tokenizer.encode_ordinary(decoded)
    except UnicodeDecodeError as error:
        raise UserError(f"{piece.file} is not UTF-8 text (byte {piece.start + error.start}): convert it, for example "
                        "with iconv -f latin1 -t utf-8") from None
    except ValueError as error:
        raise UserError(f"{piece.file}: {error}") from None
    if piece.first and piece.shard != "000000.bin" and tokenizer.eot_token is not None:
        ids = [tokenizer.eot_token, *ids]
    with atomic_write(_worker["out"] / piece.shard) as file:
        file.write(np.array(ids, _worker["dtype"]).tobytes())
