"""Neural networks: modules, their functions, initial weights, and what to do with gradients before a step."""

from . import functional, init, modules, parameter, utils
from .functional.loss import LinearCrossEntropyOptions
from .modules import *  # noqa: F403
from .modules import __all__ as _modules
from .parameter import Buffer, Parameter

__all__ = ["Buffer", "LinearCrossEntropyOptions", "Parameter", "functional", "init", "modules", "parameter", "utils",
           *_modules]
