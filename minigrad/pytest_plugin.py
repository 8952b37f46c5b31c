"""python -m pytest -p minigrad.pytest_plugin: run a test suite that was written for torch on minigrad."""

import pytest

from minigrad import as_torch

try:
    as_torch()
except RuntimeError as error:
    raise pytest.UsageError(str(error)) from None


def pytest_report_header() -> str:
    from minigrad.standin import VERSION
    return f"torch: {VERSION} (minigrad)"
