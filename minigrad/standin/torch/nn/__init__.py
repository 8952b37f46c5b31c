"""torch.nn's names for several devices."""

from . import attention as attention
from . import parallel as parallel
from .parallel import DataParallel as DataParallel
