"""One label for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autoglm_trainer.contract import Curves, Matrix, Mistake, Section
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.metrics.classes import confusion_matrix, measure

from .curves import calibration, precision_recall


@dataclass(frozen=True)
class ClassPredictions:
    """Row by row: the true label's index (rows,), the probabilities (rows, labels), and what was asked."""

    labels: tuple[str, ...]
    truth: Ints
    probabilities: Floats
    texts: Sequence[str]

    def __len__(self) -> int:
        return len(self.truth)

    def measure(self, rows: Ints | None = None) -> dict[str, float]:
        """Accuracy, macro F1, precision, recall, cross-entropy."""
        if rows is None:
            return measure(self.probabilities, self.truth)
        return measure(self.probabilities[rows], self.truth[rows])

    @cached_property
    def answers(self) -> Ints:
        """The index of each row's answered label: the likeliest."""
        return np.asarray(self.probabilities.argmax(1))

    @cached_property
    def confusion(self) -> Ints:
        """(labels, labels); rows are the truth."""
        return confusion_matrix(self.answers, self.truth, len(self.labels))

    def wrong(self) -> int:
        """Rows whose answered label is not the true one."""
        return int(self.confusion.sum() - self.confusion.trace())

    def mistakes(self, limit: int) -> list[Mistake]:
        """Wrong answers, the most confident first."""
        wrong = np.flatnonzero(self.answers != self.truth)
        worst = sorted(wrong, key=lambda row: -self.probabilities[row, self.answers[row]])[:limit]
        return [
            Mistake(
                item=self.texts[int(row)],
                truth=self.labels[self.truth[row]],
                answer=self.labels[self.answers[row]],
                confidence=float(self.probabilities[row, self.answers[row]]),
            )
            for row in worst
        ]

    def sections(self) -> list[Section]:
        """The confusion matrix, precision against recall, and how far its probabilities can be believed."""
        note = "Rows are the true labels, columns the answers, in the same order."
        counts = tuple(tuple(map(int, row)) for row in self.confusion)
        return [Matrix("Where it is wrong", note, self.labels, counts), self._precision_recall(), self._calibration()]

    def _precision_recall(self) -> Curves:
        """Of the rarer label of two; of all labels together where there are more."""
        counts = np.bincount(self.truth, minlength=len(self.labels))
        wanted = [int(counts.argmin())] if len(self.labels) == 2 else list(range(len(self.labels)))
        right = (self.truth[:, None] == np.array(wanted)).ravel()
        whose = f"the label {self.labels[wanted[0]]}" if len(wanted) == 1 else "all labels together"
        return precision_recall(self.probabilities[:, wanted].ravel(), right, whose)

    def _calibration(self) -> Curves:
        return calibration(self.probabilities.max(1), self.probabilities.argmax(1) == self.truth)
