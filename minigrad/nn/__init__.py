"""Neural networks: modules, their functions, initial weights, and what to do with gradients before a step."""

from . import functional as functional
from . import init as init
from . import modules as modules
from . import parameter as parameter
from . import utils as utils
from .functional.loss import LinearCrossEntropyOptions as LinearCrossEntropyOptions
from .modules import *  # noqa: F403
from .parameter import Buffer as Buffer
from .parameter import Parameter as Parameter
from .parameter import UninitializedBuffer as UninitializedBuffer
from .parameter import UninitializedParameter as UninitializedParameter
