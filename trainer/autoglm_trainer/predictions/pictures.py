"""One label for each picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from typing_extensions import override

from autoglm_trainer.contract import Matrix, Mistake, Section, Table
from autoglm_trainer.metrics import Ints

from .classes import ClassPredictions

_TOP = 5
# A matrix of more labels is larger than any screen.
_MATRIX_LABELS = 40
_PAIRS = 30


def _nothing() -> list[Section]:
    return []


@dataclass(frozen=True)
class PicturePredictions(ClassPredictions):
    """Row by row; `texts` are the pictures' names.

    Attributes:
        shown: row → the picture as a small PNG, as a data URI.
        further: sections of the report that only the model itself can tell.
    """

    shown: Callable[[int], str] = field(default=lambda _row: "", repr=False)
    further: Callable[[], list[Section]] = field(default=_nothing, repr=False)

    @override
    def measure(self, rows: Ints | None = None) -> dict[str, float]:
        """As of any labels, and how often the true one is among the five likeliest."""
        chosen: Any = slice(None) if rows is None else rows
        probabilities, truth = self.probabilities[chosen], self.truth[chosen]
        of_truth = np.take_along_axis(probabilities, truth[:, None], axis=1)
        likelier = (probabilities > of_truth).sum(1)
        top = float((likelier < _TOP).mean()) if np.isfinite(probabilities).all() else float("nan")
        return {**super().measure(rows), "top5_accuracy": top}

    @override
    def mistakes(self, limit: int) -> list[Mistake]:
        """Wrong answers, the most confident first, with their pictures."""
        wrong = np.flatnonzero(self.probabilities.argmax(1) != self.truth)
        worst = sorted(wrong, key=lambda row: -self.probabilities[row].max())[:limit]
        return [
            Mistake(
                item=self.texts[int(row)],
                truth=self.labels[self.truth[row]],
                answer=self.labels[self.probabilities[row].argmax()],
                confidence=float(self.probabilities[row].max()),
                picture=self.shown(int(row)) or None,
            )
            for row in worst
        ]

    @override
    def sections(self) -> list[Section]:
        """Confusion, label by label, few examples, precision against recall, calibration."""
        matrix, *curves = super().sections()
        assert isinstance(matrix, Matrix), "the first section is the confusion matrix"
        confused = matrix if len(self.labels) <= _MATRIX_LABELS else self._pairs()
        return [confused, self._by_label(), *self.further(), *curves]

    def _by_label(self) -> Table:
        """Precision, recall and F1 of each label, the worst first."""
        hits, true, answered = np.diag(self.confusion), self.confusion.sum(1), self.confusion.sum(0)
        precision, recall = hits / np.maximum(1, answered), hits / np.maximum(1, true)
        f1 = 2 * hits / np.maximum(1, true + answered)
        rows = tuple(
            (self.labels[place], int(true[place]), float(precision[place]), float(recall[place]), float(f1[place]))
            for place in sorted(range(len(self.labels)), key=lambda place: (f1[place], self.labels[place]))
        )
        return Table("Label by label", "The worst first.", ("label", "pictures", "precision", "recall", "f1"), rows)

    def _pairs(self) -> Table:
        """The most frequent confusions."""
        wrong = self.confusion * (1 - np.eye(len(self.labels), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
        pairs = [divmod(int(place), len(self.labels)) for place in order]
        rows = tuple((self.labels[i], self.labels[j], int(wrong[i, j])) for i, j in pairs if wrong[i, j])
        note = f"The most frequent confusions; a matrix of {len(self.labels)} labels would be too large."
        return Table("Where it is wrong", note, ("truth", "answer", "pictures"), rows)
