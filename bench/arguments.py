"""What the measurements take on the command line: refused, if wrong, in one line and before anything is measured."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from pathlib import Path


def at_least(minimum: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {minimum}, got {text!r}")
        return int(text)
    return number


def names_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """Some of the names, between commas."""
    def names(text: str) -> list[str]:
        given = text.split(",")
        wrong = [name for name in given if name not in known]
        if wrong:
            raise argparse.ArgumentTypeError(f"there is no {wrong[0]!r}: choose from {', '.join(known)}")
        return given
    return names


def new_file(*endings: str) -> Callable[[str], str]:
    def file(text: str) -> str:
        path = Path(text)
        if not path.parent.is_dir() or path.is_dir():
            raise argparse.ArgumentTypeError(f"cannot write {text!r}: " + (
                "it is a folder" if path.is_dir() else f"there is no folder {str(path.parent)!r}"))
        if endings and path.suffix not in endings:
            raise argparse.ArgumentTypeError(f"cannot draw {text!r}: the name must end in {' or '.join(endings)}")
        return text
    return file
