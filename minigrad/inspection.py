"""What users see of a node of the graph: its name, where it leads, and the hooks they put on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .utils.hooks import RemovableHandle, add_hook


class Inspectable:
    """The side of graph.Node that the walk does not need."""

    __slots__ = ()

    def name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    @property
    def next_functions(self) -> tuple:
        """(node, which of its outputs) for each input that can have a gradient; (None, 0) where none is wanted."""
        edges = {entry[5]: entry[2] for entry in self.inputs}
        return tuple((e if e is None or isinstance(e, Inspectable) else AccumulateGrad(e), 0)
                     for e in map(edges.get, self.places()))

    def places(self) -> list[int]:
        """The positions of the inputs that can have gradients, whether or not they want them."""
        return sorted({rule[0] for rule in self.rules} | {entry[5] for entry in self.inputs})

    def register_hook(self, hook: Callable[[tuple, tuple], tuple | None]) -> RemovableHandle:
        """Call hook(gradients of the inputs, gradients of the outputs); it may return other gradients of the inputs."""
        return add_hook(self._extra("hooks"), hook)

    def register_prehook(self, hook: Callable[[tuple], tuple | None]) -> RemovableHandle:
        """Call hook(gradients of the outputs) before the rules run; it may return other gradients."""
        return add_hook(self._extra("prehooks"), hook)

    @property
    def metadata(self) -> dict:
        """A place for anything."""
        return self._extra("metadata")

    def split(self, g) -> Sequence:
        """The gradients of the outputs one by one, for hooks; `join` is the way back. Most nodes have one output."""
        return (g,)

    def join(self, gradients: Sequence):
        return gradients[0]

    def _extra(self, name: str) -> dict:
        if self.extras is None:
            self.extras = {}
        return self.extras.setdefault(name, {})


class AccumulateGrad:
    """The end of a path: what next_functions shows for a leaf."""

    next_functions = ()

    def __init__(self, variable):
        self.variable = variable

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"
