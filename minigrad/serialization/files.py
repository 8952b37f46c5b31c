"""Files, safely: written whole or not at all, and read without believing what they claim about their size."""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import stat
from collections.abc import Iterator
from pickle import UnpicklingError
from typing import IO, Any

import numpy as np

FileLike = str | os.PathLike | IO[bytes]


def is_path(f: object) -> bool:
    return isinstance(f, (str, os.PathLike))


# ---- writing ----------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open `path` for writing so that it holds, at every moment, either all of its old content or all of the new.

    The bytes go to a temporary file in the same folder, reach the disk (fsync), and take the name in one step
    (rename). If anything fails on the way, a full disk included, the temporary file is removed, the old file is
    as it was, and the error goes on to the caller. `mode` is "wb" or "w" (UTF-8 text, newlines as they are).
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"atomic_write replaces a whole file: mode must be 'wb' or 'w', got {mode!r}")
    text = {"encoding": "utf-8", "newline": ""} if mode == "w" else {}
    path = os.path.realpath(path)               # behind a symbolic link, replace the file and keep the link
    try:
        old = os.stat(path)
    except FileNotFoundError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode):
        with open(path, mode, **text) as file:  # a pipe or a device has no old content to keep; a folder is refused
            yield file
        return

    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name[:100]}.{os.urandom(6).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with open(descriptor, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if old is not None:
            os.chmod(temporary, stat.S_IMODE(old.st_mode))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make the rename itself survive a power cut, where the system can (Windows cannot open a folder)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def writing(f: FileLike) -> Iterator[IO[bytes]]:
    """`f` as a binary file: a path is replaced atomically, a file object is written to directly."""
    if is_path(f):
        with atomic_write(f) as file:
            yield file
    elif isinstance(f, io.RawIOBase):            # may write less than it is given; a BufferedWriter asks again
        buffered = io.BufferedWriter(f)
        try:
            yield buffered
        finally:
            buffered.detach()
    elif hasattr(f, "write"):
        yield f
    else:
        raise AttributeError(f"expected 'f' to be string, path, or a file-like object with a 'write' attribute, "
                             f"got {type(f).__name__}")


# ---- reading ----------------------------------------------------------------------------------------------------

class Source:
    """A binary file, read by position. Nothing is allocated before it is known that the file is long enough."""

    def __init__(self, file: IO[bytes], mapped: bool = False):
        self._file, self._start = file, file.tell()
        self.size = file.seek(0, io.SEEK_END) - self._start
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if mapped and self.size else None

    def read(self, offset: int, count: int) -> bytes:
        self._seek(offset, count)
        chunks = []
        while count:
            chunk = self._file.read(count)
            if not chunk:
                raise EOFError("the file ended while it was being read")
            chunks.append(chunk)
            count -= len(chunk)
        return b"".join(chunks)

    def array(self, offset: int, count: int) -> np.ndarray:
        """`count` bytes in memory of their own: fresh, or (of a mapped file) pages that are read when touched."""
        self._seek(offset, count)
        if self._map is not None:
            return np.frombuffer(self._map, np.uint8, count, offset)
        if not hasattr(self._file, "readinto"):
            return np.frombuffer(bytearray(self.read(offset, count)), np.uint8)
        array = np.empty(count, np.uint8)
        rest = memoryview(array)
        while rest:
            filled = self._file.readinto(rest)
            if not filled:
                raise EOFError("the file ended while it was being read")
            rest = rest[filled:]
        return array

    def _seek(self, offset: int, count: int) -> None:
        if offset < 0 or count < 0 or offset + count > self.size:
            raise EOFError(f"the file claims {count} bytes at {offset} but ends at {self.size}: it is truncated or "
                           "damaged, fetch or save it again")
        self._file.seek(self._start + offset)


@contextlib.contextmanager
def reading(f: FileLike, mapped: bool = False) -> Iterator[Source]:
    """`f` as a Source. Whatever is found wrong with its content is reported with its name in front."""
    if mapped and not is_path(f):
        raise ValueError("f must be a file path in order to use the mmap argument")
    name = f if is_path(f) else getattr(f, "name", None) or f"<{type(f).__name__}>"
    with open(f, "rb") if is_path(f) else contextlib.nullcontext(_seekable(f)) as file:
        try:
            yield Source(file, mapped)
        except (RuntimeError, UnpicklingError, EOFError) as error:
            raise type(error)(f"{name}: {error}") from None


def _seekable(f: IO[bytes]) -> IO[bytes]:
    try:
        f.seek(f.tell())
        return f
    except (AttributeError, io.UnsupportedOperation) as error:
        raise type(error)(f"{error}. A file to load from must be seekable: read it into an io.BytesIO first.") from None
