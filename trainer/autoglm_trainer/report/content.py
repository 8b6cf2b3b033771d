"""What the report says, as data; nothing here draws or formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from optuna.trial import FrozenTrial

from autoglm_api.base import Scalar
from autoglm_api.catalog import TASKS
from autoglm_api.manifest import DataDigests
from autoglm_api.run import Run
from autoglm_store.ledger import LogicalTrial
from autoglm_trainer.contract import Predictions
from autoglm_trainer.metrics import Floats, Ints, bootstrap, confusion_matrix, interval, measure


@dataclass(frozen=True)
class Contender:
    """One model on the judged rows.

    Attributes:
        measured: metrics that predictions alone do not tell (`latency_p95_ms`).
        parameters: the point it was trained at; empty for the baseline.
    """

    name: str
    predictions: Predictions
    measured: Mapping[str, float]
    parameters: Mapping[str, Scalar]

    @cached_property
    def probabilities(self) -> Floats:
        """(rows, labels)."""
        return np.array(self.predictions.probabilities, dtype=np.float64)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """All metrics."""
        return {**measure(self.probabilities, np.array(self.predictions.truth)), **self.measured}


@dataclass(frozen=True)
class ReportContent:
    """Everything the templates show.

    Attributes:
        contenders: the winner first; then the default configuration and the baseline, as far as they could be had.
        judged_on: `test`, or `validation` where the study names no test rows.
        missing: why a contender is missing, a sentence each.
        overlap: judged rows whose text also stands in the training rows.
        rows: row counts by split.
        cpu_seconds: CPU time of the export itself.
    """

    run: Run
    best: FrozenTrial
    trials: tuple[LogicalTrial, ...]
    contenders: tuple[Contender, ...]
    judged_on: str
    missing: tuple[str, ...]
    digests: DataDigests
    overlap: int
    rows: Mapping[str, int]
    versions: Mapping[str, str]
    training_seed: int
    cpu_seconds: float
    created: str

    @property
    def winner(self) -> Contender:
        """The exported model."""
        return self.contenders[0]

    @property
    def compared(self) -> str:
        """The metric that contenders are compared by: the objective, or accuracy where rows do not tell it."""
        metric = self.run.objective.metric
        return "accuracy" if metric == "latency_p95_ms" else metric

    @property
    def shown(self) -> tuple[str, ...]:
        """Metrics of the comparison, the compared one first."""
        return tuple(dict.fromkeys((self.compared, "accuracy", "f1_macro", "loss")))

    @property
    def higher_is_better(self) -> bool:
        """Of the compared metric."""
        return TASKS[self.run.task].metrics[self.compared] == "Maximize"

    @cached_property
    def truth(self) -> Ints:
        """True label indices of the judged rows."""
        return np.array(self.winner.predictions.truth, dtype=np.int64)

    @cached_property
    def _resampled(self) -> list[dict[str, Floats]]:
        answers = [contender.probabilities for contender in self.contenders]
        return bootstrap(answers, self.truth, seed=self.run.sampler.seed)

    def confidence(self, contender: int, metric: str) -> tuple[float, float]:
        """95 % bootstrap interval."""
        return interval(self._resampled[contender][metric])

    def advantage(self, contender: int) -> tuple[float, float, float]:
        """How much better the winner is than another one by the compared metric: difference, low, high (95 %)."""
        sign = 1.0 if self.higher_is_better else -1.0
        ours, theirs = self.winner.metrics[self.compared], self.contenders[contender].metrics[self.compared]
        low, high = interval(sign * (self._resampled[0][self.compared] - self._resampled[contender][self.compared]))
        return sign * (ours - theirs), low, high

    @cached_property
    def confusion(self) -> Ints:
        """(labels, labels) of the winner; rows are the truth."""
        return confusion_matrix(self.winner.probabilities.argmax(1), self.truth, len(self.winner.predictions.labels))

    def mistakes(self, limit: int) -> list[Mistake]:
        """The winner's wrong answers, the most confident first."""
        labels, answers = self.winner.predictions.labels, self.winner.probabilities
        wrong = np.flatnonzero(answers.argmax(1) != self.truth)
        worst = sorted(wrong, key=lambda row: -answers[row].max())[:limit]
        return [
            Mistake(
                text=self.winner.predictions.texts[row],
                truth=labels[self.truth[row]],
                predicted=labels[answers[row].argmax()],
                confidence=float(answers[row].max()),
            )
            for row in worst
        ]


@dataclass(frozen=True)
class Mistake:
    """A wrongly answered row."""

    text: str
    truth: str
    predicted: str
    confidence: float
