"""torch.utils, and what only its users name."""

from . import _pytree as _pytree
