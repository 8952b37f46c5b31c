"""The door to the engine, on this side PyTorch: see `gpt/engine.py`."""

import torch as torch
from torch import *
from torch import Tensor as Tensor
from torch import nn as nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class no_init(TorchFunctionMode):
    """Inside, layers are made without drawing their weights: minigrad.nn.init.no_init, for torch. What torch.nn.init
    does not let one intercept, trunc_normal_ and orthogonal_, is drawn."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))
