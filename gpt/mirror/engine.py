"""The door to the engine, on this side PyTorch: see `gpt/engine.py`."""

import torch as torch
from torch import *
from torch import Tensor as Tensor
from torch import nn as nn
from torch.nn import functional as F
