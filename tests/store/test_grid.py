"""A grid: every point once, whoever is killed, and no more of them waiting than needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from tests.store.studies import ME, make_run, make_study, reload, train_all

from autoglm_api.attempts import Limits
from autoglm_api.base import Scalar
from autoglm_api.conditions import Reason
from autoglm_api.exits import Cause
from autoglm_api.names import optuna_study_name
from autoglm_api.run import Run
from autoglm_store import grid
from autoglm_store.attempts import create_retry, fail, settle_lost_claim, tell, void
from autoglm_store.claim import Nothing, claim
from autoglm_store.creation import refill_grid
from autoglm_store.ledger import as_point, counts, end_reason, retries_due
from autoglm_store.limits import write_limits
from autoglm_store.points import Assignment, next_assignment

METHOD = {"name": "method", "categorical": {"choices": ["head", "lora"]}}
RANK = {"name": "rank", "int": {"min": 2, "max": 6, "step": 2}, "when": {"parameter": "method", "in": ["lora"]}}
SHARE = {"name": "share", "float": {"min": 0.0, "max": 0.3, "step": 0.1}}
SPACE = [METHOD, RANK, SHARE]
POINTS = 4 * (1 + 3)


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"journal://{tmp_path}/journal.log"


def run_of(maximum: int = 100, **changes: Any) -> tuple[Run, Limits]:
    return make_run(SPACE, trials={"max": maximum, "retries": 1}, sampler={"type": "Grid", "seed": 2}, **changes)


def tried(study: optuna.Study) -> list[dict[str, Scalar]]:
    return [trial.params for trial in study.get_trials() if trial.state == TrialState.COMPLETE]


def test_every_point_of_a_conditional_space_is_trained_once_and_ends_the_study(url: str) -> None:
    run, limits = run_of()
    study = make_study(url, run, limits)
    other = reload(url, run)
    taken = [next_assignment(each, run, ME) for _ in range(8) for each in (study, other)]
    assert next_assignment(other, run, ME) == Nothing()
    for given in taken:
        assert isinstance(given, Assignment)
        tell(study, given.trial, TrialState.COMPLETE, 0.5)
    assert next_assignment(study, run, ME) == Nothing(Reason.SPACE_EXHAUSTED)
    points = tried(study)
    assert len(points) == len({as_point(point) for point in points}) == POINTS
    assert all(("rank" in point) == (point["method"] == "lora") for point in points)


def test_a_smaller_budget_takes_points_from_all_over_the_grid(journal: str) -> None:
    run, limits = run_of(maximum=6)
    study = make_study(journal, run, limits)
    assert train_all(study, run) == Nothing(Reason.MAX_TRIALS)
    points = tried(study)
    assert len({as_point(point) for point in points}) == 6
    assert len({point["share"] for point in points}) > 2
    raised = limits.model_copy(update={"max": POINTS})
    write_limits(study, raised)
    assert next_assignment(study, run, ME) == Nothing(), "points come from the operator alone"
    grid.enqueue(study, grid.points_due(study.get_trials(), run, raised))
    assert train_all(study, run) == Nothing(Reason.SPACE_EXHAUSTED)
    assert len({as_point(point) for point in tried(study)}) == POINTS


def test_points_wait_in_batches_and_two_operators_enqueue_none_twice(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "QUEUED", 4)
    run, limits = run_of()
    study = make_study(url, run, limits)
    name = optuna_study_name(run.namespace, run.name, run.uid)
    assert len(study.get_trials()) == 4
    for number in range(POINTS):
        for _ in range(0 if number % 3 else 2):
            refill_grid(url, name, run, limits)
        assert sum(trial.state == TrialState.WAITING for trial in study.get_trials()) <= 4
        given = next_assignment(study, run, ME)
        if isinstance(given, Assignment):
            tell(study, given.trial, TrialState.COMPLETE, 0.5)
    assert next_assignment(study, run, ME) == Nothing(Reason.SPACE_EXHAUSTED)
    assert len({as_point(point) for point in tried(study)}) == len(study.get_trials()) == POINTS


def test_yours_come_first_and_are_not_repeated(journal: str) -> None:
    run, limits = run_of(enqueue=[{"method": "lora", "rank": 4, "share": 0.0}])
    study = make_study(journal, run, limits)
    train_all(study, run)
    points = tried(study)
    assert points[0] == {"method": "lora", "rank": 4, "share": 0.0}
    assert len(points) == len({as_point(point) for point in points}) == POINTS


def test_lost_claims_failures_and_voided_claims_lose_no_point(journal: str) -> None:
    run, limits = run_of()
    study = make_study(journal, run, limits)
    study.ask()  # killed before it could sign
    settle_lost_claim(study, study.get_trials()[0])
    void(study, study.get_trials()[1])  # claimed when `max` was lower
    granted = claim(study, run, ME)
    assert not isinstance(granted, Nothing)
    fail(study, granted.attempt, Cause.TASK_ERROR, "bug")
    for _ in range(3):
        for trial in retries_due(study.get_trials(), limits):
            create_retry(study, trial)
        grid.enqueue(study, grid.points_due(study.get_trials(), run, limits))
        ending = train_all(study, run)
    assert ending == Nothing(Reason.SPACE_EXHAUSTED)
    assert len({as_point(point) for point in tried(study)}) == POINTS
    assert counts(study.get_trials(), limits).finished == POINTS


def test_a_point_that_always_fails_does_not_keep_the_study_open(journal: str) -> None:
    run, limits = run_of()
    limits = limits.model_copy(update={"max_failed": POINTS, "retries": 0})
    study = make_study(journal, run, limits)
    while not isinstance(granted := claim(study, run, ME), Nothing):
        fail(study, granted.attempt, Cause.TASK_ERROR, "before it had suggested anything")
    assert granted.reason == Reason.SPACE_EXHAUSTED
    assert end_reason(study.get_trials(), run, limits, study.get_trials()[0].datetime_start) == granted.reason  # type: ignore[arg-type]


def test_a_worker_that_asked_for_a_point_another_one_took_makes_none_up(journal: str) -> None:
    run, limits = run_of()
    study, other = make_study(journal, run, limits), reload(journal, run)
    ask = study.ask

    def ask_late() -> Any:
        while not isinstance(next_assignment(other, run, ME), Nothing):
            pass
        return ask()

    study.ask = ask_late  # type: ignore[method-assign]
    assert next_assignment(study, run, ME) == Nothing()
    assert counts(study.get_trials(), limits).running == POINTS
