"""A written answer for each prompt, which may stand for a label."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from autoglm_api.prompting import match_label
from autoglm_trainer.contract import Mistake, Section, Table
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.metrics.texts import measure, row_scores

from .answers import WrittenAnswers

_TEXTUAL = ("exact_match", "rouge_l", "bleu", "chrf")


@dataclass(frozen=True)
class PromptedAnswers:
    """Row by row: question, the true answer, ours.

    Attributes:
        labels: what an answer can be; empty = any text, and then nothing is classified.
        prompt_tokens: (rows,) of the whole prompts; NaN where nobody counts them.
        asked: the whole prompt of the first row; empty where nobody was asked.
    """

    prompts: tuple[str, ...]
    truth: tuple[str, ...]
    answers: tuple[str, ...]
    labels: tuple[str, ...]
    prompt_tokens: Floats
    asked: str = ""

    def __len__(self) -> int:
        return len(self.prompts)

    @cached_property
    def _scores(self) -> Floats:
        rows = [_row_scores(*pair) for pair in zip(self.answers, self.truth, strict=True)]
        return np.array(rows, dtype=np.float64)

    @cached_property
    def _written(self) -> WrittenAnswers:
        return WrittenAnswers(self.prompts, self.truth, self.answers, np.full((len(self), 2), np.nan))

    @cached_property
    def _places(self) -> tuple[Ints, Ints]:
        """(rows,) places of the true labels and of ours; -1 = none."""
        place = {label: index for index, label in enumerate(self.labels)}
        ours = [match_label(answer, self.labels) for answer in self.answers]
        return (
            np.array([place.get(label, -1) for label in self.truth]),
            np.array([-1 if label is None else place[label] for label in ours]),
        )

    def measure(self, rows: Ints | None = None) -> dict[str, float]:
        """Metrics of the texts, of the labels they stand for, and what the prompts cost."""
        chosen = np.arange(len(self)) if rows is None else rows
        texts = measure(self._scores[chosen], np.full((len(chosen), 2), np.nan))
        # A prompt that was refused is counted by nobody.
        tokens = self.prompt_tokens[chosen]
        counted = tokens[np.isfinite(tokens)]
        return {
            **self._classified(chosen),
            **{name: texts[name] for name in _TEXTUAL},
            "prompt_tokens": float(counted.mean()) if len(counted) else float("nan"),
        }

    def _classified(self, rows: Ints) -> dict[str, float]:
        if not self.labels:
            return {"accuracy": float("nan"), "f1_macro": float("nan")}
        truth, ours = (places[rows] for places in self._places)
        count = len(self.labels)
        hits = np.bincount(truth[(truth == ours) & (truth >= 0)], minlength=count)
        true, given = (np.bincount(places[places >= 0], minlength=count) for places in (truth, ours))
        occurs = (true + given) > 0
        f1 = 2 * hits[occurs] / (true + given)[occurs]
        return {"accuracy": float(hits.sum() / len(rows)), "f1_macro": float(f1.mean()) if occurs.any() else 0.0}

    def wrong(self) -> int:
        """Rows with another label than the true one; without labels, rows that are not answered word for word."""
        if not self.labels:
            return self._written.wrong()
        truth, ours = self._places
        return int((truth != ours).sum())

    def mistakes(self, limit: int) -> list[Mistake]:
        """Wrong labels in the rows' order, else answers that share least with the truth."""
        if not self.labels:
            return self._written.mistakes(limit)
        truth, ours = self._places
        wrong = [int(row) for row in np.flatnonzero(truth != ours)][:limit]
        return [Mistake(self.prompts[row], self.truth[row], self.answers[row]) for row in wrong]

    def sections(self) -> list[Section]:
        """Each label's hits and misses, or metrics by the length of the true answer; and what the model is asked."""
        wrong = [self._by_label()] if self.labels else self._written.sections()
        lines = tuple((line,) for line in self.asked.splitlines())
        return [*wrong, Table("What the model is asked", "The first row's prompt, as a whole.", ("line",), lines)]

    def _by_label(self) -> Table:
        truth, ours = self._places
        rows = []
        for index, label in enumerate(self.labels):
            own = truth == index
            right, unread = int((own & (ours == index)).sum()), int((own & (ours < 0)).sum())
            rows.append((label, int(own.sum()), right, int(own.sum()) - right - unread, unread))
        note = "An answer stands for the label that it is, or that it names first."
        return Table("Where it is wrong", note, ("label", "rows", "right", "another label", "no label"), tuple(rows))


@lru_cache(maxsize=8_192)
def _row_scores(answer: str, truth: str) -> tuple[float, ...]:
    """The same rows are measured after every step."""
    return row_scores(answer, truth)
