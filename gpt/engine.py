"""The door to the engine: a model file takes its `torch`, `nn` and `F` from here, relatively, and so runs on either.

`gpt.engine` is minigrad; `gpt/mirror/engine.py` is PyTorch, and `gpt.mirror.gpt2` is `gpt/gpt2.py` bound to it. Type
checkers see torch in both, which checks the models as the torch code that they are.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch as torch
    from torch import *
    from torch import Tensor as Tensor
    from torch import nn as nn
    from torch.nn import functional as F

    from gpt.mirror.engine import no_init
else:
    import minigrad as torch
    from minigrad import *
    from minigrad import Tensor, nn
    from minigrad.nn import functional as F
    from minigrad.nn.init import no_init
