"""cuDNN is not here; its settings may be set."""

from contextlib import contextmanager

enabled = allow_tf32 = True
benchmark = deterministic = False
benchmark_limit = None


def is_available() -> bool:
    return False


def version() -> None:
    """None: there is none."""


@contextmanager
def flags(enabled: bool = False, benchmark: bool = False, benchmark_limit: int = 10, deterministic: bool = False,
          allow_tf32: bool = True, fp32_precision: str = "none"):
    yield
