"""What the report says, as data; nothing here draws or formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from optuna.trial import FrozenTrial

from autoglm_api.base import Scalar
from autoglm_api.catalog import TASKS
from autoglm_api.manifest import DataDigests
from autoglm_api.run import Run
from autoglm_store.ledger import LogicalTrial
from autoglm_trainer.contract import Predictions, Section
from autoglm_trainer.metrics import Floats, bootstrap, interval


@dataclass(frozen=True)
class Cost:
    """What training a model took; None where nobody noted it.

    Attributes:
        seconds: on the clock. cpu_seconds: of the process, all its threads together. gpu_seconds: of all GPUs held.
    """

    seconds: float | None
    cpu_seconds: float | None
    gpu_seconds: float

    def plus(self, further: Cost | None) -> Cost:
        """Both together; what is not known of one of them stays unknown."""
        if further is None:
            return self
        return Cost(
            _sum(self.seconds, further.seconds),
            _sum(self.cpu_seconds, further.cpu_seconds),
            self.gpu_seconds + further.gpu_seconds,
        )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


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
    cost: Cost

    @cached_property
    def metrics(self) -> dict[str, float]:
        """All metrics."""
        return {**self.predictions.measure(), **self.measured}


@dataclass(frozen=True)
class ReportContent:
    """Everything the templates show.

    Attributes:
        labels: the model's classes; empty where it has none.
        contenders: the winner first; then the default configuration and the baseline, as far as they could be had.
        trained_on: the splits that the winner has learned from.
        judged_on: `test`, or `validation` where the study names no test rows.
        missing: why a contender is missing, a sentence each.
        overlap: judged rows whose text also stands in the training rows.
        rows: row counts by split.
        data_sections: what is shown of the rows.
        cpu_seconds: CPU time of the export itself.
    """

    run: Run
    best: FrozenTrial
    trials: tuple[LogicalTrial, ...]
    contenders: tuple[Contender, ...]
    labels: tuple[str, ...]
    judged_on: str
    missing: tuple[str, ...]
    digests: DataDigests
    overlap: int
    rows: Mapping[str, int]
    versions: Mapping[str, str]
    training_seed: int
    cpu_seconds: float
    created: str
    data_sections: tuple[Section, ...] = ()
    trained_on: tuple[str, ...] = ("train",)

    @property
    def winner(self) -> Contender:
        """The exported model."""
        return self.contenders[0]

    @property
    def compared(self) -> str:
        """The metric that contenders are compared by: the objective, or the task's first where rows do not tell it."""
        metric = self.run.objective.metric
        return metric if metric not in self.winner.measured else TASKS[self.run.task].shown[0]

    @property
    def shown(self) -> tuple[str, ...]:
        """Metrics of the comparison: the compared one, the other objectives that rows tell, what the task shows."""
        objectives = [each.metric for each in self.run.objectives if each.metric not in self.winner.measured]
        return tuple(dict.fromkeys((self.compared, *objectives, *TASKS[self.run.task].shown)))

    @property
    def higher_is_better(self) -> bool:
        """Of the compared metric."""
        return TASKS[self.run.task].metrics[self.compared] == "Maximize"

    @property
    def judged(self) -> int:
        """How many rows the contenders are judged on."""
        return len(self.winner.predictions)

    @cached_property
    def _resampled(self) -> list[dict[str, Floats]]:
        measures = [contender.predictions.measure for contender in self.contenders]
        return bootstrap(measures, self.judged, seed=self.run.sampler.seed)

    def confidence(self, contender: int, metric: str) -> tuple[float, float]:
        """95 % bootstrap interval."""
        return interval(self._resampled[contender][metric])

    def advantage(self, contender: int) -> tuple[float, float, float]:
        """How much better the winner is than another one by the compared metric: difference, low, high (95 %)."""
        sign = 1.0 if self.higher_is_better else -1.0
        ours, theirs = self.winner.metrics[self.compared], self.contenders[contender].metrics[self.compared]
        low, high = interval(sign * (self._resampled[0][self.compared] - self._resampled[contender][self.compared]))
        return sign * (ours - theirs), low, high
