"""What nodes are called: a composition shows itself as one op, under torch's name for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from .graph import Node, Variable, new_node_class, next_sequence


def composite(name: str | Callable | None = None) -> Callable:
    """A function composed of ops, shown as one: the node that makes its result carries its name, as in torch."""
    if callable(name):
        return composite()(name)

    def decorate(f: Callable) -> Callable:
        shown = name or f.__name__.strip("_").title().replace("_", "")

        @wraps(f)
        def composed(*args, **kwargs):
            if kwargs:
                kwargs = {_NUMPY_NAMES.get(k, k): v for k, v in kwargs.items()}
            mark = next_sequence()
            result = f(*args, **kwargs)
            for t in result if isinstance(result, tuple | list) else (result,):
                if isinstance(t, Variable) and t._node is not None and t._node.seq > mark:
                    t._node.__class__ = renamed(type(t._node), shown)
            return result
        return composed
    return decorate


_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}        # torch takes NumPy's names for these, and so do we


_classes: dict[tuple[type[Node], str], type[Node]] = {}


def renamed(cls: type[Node], name: str) -> type[Node]:
    key = (cls, name)
    if key not in _classes:
        _classes[key] = new_node_class(name, cls)
    return _classes[key]


def named(out, name: str):
    """The result of a primitive, with the name that torch gives its node for these types of operands."""
    if isinstance(out, Variable) and out._node is not None:
        out._node.__class__ = renamed(type(out._node), name)
    return out
