"""One answer, or none, for each question."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autoglm_trainer.contract import Mistake, Section, Table
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.metrics.spans import exact_match, f1, words

_LENGTHS = ((1, 1), (2, 3), (4, 8), (9, None))


@dataclass(frozen=True)
class SpanPredictions:
    """Row by row: question, the true answer, ours ("" = none), how sure we are, and the loss (NaN: not known)."""

    questions: tuple[str, ...]
    truth: tuple[str, ...]
    answers: tuple[str, ...]
    confidence: Floats
    losses: Floats

    def __len__(self) -> int:
        return len(self.questions)

    @cached_property
    def _scores(self) -> Floats:
        """(rows, 3): F1, exact match, loss."""
        pairs = list(zip(self.answers, self.truth, strict=True))
        f1s, exact = [f1(*pair) for pair in pairs], [exact_match(*pair) for pair in pairs]
        return np.column_stack([f1s, exact, self.losses])

    def measure(self, rows: Ints | None = None) -> dict[str, float]:
        """F1, exact match, loss."""
        scores = self._scores if rows is None else self._scores[rows]
        if not np.isfinite(self.confidence).all():
            return dict.fromkeys(("f1", "exact_match", "loss"), float("nan"))
        known = scores[:, 2][~np.isnan(scores[:, 2])]
        return {
            "f1": float(scores[:, 0].mean()),
            "exact_match": float(scores[:, 1].mean()),
            "loss": float(known.mean()) if len(known) else float("nan"),
        }

    def wrong(self) -> int:
        """Rows that are not matched exactly."""
        return int((self._scores[:, 1] < 1).sum())

    def mistakes(self, limit: int) -> list[Mistake]:
        """Answers that share less than half with the truth, the most confident first."""
        wrong = np.flatnonzero(self._scores[:, 0] < 0.5)
        worst = sorted(wrong, key=lambda row: -self.confidence[row])[:limit]
        return [
            Mistake(
                item=self.questions[row],
                truth=self.truth[row] or "no answer",
                answer=self.answers[row] or "no answer",
                confidence=float(self.confidence[row]),
            )
            for row in worst
        ]

    def sections(self) -> list[Section]:
        """F1 and exact match by the kind of the true answer."""
        groups: dict[str, list[int]] = defaultdict(list)
        for row, answer in enumerate(self.truth):
            groups[_kind(answer)].append(row)
        rows = []
        for kind in [*(_named(low, high) for low, high in _LENGTHS), "no answer"]:
            if groups[kind]:
                scores = self._scores[groups[kind]]
                rows.append((kind, len(scores), float(scores[:, 0].mean()), float(scores[:, 1].mean())))
        header = ("true answer", "rows", "f1", "exact_match")
        note = "By the length of the true answer; an ideograph is a word."
        return [Table("Where it is wrong", note, header, tuple(rows))]


def _kind(answer: str) -> str:
    if not answer:
        return "no answer"
    length = max(1, len(words(answer)))
    return next(_named(low, high) for low, high in _LENGTHS if high is None or length <= high)


def _named(low: int, high: int | None) -> str:
    if high is None:
        return f"{low} words or more"
    return f"{low} word" if low == high == 1 else f"{low}-{high} words"
