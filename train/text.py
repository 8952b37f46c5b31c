"""Where text comes from: a name, a file, a folder, a glob. A corpus is named documents; several can be joined."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from train.errors import UserError
from train.fetch import fetch

VERDICT = ("https://raw.githubusercontent.com/rasbt/LLMs-from-scratch/main/ch02/01_main-chapter-code/the-verdict.txt",
           "b41e41a68f0398a3154ae69e2e4c0e2694e17fe0d66730536837f1b01935b31f")
GUTENBERG = "https://www.gutenberg.org/cache/epub/{id}/pg{id}.txt"           # GUTENBERG_URL names a mirror
SUFFIXES = (".txt", ".md", ".rst", ".py", ".text")                           # what is read from a folder


@dataclass(frozen=True)
class Document:
    name: str
    text: str


def read(source: str, max_download: int = 200) -> list[Document]:
    """The documents of --data: names and paths, with commas between them."""
    documents = []
    for part in filter(None, map(str.strip, source.split(","))):
        documents += _read_one(part, max_download)
    if not documents:
        raise UserError(f"--data {source!r} names nothing: give python-docs, the-verdict, gutenberg:ID, or files")
    return documents


def _read_one(source: str, max_download: int) -> list[Document]:
    if source == "python-docs":
        return python_docs()
    if source == "the-verdict":
        return [_from_file(fetch(VERDICT[0], "the-verdict.txt", sha256=VERDICT[1], limit_mb=max_download))]
    if match := re.fullmatch(r"gutenberg:(\d{1,7})", source):
        id = match[1]
        url = os.environ.get("GUTENBERG_URL", GUTENBERG).format(id=id)
        document = _from_file(fetch(url, f"gutenberg/pg{id}.txt", limit_mb=max_download))
        return [Document(document.name, without_licence(document.text))]
    return [_from_file(path) for path in find_files(source)]


def python_docs() -> list[Document]:
    """The reference of the language, as help() shows it: about 0.5 MB of English in every CPython.

    The topics come in no order (by a hash of their names), so that the last of them, which validate, are like the
    others. A fifth of the text says what another topic has said word for word; it is left out, or validation would be
    a test of memory."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise UserError("this Python comes without pydoc_data, the default corpus: give --data a file or a folder of "
                        "text") from None
    documents, seen = [], set()
    for name in sorted(topics, key=lambda name: hashlib.sha256(name.encode()).digest()):
        paragraphs = [p for p in topics[name].split("\n\n") if len(p) < 40 or p not in seen]
        seen.update(paragraphs)
        if any(len(p) >= 40 for p in paragraphs):
            documents.append(Document(f"python-docs/{name}", "\n\n".join(paragraphs)))
    return documents


def find_files(source: str) -> list[Path]:
    """The files of a path or a glob, in the order of their names."""
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not files:
            raise UserError(f"--data {source}: no text in this folder; files of {', '.join(SUFFIXES)} are read, and a "
                            f"glob names others: '{path}/**/*.xyz'")
        return files
    files = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if os.path.isfile(p))
    if not files:
        raise UserError(f"--data {source!r}: no such file or folder, no file that this glob matches, and none of the "
                        "names python-docs, the-verdict, gutenberg:ID")
    return files


def _from_file(path: Path) -> Document:
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        if "\0" in text:
            raise UserError(f"{path} is not text: it has the byte 0. If it holds tokens, it must be named .bin")
        return Document(str(path), text)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}): convert it, for example with iconv -f latin1 "
                        "-t utf-8") from None


def without_licence(text: str) -> str:
    """A Project Gutenberg book without what stands before and after it."""
    start = re.search(r"\*\*\* ?START OF TH(E|IS) PROJECT GUTENBERG EBOOK.*?\*\*\*", text, re.DOTALL)
    end = re.search(r"\*\*\* ?END OF TH(E|IS) PROJECT GUTENBERG EBOOK", text)
    return text[start.end() if start else 0:end.start() if end else len(text)].strip() + "\n"
