"""From a name to a folder: a path, a folder of a local cache, or a download.

    MINIGRAD_CACHE      where downloads go: MINIGRAD_CACHE/models/OWNER/NAME; ~/.cache/minigrad by default
    HF_HUB_CACHE        Hugging Face's cache, only read; HF_HOME/hub by default, and ~/.cache/huggingface/hub
    HF_ENDPOINT         where downloads come from; https://huggingface.co by default
    HF_HUB_OFFLINE=1    no downloads
    HF_TOKEN            sent to the endpoint, if it is there

What is downloaded is checked against what the server says of it. For a large file that is its SHA-256, in the header
X-Linked-ETag of the answer that redirects to where the bytes are (or in ETag, where there is no redirection); for a
small one it is git's SHA-1 of it, in ETag. Sizes are checked in any case. A download that was cut goes on where it
ended.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from gpt.weights.files import INDEX, WEIGHTS, shards, weights_file

OWNERS = {"gpt2": "openai-community", "gpt2-medium": "openai-community", "gpt2-large": "openai-community",
          "gpt2-xl": "openai-community", "distilgpt2": "distilbert"}
ALIASES = {"gpt2-124M": "gpt2", "gpt2-355M": "gpt2-medium", "gpt2-774M": "gpt2-large", "gpt2-1558M": "gpt2-xl"}
ATTEMPTS = 3
TIMEOUT = 30.0                    # seconds without a byte
PIECE = 1 << 20


class DownloadError(OSError):
    """No network, or what came is not what the server has."""


# ---- where things are -------------------------------------------------------------------------------------------

def cache() -> Path:
    return Path(os.environ.get("MINIGRAD_CACHE") or _xdg() / "minigrad").expanduser()


def hf_cache() -> Path:
    home = os.environ.get("HF_HOME") or _xdg() / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
                or Path(home) / "hub").expanduser()


def _xdg() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def repository(name: str) -> str | None:
    """`owner/name` for a name on the hub, None for what cannot be one."""
    name = ALIASES.get(name, name)
    name = f"{OWNERS[name]}/{name}" if name in OWNERS else name
    part = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
    return name if re.fullmatch(f"{part}/{part}", name) and ".." not in name else None


def find(name: str | os.PathLike[str], revision: str = "main", download: bool = True) -> Path:
    """The folder (or file) of a checkpoint: `name` as a path if it exists, else from the caches, else from the hub."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    repo = repository(os.fspath(name))
    if repo is None:
        raise FileNotFoundError(f"no checkpoint {os.fspath(name)!r}: there is no such path, and the names known are "
                                f"{', '.join(OWNERS)} and OWNER/NAME on {endpoint()}")
    for folder in local_folders(repo, revision):
        if is_complete(folder):
            return folder
    if not download or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise FileNotFoundError(_absent(repo, revision, "downloads are off (HF_HUB_OFFLINE)"))
    folder = _own(repo, revision)
    try:
        download_model(repo, folder, revision)
    except (OSError, HTTPException) as error:
        raise DownloadError(_absent(repo, revision, f"downloading failed: {_reason(error)}")) from None
    return folder


def local_folders(repo: str, revision: str = "main") -> list[Path]:
    """Where a repository may lie: in our own cache, and in Hugging Face's. Old caches know gpt2 without its owner."""
    folders = [_own(repo, revision)]
    owner, name = repo.split("/")
    for entry in (f"models--{owner}--{name}", *([f"models--{name}"] if OWNERS.get(name) == owner else [])):
        top = hf_cache() / entry
        reference = top / "refs" / revision
        commit = reference.read_text("utf-8").strip() if reference.is_file() else revision
        folders.append(top / "snapshots" / commit)
    return folders


def _own(repo: str, revision: str) -> Path:
    return cache() / "models" / (repo if revision == "main" else f"{repo}@{revision.replace('/', '--')}")


def is_complete(folder: Path) -> bool:
    """Whether a folder has a configuration and all of its weights: a cache may hold a tokenizer alone."""
    file = weights_file(folder) if folder.is_dir() else None
    if file is None or not any((folder / name).is_file() for name in ("config.json", "hparams.json")):
        return False
    try:
        return not file.name.endswith(INDEX) or all((folder / name).is_file() for name in shards(file).values())
    except RuntimeError:
        return False


def _absent(repo: str, revision: str, why: str) -> str:
    looked = " and ".join(str(folder) for folder in local_folders(repo, revision))
    own = _own(repo, revision)
    return (f"{repo} is not on this machine, and {why}. Looked in {looked}. Put config.json and model.safetensors from "
            f"{endpoint()}/{repo} into {own}, or give the path of a folder that has them")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.url} answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"{endpoint()} cannot be reached ({error.reason})"
    return str(error) or type(error).__name__


# ---- downloading ------------------------------------------------------------------------------------------------

class Remote(NamedTuple):
    """What the server says of a file before it sends it."""
    url: str
    size: int | None
    digest: str              # sha256 (64 digits), git's sha1 (40 digits), or "" where it says nothing
    commit: str | None


def download_model(repo: str, folder: Path, revision: str = "main") -> None:
    """Fetch config.json, weights, and tokenizer.json where there is one. The weights come last, and each file takes
    its name when it is whole, so that a folder with weights is a model."""
    config = _inspect(repo, revision, "config.json")
    if config is None:
        raise DownloadError(f"there is no {endpoint()}/{repo} with a config.json at {revision!r}")
    commit = config.commit or revision                # all files of one commit
    _fetch(config, folder / "config.json")
    for name in ("tokenizer.json", "generation_config.json"):
        if (remote := _inspect(repo, commit, name)) is not None:
            _fetch(remote, folder / name)
    for name in WEIGHTS:
        if (remote := _inspect(repo, commit, name)) is None:
            continue
        _fetch(remote, folder / name)
        if name.endswith(INDEX):
            for shard in sorted(set(shards(folder / name).values())):
                if (part := _inspect(repo, commit, shard)) is None:
                    raise DownloadError(f"{repo} has no {shard}, which its {name} names")
                _fetch(part, folder / shard)
        return
    raise DownloadError(f"{endpoint()}/{repo} has no weights: none of {', '.join(WEIGHTS)}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a repository to its new name. Where the hub sends on to the bytes, its answer tells of them already."""

    def redirect_request(self, request: Any, fp: Any, code: int, msg: str, headers: Message, newurl: str) -> Any:
        if headers["X-Linked-ETag"] or _host(newurl) != _host(request.full_url):
            return None
        return _request(newurl, request.get_method())


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc


def _request(url: str, method: str = "GET", **headers: str) -> urllib.request.Request:
    request = urllib.request.Request(url, headers={"User-Agent": "minigrad", "Accept-Encoding": "identity"} | headers,
                                     method=method)
    if token := os.environ.get("HF_TOKEN"):
        request.add_unredirected_header("Authorization", f"Bearer {token}")        # for the hub's eyes only
    return request


def _inspect(repo: str, revision: str, name: str) -> Remote | None:
    """None where there is no such file."""
    url = f"{endpoint()}/{repo}/resolve/{urllib.parse.quote(revision, safe='')}/{urllib.parse.quote(name)}"
    try:
        with urllib.request.build_opener(_Redirects).open(_request(url, "HEAD"), timeout=TIMEOUT) as answer:
            status, headers = answer.status, answer.headers
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 404):               # 401 is what the hub says of a repository that is not there
            return None
        if not 300 <= error.code < 400:
            raise
        status, headers = error.code, error.headers
    size = headers["X-Linked-Size"] or (headers["Content-Length"] if status < 300 else "") or ""
    digest = (headers["X-Linked-ETag"] or headers["ETag"] or "").removeprefix("W/").strip('"')
    return Remote(url, int(size) if size.isdigit() else None,
                  digest if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", digest) else "", headers["X-Repo-Commit"])


def _fetch(remote: Remote, path: Path) -> None:
    """Download a file, unless it is there already. What was received of it stays for the next attempt."""
    if path.is_file() and remote.digest and _digest(path, remote.digest) == remote.digest:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{remote.digest[:16]}.part")
    if not remote.digest:
        part.unlink(missing_ok=True)               # it may be of another version
    for attempt in range(ATTEMPTS):
        try:
            _receive(remote, part, path.name)
            break
        except (OSError, HTTPException) as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if refused or attempt == ATTEMPTS - 1:
                raise
    if remote.digest and (found := _digest(part, remote.digest)) != remote.digest:
        part.unlink()
        raise DownloadError(f"{remote.url} was damaged on the way: its checksum is {found}, and the server says "
                            f"{remote.digest}. Nothing was kept; try again")
    os.replace(part, path)


def _receive(remote: Remote, part: Path, name: str) -> None:
    from tqdm import tqdm

    have = part.stat().st_size if part.is_file() else 0
    if remote.size is not None and have >= remote.size > 0:
        if have == remote.size:
            return
        part.unlink()
        have = 0
    request = _request(remote.url, **({"Range": f"bytes={have}-"} if have else {}))
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        if answer.status != 206 or not (answer.headers["Content-Range"] or "").startswith(f"bytes {have}-"):
            have = 0                               # the server sends the whole
        length = answer.headers["Content-Length"]
        size = remote.size if remote.size is not None else have + int(length) if length else None
        with (open(part, "ab" if have else "wb") as file,
              tqdm(desc=name, total=size, initial=have, unit="B", unit_scale=True, disable=None) as bar):
            while piece := answer.read(PIECE):
                file.write(piece)
                bar.update(len(piece))
            file.flush()
            os.fsync(file.fileno())
            have = file.tell()
    if size is not None and have != size:
        if have > size:
            part.unlink()
        raise DownloadError(f"{remote.url} was cut on the way: {have} bytes came of {size}. Try again: it goes on from "
                            "there")


def _digest(path: Path, like: str) -> str:
    """SHA-256, or for a digest of 40 digits git's SHA-1, which begins with the file's size."""
    digest = hashlib.sha256() if len(like) == 64 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
