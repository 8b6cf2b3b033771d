"""The two curves that every kind of probability has: precision against recall, and how far it can be believed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoglm_trainer.contract import Curves
from autoglm_trainer.metrics import Floats

# Points of a curve, at most.
_POINTS = 400
_GROUPS = 10


def precision_recall(scores: Floats, right: NDArray[Any], whose: str) -> Curves:
    """How many answers are right when so much is found.

    Args:
        scores: of each answer that could be given.
        right: whether it is right.
        whose: what is looked for, for people.
    """
    order = np.argsort(-scores, kind="stable")
    hits = right[order].cumsum()
    # Answers of equal score come together: only the last of them is a point of the curve.
    ends = np.flatnonzero(np.diff(scores[order], append=-1.0))[:: max(1, len(scores) // _POINTS)]
    recall, precision = hits[ends] / max(1, right.sum()), hits[ends] / (ends + 1)
    note = f"Of {whose}: how many answers are right when so much is found."
    line = (tuple(map(float, recall)), tuple(map(float, precision)))
    return Curves("Precision and recall", note, "recall", "precision", {"winner": line})


def calibration(sure: Floats, right: NDArray[Any]) -> Curves:
    """Share of right answers by the probability that the model gave them, in ten groups of equal size."""
    groups = [group for group in np.array_split(np.argsort(sure, kind="stable"), _GROUPS) if len(group)]
    line = (
        tuple(float(sure[group].mean()) for group in groups),
        tuple(float(right[group].mean()) for group in groups),
    )
    ideal = ((line[0][0], line[0][-1]), (line[0][0], line[0][-1]))
    note = "On the line a probability of 0.8 is right eight times in ten; below it the model is too sure of itself."
    lines = {"winner": line, "ideal": ideal}
    return Curves("How far its probabilities can be believed", note, "probability", "share of right answers", lines)
