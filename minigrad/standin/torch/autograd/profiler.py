"""torch.autograd.profiler: nothing is measured."""

from contextlib import contextmanager

from ..profiler import profile as profile
from ..profiler import record_function as record_function


@contextmanager
def emit_nvtx(*args, **kwargs):
    yield
