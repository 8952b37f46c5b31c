"""gpt on PyTorch: the very same files, bound to `torch` instead of minigrad.

`gpt.mirror.gpt2` is found in gpt's own folder, which is appended to this package's path. Its relative `from .engine
import nn` then means `gpt.mirror.engine`, which stands in this folder and is torch. What a model file imports
absolutely (`gpt.config`) has no engine and is shared.
"""

from pathlib import Path

if __name__ != "gpt.mirror":          # gpt's folder holds this package too: gpt.mirror.mirror.mirror ...
    raise ImportError(f"{__name__}: there is one mirror, gpt.mirror, and nothing nests in it")

__path__.append(str(Path(__file__).parent.parent))
