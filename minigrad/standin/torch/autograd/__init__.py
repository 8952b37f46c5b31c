"""torch.autograd's further modules."""

from . import functional as functional
from . import profiler as profiler
