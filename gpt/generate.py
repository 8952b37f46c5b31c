"""Text from a model, one token after the other.

    for ids in stream(model, [[15496, 11]], 20): ...                        a new id of each prompt, as it is chosen
    generate(model, [[15496, 11]], 20, Sampling(temperature=0.8))           all of them
    for piece in stream_text(model, tokenizer, ["Hello, I am"], 20): ...    text, in whole characters
    generate_text(model, tokenizer, ["Hello, I am"], 20)                    all of it

The rule is the book's: the next token follows from the last `context_length` tokens, the first of which is at
position 0. The keys and values of earlier positions are cached, which changes no token. But once a text is longer than
the context, each token moves the window, and with it the position of every token in it: with absolute positions nothing
that was cached holds any more, and every step computes the whole window. `slide=n` moves the window by n tokens at a
time instead, so that only each n-th step does (the model then sees between context_length - n + 1 and context_length
tokens, a rule of its own that again does not depend on the cache).

B batch, T time, C channels, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from gpt.sampling import Sampling, StoppableText, checked_stop_strings
from gpt.tokenizers.base import Tokenizer

from .engine import Tensor, nn, torch

GREEDY = Sampling()


class Piece(NamedTuple):
    """A part of the text that follows prompt `row`: what the new token `id` has made certain, maybe nothing. The last
    one of each row has no id, and the rest of the text."""

    row: int
    id: int | None
    text: str


# ---- texts -------------------------------------------------------------------------------------------------------

def generate_text(model: nn.Module, tokenizer: Tokenizer, prompts: Sequence[str | Sequence[int]], max_new_tokens: int,
                  sampling: Sampling = GREEDY, **options) -> list[str]:
    """The text that follows each of the prompts. `options` as for stream_text."""
    texts = [""] * len(prompts)
    for piece in stream_text(model, tokenizer, prompts, max_new_tokens, sampling, **options):
        texts[piece.row] += piece.text
    return texts


def stream_text(model: nn.Module, tokenizer: Tokenizer, prompts: Sequence[str | Sequence[int]], max_new_tokens: int,
                sampling: Sampling = GREEDY, *, stop_strings: Iterable[str] = (), **options) -> Iterator[Piece]:
    """The text that follows each of the prompts, piece by piece, up to a stop token or stop string, which is not part
    of it. A prompt is text, or ids. `options` as for stream."""
    if isinstance(prompts, str):
        raise TypeError("prompts must be a sequence of texts, such as [text], not one text")
    stop_strings = checked_stop_strings(stop_strings)
    rows = [tokenizer.encode(p) if isinstance(p, str) else p for p in prompts]
    texts = [StoppableText(tokenizer, stop_strings) for _ in rows]
    pieces: list[Piece] = []

    def push(row: int, id: int) -> bool:
        pieces.append(Piece(row, id, texts[row].push(id)))
        return texts[row].stopped

    steps = stream(model, rows, max_new_tokens, sampling, stop=push, vocabulary=tokenizer.n_vocab, **options)
    return _pieces(steps, texts, pieces)


def _pieces(steps: Iterator[list[int | None]], texts: list[StoppableText], pieces: list[Piece]) -> Iterator[Piece]:
    going = set(range(len(texts)))
    for ids in steps:
        yield from pieces
        ended = {row for row in going if ids[row] is None or texts[row].stopped}
        yield from (Piece(row, None, texts[row].finish()) for row in sorted(ended))
        going -= ended
        pieces.clear()
    yield from (Piece(row, None, texts[row].finish()) for row in sorted(going))


# ---- ids ---------------------------------------------------------------------------------------------------------

def generate(model: nn.Module, prompts: Tensor | Sequence[Sequence[int]], max_new_tokens: int,
             sampling: Sampling = GREEDY, **options) -> list[list[int]]:
    """The ids that follow each of the prompts. `options` as for stream."""
    rows: list[list[int]] = [[] for _ in prompts]
    for ids in stream(model, prompts, max_new_tokens, sampling, **options):
        for row, id in zip(rows, ids, strict=True):
            if id is not None:
                row.append(id)
    return rows


def stream(model: nn.Module, prompts: Tensor | Sequence[Sequence[int]], max_new_tokens: int,
           sampling: Sampling = GREEDY, *, stop_tokens: Iterable[int] = (), cache: bool = True, slide: int = 1,
           generator: torch.Generator | None = None, stop: Callable[[int, int], bool] | None = None,
           vocabulary: int | None = None) -> Iterator[list[int | None]]:
    """At each step the id that follows each of the prompts, or None for those that are at their end.

    prompts       token ids, (B, T) or B sequences of any lengths
    stop_tokens   a text ends before any of these
    stop          called with each row and its new id; a text ends after an id for which this is true
    cache, slide  see above
    generator     what sampling draws from; by default the engine's own, which manual_seed sets
    vocabulary    only ids below it are chosen: a model may have more, to make its sizes round, than its tokenizer

    The model computes as in eval mode and without gradients, and is as it was whenever the caller has the word."""
    rows = _checked_prompts(prompts, model.config.vocab_size)
    if not isinstance(sampling, Sampling):
        raise TypeError(f"sampling must be a Sampling(...), not {sampling!r}")
    _check_integer("max_new_tokens", max_new_tokens, 0, None)
    _check_integer("slide", slide, 1, model.config.context_length)
    if vocabulary is not None:
        _check_integer("vocabulary", vocabulary, 1, None)
    stop_tokens = frozenset(stop_tokens)
    for id in stop_tokens:
        if isinstance(id, bool) or not hasattr(id, "__index__"):
            raise TypeError(f"stop_tokens holds {id!r}: token ids are integers (for texts there is stop_strings)")
    capacity = min(max(map(len, rows)) + max_new_tokens, model.config.context_length)
    window = _Window(model, slide, model.new_cache(len(rows), capacity) if cache else None)
    return _steps(model, rows, max_new_tokens, sampling, window, stop_tokens, stop, generator, vocabulary)


def _steps(model: nn.Module, rows: list[list[int]], max_new_tokens: int, sampling: Sampling, window: _Window,
           stop_tokens: frozenset[int], stop: Callable[[int, int], bool] | None,
           generator: torch.Generator | None, vocabulary: int | None) -> Iterator[list[int | None]]:
    going, seen, modules = [True] * len(rows), None, list(model.modules())
    for _ in range(max_new_tokens):
        with _inference(modules):
            logits = window.logits(rows)[:, :vocabulary]                        # (B, V)
            if sampling.repetition_penalty != 1:
                seen = _mark(seen, rows, logits)
            ids = choose(logits, sampling, seen, generator).flatten().tolist()  # (B, 1) -> (B,)
        # A row at its end goes on in silence: so the others draw the same numbers whether it is there or not.
        for row, id in zip(rows, ids, strict=True):
            row.append(id)
        going = [go and id not in stop_tokens for go, id in zip(going, ids, strict=True)]
        if not any(going):
            return
        out = [id if go else None for go, id in zip(going, ids, strict=True)]
        if stop is not None:
            going = [go and not stop(row, id) for row, (go, id) in enumerate(zip(going, ids, strict=True))]
        yield out
        if not any(going):
            return


class _Window:
    """What the model sees of each row, and what of that it has seen already."""

    def __init__(self, model: nn.Module, slide: int, cache) -> None:
        self.model, self.slide, self.cache = model, slide, cache
        self.device = model.out_head.weight.device
        self.first: list[int] | None = None                 # of each row, the first token that is in the cache

    def logits(self, rows: list[list[int]]) -> Tensor:
        """The logits of what follows each row, (B, V)."""
        first = [self._first(len(row)) for row in rows]
        if self.cache is not None and first == self.first:
            return self._run([row[-1:] for row in rows], self.cache)
        windows = [row[n:] for row, n in zip(rows, first, strict=True)]
        lengths = [len(w) for w in windows]
        if self.cache is None:
            if len(set(lengths)) == 1:
                return self._run(windows, None)
            return torch.cat([self._run([w], None) for w in windows])           # each row as if it were alone
        self.first, longest = first, max(lengths)
        pads = [longest - n for n in lengths]
        self.cache.reset(pads if any(pads) else None)
        return self._run([[0] * n + w for n, w in zip(pads, windows, strict=True)], self.cache)

    def _first(self, length: int) -> int:
        """How many tokens of a text are no longer seen: the least multiple of `slide` that makes the rest fit."""
        return -(-max(0, length - self.model.config.context_length) // self.slide) * self.slide

    def _run(self, ids: list[list[int]], cache) -> Tensor:
        x = self.model.features(torch.tensor(ids, device=self.device), cache)   # (B, T, C)
        return self.model.out_head(x[:, -1])                                    # (B, T, C) -> (B, C) -> (B, V)


@contextmanager
def _inference(modules: list[nn.Module]) -> Iterator[None]:
    """No gradients, no dropout; afterwards each module is in the mode it was in."""
    training = [m for m in modules if m.training]
    for m in training:
        m.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for m in training:
            m.training = True


# ---- one choice --------------------------------------------------------------------------------------------------

def choose(logits: Tensor, sampling: Sampling = GREEDY, seen: Tensor | None = None,
           generator: torch.Generator | None = None) -> Tensor:
    """An id for each row of logits, (B, V) -> (B, 1). `seen`, (B, V), is true for the tokens that have occurred."""
    if logits.isnan().any():
        raise ValueError("the model's logits are not numbers (NaN): its weights are damaged, or overflow their dtype")
    logits = adjust(logits, sampling, seen)
    if not sampling.temperature:
        return logits.argmax(-1, keepdim=True)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)


def adjust(logits: Tensor, sampling: Sampling, seen: Tensor | None = None) -> Tensor:
    """The logits from which a token is drawn: -inf where `sampling` excludes one."""
    s = sampling
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    if s.repetition_penalty != 1:
        if seen is None:
            raise ValueError("a repetition_penalty needs `seen`, which tells the tokens that have occurred")
        penalised = torch.where(logits < 0, logits * s.repetition_penalty, logits / s.repetition_penalty)
        logits = torch.where(seen, penalised, logits)
    if s.top_k is not None and s.top_k < logits.shape[-1]:
        least = logits.topk(s.top_k).values[:, -1:]                             # (B, V) -> (B, 1)
        logits = logits.masked_fill(logits < least, -torch.inf)
    if s.temperature:
        logits = logits / s.temperature
    if s.top_p is not None and s.top_p < 1:
        # From the least likely upwards, all go that together have no more than what may be missing; one always stays.
        ordered, order = logits.sort(stable=True)
        drop = ordered.softmax(-1).cumsum(-1) <= 1 - s.top_p
        drop[:, -1] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
    if s.min_p:
        p = logits.softmax(-1)
        logits = logits.masked_fill(p < s.min_p * p.amax(-1, keepdim=True), -torch.inf)
    return logits


def _mark(seen: Tensor | None, rows: list[list[int]], logits: Tensor) -> Tensor:
    """Of each row the tokens that it has, (B, V)."""
    new = rows if seen is None else [row[-1:] for row in rows]
    seen = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device) if seen is None else seen
    for marks, ids in zip(seen, new, strict=True):
        marks[torch.tensor(ids, device=logits.device)] = True
    return seen


# ---- what comes in -----------------------------------------------------------------------------------------------

def _checked_prompts(prompts: Tensor | Sequence[Sequence[int]], vocab_size: int) -> list[list[int]]:
    if isinstance(prompts, Tensor):
        if prompts.ndim != 2:
            raise ValueError(f"prompts must be a batch, (batch, time), not of shape {tuple(prompts.shape)}")
        prompts = prompts.tolist()
    if isinstance(prompts, (str, bytes)) or any(isinstance(row, (str, bytes)) or not hasattr(row, "__iter__")
                                                for row in prompts):
        raise TypeError("prompts must be a batch of token ids, such as [[15496, 11]]; for texts there is stream_text")
    rows = [list(row) for row in prompts]
    if not rows:
        raise ValueError("prompts must be at least one")
    for i, row in enumerate(rows):
        if not row:
            raise ValueError(f"prompt {i} has no tokens: begin with the token that ends a text, such as <|endoftext|>")
        for id in row:
            if isinstance(id, bool) or not hasattr(id, "__index__"):
                raise TypeError(f"prompt {i} holds {id!r}: token ids are integers")
            if not 0 <= id < vocab_size:
                raise ValueError(f"prompt {i} holds token id {id}: the model has {vocab_size} of them, from 0")
    return [[int(id) for id in row] for row in rows]


def _check_integer(name: str, value: int, least: int, most: int | None) -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < least or most is not None and value > most:
        wanted = f"at least {least}" if most is None else f"from {least} to {most}, the context"
        raise ValueError(f"{name} must be an integer {wanted}, not {value!r}")
