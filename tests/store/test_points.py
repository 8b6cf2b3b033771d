from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from autoglm_api.attempts import TrialAttribute
from autoglm_api.conditions import Reason
from autoglm_api.exits import Cause
from autoglm_store.attempts import create_retry, fail, infeasible, set_attribute, tell
from autoglm_store.claim import Nothing, claim
from autoglm_store.ledger import best, counts, tried_points, whole_point
from autoglm_store.limits import is_exhausted
from autoglm_store.points import Assignment, next_assignment
from autoglm_store.samplers import build_sampler
from autoglm_store.sampling import PointSampler, suggest, training_seed

from .studies import ME, X, make_run, make_study, train_all

COLOUR = {"name": "colour", "categorical": {"choices": ["red", "green"]}}
SPACE = [
    {"name": "method", "categorical": {"choices": ["head", "lora"]}},
    {"name": "rate", "float": {"min": 1e-5, "max": 1e-2, "log": True}, "when": {"parameter": "method", "in": ["lora"]}},
    {"name": "rank", "int": {"min": 4, "max": 64, "log": True}, "when": {"parameter": "method", "in": ["lora"]}},
    {"name": "size", "int": {"min": 1, "max": 10, "step": 4}},
    {"name": "share", "float": {"min": 0.0, "max": 1.0, "step": 0.3}},
]


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"journal://{tmp_path}/journal.log"


def take(study: optuna.Study, run: Any) -> Assignment:
    assignment = next_assignment(study, run, ME)
    assert isinstance(assignment, Assignment)
    return assignment


def test_points_follow_conditions_steps_and_the_way_choices_were_written(journal: str) -> None:
    run, limits = make_run(SPACE, trials={"max": 40}, sampler={"type": "TPE", "seed": 1, "startupTrials": 10})
    study = make_study(journal, run, limits)
    methods = set()
    while isinstance(assignment := next_assignment(study, run, ME), Assignment):
        point = assignment.parameters
        assert ({"rate", "rank"} <= point.keys()) == (point["method"] == "lora")
        assert point["size"] in (1, 5, 9)
        assert isinstance(point["share"], float)
        assert round(point["share"], 9) in (0.0, 0.3, 0.6, 0.9)
        methods.add(point["method"])
        tell(study, assignment.trial, TrialState.COMPLETE, float(point["share"]))
    assert methods == {"head", "lora"}


def test_an_enqueued_whole_number_comes_back_as_the_choice_that_was_written(journal: str) -> None:
    given = [{"name": "rate", "categorical": {"choices": [1.0, 2.0]}}, {"name": "x", "float": {"min": 0, "max": 2}}]
    run, limits = make_run(given, enqueue=[{"rate": 1, "x": 1}])
    point = take(make_study(journal, run, limits), run).parameters
    assert [type(value) for value in point.values()] == [float, float]


def test_one_worker_with_one_seed_reproduces_a_study(tmp_path: Path) -> None:
    run, limits = make_run(SPACE, trials={"max": 15}, sampler={"type": "TPE", "seed": 3, "startupTrials": 4})
    histories = []
    for copy in range(2):
        study = make_study(f"journal://{tmp_path}/{copy}.log", run, limits)
        train_all(study, run)
        histories.append([trial.params for trial in study.get_trials()])
    assert histories[0] == histories[1]


def test_training_seeds_belong_to_the_logical_trial() -> None:
    run, _ = make_run()
    assert training_seed(run, 3) == training_seed(run, 3)
    assert len({training_seed(run, number) for number in range(100)}) == 100


def test_a_duplicate_of_a_finished_trial_gets_its_result_without_training(journal: str) -> None:
    run, limits = make_run(trials={"max": 3}, enqueue=[{"x": 0.5}, {"x": 0.5}])
    study = make_study(journal, run, limits)
    first = take(study, run)
    set_attribute(study, first.trial, TrialAttribute.METRICS, {"accuracy": 0.75})
    first.trial.set_constraint("0:loss", 2.0)
    tell(study, first.trial, TrialState.COMPLETE, 0.75)
    third = take(study, run)
    twin = study.get_trials()[1]
    assert third.trial.number == 2
    assert (twin.state, twin.value, twin.constraints) == (TrialState.COMPLETE, 0.75, {"0:loss": 2.0})
    assert twin.user_attrs[TrialAttribute.DUPLICATE_OF] == 0
    assert twin.user_attrs[TrialAttribute.METRICS] == {"accuracy": 0.75}


def test_a_twin_of_a_running_trial_is_trained(journal: str) -> None:
    run, limits = make_run(enqueue=[{"x": 0.5}, {"x": 0.5}])
    study = make_study(journal, run, limits)
    assert [take(study, run).parameters["x"] for _ in range(2)] == [0.5, 0.5]


def test_after_five_duplicates_in_a_row_a_free_point_is_drawn(journal: str) -> None:
    run, limits = make_run([COLOUR], trials={"max": 30})
    study = make_study(journal, run, limits)
    study.sampler = PointSampler({"colour": "red"})
    tell(study, take(study, run).trial, TrialState.COMPLETE, 0.5)
    assignment = take(study, run)
    assert (assignment.trial.number, assignment.parameters) == (6, {"colour": "green"})


def test_a_space_without_free_points_ends_the_study(url: str) -> None:
    run, limits = make_run([COLOUR], trials={"max": 30})
    study = make_study(url, run, limits)
    assert train_all(study, run) == Nothing(Reason.SPACE_EXHAUSTED)
    trained = [trial for trial in study.get_trials() if TrialAttribute.DUPLICATE_OF not in trial.user_attrs]
    assert sorted(trial.params["colour"] for trial in trained) == ["green", "red"]
    assert counts(study.get_trials(), limits).finished < 10


def test_a_space_whose_last_point_is_failing_is_exhausted_too(journal: str) -> None:
    run, limits = make_run([COLOUR], trials={"max": 30, "maxFailed": 20, "retries": 0}, sampler={"type": "Random"})
    study = make_study(journal, run, limits)
    while not isinstance(assignment := next_assignment(study, run, ME), Nothing):
        if assignment.parameters["colour"] == "red":
            tell(study, assignment.trial, TrialState.COMPLETE, 0.5)
        else:
            set_attribute(study, assignment.trial, TrialAttribute.CAUSE, "TaskError")
            tell(study, assignment.trial, TrialState.FAIL)
    assert assignment.reason == Reason.SPACE_EXHAUSTED


def test_exhaustion_found_by_a_draw_is_written_for_the_operator(journal: str) -> None:
    run, limits = make_run([COLOUR], trials={"max": 30}, enqueue=[{"colour": "red"}] * 6 + [{"colour": "green"}])
    study = make_study(journal, run, limits)
    tell(study, take(study, run).trial, TrialState.COMPLETE, 0.5)
    tell(study, take(study, run).trial, TrialState.COMPLETE, 0.5)
    assert train_all(study, run).reason == Reason.SPACE_EXHAUSTED
    assert counts(study.get_trials(), limits).running == 0
    assert is_exhausted(study) or counts(study.get_trials(), limits).finished == 7


def test_infeasible_points_are_shunned_by_the_sampler_and_never_best(journal: str) -> None:
    run, limits = make_run([X], trials={"max": 30}, sampler={"type": "TPE", "seed": 5, "startupTrials": 8})
    study = make_study(journal, run, limits)
    late = []
    while not isinstance(granted := claim(study, run, ME), Nothing):
        x = suggest(granted.trial, run.parameters)["x"]
        assert isinstance(x, float)
        if x > 0.5:
            granted.trial.report(1000.0 * x, 1)
            infeasible(study, granted.attempt, "OutOfMemory", "does not fit")
        else:
            tell(study, granted.trial, TrialState.COMPLETE, x)
        late += [x] if granted.trial.number >= 15 else []
    leader = best(study.get_trials(), run)
    assert leader is not None
    assert leader.params["x"] <= 0.5
    assert sum(x <= 0.5 for x in late) > len(late) / 2
    assert counts(study.get_trials(), limits).infeasible > 0


def test_the_startup_trials_of_the_run_reach_the_sampler() -> None:
    run, _ = make_run(sampler={"type": "TPE", "seed": 1, "startupTrials": 3})
    study = optuna.create_study(sampler=build_sampler(run))
    trial = study.ask()
    assert math.isfinite(suggest(trial, run.parameters)["x"])  # type: ignore[arg-type]
    assert study.sampler._sampler._n_startup_trials == 3  # type: ignore[attr-defined]


def test_a_point_of_which_the_task_makes_something_new_each_time_is_no_duplicate(journal: str) -> None:
    run, limits = make_run([COLOUR], trials={"max": 4}, enqueue=[{"colour": "red"}, {"colour": "red"}])
    study = make_study(journal, run, limits)
    first = take(study, run)
    set_attribute(study, first.trial, TrialAttribute.DERIVED, {"colour": "crimson"})
    tell(study, first.trial, TrialState.COMPLETE, 0.5)
    second = take(study, run)
    assert second.trial.number == 1
    assert whole_point(study.get_trials()[0]) == {"colour": "crimson"}
    assert tried_points(study.get_trials(), run) == set()


def test_a_retry_keeps_what_the_task_has_made_of_its_point(journal: str) -> None:
    run, limits = make_run([COLOUR], trials={"max": 1})
    study = make_study(journal, run, limits)
    first = take(study, run)
    set_attribute(study, first.trial, TrialAttribute.DERIVED, {"colour": "crimson"})
    fail(study, study.get_trials()[0], Cause.LOST, "gone")
    create_retry(study, study.get_trials()[0])
    assert take(study, run).attempt.user_attrs[TrialAttribute.DERIVED] == {"colour": "crimson"}
