"""A written answer for each prompt."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autoglm_trainer.contract import Mistake, Section, Table
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.metrics.texts import NAMES, measure, row_scores

_LENGTHS = ((1, 20), (21, 60), (61, 200), (201, None))
_SHOWN = 600


@dataclass(frozen=True)
class WrittenAnswers:
    """Row by row: prompt, the true answer, ours.

    Attributes:
        losses: (rows, 2): sum of the cross-entropies of the true answer's tokens, and how many these are.
        finite: False where a model answered with NaN or infinity, and its texts mean nothing.
    """

    prompts: tuple[str, ...]
    truth: tuple[str, ...]
    answers: tuple[str, ...]
    losses: Floats
    finite: bool = True

    def __len__(self) -> int:
        return len(self.prompts)

    @cached_property
    def _scores(self) -> Floats:
        rows = [row_scores(*pair) for pair in zip(self.answers, self.truth, strict=True)]
        return np.array(rows, dtype=np.float64)

    def measure(self, rows: Ints | None = None) -> dict[str, float]:
        """ROUGE-L, exact match, chrF, BLEU, loss a token, perplexity."""
        if not self.finite:
            return dict.fromkeys(NAMES, float("nan"))
        chosen = slice(None) if rows is None else rows
        return measure(self._scores[chosen], self.losses[chosen])

    def wrong(self) -> int:
        """Rows that are not answered word for word."""
        return int((self._scores[:, 1] < 1).sum())

    def mistakes(self, limit: int) -> list[Mistake]:
        """Answers that share least with the truth."""
        worst = [row for row in np.argsort(self._scores[:, 0], kind="stable") if self._scores[row, 1] < 1]
        return [
            Mistake(item=_shown(self.prompts[row]), truth=_shown(self.truth[row]), answer=_shown(self.answers[row]))
            for row in worst[:limit]
        ]

    def sections(self) -> list[Section]:
        """Metrics by the length of the true answer."""
        groups: dict[tuple[int, int | None], list[int]] = defaultdict(list)
        for row, answer in enumerate(self.truth):
            groups[next(each for each in _LENGTHS if each[1] is None or len(answer) <= each[1])].append(row)
        rows = []
        for low, high in _LENGTHS:
            if chosen := groups[low, high]:
                rouge, exact, chrf = self._scores[chosen, :3].mean(0)
                named = f"{low} or more" if high is None else f"{low}-{high}"
                rows.append((named, len(chosen), float(rouge), float(chrf), float(exact)))
        header = ("characters", "rows", "rouge_l", "chrf", "exact_match")
        return [Table("Where it is wrong", "By the length of the true answer.", header, tuple(rows))]


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
