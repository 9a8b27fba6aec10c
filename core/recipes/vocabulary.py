"""The names that every vocabulary of the family shares: how text is split, and which tokens are not text."""

from __future__ import annotations

# The split pattern of GPT-4's cl100k_base, with digits in groups of at most two instead of three: a small
# vocabulary has no room for a thousand three-digit numbers. Possessive quantifiers keep it linear in time.
SPLIT_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)"  # English contractions
    r"|[^\r\n\p{L}\p{N}]?+\p{L}+"  # a word with the one space or sign before it
    r"|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*"  # punctuation with the line ends after it
    r"|\s*[\r\n]"
    r"|\s+(?!\S)"  # white space up to the last blank before a word
    r"|\s+"
)

# In id order, at the top of the vocabulary: V-9 ... V-1. The first one begins every document.
SPECIAL_TOKENS = (
    "<|bos|>",
    "<|user_start|>",
    "<|user_end|>",
    "<|assistant_start|>",
    "<|assistant_end|>",
    "<|python_start|>",
    "<|python_end|>",
    "<|output_start|>",
    "<|output_end|>",
)

# Appended after them by a model that reads in both directions: V-2 and V-1.
FORWARD, BACKWARD = "<|forward|>", "<|backward|>"
DIRECTION_TOKENS = (FORWARD, BACKWARD)
