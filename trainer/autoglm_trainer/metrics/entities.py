"""The metrics of entities in sentences, counted a sentence at a time so that a bootstrap only sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoglm_api.bio import entities, repaired

from .arrays import Floats

NAMES = ("f1", "precision", "recall", "accuracy", "loss")


def count_sentence(truth: Sequence[str], answer: Sequence[str]) -> tuple[int, int, int, int, int]:
    """Of one sentence: entities found with the right span and type, answered, and true; words right, and all words."""
    true, answered = set(entities(truth)), set(entities(answer))
    right = sum(ours == theirs for ours, theirs in zip(repaired(answer), truth, strict=True))
    return len(true & answered), len(answered), len(true), right, len(truth)


def measure(counts: Floats) -> dict[str, float]:
    """Precision, recall and F1 over all entities together, share of right tags, mean cross-entropy a word.

    Args:
        counts: (sentences, 6): `count_sentence` and the sum of the words' cross-entropies; a NaN makes all NaN.
    """
    found, answered, true, right, words, loss = map(float, counts.sum(0))
    if not np.isfinite(loss):
        return dict.fromkeys(NAMES, float("nan"))
    return {**scores(found, answered, true), "accuracy": right / words, "loss": loss / words}


def scores(found: float, answered: float, true: float) -> dict[str, float]:
    """F1, precision and recall of counts; 0 where there is nothing to divide by, as in seqeval."""
    return {
        "f1": 2 * found / (answered + true) if answered + true else 0.0,
        "precision": found / answered if answered else 0.0,
        "recall": found / true if true else 0.0,
    }
