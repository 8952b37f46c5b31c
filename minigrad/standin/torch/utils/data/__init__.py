"""torch.utils.data's names for several processes."""

from . import distributed as distributed
from .distributed import DistributedSampler as DistributedSampler
