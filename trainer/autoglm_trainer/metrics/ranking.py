"""How well probabilities put rows in order, whatever threshold is chosen later."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from .arrays import Floats, Ints


def auc(scores: Floats, right: Ints) -> float:
    """Area under the ROC curve: how often a right row has a higher score than a wrong one, ties counting half.

    By ranks (Mann and Whitney 1947).

    Args:
        scores: (rows,).
        right: (rows,), 1 or 0; NaN is the answer if all are alike.
    """
    positive = int(right.sum())
    negative = len(right) - positive
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(scores)[right > 0].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * negative))


def average_precision(scores: Floats, right: Ints) -> float:
    """Mean precision over the recalls that are reached, as scikit-learn has it: no line is drawn between points.

    Args:
        scores: (rows,).
        right: (rows,), 1 or 0; NaN is the answer if none is 1.
    """
    positive = int(right.sum())
    if not positive:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = right[order].cumsum()
    # Rows of equal score come together.
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    recall = np.diff(hits[ends], prepend=0) / positive
    return float((recall * hits[ends] / (ends + 1)).sum())
