"""Exact match and F1 of answers, as SQuAD defines them, for scripts with and without spaces.

Source: Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (normalisation and F1);
single ideographs count as words, as in CMRC 2018 (Cui et al. 2019).
"""

from __future__ import annotations

import re
import string
from collections import Counter

from autoglm_api.words import is_ideographic

_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}，。！？、；：“”‘’（）《》〈〉【】…—·]")


def words(answer: str) -> list[str]:
    """Lower-case words without punctuation and articles."""
    text = _PUNCTUATION.sub("", answer.lower())
    apart = "".join(f" {character} " if is_ideographic(character) else character for character in text)
    return [word for word in apart.split() if word not in _ARTICLES]


def exact_match(answer: str, truth: str) -> float:
    """1 if both have the same words in the same order, else 0."""
    return float(words(answer) == words(truth))


def f1(answer: str, truth: str) -> float:
    """Harmonic mean of the shares of words that both have, counted with repetition; 1 if both are empty."""
    ours, theirs = words(answer), words(truth)
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))
