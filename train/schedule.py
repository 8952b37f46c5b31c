"""The learning rate of every step, as a function of its number: nothing to save, nothing to be off by one in."""

from __future__ import annotations

import math


def learning_rate(step: int, *, steps: int, lr: float, min_lr: float = 0.0, start_lr: float = 0.0, warmup: int = 0,
                  schedule: str = "cosine") -> float:
    """Step 0 has the first warm-up value, start_lr + (lr - start_lr) / warmup; step warmup - 1 has lr, and (cosine,
    linear) the last step, steps - 1, has min_lr. Without warm-up, step 0 has lr.

        progress = (step - last_warm) / (steps - 1 - last_warm)         from 0, where lr is reached, to 1
        cosine:  min_lr + (lr - min_lr) (1 + cos(pi progress)) / 2      linear:  lr + (min_lr - lr) progress
    """
    if step < warmup - 1:
        return start_lr + (lr - start_lr) * (step + 1) / warmup
    last_warm = max(warmup - 1, 0)
    if schedule == "constant" or step <= last_warm:
        return lr
    if step >= steps - 1:
        return min_lr                              # exactly, not to rounding
    progress = (step - last_warm) / (steps - 1 - last_warm)
    if schedule == "linear":
        return lr + (min_lr - lr) * progress
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * progress)) / 2
