"""Nested containers as trees: their leaves, and what they looked like."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

_NAMED = namedtuple                            # the key under which all named tuples are known


@dataclass
class TreeSpec:
    """What a container was: its type, what it needs besides its children, and its children's specs."""

    type: Any
    context: Any
    children_specs: list[TreeSpec] = field(default_factory=list)

    @property
    def num_leaves(self) -> int:
        return 1 if self.is_leaf() else sum(child.num_leaves for child in self.children_specs)

    @property
    def num_children(self) -> int:
        return len(self.children_specs)

    def is_leaf(self) -> bool:
        return self.type is None

    def unflatten(self, leaves: Iterable) -> Any:
        return tree_unflatten(leaves, self)


class LeafSpec(TreeSpec):
    def __init__(self) -> None:
        super().__init__(None, None, [])

    def __repr__(self) -> str:
        return "*"


# of each type, how to take it apart: (children, context), and how to put it together again
_NODES: dict[Any, tuple[Callable, Callable]] = {
    list: (lambda x: (list(x), None), lambda children, _: list(children)),
    tuple: (lambda x: (list(x), None), lambda children, _: tuple(children)),
    dict: (lambda x: (list(x.values()), list(x)), lambda children, keys: dict(zip(keys, children))),
    OrderedDict: (lambda x: (list(x.values()), list(x)), lambda children, keys: OrderedDict(zip(keys, children))),
    defaultdict: (lambda x: (list(x.values()), [x.default_factory, list(x)]),
                  lambda children, context: defaultdict(context[0], zip(context[1], children))),
    deque: (lambda x: (list(x), x.maxlen), lambda children, maxlen: deque(children, maxlen=maxlen)),
    _NAMED: (lambda x: (list(x), type(x)), lambda children, cls: cls(*children)),
}


def register_pytree_node(cls: type, flatten_fn: Callable, unflatten_fn: Callable, **kwargs) -> None:
    """Let trees go into containers of a class."""
    _NODES[cls] = (flatten_fn, unflatten_fn)


_register_pytree_node = register_pytree_node


def _kind(x) -> Any:
    cls = type(x)
    if cls in _NODES:
        return cls
    return _NAMED if isinstance(x, tuple) and hasattr(cls, "_fields") else None


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list, TreeSpec]:
    """A tree's leaves from left to right, and what it looked like."""
    kind = None if is_leaf is not None and is_leaf(tree) else _kind(tree)
    if kind is None:
        return [tree], LeafSpec()
    children, context = _NODES[kind][0](tree)
    leaves, specs = [], []
    for child in children:
        some, spec = tree_flatten(child, is_leaf)
        leaves += some
        specs.append(spec)
    return leaves, TreeSpec(kind, context, specs)


def tree_unflatten(leaves: Iterable, treespec: TreeSpec) -> Any:
    """A tree of these leaves, with that look."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError("tree_unflatten(leaves, treespec): Expected `treespec` to be instance of TreeSpec but got item "
                        f"of type {type(treespec)}.")
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(f"tree_unflatten(leaves, treespec): `leaves` has length {len(leaves)} but the spec refers to "
                         f"a pytree that holds {treespec.num_leaves} items ({treespec}).")
    return _build(iter(leaves), treespec)


def _build(leaves, spec: TreeSpec):
    if spec.is_leaf():
        return next(leaves)
    return _NODES[spec.type][1]([_build(leaves, child) for child in spec.children_specs], spec.context)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list:
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The tree of what the function makes of each leaf; of more trees, of the leaves at the same place."""
    leaves, spec = tree_flatten(tree, is_leaf)
    columns = [leaves, *(_flatten_up_to(rest, spec) for rest in rests)]
    return tree_unflatten([func(*row) for row in zip(*columns, strict=True)], spec)


def _flatten_up_to(tree: Any, spec: TreeSpec) -> list:
    if spec.is_leaf():
        return [tree]
    if _kind(tree) != spec.type:
        raise ValueError(f"Node type mismatch; expected {spec.type}, but got {type(tree)}.")
    children, _ = _NODES[spec.type][0](tree)
    if len(children) != len(spec.children_specs):
        raise ValueError(f"Node arity mismatch; expected {len(spec.children_specs)}, but got {len(children)}.")
    return [leaf for child, part in zip(children, spec.children_specs) for leaf in _flatten_up_to(child, part)]


def tree_map_(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only(type_or_types, func: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The function of the leaves of some types; the other leaves stay."""
    if not isinstance(type_or_types, type | tuple) and callable(type_or_types):
        chosen = type_or_types
    else:
        def chosen(x) -> bool:
            return isinstance(x, type_or_types)
    return tree_map(lambda x: func(x) if chosen(x) else x, tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    return any(map(pred, tree_leaves(tree, is_leaf)))
