"""L-BFGS: steps along a direction that the last gradients' changes tell, found without a matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from ..graph import Tensor, Variable, new_tensor
from ..modes import enable_grad, no_grad
from .optimizer import Optimizer, check_range, scalar


class _Point(NamedTuple):
    """A step of length t: the loss and gradient there, and the slope along the direction."""
    t: float
    loss: float
    g: np.ndarray
    slope: float


def _strong_wolfe(at: Callable[[float], _Point], start: _Point, t: float, smallest: float,
                  most: int) -> tuple[_Point, int]:
    """A step where the loss has fallen by some of what the slope at the start promised, and the slope is small by that
    measure; and how often `at` was asked. A bracket that holds such a point is found first, then narrowed."""
    def too_high(p: _Point) -> bool:
        return p.loss > start.loss + 1e-4 * p.t * start.slope

    def flat(p: _Point) -> bool:
        return abs(p.slope) <= -0.9 * start.slope

    before, new, tried, done = start, at(t), 1, False
    while tried <= most:
        if too_high(new) or tried > 2 and new.loss >= before.loss:
            break
        done = flat(new)
        if done or new.slope >= 0:
            break
        t = _lowest(before, new, new.t + 0.01 * (new.t - before.t), new.t * 10)
        before, new, tried = new, at(t), tried + 1
    else:
        before = start
    if done:
        return new, tried
    low, high = (before, new) if before.loss <= new.loss else (new, before)
    near_end = False
    while not done and tried <= most and abs(high.t - low.t) >= smallest:
        left, right = sorted((low.t, high.t))
        t, margin = _lowest(low, high, left, right), 0.1 * (right - left)
        if min(right - t, t - left) < margin:                # twice in a row, or at the end: no progress
            if near_end or t >= right or t <= left:
                t, near_end = right - margin if abs(t - right) < abs(t - left) else left + margin, False
            else:
                near_end = True
        else:
            near_end = False
        new, tried = at(t), tried + 1
        if too_high(new) or new.loss >= low.loss:
            high = new
            if high.loss < low.loss:
                low, high = high, low
        else:
            done = flat(new)
            if not done and new.slope * (high.t - low.t) >= 0:
                high = low
            low = new
    return low, tried


def _lowest(a: _Point, b: _Point, least: float, most: float) -> float:
    """Where the cubic through two points, with their slopes, is lowest between these bounds."""
    a, b = (a, b) if a.t <= b.t else (b, a)
    x1, f1, g1, x2, f2, g2 = map(np.float64, (a.t, a.loss, a.slope, b.t, b.loss, b.slope))
    with np.errstate(all="ignore"):
        d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
        square = d1**2 - g1 * g2
        if not square >= 0:
            return (least + most) / 2
        d2 = np.sqrt(square)
        return float(min(max(x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2)), least), most))


def _arrays(kept):
    """A piece of state as the step computes with it."""
    if isinstance(kept, list):
        return [_arrays(x) for x in kept]
    return kept.array if isinstance(kept, Variable) else kept


def _tensors(kept):
    """The same as it is saved."""
    if isinstance(kept, list):
        return [_tensors(x) for x in kept]
    return new_tensor(kept) if isinstance(kept, np.ndarray) else kept


class LBFGS(Optimizer):
    """One group of parameters, seen as one vector. A step evaluates the closure up to max_eval times. It goes `lr`
    along each direction, or with line_search_fn="strong_wolfe" as far as a line search says."""

    def __init__(self, params: Iterable, lr: float | Tensor = 1, max_iter: int = 20, max_eval: int | None = None,
                 tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None):
        check_range("learning rate", lr, lr > 0)
        super().__init__(params, {"lr": lr, "max_iter": max_iter, "tolerance_grad": tolerance_grad,
                                  "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                                  "tolerance_change": tolerance_change, "history_size": history_size,
                                  "line_search_fn": line_search_fn})
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    def _gradient(self) -> np.ndarray:
        return np.concatenate([np.zeros(p.array.size, p.array.dtype) if p.grad is None else
                               p.grad.array.reshape(-1) for p in self._params])

    def _move(self, t: float, direction: np.ndarray) -> None:
        start = 0
        with no_grad():
            for p in self._params:
                part = direction[start:start + p.array.size].reshape(p.array.shape)
                p.add_(p.new_tensor(part), alpha=t)
                start += p.array.size

    def _search(self, evaluate: Callable[[], Tensor], start: _Point, t: float, d: np.ndarray, small: float,
                most: int) -> tuple[_Point, int]:
        before = [p.array.copy() for p in self._params]

        def at(t: float) -> _Point:
            self._move(t, d)
            loss = float(scalar(evaluate()))
            g = self._gradient()
            for p, values in zip(self._params, before, strict=True):
                p._write(values)
            return _Point(t, loss, g, float(g @ d))

        with no_grad():
            return _strong_wolfe(at, start, t, small / float(np.abs(d).max()), most)

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
        kept = {key: _arrays(value) for key, value in state.items()}
        d, t = kept.get("d"), kept.get("t")
        moves, changes = kept.get("old_stps", []), kept.get("old_dirs", [])
        scale, last, last_loss = kept.get("H_diag", 1), kept.get("prev_flat_grad"), kept.get("prev_loss")
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
            if group["line_search_fn"] is not None:
                if group["line_search_fn"] != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                found, tried = self._search(evaluate, _Point(0.0, loss, g, slope), t, d, small,
                                            group["max_eval"] - evals)
                t, loss, g, _ = found
                self._move(t, d)
                evals += tried
                state["func_evals"] += tried
            else:
                self._move(t, d)
            if group["line_search_fn"] is None and n != group["max_iter"]:
                loss = float(scalar(evaluate()))
                g = self._gradient()
                evals += 1
                state["func_evals"] += 1
            if (n == group["max_iter"] or evals >= group["max_eval"] or np.abs(g).max() <= flat
                    or np.abs(d * t).max() <= small or abs(loss - last_loss) < small):
                break
        ros = [np.asarray(1 / (y @ s), g.dtype) for y, s in zip(changes, moves, strict=True)]         # torch's are kept
        state.update(t=t, H_diag=scale, prev_loss=last_loss, **{key: _tensors(value) for key, value in {
            "d": d, "old_stps": moves, "old_dirs": changes, "ro": ros, "prev_flat_grad": last}.items()})
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
