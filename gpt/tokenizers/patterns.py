"""How text is cut into pieces before any bytes are merged: no token crosses a cut.

Both patterns glue one leading space to a word, and keep letters, digits and punctuation apart. `\\s+(?!\\S)` leaves the
last space of a run to the word that follows. Quantifiers are possessive (`++`) wherever giving characters back could
not lead to another match, so that a run of a million letters costs a million steps.
"""

# GPT-2: contractions in lower case; digits in runs of any length.
GPT2 = r"'(?:[stmd]|re|ve|ll)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"

# GPT-4, Llama 3, GLM-4: contractions in either case; any one character may lead a word; at most three digits; line
# ends stay with the punctuation or the space before them.
GPT4 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")

PATTERNS = {"gpt2": GPT2, "gpt4": GPT4, "llama3": GPT4, "glm4": GPT4}


def pattern_named(pattern: str) -> str:
    """A pattern's text, from its name or its text."""
    return PATTERNS.get(pattern, pattern)
