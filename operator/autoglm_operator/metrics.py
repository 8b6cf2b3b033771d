"""What Prometheus sees. docs/reference/metrics.md lists every series, and a test holds it to this file.

Series of a single study are at most fourteen gauges and live until an hour after its end; histograms and counters
carry the namespace and the task only, so that no label grows without bound.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from autoglm_api.status import StudyStatus
from autoglm_api.study import Objective

REGISTRY = CollectorRegistry()
KEEP_AFTER_END = timedelta(hours=1)

_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TRIAL_BUCKETS = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400)

RECONCILE_SECONDS = Histogram(
    "autoglm_reconcile_seconds",
    "Duration of one reconcile, by kind.",
    ["kind"],
    registry=REGISTRY,
    buckets=_CALL_BUCKETS,
)
RECONCILE_ERRORS = Counter(
    "autoglm_reconcile_errors",
    "Reconciles that ended in an error and were scheduled again, by kind.",
    ["kind"],
    registry=REGISTRY,
)
QUEUE_DEPTH = Gauge("autoglm_queue_depth", "Objects waiting to be reconciled.", registry=REGISTRY)
STORAGE_SECONDS = Histogram(
    "autoglm_storage_seconds",
    "Duration of one call to a study database, by operation.",
    ["operation"],
    registry=REGISTRY,
    buckets=_CALL_BUCKETS,
)
STORAGE_ERRORS = Counter(
    "autoglm_storage_errors",
    "Calls to a study database that failed or were refused by its open circuit breaker, by operation.",
    ["operation"],
    registry=REGISTRY,
)
TRIAL_SECONDS = Histogram(
    "autoglm_trial_seconds",
    "Duration of one attempt of a trial, from claim to end, by namespace and task.",
    ["namespace", "task"],
    registry=REGISTRY,
    buckets=_TRIAL_BUCKETS,
)
PROMOTIONS = Counter(
    "autoglm_promotions",
    "Decisions of endpoints about candidates, by namespace and outcome (promoted, refused, rolled_back).",
    ["namespace", "outcome"],
    registry=REGISTRY,
)


@dataclass(frozen=True)
class _Study:
    status: StudyStatus
    ended: datetime | None
    objectives: tuple[Objective, ...]

    def best_values(self) -> Iterator[tuple[str, float]]:
        """Of each objective its metric, and the best value that a feasible trial has of it."""
        best = self.status.best
        trials = self.status.pareto_front or (() if best is None else (best,))
        results = [trial.values or (trial.value,) for trial in trials]
        for objective, values in zip(self.objectives, zip(*results, strict=True), strict=False):
            yield objective.metric, min(values, key=objective.cost)


class StudySeries(Collector):
    """The gauges that belong to single studies, taken from the last status that was planned."""

    def __init__(self) -> None:
        self._studies: dict[tuple[str, str], _Study] = {}

    def show(self, namespace: str, name: str, status: StudyStatus, objectives: Sequence[Objective] = ()) -> None:
        """Replace what is shown of a study; while its database is away, its objectives stay as they were."""
        before = self._studies.get((namespace, name))
        known = tuple(objectives) or (before.objectives if before is not None else ())
        self._studies[namespace, name] = _Study(status, status.completion_time, known)

    def forget(self, namespace: str, name: str) -> None:
        """Remove a study's series at once."""
        self._studies.pop((namespace, name), None)

    @override
    def collect(self) -> Iterator[Metric]:
        """All gauges, as Prometheus asks for them."""
        studies = GaugeMetricFamily(
            "autoglm_studies", "Studies, by namespace and phase.", labels=["namespace", "phase"]
        )
        phases = Tally((namespace, study.status.phase or "Pending") for (namespace, _), study in self._studies.items())
        for labels, count in sorted(phases.items()):
            studies.add_metric(labels, count)
        yield studies
        yield from self._single()

    def _single(self) -> Iterator[Metric]:
        names = ["namespace", "study"]
        trials = GaugeMetricFamily("autoglm_study_trials", "Logical trials, by state.", labels=[*names, "state"])
        workers = GaugeMetricFamily("autoglm_study_workers", "Worker slots: wanted, running.", labels=[*names, "state"])
        best = GaugeMetricFamily(
            "autoglm_study_best_value",
            "Best value of each objective among the feasible trials.",
            labels=[*names, "metric"],
        )
        gpu = GaugeMetricFamily(
            "autoglm_study_gpu_seconds",
            "GPU-seconds held by trials: used, and of these wasted.",
            labels=[*names, "kind"],
        )
        now = datetime.now(UTC)
        for key, study in sorted(self._studies.items()):
            if study.ended is not None and now - study.ended > KEEP_AFTER_END:
                continue
            for state, count in study.status.trials.model_dump().items():
                trials.add_metric([*key, state], count)
            workers.add_metric([*key, "wanted"], study.status.workers.wanted)
            workers.add_metric([*key, "running"], study.status.workers.running)
            for metric, value in study.best_values():
                best.add_metric([*key, metric], value)
            gpu.add_metric([*key, "used"], study.status.budget.gpu_seconds_used)
            gpu.add_metric([*key, "wasted"], study.status.budget.gpu_seconds_wasted)
        yield from (trials, workers, best, gpu)


STUDY_SERIES = StudySeries()
REGISTRY.register(STUDY_SERIES)
