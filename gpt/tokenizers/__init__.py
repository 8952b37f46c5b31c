"""Text to token ids and back. Engine-free: NumPy, tiktoken and regex, no tensors.

    tokenizer = get_tokenizer("gpt2")                        # or a checkpoint's folder, or train_bpe(text, 4096)
    ids = tokenizer.encode("Hello, I am<|endoftext|>", allowed_special={"<|endoftext|>"})
    text = tokenizer.decode(ids)

Every tokenizer is a `Tokenizer` (base.py); get_tokenizer (registry.py) finds the one that a name or a folder means.
"""

from gpt.tokenizers.base import END_OF_TEXT, StreamDecoder, Tokenizer
from gpt.tokenizers.bpe import BytePairTokenizer
from gpt.tokenizers.characters import CharacterTokenizer
from gpt.tokenizers.huggingface import HuggingFaceTokenizer
from gpt.tokenizers.patterns import PATTERNS
from gpt.tokenizers.registry import get_tokenizer
from gpt.tokenizers.training import train_bpe

__all__ = ["END_OF_TEXT", "PATTERNS", "BytePairTokenizer", "CharacterTokenizer", "HuggingFaceTokenizer",
           "StreamDecoder", "Tokenizer", "get_tokenizer", "train_bpe"]
