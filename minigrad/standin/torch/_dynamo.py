"""torch._dynamo: nothing is compiled."""

from types import SimpleNamespace

from .compiler import allow_in_graph as allow_in_graph
from .compiler import disable as disable
from .compiler import is_compiling as is_compiling
from .compiler import reset as reset

config = SimpleNamespace(suppress_errors=False, cache_size_limit=8, verbose=False)


def mark_dynamic(*args, **kwargs) -> None:
    """Nothing to mark."""


mark_static = maybe_mark_dynamic = mark_dynamic
