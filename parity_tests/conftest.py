"""What every test here starts from: hypothesis profiles, one thread, fresh seeds, torch's defaults."""

from __future__ import annotations

import os
import random
import sys
import threading
import traceback
from collections.abc import Callable, Iterator

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # BLAS reads them while it is loaded
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("ci", derandomize=True, max_examples=35, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("deep", max_examples=300, deadline=None, print_blob=True, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    # torch divides by zero in silence; a NumPy warning that reaches the user is a difference.
    config.addinivalue_line("filterwarnings", "error::RuntimeWarning")
    config.addinivalue_line("filterwarnings", "error:::minigrad")


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """Each test sees both engines as a new process would: same seed, default dtype, gradients on."""
    random.seed(0)
    np.random.seed(0)
    for engine in engines():
        engine.manual_seed(0)
    yield
    for engine in engines():
        engine.set_default_dtype(engine.float32)
        engine.set_grad_enabled(True)


def engines() -> list:
    """torch, and minigrad once a test has imported it: a test of one of its modules need not pay for the rest."""
    return [torch, *(m for m in (sys.modules.get("minigrad"),) if hasattr(m, "manual_seed"))]


@pytest.fixture(scope="session")
def at_once() -> Callable[[list[Callable[[], object]]], None]:
    """Do tasks, each in a thread of its own, and wait for all."""
    def run(tasks: list[Callable[[], object]]) -> None:
        threads = [threading.Thread(target=task) for task in tasks]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    return run


@pytest.fixture
def in_child() -> Callable[[Callable[[], object]], bool]:
    """Whether work() returns something true in a forked child, which ends with it, whatever is raised: or it would go
    on with the tests, beside its parent."""
    def run(work: Callable[[], object]) -> bool:
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        status = 1
        try:
            status = 0 if work() else 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return run
