"""Whose numbers these are, and who computes them."""

from .torch_version import TorchVersion

__version__ = TorchVersion("2.13.0+minigrad")
cuda = hip = xpu = rocm = git_version = None
debug = False
