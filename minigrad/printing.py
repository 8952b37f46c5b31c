"""Tensors as text, character for character as torch prints them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes

if TYPE_CHECKING:
    from .tensor import Tensor


@dataclass(frozen=True)
class _Options:
    precision: int = 4  # digits after the point
    threshold: float = 1000  # a tensor of more elements than this is summarised
    edgeitems: int = 3  # how many a summary shows at each end of an axis
    linewidth: int = 80
    sci_mode: bool | None = None  # None: choose by the values


_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": float("inf"), "edgeitems": 3, "linewidth": 80},
}

_options = _Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change how tensors print: a profile ("default", "short" or "full"), then what is given besides it.

    What is not given stays as it is, except sci_mode: as in torch, each call sets it anew.
    """
    global _options
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    given = {name: value for name, value in given.items() if value is not None}
    _options = replace(_options, **_PROFILES.get(profile, {}) | given, sci_mode=sci_mode)


def get_printoptions() -> dict[str, Any]:
    """The options in force, as set_printoptions takes them."""
    return asdict(_options)


@contextlib.contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """set_printoptions for the length of a with block."""
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


def tensor_repr(t: Tensor) -> str:
    """`tensor(<values>, <whatever the values do not tell>)`; a subclass of Tensor goes by its own name."""
    array, name = t.array, type(t).__name__
    opening = "tensor(" if name in ("Tensor", "Parameter") else f"{name}("

    notes = []
    if (array.size == 0 and array.ndim != 1) or (array.size != 0 and not _options.edgeitems):
        notes.append(f"size={tuple(array.shape)}")
    told = {dtypes.get_default_dtype()}  # the dtypes that tensor(<values>) would make
    if array.size != 0:
        told |= {dtypes.int64, dtypes.bool}
    if t.dtype not in told:
        notes.append(f"dtype={t.dtype}")
    if t.grad_fn is not None:
        notes.append(f"grad_fn=<{t.grad_fn.name()}>")
    elif t.requires_grad:
        notes.append("requires_grad=True")

    text = opening + array_text(array, indent=len(opening))
    column = len(text) - (text.rfind("\n") + 1) + 2  # the 2 is torch's: the first note breaks that much sooner
    for note in notes:
        if column + len(", ") + len(note) > _options.linewidth:
            text += ",\n" + " " * len(opening) + note
            column = len(opening) + len(note)
        else:
            text += ", " + note
            column += len(", ") + len(note)
    return text + ")"


def parameter_repr(t: Tensor) -> str:
    """What a Parameter prints: its tensor, under a heading."""
    return "Parameter containing:\n" + tensor_repr(t)


def tensor_format(t: Tensor, spec: str) -> str:
    """`f"{t:spec}"`: a 0-dim Tensor formats as its number; any other tensor takes no spec but the empty one."""
    if t.array.ndim == 0 and type(t).__name__ == "Tensor":
        return format(t.array.item(), spec)
    return object.__format__(t, spec)


def array_text(array: np.ndarray, indent: int = 0) -> str:
    """The nested brackets, for a text that starts in column `indent`. Only elements that show are ever converted."""
    if array.size == 0:
        return "[]"
    edge = _options.edgeitems
    summarised = array.size > _options.threshold and array.ndim > 0
    if summarised and not edge:
        return "[...]"

    elided = [summarised and n > 2 * edge for n in array.shape]
    if any(elided):
        array = array[np.ix_(*(_ends(n, edge) if cut else range(n) for n, cut in zip(array.shape, elided)))]
    texts, width = _element_texts(array.ravel())
    parts = [text.rjust(width) for text in texts]

    # From the innermost axis outwards, every n neighbouring parts become one: "[a, b, c]".
    innermost = array.ndim - 1
    for axis in range(innermost, -1, -1):
        n, column = array.shape[axis], indent + axis  # where these brackets open
        rows = [parts[i : i + n] for i in range(0, len(parts), n)]
        if elided[axis]:
            for row in rows:
                row.insert(edge, " ..." if axis == innermost else "...")
        if axis == innermost:
            fit = max(1, (_options.linewidth - column) // (width + len(", ")))
            rows = [[", ".join(row[i : i + fit]) for i in range(0, len(row), fit)] for row in rows]
        # Matrices stand one line apart, stacks of matrices two, and so on.
        separator = "," + "\n" * max(1, innermost - axis) + " " * (column + 1)
        parts = ["[" + separator.join(row) + "]" for row in rows]
    return parts[0]


def _ends(n: int, edge: int) -> list[int]:
    return [*range(edge), *range(n - edge, n)]


def _element_texts(values: np.ndarray) -> tuple[list[str], int]:
    """Each value as text, all in one style, and the width that they are set to."""
    if values.dtype.kind != "f":
        texts = [str(value) for value in values.tolist()]
        return texts, max(map(len, texts))

    # Zeros, infinities and nans have no say in the style or in the width (so "-inf" may stick out).
    counted = np.isfinite(values) & (values != 0)
    magnitudes = np.abs(values[counted]).astype(np.float64)
    whole = bool(np.all(magnitudes == np.floor(magnitudes)))
    scientific = magnitudes.size > 0 and _is_scientific(float(magnitudes.min()), float(magnitudes.max()))

    digits = 0 if whole and not scientific else _options.precision
    style = f".{digits}{'e' if scientific else 'f'}"
    texts = [format(value, style) for value in values.tolist()]
    if whole and not scientific:
        texts = [text + "." if finite else text for text, finite in zip(texts, np.isfinite(values).tolist())]
    return texts, max((len(text) for text, counts in zip(texts, counted.tolist()) if counts), default=1)


def _is_scientific(smallest: float, largest: float) -> bool:
    if _options.sci_mode is not None:
        return _options.sci_mode
    return largest / smallest > 1000 or largest > 1e8 or smallest < 1e-4
