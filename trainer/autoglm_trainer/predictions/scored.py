"""One label for each row of a table: probabilities, and from which one on the rarer of two labels is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from typing_extensions import override

from autoglm_trainer.contract import Section, Table
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.metrics.classes import confusion_matrix
from autoglm_trainer.metrics.ranking import auc, average_precision

from .classes import ClassPredictions

METRICS = ("auc", "average_precision", "accuracy", "balanced_accuracy", "f1_macro", "loss")


@dataclass(frozen=True)
class Decision:
    """Of two labels `positive` is answered from `threshold` on; of more, or without it, the likeliest is."""

    positive: int | None = None
    threshold: float = 0.5

    def answers(self, probabilities: Floats) -> Ints:
        """(rows, labels) → the index of each row's answer."""
        if self.positive is None:
            return np.asarray(probabilities.argmax(1))
        chosen = probabilities[:, self.positive] >= self.threshold
        return np.where(chosen, self.positive, 1 - self.positive)


@dataclass(frozen=True)
class ScoredClasses(ClassPredictions):
    """As the base, with metrics that ask for the order of rows too.

    Attributes:
        decision: how probabilities become an answer.
        importances: which columns mattered, computed when asked for.
    """

    decision: Decision = field(default_factory=Decision)
    importances: Callable[[], Sequence[Section]] = tuple

    @cached_property
    @override
    def answers(self) -> Ints:
        """The index of each row's answered label."""
        return self.decision.answers(self.probabilities)

    @override
    def measure(self, rows: Ints | None = None) -> dict[str, float]:
        """All metrics but latency."""
        chosen = slice(None) if rows is None else rows
        return measure(self.probabilities[chosen], self.answers[chosen], self.truth[chosen], self.decision.positive)

    @override
    def sections(self) -> list[Section]:
        """Also the answers by threshold, where there is one, and which columns mattered."""
        return [*super().sections(), *self._by_threshold(), *self.importances()]

    def _by_threshold(self) -> list[Section]:
        positive = self.decision.positive
        if positive is None:
            return []
        rows = []
        for threshold in sorted({0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, round(self.decision.threshold, 3)}):
            answers = Decision(positive, threshold).answers(self.probabilities)
            confusion = confusion_matrix(answers, self.truth, 2)
            found, given, true = confusion[positive, positive], confusion[:, positive].sum(), confusion[positive].sum()
            precision, recall = found / max(1, given), found / max(1, true)
            rows.append((f"{threshold:g}", int(given), float(precision), float(recall)))
        note = (
            f"How often {self.labels[positive]} is answered from a probability on, how many of these answers are right,"
            f" and how much of it is found; the winner's threshold is {self.decision.threshold:.3g}."
        )
        header = ("threshold", "answers", "right", "found")
        return [Table("What another threshold would do", note, header, tuple(rows))]


def measure(probabilities: Floats, answers: Ints, truth: Ints, positive: int | None) -> dict[str, float]:
    """The metrics of some rows.

    Areas are the positive label's; without one the mean over the labels that occur. So are accuracy by label
    (`balanced_accuracy`) and F1.

    Args:
        probabilities: (rows, labels); a NaN anywhere makes every metric NaN.
        answers: (rows,), label indices.
        truth: (rows,), label indices.
        positive: the label that areas are of.
    """
    if not np.isfinite(probabilities).all():
        return dict.fromkeys(METRICS, float("nan"))
    labels = probabilities.shape[1]
    confusion = confusion_matrix(answers, truth, labels)
    hits, true, given = np.diag(confusion).astype(np.float64), confusion.sum(1), confusion.sum(0)
    wanted = np.flatnonzero(true) if positive is None else np.array([positive])
    occurs = (true + given) > 0
    of_truth = np.clip(probabilities[np.arange(len(truth)), truth], 1e-12, 1.0)
    ranked = [(probabilities[:, label], (truth == label).astype(np.int64)) for label in wanted]
    return {
        "auc": float(np.mean([auc(*each) for each in ranked])),
        "average_precision": float(np.mean([average_precision(*each) for each in ranked])),
        "accuracy": float(hits.sum() / len(truth)),
        "balanced_accuracy": float(np.mean(hits[true > 0] / true[true > 0])),
        "f1_macro": float(np.mean(2 * hits[occurs] / (true + given)[occurs])),
        "loss": float(-np.log(of_truth).mean()),
    }
