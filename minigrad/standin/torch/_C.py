"""The little of torch's extension module that pure Python packages name."""

from __future__ import annotations

from ...generator import Generator as Generator


def _log_api_usage_once(event: str) -> None:
    """Nothing is logged."""
