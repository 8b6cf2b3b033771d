"""Metrics: the documented table is what is exposed, and a study's series come and go with it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from autoglm_api.status import BestTrial, StudyStatus
from autoglm_api.study import Objective
from autoglm_operator.metrics import REGISTRY, STUDY_SERIES, StudySeries

PAGE = Path(__file__).parents[2] / "docs/reference/metrics.md"
OBJECTIVES = (
    Objective(metric="accuracy", direction="Maximize"),
    Objective(metric="latency_p95_ms", direction="Minimize"),
    Objective(metric="loss", direction="Minimize"),
)
STATUS = StudyStatus(phase="Running", best=BestTrial(trial=3, value=0.9))


def exposed() -> dict[str, tuple[str, list[str]]]:
    found = {}
    for metric in REGISTRY.collect():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        found[name] = (metric.type, metric.documentation)
    return found


def test_documented_table_is_what_is_exposed() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    assert dict(rows) == {name: kind for name, (kind, _) in exposed().items()}


def test_documented_labels_are_the_labels() -> None:
    STUDY_SERIES.show("team-a", "intents", STATUS, OBJECTIVES)
    try:
        for name, labels in re.findall(r"^\| `(\w+)` \| \w+ \| ([^|]*) \|", PAGE.read_text(), re.MULTILINE):
            collector = REGISTRY._names_to_collectors.get(name.removesuffix("_total"))
            known = getattr(collector, "_labelnames", None)
            if known is None:
                [metric] = [metric for metric in STUDY_SERIES.collect() if metric.name == name]
                known = tuple(metric.samples[0].labels)
            assert re.findall(r"`(\w+)`", labels) == list(known), name
    finally:
        STUDY_SERIES.forget("team-a", "intents")


def samples(series: StudySeries) -> int:
    return sum(len(metric.samples) for metric in series.collect() if metric.name.startswith("autoglm_study_"))


def test_a_study_has_at_most_fourteen_gauges_until_an_hour_after_its_end() -> None:
    series = StudySeries()
    series.show("team-a", "intents", STATUS, OBJECTIVES[:1])
    assert samples(series) == 12
    trials = (
        BestTrial(trial=1, value=0.9, values=(0.9, 30, 0.2)),
        BestTrial(trial=2, value=0.8, values=(0.8, 10, 0.3)),
    )
    several = STATUS.model_copy(update={"best": trials[0], "pareto_front": trials})
    series.show("team-a", "intents", several, OBJECTIVES)
    assert samples(series) == 14
    [best] = [metric for metric in series.collect() if metric.name == "autoglm_study_best_value"]
    known = {sample.labels["metric"]: sample.value for sample in best.samples}
    assert known == {"accuracy": 0.9, "latency_p95_ms": 10, "loss": 0.2}

    ended = datetime.now(UTC) - timedelta(minutes=59)
    series.show("team-a", "intents", STATUS.model_copy(update={"completion_time": ended}))
    assert samples(series) > 0

    series.show("team-a", "intents", STATUS.model_copy(update={"completion_time": ended - timedelta(minutes=2)}))
    assert samples(series) == 0


def test_a_deleted_study_has_no_gauges() -> None:
    series = StudySeries()
    series.show("team-a", "intents", STATUS)
    series.forget("team-a", "intents")
    assert samples(series) == 0
