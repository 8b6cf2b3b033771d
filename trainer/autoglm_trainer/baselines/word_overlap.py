"""The plain baseline of question answering: the sentence that shares most with the question, and what is new in it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from autoglm_trainer.metrics.spans import words

_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]*")
_PIECE = re.compile(r"[\u2e80-\u9fff]|[^\s\u2e80-\u9fff]+")
_LONGEST = 8


def rarity(contexts: Sequence[str]) -> dict[str, float]:
    """Inverse document frequency of each word; documents are contexts."""
    distinct = list(dict.fromkeys(contexts))
    seen = Counter(word for context in distinct for word in set(words(context)))
    return {word: math.log((1 + len(distinct)) / (1 + count)) + 1 for word, count in seen.items()}


def answer_by_overlap(question: str, context: str, weights: dict[str, float]) -> tuple[str, float]:
    """In the sentence most like the question the longest stretch, up to eight words, that the question does not have.

    Beside it the sentence's share: how much of the question's weight it holds, 0 to 1.
    """
    asked = set(words(question))
    total = sum(weights.get(word, 1.0) for word in asked) or 1.0
    found = [match.group() for match in _SENTENCE.finditer(context)] or [context]
    shares = [sum(weights.get(word, 1.0) for word in asked & set(words(sentence))) / total for sentence in found]
    best = max(range(len(found)), key=lambda index: (shares[index], -index))
    return _newest(found[best], asked) or found[best].strip(), shares[best]


def _newest(sentence: str, asked: set[str]) -> str:
    longest, current = (0, 0), None
    pieces = list(_PIECE.finditer(sentence))
    for index, piece in enumerate([*pieces, None]):
        fresh = piece is not None and not set(words(piece.group())) & asked
        if fresh and current is None:
            current = index
        if current is not None and (not fresh or index - current >= _LONGEST):
            longest = max(longest, (index - current, -current))
            current = None
    length, start = longest[0], -longest[1]
    if not length:
        return ""
    return sentence[pieces[start].start() : pieces[start + length - 1].end()].strip(" ,.;:!?。，；：！？")
