"""The named results of ops that return several tensors, printed as torch prints them."""

from __future__ import annotations

from collections.abc import Iterable


class _Result(tuple):
    """A tuple whose elements have names, too."""

    __slots__ = ()

    def __repr__(self) -> str:
        fields = ",\n".join(f"{name}={value!r}" for name, value in zip(self.__match_args__, self))
        return f"torch.return_types.{type(self).__name__}(\n{fields})"

    def __reduce__(self):
        return type(self), (tuple(self),)


def _named(name: str, *fields: str) -> type:
    def new(cls: type, values: Iterable) -> tuple:
        values = tuple(values)
        if len(values) != len(fields):
            raise TypeError(f"{name}() takes a {len(fields)}-sequence ({len(values)}-sequence given)")
        return tuple.__new__(cls, values)
    places = {field: property(lambda self, i=i: self[i]) for i, field in enumerate(fields)}
    return type(name, (_Result,), {"__slots__": (), "__new__": new, "__match_args__": fields, "__module__": __name__,
                                   **places})


aminmax = _named("aminmax", "min", "max")
cummax = _named("cummax", "values", "indices")
cummin = _named("cummin", "values", "indices")
kthvalue = _named("kthvalue", "values", "indices")
max = _named("max", "values", "indices")
median = _named("median", "values", "indices")
min = _named("min", "values", "indices")
mode = _named("mode", "values", "indices")
nanmedian = _named("nanmedian", "values", "indices")
sort = _named("sort", "values", "indices")
topk = _named("topk", "values", "indices")
