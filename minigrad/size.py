"""Size, the type of a shape: a tuple of ints that stays a Size when it is sliced, joined or repeated."""

import math
from collections.abc import Iterable
from operator import index
from typing import Self, SupportsIndex


class Size(tuple[int, ...]):
    """A tensor's shape. Equal to, and hashed as, the plain tuple of its dimensions."""

    __slots__ = ()

    def __new__(cls, iterable: Iterable[SupportsIndex] = (), /) -> Self:
        items = tuple(iterable)
        try:
            # Whatever stands for an int (a bool, a NumPy integer, an integer tensor of one element) becomes one.
            return super().__new__(cls, map(index, items))
        except TypeError:
            position, item = next((i, item) for i, item in enumerate(items) if not _is_index(item))
            message = f"torch.Size() takes an iterable of 'int' (item {position} is '{type(item).__name__}')"
            raise TypeError(message) from None

    def numel(self) -> int:
        """The number of elements of a tensor of this shape."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    # tuple's own versions of these return plain tuples.

    def __getitem__(self, key):
        item = super().__getitem__(key)
        return tuple.__new__(Size, item) if isinstance(item, tuple) else item

    def __add__(self, other):
        return Size(super().__add__(other)) if isinstance(other, tuple) else NotImplemented

    def __radd__(self, other):
        return Size(other + tuple(self)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, count):
        return Size(super().__mul__(count)) if _is_index(count) else NotImplemented

    __rmul__ = __mul__


def _is_index(item: object) -> bool:
    """Whether item stands for an int. Asking it is the only way: a float tensor has __index__ too, and refuses."""
    try:
        index(item)
    except TypeError:
        return False
    return True
