"""The metrics of multi-label classification."""

from __future__ import annotations

import numpy as np

from .arrays import Floats, Ints


def measure(probabilities: Floats, truth: Ints, threshold: float) -> dict[str, float]:
    """Accuracy (all labels of a row right), macro F1, precision and recall, and binary cross-entropy.

    Macro averages go over the labels that occur in truth or predictions.

    Args:
        probabilities: (rows, labels); a NaN anywhere makes every metric NaN.
        truth: (rows, labels), 0 or 1.
        threshold: a label is given from this probability on.
    """
    if not np.isfinite(probabilities).all():
        return dict.fromkeys(("accuracy", "f1_macro", "precision", "recall", "loss"), float("nan"))
    given = probabilities >= threshold
    wanted = truth > 0
    hits, predicted, true = (given & wanted).sum(0), given.sum(0), wanted.sum(0)
    occurs = (true + predicted) > 0
    clipped = np.clip(np.where(wanted, probabilities, 1 - probabilities), 1e-12, 1.0)
    return {
        "accuracy": float((given == wanted).all(1).mean()),
        "f1_macro": _mean(2 * hits, true + predicted, occurs),
        "precision": _mean(hits, predicted, occurs),
        "recall": _mean(hits, true, occurs),
        "loss": float(-np.log(clipped).mean()),
    }


def _mean(counts: Ints, of: Ints, occurs: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    shares = np.divide(counts, of, out=np.zeros(len(counts)), where=of > 0)
    return float(shares[occurs].mean()) if occurs.any() else 0.0
