"""torch.multiprocessing: Python's. Tensors go to other processes as copies."""

import multiprocessing as _multiprocessing
from multiprocessing import *  # noqa: F403

__all__ = ["get_sharing_strategy", "set_sharing_strategy", "spawn"]
__all__ += _multiprocessing.__all__


def get_sharing_strategy() -> str:
    return "file_system"


def set_sharing_strategy(new_strategy: str) -> None:
    """Nothing is shared."""


def get_all_sharing_strategies() -> set[str]:
    return {"file_system"}


def spawn(fn, args: tuple = (), nprocs: int = 1, join: bool = True, daemon: bool = False, start_method: str = "spawn"):
    """Run fn(i, *args) in nprocs processes."""
    context = _multiprocessing.get_context(start_method)
    processes = [context.Process(target=fn, args=(i, *args), daemon=daemon) for i in range(nprocs)]
    for process in processes:
        process.start()
    if not join:
        return processes
    for process in processes:
        process.join()
    failed = [i for i, process in enumerate(processes) if process.exitcode]
    if failed:
        raise RuntimeError(f"process {failed[0]} terminated with exit code {processes[failed[0]].exitcode}")
    return None
