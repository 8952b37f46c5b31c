"""Primitives that gather by index, and their adjoints that scatter."""

from __future__ import annotations

import numpy as np

from ..graph import primitive
from .shape import zeros_for


@primitive("Index", input=lambda g, index, shape: index_write(zeros_for(g, shape), g, index, True))
def index_at(input, index):
    """input[index] for a tuple of slices and arrays of integers or booleans: a copy."""
    return input[index]


@primitive("IndexPut",
           input=lambda g, index, accumulate: g if accumulate else index_write(g, 0.0, index, False),
           value=lambda g, index: index_at(g, index))
def index_write(input, value, index, accumulate):
    """A copy of input with the elements at the index replaced, or added to, as often as the index names them."""
    out = input.copy()
    if accumulate:
        np.add.at(out, index, value)
    else:
        out[index] = value
    return out
