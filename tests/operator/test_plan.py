"""Plans for situations that people know: a study's course, its ends, and its edits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from optuna.trial import TrialState
from tests.operator.simulation import (
    START,
    Simulation,
    leave,
    make_spec,
    make_study,
    running,
    work,
    workers,
)

from autoglm_api.attempts import StudyAttribute, TrialAttribute
from autoglm_api.conditions import Reason
from autoglm_api.exits import Cause
from autoglm_api.exits import Termination as LastWords
from autoglm_operator import actions as act
from autoglm_operator.plan import plan
from autoglm_store import grid
from autoglm_store.ledger import FIXED_PARAMETERS


def test_a_new_study_is_created_in_the_database_before_its_first_job() -> None:
    decided = plan(Simulation().observe(), START, Simulation().settings)
    kinds = [type(action).__name__ for action in decided.actions]
    assert kinds == ["Create", "CreateStudy", "Create", "Create", "WriteStatus", "EmitEvent"]
    assert [action.body["kind"] for action in decided.actions if isinstance(action, act.Create)] == [
        "PersistentVolumeClaim",
        "Job",
        "Job",
    ]


def test_a_task_that_was_chosen_is_told_with_the_reason() -> None:
    data = {"train": {"source": "s3://bucket/train.csv"}, "columns": {"text": "review"}}
    world = Simulation(study=make_study(spec=make_spec(task="auto", data=data)))
    world.settle()
    assert any(
        "accepted as text-classification, since data.columns names text" in each.message for each in world.events
    )
    assert world.attributes[StudyAttribute.RUN]["task"] == "text-classification"


def test_a_study_runs_exports_once_and_is_complete() -> None:
    world = running()
    work(world, 0.5, 0.9, 0.7, 0.6, 0.8, 0.4)
    leave(world)
    world.settle()
    assert world.study.status.phase == "Exporting"
    assert world.limits().stop
    [export] = world.active("export")
    world.settle()
    assert world.active("export") == [export]

    world.start_pods()
    world.export()
    world.exit(world.pods[f"{export.name}-x"], 0)
    world.settle()

    status = world.study.status
    assert (status.phase, status.progress) == ("Complete", "6/6")
    assert world.says("Complete") == Reason.MAX_TRIALS
    assert world.ready() == ("True", "Complete")
    assert status.best is not None
    assert status.best.value == 0.9
    assert status.model is not None
    assert (status.model.metric, status.model.direction, status.model.value) == ("accuracy", "Maximize", 0.9)


def test_goal_stops_running_trials() -> None:
    world = running(objectives=[{"metric": "accuracy", "direction": "Maximize", "goal": 0.9}])
    second = workers(world)[1]
    world.claim_trial(second)
    work(world, 0.95)
    world.step()
    assert world.active() == []
    world.settle()
    assert world.trials[0].user_attrs["autoglm:cause"] == Cause.STOPPED
    assert len(world.active("export")) == 1
    assert plan(world.observe(), world.now, world.settings).status.phase == "Exporting"


TWO = [{"metric": "accuracy", "direction": "Maximize"}, {"metric": "loss", "direction": "Minimize"}]


def test_several_objectives_show_best_and_front_and_name_the_first_for_endpoints() -> None:
    world = running(objectives=TWO)
    work(world, [0.5, 0.1], [0.9, 0.4], [0.8, 0.5], [0.9, 0.4], [0.2, 0.05], [0.1, 0.3])
    leave(world)
    world.settle()
    world.start_pods()
    world.export()
    [export] = world.active("export")
    world.exit(world.pods[f"{export.name}-x"], 0)
    world.settle()
    status = world.study.status
    assert status.best is not None
    assert (status.best.trial, status.best.value, status.best.values) == (1, 0.9, (0.9, 0.4))
    assert [member.trial for member in status.pareto_front] == [1, 0, 4]
    assert status.top == ()
    assert status.model is not None
    assert (status.model.metric, status.model.direction) == ("accuracy", "Maximize")


def test_all_goals_must_be_reached_by_one_trial() -> None:
    world = running(objectives=[{**TWO[0], "goal": 0.8}, {**TWO[1], "goal": 0.2}])
    work(world, [0.9, 0.4], [0.7, 0.1])
    world.settle()
    assert world.study.status.phase == "Running"
    work(world, [0.8, 0.2])
    world.settle()
    [complete] = [said for said in world.study.status.conditions if said.type == "Complete"]
    assert complete.message == "trial 2 reached accuracy 0.8 (the goal is 0.8) and loss 0.2 (the goal is 0.2)"
    assert world.study.status.best is not None
    assert world.study.status.best.trial == 2


def test_deadline_without_any_result_fails() -> None:
    world = running(budget={"deadline": (START + timedelta(hours=1)).isoformat()})
    world.pass_time(3601)
    world.settle()
    assert world.says("Failed") == Reason.NO_FEASIBLE_TRIAL
    assert world.active() == []


def test_more_failures_than_allowed_fail_the_study() -> None:
    world = running()
    work(world, 0.5, None, None, None)
    world.settle()
    assert world.says("Failed") is None
    work(world, None)
    world.settle()
    assert world.says("Failed") == Reason.TOO_MANY_FAILED
    assert world.ready() == ("False", Reason.TOO_MANY_FAILED)


def test_why_a_trial_failed_is_told_while_the_study_runs_and_when_it_gives_up() -> None:
    world = running()
    told = []
    for loss in ("nan", "inf", "-inf", "0/0"):
        world.pass_time(10)
        number = world.claim_trial(workers(world)[0])
        assert number is not None
        world.trials[number].user_attrs[TrialAttribute.MESSAGE] = f"the metric loss is {loss}"
        world.end(number, TrialState.FAIL, cause=Cause.NON_FINITE)
        world.settle()
        told += [said.message for said in world.study.status.conditions if said.type == "Ready"]
    assert told == [
        "trials are running; 1 has failed; the last one was trial 0: NonFiniteMetric: the metric loss is nan",
        "trials are running; 2 have failed; the last one was trial 1: NonFiniteMetric: the metric loss is inf",
        "trials are running; 3 have failed; the last one was trial 2: NonFiniteMetric: the metric loss is -inf",
        "4 trials failed; trials.maxFailed allows 3; the last one was trial 3: NonFiniteMetric: the metric loss is 0/0",
    ]


def test_data_error_of_a_worker_fails_the_study_at_once_with_its_words() -> None:
    world = running()
    words = LastWords(cause=Cause.DATA, message="s3://bucket/train.csv has no column text").model_dump_json()
    world.exit(workers(world)[0], 65, message=words)
    world.settle()
    assert world.says("Failed") == Reason.DATA_ERROR
    [failed] = [said for said in world.study.status.conditions if said.type == "Failed"]
    assert "no column text" in failed.message
    assert StudyAttribute.FATAL in world.attributes
    assert world.active() == []


def test_lost_worker_is_replaced_and_its_trial_tried_again() -> None:
    world = running()
    pod = workers(world)[0]
    number = world.claim_trial(pod)
    assert number is not None
    world.vanish(pod)
    world.settle()
    world.pass_time(11)
    world.settle()
    assert world.trials[number].user_attrs["autoglm:cause"] == Cause.LOST
    assert [t.user_attrs["autoglm:retry_of"] for t in world.trials.values() if "autoglm:retry_of" in t.user_attrs] == [
        number
    ]
    assert len(world.active()) == 2


def test_lower_parallel_takes_idle_workers_and_keeps_trials() -> None:
    world = running(trials={"max": 20, "parallel": 4})
    busy = workers(world)[2]
    world.claim_trial(busy)
    world.edit_trials(parallel=1)
    world.settle()
    assert [pod.name for pod in workers(world)] == [busy.name]


def test_fewer_trials_left_than_workers_takes_no_running_worker() -> None:
    world = running(trials={"max": 20, "parallel": 4})
    world.edit_trials(max=1)
    world.settle()
    assert len(world.active()) == 4
    assert world.limits().max == 1


def test_no_more_workers_than_trials_are_started() -> None:
    world = Simulation(make_study(spec=make_spec(trials={"max": 2, "parallel": 6})))
    world.settle()
    assert len(world.active()) == 2


def test_raised_max_reaches_workers_and_slots() -> None:
    world = running(trials={"max": 1, "parallel": 3})
    assert len(world.active()) == 1
    world.edit_trials(max=9)
    world.settle()
    assert (world.limits().max, len(world.active())) == (9, 3)


def test_suspended_study_has_no_jobs_and_goes_on_with_its_counts() -> None:
    world = running()
    work(world, 0.5)
    world.edit(suspend=True)
    world.settle()
    assert world.active() == []
    assert (world.ready(), world.says("Suspended")) == (("True", "Suspended"), "Suspended")
    world.edit(suspend=False)
    world.settle()
    assert len(world.active()) == 2
    assert world.study.status.trials.complete == 1


def test_edited_immutable_is_named_and_ignored() -> None:
    world = running()
    world.edit(sampler={"seed": 9})
    world.settle()
    assert world.ready() == ("False", Reason.SPEC_CHANGED)
    [ready] = [said for said in world.study.status.conditions if said.type == "Ready"]
    assert "spec.sampler" in ready.message
    assert len(world.active()) == 2


def test_status_is_written_at_most_every_five_seconds_unless_a_condition_changes() -> None:
    world = running()
    world.pass_time(10)
    work(world, 0.5)
    world.settle()
    work(world, 0.6)
    decided = world.settle()
    assert world.study.status.trials.complete == 1
    assert decided.requeue_seconds == 5.0
    world.pass_time(5)
    world.settle()
    assert world.study.status.trials.complete == 2
    world.edit(suspend=True)
    world.settle()
    assert world.says("Suspended")


def test_transition_times_change_only_with_the_status() -> None:
    world = running()
    [before] = [said for said in world.study.status.conditions if said.type == "Ready"]
    world.pass_time(60)
    work(world, 0.5)
    world.settle()
    [after] = [said for said in world.study.status.conditions if said.type == "Ready"]
    assert after.last_transition_time == before.last_transition_time


def test_a_grid_ends_with_its_last_point_and_wants_no_worker_beyond() -> None:
    space = [{"name": "epochs", "int": {"min": 1, "max": 3}}]
    world = running(parameters=space, sampler={"type": "Grid"}, trials={"max": 50, "parallel": 8})
    assert len(workers(world)) == 3
    assert world.study.status.progress == "0/3"
    work(world, 0.5, 0.6, 0.7)
    leave(world)
    world.settle()
    complete = next(said for said in world.study.status.conditions if said.type == "Complete")
    assert "all 3 points of the grid" in complete.message


def test_a_grid_is_refilled_while_it_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "QUEUED", 4)
    space = [{"name": "epochs", "int": {"min": 1, "max": 12}}]
    world = running(parameters=space, sampler={"type": "Grid"}, trials={"max": 10, "parallel": 2})
    for _ in range(10):
        waiting = [trial for trial in world.trials.values() if trial.state is TrialState.WAITING]
        assert len(waiting) <= 4
        work(world, 0.5)
        world.settle()
    points = [trial.system_attrs[FIXED_PARAMETERS]["epochs"] for trial in world.trials.values()]
    assert len(points) == len(set(points)) == 10
    assert world.study.status.progress == "10/10"
