from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoglm_api.attempts import Fatal, TrialAttribute
from autoglm_api.conditions import Reason
from autoglm_api.exits import Cause
from autoglm_store.ledger import best, counts, end_reason, gpu_seconds, retries_due, top, would_lead

from .studies import make_run

RUN, LIMITS = make_run(trials={"max": 4, "maxFailed": 1, "retries": 1})
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def trial(number: int, state: TrialState, value: float | None = None, x: float | None = None, **attributes: Any) -> Any:
    constraints = attributes.pop("constraints", None)
    made = create_trial(
        state=state,
        value=value,
        params={} if x is None else {"x": x},
        distributions={} if x is None else {"x": FloatDistribution(0, 1)},
        user_attrs={TrialAttribute[key.upper()]: given for key, given in attributes.items()},
        constraints=constraints,
    )
    made.number = number
    return made


def complete(number: int, value: float, **attributes: Any) -> FrozenTrial:
    return trial(number, TrialState.COMPLETE, value, **attributes)


def failed(number: int, cause: Cause, **attributes: Any) -> FrozenTrial:
    return trial(number, TrialState.FAIL, cause=cause, **attributes)


def test_best_is_feasible_finite_ours_and_no_copy() -> None:
    trials = [
        complete(0, 0.5),
        complete(1, 0.9, constraints={"latency": 3.0}),
        complete(2, float("inf")),
        complete(3, 0.9, imported=True),
        complete(4, 0.9, void=True),
        complete(5, 0.7, constraints={"latency": -1.0}),
        complete(6, 0.7, duplicate_of=5),
        trial(7, TrialState.PRUNED, 0.8),
    ]
    assert [each.number for each in top(trials, RUN)] == [5, 0]
    assert best(trials, RUN) is trials[5]
    assert best(trials[1:5], RUN) is None


def test_of_equal_trials_the_older_one_is_best_and_minimising_turns_the_order() -> None:
    loss, _ = make_run(objectives=[{"metric": "loss", "direction": "Minimize"}])
    trials = [complete(0, 0.5), complete(1, 0.5), complete(2, 0.1)]
    assert [each.number for each in top(trials, RUN)] == [0, 1, 2]
    assert [each.number for each in top(trials, loss)] == [2, 0, 1]
    assert would_lead([0.6], trials, RUN, 3)
    assert not would_lead([0.1], trials, RUN, 3)
    assert would_lead([0.0], trials, loss, 3)


def test_a_chain_of_retries_is_one_trial_that_stands_where_its_last_attempt_stands() -> None:
    trials = [
        failed(0, Cause.LOST),
        trial(1, TrialState.RUNNING, owner={}, x=0.5),
        complete(2, 0.3, origin=0, retry_of=0, attempt=2),
        failed(3, Cause.TASK_ERROR),
        trial(4, TrialState.PRUNED, infeasible=True, cause=Cause.OUT_OF_MEMORY),
        failed(5, Cause.STOPPED),
    ]
    tally = counts(trials, LIMITS.model_copy(update={"max": 10}))
    assert tally.model_dump() == {
        "waiting": 1,  # trial 3, whose retry is due
        "running": 1,
        "complete": 1,
        "pruned": 1,  # trial 5 was given up because the study had ended
        "infeasible": 1,
        "failed": 0,
        "retried": 1,
    }
    assert [due.number for due in retries_due(trials, LIMITS.model_copy(update={"max": 10}))] == [3]


def test_no_retry_is_due_twice_nor_after_the_last_one_nor_while_stopping() -> None:
    again = failed(1, Cause.TASK_ERROR, origin=0, retry_of=0, attempt=2)
    assert retries_due([failed(0, Cause.TASK_ERROR), again], LIMITS) == []
    assert retries_due([failed(0, Cause.LOST), again], LIMITS) == [again]
    assert retries_due([failed(0, Cause.LOST)], LIMITS.model_copy(update={"stop": True})) == []


@pytest.mark.parametrize(
    ("trials", "changes", "reason"),
    [
        ([], {}, None),
        ([complete(n, 0.5) for n in range(4)], {}, Reason.MAX_TRIALS),
        ([*(complete(n, 0.5) for n in range(3)), trial(3, TrialState.RUNNING, owner={})], {}, None),
        ([*(complete(n, 0.5) for n in range(3)), failed(3, Cause.LOST)], {}, None),
        ([], {"deadline": NOW - timedelta(seconds=1)}, Reason.DEADLINE),
        ([], {"deadline": NOW + timedelta(seconds=1)}, None),
        ([failed(0, Cause.NON_FINITE)], {}, None),
        ([failed(0, Cause.NON_FINITE), failed(1, Cause.TIMEOUT)], {}, Reason.TOO_MANY_FAILED),
    ],
)
def test_why_a_study_ends(trials: list[FrozenTrial], changes: dict[str, Any], reason: Reason | None) -> None:
    assert end_reason(trials, RUN, LIMITS.model_copy(update=changes), NOW) == reason


def test_a_goal_ends_the_study_once_a_feasible_trial_reaches_it() -> None:
    run, limits = make_run(objectives=[{"metric": "accuracy", "direction": "Maximize", "goal": 0.5}])
    assert end_reason([complete(0, 0.49)], run, limits, NOW) is None
    assert end_reason([complete(0, 0.5, constraints={"a": 1.0})], run, limits, NOW) is None
    assert end_reason([complete(0, 0.5)], run, limits, NOW) == Reason.GOAL_REACHED


def test_a_fatal_error_ends_the_study_before_anything_else() -> None:
    trials = [complete(n, 0.5) for n in range(4)]
    assert end_reason(trials, RUN, LIMITS, NOW, Fatal(cause=Cause.DATA, message="")) == Reason.DATA_ERROR
    assert end_reason(trials, RUN, LIMITS, NOW, Fatal(cause=Cause.SPEC, message="")) == Reason.SPEC_ERROR


def test_gpu_seconds_count_every_attempt_and_call_those_without_result_wasted() -> None:
    trials = [
        complete(0, 0.5, seconds=10.0, gpus=2),
        failed(1, Cause.RELEASED, seconds=5.0, gpus=2),
        complete(2, 0.5, seconds=7.0),
    ]
    assert gpu_seconds(trials) == (30.0, 10.0)
