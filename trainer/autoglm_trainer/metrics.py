"""The metrics of text classification, and how sure one can be of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES = 2_000
LATENCY_ROWS = 20
_WARM_UP = 3


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


def bootstrap(
    answers: Sequence[Floats], truth: Ints, *, seed: int, resamples: int = RESAMPLES
) -> list[dict[str, Floats]]:
    """The metrics of several models over the same random rows, so that their differences can be judged too.

    Args:
        answers: probabilities (rows, labels) of each model on the same rows.
        truth: (rows,), label indices.
        seed: chooses the rows.
        resamples: how often `rows` rows are drawn with replacement.

    Returns:
        for each model, metric → (resamples,).
    """
    draw = np.random.default_rng(seed)
    drawn = [draw.integers(0, len(truth), len(truth)) for _ in range(resamples)]
    return [_columns([measure(answer[rows], truth[rows]) for rows in drawn]) for answer in answers]


def _columns(measured: Sequence[dict[str, float]]) -> dict[str, Floats]:
    return {name: np.array([one[name] for one in measured]) for name in measured[0]}


def interval(values: Floats) -> tuple[float, float]:
    """The middle 95 % of bootstrap values."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def latency_p95_ms(
    forward: Callable[[int], object], rows: int, *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """95th percentile of `forward(row)` in milliseconds, over up to 20 rows, after three calls to warm up."""
    for row in range(min(_WARM_UP, rows)):
        forward(row)
    seconds = []
    for row in range(min(LATENCY_ROWS, rows)):
        start = clock()
        forward(row)
        seconds.append(clock() - start)
    return float(np.percentile(seconds, 95) * 1_000)
