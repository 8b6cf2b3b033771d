"""BIO tags: which words of a sentence belong together. Trainer and server read and give them by these rules alone.

Imported only where sentences are tagged: it needs NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

OUTSIDE = "O"


class Entity(NamedTuple):
    """Words `start` to `end` (exclusive), counted from 0, are one thing of a `type`."""

    type: str
    start: int
    end: int


def repaired(tags: Sequence[str]) -> list[str]:
    """The tags with every `I-` that continues nothing of its type written as the `B-` that it begins."""
    found: list[str] = []
    for tag in tags:
        continues = bool(found) and found[-1][2:] == tag[2:]
        found.append(f"B-{tag[2:]}" if tag.startswith("I-") and not continues else tag)
    return found


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence, in order; an `I-` that continues nothing begins one, as in seqeval."""
    found: list[Entity] = []
    for place, tag in enumerate(repaired(tags)):
        if tag.startswith("B-"):
            found.append(Entity(tag[2:], place, place + 1))
        elif tag != OUTSIDE:
            found[-1] = found[-1]._replace(end=place + 1)
    return found


def likeliest(probabilities: NDArray[np.floating[Any]], labels: tuple[str, ...]) -> NDArray[np.int64]:
    """The likeliest tags of a sentence among those in which every `I-` continues an entity of its type.

    Viterbi's path, where a transition is allowed or not; most often each word's likeliest tag is on it already.

    Args:
        probabilities: (words, labels), of each word's tags.
        labels: O, then `B-` and `I-` of each type.

    Returns:
        (words,): places in `labels`.
    """
    inside, begins = _continuations(labels)
    best: NDArray[np.int64] = probabilities.argmax(1)
    if _is_sound([labels[tag] for tag in best]):
        return best
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities)
    score, before = logs[0].copy(), np.zeros(logs.shape, dtype=np.int64)
    score[inside] = -np.inf
    for word in range(1, len(logs)):
        before[word] = score.argmax()
        before[word, inside] = np.where(score[begins] >= score[inside], begins, inside)
        score = score[before[word]] + logs[word]
    path = np.empty(len(logs), dtype=np.int64)
    path[-1] = score.argmax()
    for word in range(len(logs) - 1, 0, -1):
        path[word - 1] = before[word, path[word]]
    return path


def _is_sound(tags: Sequence[str]) -> bool:
    return repaired(tags) == list(tags)


@lru_cache
def _continuations(labels: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of all `I-`, and beside each that of its type's `B-` (its own where there is none)."""
    places = {label: place for place, label in enumerate(labels)}
    inside = [place for place, label in enumerate(labels) if label.startswith("I-")]
    begins = [places.get(f"B-{labels[place][2:]}", place) for place in inside]
    return np.array(inside, dtype=np.int64), np.array(begins, dtype=np.int64)
