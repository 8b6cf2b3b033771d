"""What the operator writes under `status`. `phase`, `progress` and `best` are for people; nothing branches on them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from .base import Model, Scalar
from .conditions import Condition


class TrialCounts(Model):
    """Logical trials by state; a chain of retries is one trial."""

    waiting: int = 0
    running: int = 0
    complete: int = 0
    pruned: int = 0
    infeasible: int = 0
    failed: int = 0
    retried: int = 0

    @property
    def finished(self) -> int:
        """Trials that will not change any more."""
        return self.complete + self.pruned + self.infeasible + self.failed


class BestTrial(Model):
    """A feasible finished trial.

    Attributes:
        value: of the first objective. values: of all of them, in their order; left out where there is one.
    """

    trial: int
    value: float
    values: tuple[float, ...] | None = Field(default=None, max_length=3)
    parameters: dict[str, Scalar] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)


class Workers(Model):
    """Worker slots."""

    wanted: int = 0
    running: int = 0


class BudgetUsed(Model):
    """Seconds of GPU that trials have held; wasted = in attempts that produced no result."""

    gpu_seconds_used: float = 0.0
    gpu_seconds_wasted: float = 0.0


class ExportedModel(Model):
    """The exported best model, with all that endpoints compare models by.

    Attributes:
        digest: sha256 of its manifest.
        metrics: on the test rows, or on the validation rows where there are no test rows.
        trial: number of the trial that trained it.
        metric: the study's first objective; `direction` which way is better, `value` what the model has of it.
        test_digest: sha256 over the test rows; only models with the same one are comparable.
        task: what kind of server it needs.
    """

    uri: str
    digest: str
    metrics: dict[str, float] = Field(default_factory=dict)
    trial: int | None = None
    metric: str | None = None
    direction: str | None = None
    value: float | None = None
    test_digest: str | None = None
    task: str | None = None


class StudyStatus(Model):
    """`status` of an `AutoGLMStudy`."""

    observed_generation: int | None = None
    phase: str | None = None
    progress: str | None = None
    conditions: tuple[Condition, ...] = ()
    trials: TrialCounts = TrialCounts()
    workers: Workers = Workers()
    best: BestTrial | None = None
    top: tuple[BestTrial, ...] = Field(default=(), max_length=10)
    pareto_front: tuple[BestTrial, ...] = Field(default=(), max_length=10)
    budget: BudgetUsed = BudgetUsed()
    model: ExportedModel | None = None
    warm_start: str | None = None
    start_time: datetime | None = None
    completion_time: datetime | None = None


class ServedModel(Model):
    """A model in an endpoint's life: where it came from, what it measured, since when."""

    digest: str
    uri: str
    study: str | None = None
    trial: int | None = None
    metric: str | None = None
    direction: str | None = None
    value: float | None = None
    test_digest: str | None = None
    task: str | None = None
    since: datetime | None = None


class EndpointStatus(Model):
    """`status` of an `AutoGLMEndpoint`."""

    observed_generation: int | None = None
    phase: str | None = None
    url: str | None = None
    conditions: tuple[Condition, ...] = ()
    ready_replicas: int = 0
    champion: ServedModel | None = None
    candidate: ServedModel | None = None
    previous: ServedModel | None = None
