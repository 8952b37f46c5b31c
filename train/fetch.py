"""Downloads into a cache folder: a progress bar, a limit, a checksum, and a name only for what is whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import urllib.request
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from minigrad.serialization import atomic_write
from train.errors import UserError

TIMEOUT = 30.0                    # seconds without a byte
PIECE = 1 << 16


def cache() -> Path:
    """MINIGRAD_CACHE, or ~/.cache/minigrad."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("MINIGRAD_CACHE") or f"{home}/minigrad").expanduser()


def fetch(url: str, name: str, *, sha256: str | None = None, limit_mb: int = 200) -> Path:
    """cache()/name, downloaded if it is not there. Without a `sha256` that is known beforehand, the one of the first
    download is kept beside the file, and holds from then on."""
    path = cache() / name
    note = path.with_name(path.name + ".sha256")
    if sha256 is None and note.is_file():
        sha256 = note.read_text("utf-8").split()[0]
    if path.is_file():
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if sha256 not in (None, found):
            raise UserError(f"{path} is damaged: its SHA-256 is {found}, expected {sha256}. Delete it, and it is "
                            "fetched again")
        return path
    digest = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            _receive(url, file, digest, name, limit_mb)
            if sha256 not in (None, digest.hexdigest()):
                raise UserError(f"{url} was damaged on the way, or is another text now: its SHA-256 is "
                                f"{digest.hexdigest()}, expected {sha256}. Nothing was kept")
        if sha256 is None:
            with atomic_write(note, "w") as file:
                file.write(f"{digest.hexdigest()}  {path.name}\n")
    except (OSError, HTTPException, ValueError) as error:        # ValueError: not a URL
        reason = getattr(error, "reason", None) or error
        raise UserError(f"{name} is not in {cache()} (MINIGRAD_CACHE) and cannot be fetched from {url}: {reason}. "
                        "Save it there under that name, or use --data python-docs, which needs no network") from None
    return path


def _receive(url: str, file, digest, name: str, limit_mb: int) -> None:
    limit = limit_mb << 20
    request = urllib.request.Request(url, headers={"User-Agent": "minigrad", "Accept-Encoding": "identity"})
    with contextlib.closing(urllib.request.urlopen(request, timeout=TIMEOUT)) as answer:
        length = answer.headers["Content-Length"]
        total = int(length) if length and length.isdigit() else None
        too_large = UserError(f"{url} is larger than {limit_mb} MB: raise the limit with --max-download")
        if total is not None and total > limit:
            raise too_large
        have = 0
        with tqdm(desc=name, total=total, unit="B", unit_scale=True, disable=None) as bar:
            while piece := answer.read(PIECE):
                have += len(piece)
                if have > limit:
                    raise too_large
                file.write(piece)
                digest.update(piece)
                bar.update(len(piece))
        if total not in (None, have):
            raise OSError(f"{have} bytes came of {total}")
