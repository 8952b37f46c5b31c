"""Training state as JSON: what is read is exactly what was written, floats to the last bit, or it is refused."""

from __future__ import annotations

import json
from typing import Any

from .files import FileLike, reading, writing


def save_json(obj: Any, f: FileLike) -> None:
    """Write dicts with str keys, lists, str, int, finite float, bool and None. What JSON would quietly change (a
    tuple, a number as a key) is refused."""
    text = json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False)
    if json.loads(text) != obj:
        raise ValueError("JSON cannot keep this object as it is: tuples come back as lists, and keys as str")
    with writing(f) as file:
        file.write(text.encode("utf-8", "surrogatepass") + b"\n")


def load_json(f: FileLike) -> Any:
    """Read what save_json wrote."""
    with reading(f) as source:
        try:
            return json.loads(source.read(0, source.size).decode("utf-8", "surrogatepass"),
                              object_pairs_hook=unique_keys, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise RuntimeError(f"not valid JSON: {error}. It is damaged or was not written by save_json") from None


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Twice the same key has no one meaning."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
