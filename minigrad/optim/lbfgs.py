"""L-BFGS: steps along a direction that the last gradients' changes tell, found without a matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ..graph import Tensor
from ..modes import enable_grad, no_grad
from .optimizer import Optimizer, check_range, scalar


class LBFGS(Optimizer):
    """One group of parameters, seen as one vector. A step evaluates the closure up to max_eval times. The line search
    "strong_wolfe" of torch is not here."""

    def __init__(self, params: Iterable, lr: float | Tensor = 1, max_iter: int = 20, max_eval: int | None = None,
                 tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None):
        check_range("learning rate", lr, lr > 0)
        if line_search_fn is not None:
            raise NotImplementedError(f"LBFGS: the line search {line_search_fn!r} is not here, only None")
        super().__init__(params, {"lr": lr, "max_iter": max_iter, "tolerance_grad": tolerance_grad,
                                  "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                                  "tolerance_change": tolerance_change, "history_size": history_size,
                                  "line_search_fn": line_search_fn})
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    def _gradient(self) -> np.ndarray:
        return np.concatenate([np.zeros(p.array.size, p.array.dtype) if p._grad is None else
                               p._grad.array.reshape(-1) for p in self._params])

    def _move(self, t: float, direction: np.ndarray) -> None:
        start = 0
        with no_grad():
            for p in self._params:
                part = direction[start:start + p.array.size].reshape(p.array.shape)
                p.add_(p.new_tensor(part), alpha=t)
                start += p.array.size

    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        def evaluate() -> Tensor:
            with enable_grad():
                return closure()

        group, state = self.param_groups[0], self.state[self._params[0]]
        lr, small, flat = float(group["lr"]), group["tolerance_change"], group["tolerance_grad"]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = evaluate()
        loss, evals = float(scalar(first)), 1
        state["func_evals"] += 1
        g = self._gradient()
        if np.abs(g).max() <= flat:
            return first
        d, t = state.get("d"), state.get("t")
        moves, changes = state.get("old_stps", []), state.get("old_dirs", [])
        scale, last, last_loss = state.get("H_diag", 1), state.get("prev_flat_grad"), state.get("prev_loss")
        n = 0
        while n < group["max_iter"]:
            n += 1
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                d, scale = -g, 1
                moves, changes = [], []
            else:
                y, s = g - last, d * t
                ys = float(y @ s)
                if ys > 1e-10:
                    if len(moves) == group["history_size"]:
                        moves, changes = moves[1:], changes[1:]
                    moves, changes = [*moves, s], [*changes, y]
                    scale = ys / float(y @ y)
                d = self._direction(-g, moves, changes, scale)
            last, last_loss = g.copy(), loss
            t = min(1.0, 1.0 / float(np.abs(g).sum())) * lr if state["n_iter"] == 1 else lr
            slope = float(g @ d)
            if slope > -small:
                break
            self._move(t, d)
            if n != group["max_iter"]:
                loss = float(scalar(evaluate()))
                g = self._gradient()
                evals += 1
                state["func_evals"] += 1
            if (n == group["max_iter"] or evals >= group["max_eval"] or np.abs(g).max() <= flat
                    or np.abs(d * t).max() <= small or abs(loss - last_loss) < small):
                break
        state.update(d=d, t=t, old_stps=moves, old_dirs=changes, H_diag=scale, prev_flat_grad=last, prev_loss=last_loss)
        return first

    @staticmethod
    def _direction(q: np.ndarray, moves: list, changes: list, scale: float) -> np.ndarray:
        """The inverse Hessian that the history tells, times q: two loops over the history, there and back."""
        ros, alphas = [1.0 / float(y @ s) for y, s in zip(changes, moves)], []
        for y, s, ro in zip(reversed(changes), reversed(moves), reversed(ros)):
            alphas.append(ro * float(s @ q))
            q = q - alphas[-1] * y
        r = q * scale
        for y, s, ro, alpha in zip(changes, moves, ros, reversed(alphas)):
            r = r + s * (alpha - ro * float(y @ r))
        return r.astype(q.dtype)
