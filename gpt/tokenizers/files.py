"""Reading and writing a tokenizer's files: damage ends in one line that names the file, a write is all or nothing."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

METADATA = "tokenizer.meta.json"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever goes wrong while `path`'s contents are made sense of becomes a ValueError that names it."""
    try:
        yield
    except ValueError as error:
        text = " ".join(str(error).split())
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else f"{error}"
        raise ValueError(f"{path}: not a file of this kind, or damaged: {' '.join(what.split())}") from None


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text (byte {error.start}): damaged, or another kind of file") from None


def read_json(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error}): truncated or damaged") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(data).__name__}")
    return data


def write(path: Path, data: bytes) -> None:
    """`path` has its old contents or all of the new, whatever happens in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)    # mkstemp's files are private; these are as open() would make them
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, data: dict[str, Any]) -> None:
    write(path, (json.dumps(data, ensure_ascii=False, indent=2) + "\n").encode())
