"""From a list of samples to one batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from ... import dtypes
from ...composed.joining import stack
from ...creation import as_tensor, tensor
from ...tensor import Tensor


def _is_text(array: np.ndarray) -> bool:
    """Strings, bytes and objects, which no tensor can hold."""
    return array.dtype.kind in "SUO"


def _same_kind(container: Mapping | Sequence, items: Mapping | Sequence) -> Any:
    """The items in a container like the given one. A mutable container is copied and refilled, so that a subclass
    keeps its attributes; tuples become lists (torch's habit); a type that cannot be rebuilt becomes a dict or list."""
    try:
        if isinstance(container, MutableMapping):
            clone = copy.copy(container)
            clone.update(items)
            return clone
        if isinstance(container, MutableSequence):
            clone = copy.copy(container)
            for i, item in enumerate(items):
                clone[i] = item
            return clone
        if isinstance(container, tuple):
            return type(container)(*items) if hasattr(container, "_fields") else items
        return type(container)(items)
    except TypeError:
        return items


def default_convert(data: Any) -> Any:
    """A sample with its NumPy arrays and scalars as tensors: what a DataLoader does when batch_size is None."""
    if isinstance(data, Tensor):
        return data
    if type(data).__module__ == "numpy" and not isinstance(data, np.str_):
        return data if isinstance(data, np.ndarray) and _is_text(data) else as_tensor(data)
    if isinstance(data, Mapping):
        return _same_kind(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _same_kind(data, [default_convert(item) for item in data])
    return data


def default_collate(batch: Sequence) -> Any:
    """A batch of samples: tensors are stacked along a new first dimension, arrays and numbers become tensors, strings
    stay a list, and mappings, sequences and named tuples are collated part by part."""
    sample = batch[0]
    if isinstance(sample, Tensor):
        return stack(batch, 0)
    if isinstance(sample, np.ndarray):
        if _is_text(sample):
            raise _cannot_collate(sample.dtype)
        return stack([as_tensor(array) for array in batch], 0)
    if isinstance(sample, np.bool_ | np.number):       # before float: np.float64 is one
        return as_tensor(batch)
    if isinstance(sample, float):
        return tensor(batch, dtype=dtypes.float64)
    if isinstance(sample, int):
        return tensor(batch)
    if isinstance(sample, str | bytes):
        return batch
    if isinstance(sample, Mapping):
        return _same_kind(sample, {key: default_collate([other[key] for other in batch]) for key in sample})
    if isinstance(sample, Sequence):
        for other in batch:
            if len(other) != len(sample):
                raise RuntimeError("each element in list of batch should be of equal size; found sizes "
                                   f"{len(sample)} and {len(other)}")
        return _same_kind(sample, [default_collate(parts) for parts in zip(*batch)])
    raise _cannot_collate(type(sample))


def _cannot_collate(found: object) -> TypeError:
    return TypeError("default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
                     f"found {found}")
