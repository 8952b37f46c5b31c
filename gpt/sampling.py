"""How the next token is chosen, and where a text ends. Free of any engine: gpt/generate.py does it with tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from gpt.tokenizers.base import Tokenizer


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen from the logits. The defaults choose the most likely one.

    The steps are taken in this order, each on what the one before has left:

    repetition_penalty   makes tokens that have occurred, in the prompt or since, less likely: a positive logit is
                         divided by it, a negative one multiplied (1: none; Keskar et al., 2019)
    top_k                only the k most likely tokens, and those as likely as the k-th
    temperature          the logits are divided by it: below 1 sharper, above 1 flatter; 0: the most likely token
    top_p                only the most likely tokens that together have this probability (Holtzman et al., 2020)
    min_p                only tokens at least this fraction as likely as the most likely one (Nguyen et al., 2024)
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        self._check("temperature", lambda t: t == 0 or t >= 1e-10, "0, or at least 1e-10")
        self._check("top_k", lambda k: k is None or k >= 1 and isinstance(k, Integral), "a positive integer, or None")
        self._check("top_p", lambda p: p is None or 0 < p <= 1, "in (0, 1], or None")
        self._check("min_p", lambda p: p is None or 0 <= p <= 1, "in [0, 1], or None")
        self._check("repetition_penalty", lambda r: r > 0, "positive")

    def _check(self, name: str, fits: Callable[[Any], bool], wanted: str) -> None:
        value = getattr(self, name)
        number = value is None or isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value is None and "None" not in wanted or not fits(value):
            raise ValueError(f"{name} must be {wanted}, not {value!r}")


class StoppableText:
    """The text of ids that arrive one by one: whole characters, up to the first of some stop strings.

    What might yet become a stop string is held back until it is known. Which stop string is the first does not depend
    on how the text is cut into tokens: it is the one that is complete first."""

    def __init__(self, tokenizer: Tokenizer, stop_strings: Iterable[str] = ()) -> None:
        self._stops = checked_stop_strings(stop_strings)
        self._decoder = tokenizer.stream_decoder()
        self._held = ""
        self.stopped = False

    def push(self, id: int) -> str:
        """The text that `id` makes certain."""
        return self._release(self._decoder.push(id))

    def finish(self) -> str:
        """What was held back, now that no more ids come."""
        if self.stopped:
            return ""
        text = self._release(self._decoder.finish())
        text, self._held = text + self._held, ""
        return text

    def _release(self, text: str) -> str:
        text = self._held + text
        found = [(i + len(stop), i) for stop in self._stops if (i := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[:min(found)[1]]
        keep = max((n for stop in self._stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
        self._held = text[len(text) - keep:]
        return text[:len(text) - keep]


def checked_stop_strings(strings: Iterable[str]) -> tuple[str, ...]:
    if isinstance(strings, str):
        raise TypeError(f"stop_strings must be a sequence of strings, such as [{strings!r}], not one string")
    strings = tuple(strings)
    for s in strings:
        if not isinstance(s, str) or not s:
            raise ValueError(f"a stop string must be a string that is not empty, not {s!r}")
    return strings

