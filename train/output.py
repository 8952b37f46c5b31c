"""Standard output and error of a run that is worth more than what it says."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


class Lasting:
    """A stream that takes everything. A pipe that nobody reads, a log on a full disk, a terminal that is gone or knows
    no such character cost words, not the run."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):            # ValueError: it is closed
            try:
                self._stream.write(text)
            except UnicodeEncodeError as error:
                self._stream.write(text.encode(error.encoding, "replace").decode(error.encoding))
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """sys.stdout and sys.stderr are Lasting."""
    with open(os.devnull, "w") as nowhere:
        streams = [stream or nowhere for stream in (sys.stdout, sys.stderr)]    # None: closed before Python began
        try:
            with contextlib.redirect_stdout(Lasting(streams[0])), contextlib.redirect_stderr(Lasting(streams[1])):
                yield
        finally:
            for stream in streams:
                try:
                    stream.flush()
                except (OSError, ValueError):
                    with contextlib.suppress(OSError, ValueError):  # or Python tries again at its end, and complains
                        os.dup2(nowhere.fileno(), stream.fileno())
