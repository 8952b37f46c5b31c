"""Names for types, as annotations use them."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

from ...creation import device as _device
from ...dtypes import dtype as _dtype
from ...size import Size as _Size

Number = builtins.int | builtins.float | builtins.bool
Device = _device | builtins.str | builtins.int | None
_int, _float, _bool, _size = builtins.int, builtins.float, builtins.bool, _Size | Sequence[builtins.int]
_TensorOrTensors = Any
_device, _dtype = _device, _dtype
