"""The metrics of single-label classification."""

from __future__ import annotations

import numpy as np

from .arrays import Floats, Ints


def measure(probabilities: Floats, truth: Ints) -> dict[str, float]:
    """Accuracy, macro F1, precision, recall, and cross-entropy.

    Macro averages go over the labels that occur in truth or predictions; a label never predicted has precision 0.

    Args:
        probabilities: (rows, labels); a NaN anywhere makes every metric NaN.
        truth: (rows,), label indices.
    """
    if not np.isfinite(probabilities).all():
        return dict.fromkeys(("accuracy", "f1_macro", "precision", "recall", "loss"), float("nan"))
    confusion = confusion_matrix(probabilities.argmax(1), truth, probabilities.shape[1])
    of_truth = np.clip(probabilities[np.arange(len(truth)), truth], 1e-12, 1.0)
    return {**_from_confusion(confusion), "loss": float(-np.log(of_truth).mean())}


def confusion_matrix(predicted: Ints, truth: Ints, labels: int) -> Ints:
    """Counts (labels, labels): rows are the truth, columns the prediction."""
    return np.bincount(truth * labels + predicted, minlength=labels * labels).reshape(labels, labels)


def _from_confusion(confusion: Ints) -> dict[str, float]:
    hits = np.diag(confusion).astype(np.float64)
    true, predicted = confusion.sum(1), confusion.sum(0)
    occurs = (true + predicted) > 0
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    recall = np.divide(hits, true, out=np.zeros_like(hits), where=true > 0)
    f1 = np.divide(2 * hits, true + predicted, out=np.zeros_like(hits), where=occurs)
    return {
        "accuracy": float(hits.sum() / confusion.sum()),
        "f1_macro": float(f1[occurs].mean()),
        "precision": float(precision[occurs].mean()),
        "recall": float(recall[occurs].mean()),
    }
