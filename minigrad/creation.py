"""Tensors from values, and from nothing."""

from __future__ import annotations

import numpy as np

from . import dtypes
from .graph import Variable, new_tensor


class device:
    """Where a tensor lives: "cpu", and nowhere else."""

    __slots__ = ("index", "type")

    def __init__(self, type: str | device, index: int | None = None):
        if isinstance(type, device):
            type, index = type.type, type.index
        name, _, number = type.partition(":")
        if name not in _DEVICES:
            raise RuntimeError(f"Expected one of {', '.join(_DEVICES)} device type at start of device string: {type}")
        self.type, self.index = name, int(number) if number else index

    def __repr__(self) -> str:
        return f"device(type={self.type!r}" + (f", index={self.index})" if self.index is not None else ")")

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))


_DEVICES = ("cpu", "cuda", "mps", "xpu", "meta")
CPU = device("cpu")


def check_device(d) -> None:
    """Everything here lives on the CPU."""
    if d is not None and device(d).type != "cpu":
        raise RuntimeError(f"minigrad runs on the CPU, with NumPy: there is no device {str(device(d))!r} here; use \"cpu\"")


class layout:
    def __repr__(self) -> str:
        return "torch.strided"


strided = layout()


def parse_to(args: tuple, kwargs: dict):
    """The dtype and copy flag that Tensor.to's arguments ask for."""
    dtype, copy = kwargs.get("dtype"), kwargs.get("copy", False)
    check_device(kwargs.get("device"))
    if isinstance(kwargs.get("other"), Variable):
        dtype = kwargs["other"].dtype
    for a in args:
        if isinstance(a, dtypes.dtype):
            dtype = a
        elif isinstance(a, Variable):
            dtype = a.dtype
        elif isinstance(a, str | device):
            check_device(a)
    return dtype, copy


def tensor(data, *, dtype=None, device=None, requires_grad: bool = False, pin_memory: bool = False):
    """A new leaf tensor with a copy of the data."""
    check_device(device)
    if isinstance(data, Variable):
        array = data.array.copy()
    else:
        array = np.array(data)
        if not isinstance(data, np.ndarray | np.generic) and array.dtype == np.float64:
            array = array.astype(dtypes.get_default_dtype().numpy)
    if dtype is not None:
        array = array.astype(dtypes.to_numpy(dtype))
    t = new_tensor(array)
    t.requires_grad = requires_grad
    return t


class Methods:
    __slots__ = ()
