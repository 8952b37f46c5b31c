"""Learning a byte-pair encoding from text.

The textbook: start from bytes; count the adjacent pairs of tokens; make the most frequent pair a token, the one that
occurs first in the text if several are; replace it everywhere, from left to right; count again. Here the same merges
are found without counting again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush

from gpt.tokenizers.base import END_OF_TEXT, any_of, valid_unicode
from gpt.tokenizers.bpe import BytePairTokenizer, compile_pattern
from gpt.tokenizers.patterns import pattern_named

Pair = tuple[int, int]


def train_bpe(text: str | Iterable[str], vocab_size: int, *, pattern: str = "gpt2",
              special_tokens: Iterable[str] = (END_OF_TEXT,), min_frequency: int = 1) -> BytePairTokenizer:
    """A byte-level BPE of `vocab_size` tokens: 256 bytes, merged ones, special ones. It has fewer when the text has no
    more pairs, or none that occurs `min_frequency` times. `text` may be many texts, taken one at a time.
    """
    if isinstance(special_tokens, str):
        raise TypeError(f"special_tokens must be a list of tokens, such as [{special_tokens!r}], not one str")
    if not hasattr(vocab_size, "__index__"):
        raise TypeError(f"vocab_size must be an integer, not {vocab_size!r}")
    special_tokens = list(special_tokens)
    n_merges = vocab_size - 256 - len(special_tokens)
    if n_merges < 0:
        raise ValueError(f"vocab_size must be at least {256 + len(special_tokens)} (256 bytes and "
                         f"{len(special_tokens)} special tokens), not {vocab_size}")
    if min_frequency < 1:
        raise ValueError(f"min_frequency must be at least 1, not {min_frequency}")
    pattern = pattern_named(pattern)
    counts = count_pieces([text] if isinstance(text, str) else text, pattern, special_tokens)

    tokens = [bytes([byte]) for byte in range(256)]
    for a, b in learn_merges(counts, n_merges, min_frequency):
        tokens.append(tokens[a] + tokens[b])
    special = {name: id for id, name in enumerate(special_tokens, len(tokens))}
    return BytePairTokenizer({token: rank for rank, token in enumerate(tokens)}, pattern, special,
                             END_OF_TEXT)


def count_pieces(texts: Iterable[str], pattern: str, special_tokens: Iterable[str] = ()) -> dict[bytes, int]:
    """How often each piece occurs, by first occurrence. Special tokens cut the text and are not counted."""
    compiled, special = compile_pattern(pattern), frozenset(special_tokens)
    counts: Counter[str] = Counter()
    for text in texts:
        text = valid_unicode(text)
        for part in any_of(special).split(text) if special else [text]:
            counts.update(match.group() for match in compiled.finditer(part))
    return {piece.encode(): count for piece, count in counts.items()}


def learn_merges(pieces: Mapping[bytes, int], n_merges: int, min_frequency: int = 1) -> list[Pair]:
    """The textbook's merges over `pieces` (how often each occurs, in the text's order); merge k makes token 256 + k.

    A merge changes only the pairs beside it, so the counts are kept rather than taken again. Pairs wait in a heap by
    (most frequent, first in the text). What the heap says of a pair may be out of date, but only in one direction: a
    pair can only lose occurrences, since all that it ever has come about in the one merge that makes its newer token.
    So a pair that comes up with a key that is no longer true goes back with the true one, and the first that comes up
    true is the textbook's choice.

    A token's bytes never come about a second time, from another pair: what lies between two cuts is merged in one way,
    whatever lies outside (a run of one token is paired from its left end). So a token is its bytes, and tiktoken, which
    asks only for the rank of a concatenation, replays these merges exactly.
    """
    # All pieces one after the other, as a linked list: token[i] starts at place i, left and right are its neighbours.
    end, gone = -1, -2
    token, weight = [end], [0]
    for piece, count in pieces.items():
        if len(piece) > 1:
            token += [*piece, end]
            weight += [count] * len(piece) + [0]
    left, right = list(range(-1, len(token) - 1)), list(range(1, len(token) + 1))

    frequency: dict[Pair, int] = {}
    places: dict[Pair, list[int]] = {}    # where a pair stood, ascending; some no longer do
    for i in range(len(token) - 1):
        pair = token[i], token[i + 1]
        if end not in pair:
            frequency[pair] = frequency.get(pair, 0) + weight[i]    # overlapping pairs count: aaa has aa twice
            places.setdefault(pair, []).append(i)
    first = dict.fromkeys(places, 0)    # index into places, past those that are known to be gone
    heap = [(-count, places[pair][0], pair) for pair, count in frequency.items()]
    heapify(heap)

    merges: list[Pair] = []
    while heap and len(merges) < n_merges:
        count, place, pair = heappop(heap)
        if not frequency[pair]:
            continue
        a, b = pair
        where, k = places[pair], first[pair]
        while token[where[k]] != a or token[right[where[k]]] != b:
            k += 1
        first[pair] = k
        if (count, place) != (-frequency[pair], where[k]):
            heappush(heap, (-frequency[pair], where[k], pair))
            continue
        if frequency[pair] < min_frequency:
            break

        new = 256 + len(merges)
        merges.append(pair)
        fresh: dict[Pair, None] = {}
        for i in where[k:]:
            j = right[i]
            if token[i] != a or token[j] != b:
                continue
            before, after, count = left[i], right[j], weight[i]    # before (i j) after  becomes  before i after
            if token[before] != end:
                frequency[token[before], a] -= count
                _add((token[before], new), before, count, frequency, places, fresh)
            if token[after] != end:
                frequency[b, token[after]] -= count
                _add((new, token[after]), i, count, frequency, places, fresh)
            token[i], token[j] = new, gone
            right[i], left[after] = after, i
        frequency[pair] = 0
        del places[pair]
        for made in fresh:
            first[made] = 0
            heappush(heap, (-frequency[made], places[made][0], made))
    return merges


def _add(pair: Pair, place: int, weight: int, frequency: dict[Pair, int], places: dict[Pair, list[int]],
         fresh: dict[Pair, None]) -> None:
    if pair in frequency:
        frequency[pair] += weight
        places[pair].append(place)
    else:
        frequency[pair] = weight
        places[pair] = [place]
        fresh[pair] = None
