"""One number for each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autoglm_trainer.contract import Curves, Mistake, Section, Table
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.metrics.numbers import measure

# Points of a figure, at most.
_POINTS = 400
_GROUPS = 10


@dataclass(frozen=True)
class NumberPredictions:
    """Row by row: the truth and the answer, both (rows,), and what was asked.

    Attributes:
        importances: which columns mattered, computed when asked for.
    """

    truth: Floats
    answers: Floats
    texts: Sequence[str]
    importances: Callable[[], Sequence[Section]] = tuple

    def __len__(self) -> int:
        return len(self.truth)

    def measure(self, rows: Ints | None = None) -> dict[str, float]:
        """RMSE, MAE and R²."""
        chosen = slice(None) if rows is None else rows
        return measure(self.answers[chosen], self.truth[chosen])

    def wrong(self) -> None:
        """No number is expected to be met exactly."""

    def mistakes(self, limit: int) -> list[Mistake]:
        """The largest errors."""
        worst = np.argsort(-np.abs(self.answers - self.truth), kind="stable")[:limit]
        return [Mistake(self.texts[row], f"{self.truth[row]:.6g}", f"{self.answers[row]:.6g}") for row in worst]

    def sections(self) -> list[Section]:
        """The answers beside the truth, the errors by size of the answer, and which columns mattered."""
        return [self._beside_truth(), self._errors(), self._by_answer(), *self.importances()]

    @property
    def _thinned(self) -> Ints:
        return np.arange(0, len(self), -(-len(self) // _POINTS))

    def _beside_truth(self) -> Curves:
        rows = self._thinned
        ends = (float(self.truth.min()), float(self.truth.max()))
        dots = (tuple(map(float, self.truth[rows])), tuple(map(float, self.answers[rows])))
        note = "Each point is a row; on the line the answer is the truth."
        lines = {"rows": dots, "ideal": (ends, ends)}
        return Curves("Answers beside the truth", note, "truth", "answer", lines, ("rows",))

    def _errors(self) -> Curves:
        rows = self._thinned
        dots = (tuple(map(float, self.answers[rows])), tuple(map(float, (self.answers - self.truth)[rows])))
        ends = (float(self.answers.min()), float(self.answers.max()))
        note = "Answer minus truth. A slope or a funnel is something that the model has not learned."
        lines = {"rows": dots, "no error": (ends, (0.0, 0.0))}
        return Curves("Errors over the answer", note, "answer", "error", lines, ("rows",))

    def _by_answer(self) -> Table:
        """Groups of equal size, by what was answered."""
        groups = [part for part in np.array_split(np.argsort(self.answers, kind="stable"), _GROUPS) if len(part)]
        rows = tuple(
            (
                f"{self.answers[part].min():.4g} … {self.answers[part].max():.4g}",
                len(part),
                float(self.truth[part].mean()),
                float(self.answers[part].mean()),
                float(np.abs(self.answers - self.truth)[part].mean()),
            )
            for part in groups
        )
        note = "Rows in groups of equal size by the answer: mean truth, mean answer, mean absolute error."
        return Table("Where the errors are", note, ("answers", "rows", "truth", "answer", "error"), rows)
