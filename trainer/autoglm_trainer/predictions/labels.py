"""Any number of labels for each row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autoglm_trainer.contract import Mistake, Section, Table
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.metrics.labels import measure

from .curves import calibration, precision_recall


@dataclass(frozen=True)
class LabelPredictions:
    """Row by row: which labels it has (rows, labels), their probabilities (rows, labels), and what was asked.

    Attributes:
        threshold: a label is given from this probability on.
    """

    labels: tuple[str, ...]
    truth: Ints
    probabilities: Floats
    texts: tuple[str, ...]
    threshold: float

    def __len__(self) -> int:
        return len(self.truth)

    def measure(self, rows: Ints | None = None) -> dict[str, float]:
        """Accuracy of whole label sets, macro F1, precision, recall, binary cross-entropy."""
        if rows is None:
            return measure(self.probabilities, self.truth, self.threshold)
        return measure(self.probabilities[rows], self.truth[rows], self.threshold)

    @cached_property
    def _wrong(self) -> NDArray[np.bool_]:
        """(rows, labels)."""
        return np.not_equal(self.probabilities >= self.threshold, self.truth > 0)

    def wrong(self) -> int:
        """Rows of which a label is missing or too many."""
        return int(self._wrong.any(1).sum())

    def mistakes(self, limit: int) -> list[Mistake]:
        """Rows with the most wrong labels first."""
        counts = self._wrong.sum(1)
        worst = sorted(np.flatnonzero(counts), key=lambda row: -counts[row])[:limit]
        return [
            Mistake(
                item=self.texts[row],
                truth=self._named(self.truth[row] > 0),
                answer=self._named(self.probabilities[row] >= self.threshold),
            )
            for row in worst
        ]

    def _named(self, given: NDArray[np.bool_]) -> str:
        return ", ".join(label for label, has in zip(self.labels, given, strict=True) if has) or "no label"

    def sections(self) -> list[Section]:
        """Each label's hits and misses; precision, recall and calibration of all labels together."""
        given, wanted = self.probabilities >= self.threshold, self.truth > 0
        rows = tuple(
            (
                label,
                int(wanted[:, index].sum()),
                int((given & wanted)[:, index].sum()),
                int((given & ~wanted)[:, index].sum()),
                int((wanted & ~given)[:, index].sum()),
            )
            for index, label in enumerate(self.labels)
        )
        note = f"A label is given from the probability {self.threshold:.3g} on."
        return [
            Table("Where it is wrong", note, ("label", "rows", "right", "too many", "missing"), rows),
            precision_recall(self.probabilities.ravel(), wanted.ravel(), "all labels together"),
            calibration(self.probabilities.ravel(), wanted.ravel()),
        ]
