"""Examples that are shown before a question, and which of them are most like it.

TF-IDF of character n-grams, as scikit-learn weighs it, in plain Python: the server must find the very same examples,
and has no scikit-learn.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from autoglm_api.base import Model

_SIZES = (2, 3, 4)


class Example(Model):
    """A question with its answer."""

    prompt: str
    answer: str


class Nearest:
    """Finds the most similar of many texts.

    Characters serve all scripts alike, and words in all their forms.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counted = [_grams(text) for text in texts]
        seen = Counter(gram for grams in counted for gram in grams)
        # Salton and Buckley 1988: sublinear counts, smoothed inverse document frequency, cosine.
        self._rarity = {gram: math.log((1 + len(texts)) / (1 + count)) + 1 for gram, count in seen.items()}
        self._having: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for index, grams in enumerate(counted):
            for gram, weight in self._weights(grams).items():
                self._having[gram].append((index, weight))
        self._count = len(texts)

    def find(self, text: str, count: int) -> list[int]:
        """Indices of the `count` most similar texts, the most similar last; of equals the first in order is nearer."""
        scores = self.likeness(text)
        best = sorted(range(self._count), key=lambda index: (-scores[index], index))[:count]
        return best[::-1]

    def likeness(self, text: str) -> list[float]:
        """Cosine of `text` with each of the texts, 0 … 1."""
        scores = [0.0] * self._count
        for gram, weight in self._weights(_grams(text)).items():
            for index, other in self._having[gram]:
                scores[index] += weight * other
        return scores

    def _weights(self, grams: Mapping[str, int]) -> dict[str, float]:
        known = {
            gram: (1 + math.log(count)) * self._rarity[gram] for gram, count in grams.items() if gram in self._rarity
        }
        length = math.sqrt(sum(weight * weight for weight in known.values()))
        return {gram: weight / length for gram, weight in known.items()} if length else {}


def _grams(text: str) -> Counter[str]:
    """n-grams of 2 to 4 characters within words; a word has a space at both ends."""
    found: Counter[str] = Counter()
    for word in text.lower().split():
        padded = f" {word} "
        # A word that is no longer than its n-gram counts once.
        for size in (size for size in _SIZES if size == _SIZES[0] or size <= len(padded)):
            found.update(padded[start : start + size] for start in range(len(padded) - size + 1))
    return found
