"""Where did the first number come from that is none?

Steps can be repeated exactly (loop.py), so the bad one is run again and watched: in the forward pass the first module
whose result is not finite while what it was given is, in the backward pass the op that anomaly detection names.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from train.loop import Run


def examine(run: Run, again: Callable[[], Any]) -> str:
    """One or two sentences; `again` does what went wrong."""
    engine, torch = run.engine, run.engine.torch
    bad = [name for name, p in run.model.named_parameters() if not finite(engine, p)]
    if bad:
        return f"The weights {', '.join(bad[:3])}{' ...' if len(bad) > 3 else ''} were not finite before it"
    if engine.ranks > 1:
        return "To see the first bad operation, resume with one rank"
    found: list[str] = []

    def watch(name: str):
        def hook(module: Any, args: tuple, out: Any) -> None:
            tensors = [a for a in args if isinstance(a, torch.Tensor) and a.is_floating_point()]
            if not found and not finite(engine, out) and all(finite(engine, a) for a in tensors):
                op = type(out.grad_fn).__name__ if out.grad_fn is not None else "no gradient"
                found.append(f"The first result that is not finite is of {name or 'the model'} "
                             f"({type(module).__name__}, {op}) in the forward pass")
        return hook

    handles = [module.register_forward_hook(watch(name)) for name, module in run.model.named_modules()]
    run.optimizer.zero_grad()
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with torch.autograd.detect_anomaly():
                again()
    except RuntimeError as error:
        first = [str(w.message).partition("Traceback")[0].strip() for w in said if "Error detected" in str(w.message)]
        found.append(" ".join(f"In the backward pass: {' '.join(first)} {error}".split()))
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        infinite = [name for name, p in run.model.named_parameters() if p.grad is not None
                    and not finite(engine, p.grad)]
        found.append(f"The gradient of {infinite[0]} is infinite" if infinite else
                     "The norm of the gradients overflows")
    return found[0].rstrip(".")


def finite(engine: Any, t: Any) -> bool:
    return bool(np.isfinite(engine.array(t.float())).all())
