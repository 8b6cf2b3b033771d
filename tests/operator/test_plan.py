"""Plans for situations that people know: a study's course, its ends, its edits, its deletion."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from optuna.trial import TrialState
from tests.operator.simulation import CONNECTED, DOWN, START, Simulation, make_spec, make_study

from autoglm_api.attempts import StudyAttribute
from autoglm_api.conditions import Reason
from autoglm_api.exits import Cause
from autoglm_api.exits import Termination as LastWords
from autoglm_api.names import FINALIZER
from autoglm_operator import actions as act
from autoglm_operator.observation import Pod, Storage
from autoglm_operator.plan import plan


def running(**spec: object) -> Simulation:
    """A study whose workers run."""
    world = Simulation(make_study(spec=make_spec(**spec)))
    world.settle()
    world.start_pods()
    world.settle()
    return world


def workers(world: Simulation) -> list[Pod]:
    return [pod for pod in world.alive() if "-w" in pod.name]


def work(world: Simulation, *values: float | None) -> None:
    """The first worker finishes one trial a value; None fails it."""
    for value in values:
        [pod, *_] = workers(world)
        number = world.claim_trial(pod)
        assert number is not None
        if value is None:
            world.end(number, TrialState.FAIL, cause=Cause.TIMEOUT)
        else:
            world.end(number, TrialState.COMPLETE, value=value)


def leave(world: Simulation) -> None:
    """All workers exit: nothing is left."""
    for pod in workers(world):
        world.exit(pod, 0)


def test_a_new_study_is_created_in_the_database_before_its_first_job() -> None:
    decided = plan(Simulation().observe(), START, Simulation().settings)
    kinds = [type(action).__name__ for action in decided.actions]
    assert kinds == ["Create", "CreateStudy", "Create", "Create", "WriteStatus", "EmitEvent"]
    assert [action.body["kind"] for action in decided.actions if isinstance(action, act.Create)] == [
        "PersistentVolumeClaim",
        "Job",
        "Job",
    ]


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
    world.vanish(pod)
    world.settle()
    world.pass_time(11)
    world.settle()
    assert world.trials[number].user_attrs["autoglm:cause"] == Cause.LOST
    assert [t.user_attrs["autoglm:retry_of"] for t in world.trials.values() if "autoglm:retry_of" in t.user_attrs] == [
        number
    ]
    assert len(world.active()) == 2


def test_a_slot_that_fails_again_and_again_waits_longer_each_time_and_says_so() -> None:
    world = running(trials={"max": 6, "parallel": 1})
    pauses = []
    for _ in range(8):
        [pod] = workers(world)
        world.exit(pod, 1, message="ImportError: no module named nothing")
        decided = world.settle()
        start = world.now
        while not world.active():
            assert decided.requeue_seconds is not None
            world.pass_time(decided.requeue_seconds)
            decided = world.settle()
        pauses.append((world.now - start).total_seconds())
        if len(pauses) == 4:
            assert world.says("Stalled") == Reason.WORKERS_FAILING
            [stalled] = [said for said in world.study.status.conditions if said.type == "Stalled"]
            assert "ImportError" in stalled.message
        world.start_pods()
        world.settle()
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]


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


def test_database_away_fails_nothing_and_starts_nothing() -> None:
    world = running()
    world.claim_trial(workers(world)[0])
    world.storage = DOWN
    for pod in workers(world):
        world.vanish(pod)
    world.pass_time(600)
    decided = world.settle()
    assert (world.ready(), decided.requeue_seconds) == (("False", Reason.STORAGE_LOST), 4.0)
    assert world.active() == []
    assert world.trials[0].state is TrialState.RUNNING
    world.storage = CONNECTED
    world.settle()
    assert world.ready()[0] == "True"
    assert world.trials[0].user_attrs["autoglm:cause"] == Cause.LOST


def test_namespaces_database_is_made_at_its_first_study() -> None:
    world = Simulation(storage=Storage(Reason.PROVISIONING, "is being made", missing=True))
    decided = world.step()
    assert act.ProvisionDatabase("team-a") in decided.actions
    assert world.ready() == ("Unknown", Reason.PROVISIONING)
    world.settle()
    assert world.ready() == ("True", Reason.ACCEPTED)


def test_refused_jobs_are_told_with_the_servers_words_and_tried_again() -> None:
    world = Simulation(rejects=True)
    world.settle()
    assert world.says("Stalled") == Reason.POD_REJECTED
    [stalled] = [said for said in world.study.status.conditions if said.type == "Stalled"]
    assert "exceeded quota" in stalled.message
    world.rejects = False
    world.settle()
    assert world.active() == []
    world.pass_time(11)
    world.settle()
    assert len(world.active()) == 2
    assert world.says("Stalled") is None


def test_jobs_held_by_a_queue_are_queued_and_not_stalled() -> None:
    world = Simulation()
    world.settle()
    world.jobs = {name: replace(job, held=True) for name, job in world.jobs.items()}
    world.pass_time(5000)
    world.settle()
    assert (world.ready(), world.says("Queued"), world.says("Stalled")) == (("True", "Queued"), "Queued", None)


def test_invalid_spec_is_a_condition_and_nothing_else() -> None:
    world = Simulation(make_study(spec=None, invalid="spec.trials.max: must be ≥ 1, got 0"))
    decided = world.step()
    assert {type(action) for action in decided.actions} == {act.WriteStatus, act.EmitEvent}
    assert world.ready() == ("False", Reason.INVALID_SPEC)


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


def test_finished_jobs_go_when_their_time_is_over() -> None:
    world = running(ttlSecondsAfterFinished=100)
    work(world, 0.5, 0.9, 0.7, 0.6, 0.8, 0.4)
    leave(world)
    world.settle()
    [export] = world.active("export")
    world.start_pods()
    world.export()
    world.exit(world.pods[f"{export.name}-x"], 0)
    world.settle()
    assert len(world.jobs) == 3
    world.pass_time(101)
    world.settle()
    assert world.jobs == {}


@pytest.mark.parametrize("ttl", [0, 3600])
def test_export_that_cannot_succeed_fails_the_study(ttl: int) -> None:
    world = running(ttlSecondsAfterFinished=ttl)
    work(world, 0.5, 0.9, 0.7, 0.6, 0.8, 0.4)
    leave(world)
    for _ in range(3):
        world.settle()
        world.pass_time(400)
        world.settle()
        world.start_pods()
        [export] = world.active("export")
        world.exit(world.pods[f"{export.name}-x"], 70, message="the exported graph answers differently")
    world.settle()
    assert world.says("Failed") == Reason.EXPORT_FAILED


def deletable() -> Simulation:
    world = running(deletionPolicy="Delete")
    assert world.study.finalizers == (FINALIZER,)
    return world


def delete(world: Simulation) -> None:
    world.study = replace(world.study, deleted=world.now)


def test_finalizer_comes_and_goes_with_the_policy() -> None:
    world = deletable()
    world.study = replace(world.study, finalizers=("other.example/x", FINALIZER))
    world.edit(deletionPolicy="Retain")
    world.settle()
    assert world.study.finalizers == ("other.example/x",)


def test_retained_study_is_left_alone_when_deleted() -> None:
    world = running()
    delete(world)
    assert plan(world.observe(), world.now, world.settings).actions == ()


def test_cleanup_stops_workers_removes_artifacts_then_trials_then_the_finalizer() -> None:
    world = deletable()
    delete(world)
    world.step()
    assert world.active() == []
    world.step()
    [cleanup] = world.active("cleanup")
    assert world.attributes
    world.start_pods()
    world.exit(world.pods[f"{cleanup.name}-x"], 0)
    world.step()
    assert world.attributes == {}
    assert world.gone


@pytest.mark.parametrize("why", ["time", "namespace"])
def test_cleanup_is_given_up_with_an_event_that_says_what_is_left(why: str) -> None:
    world = deletable()
    world.storage = DOWN
    delete(world)
    world.step()
    assert not world.gone
    seen = world.observe()
    if why == "time":
        world.pass_time(601)
        seen = world.observe()
    else:
        seen = replace(seen, doomed="the namespace is being deleted")
    for action in plan(seen, world.now, world.settings).actions:
        world.apply(action)
    assert world.gone
    assert "left behind" in world.events[-1].message


def test_a_job_whose_pod_nobody_may_create_is_told() -> None:
    world = Simulation()
    world.settle()
    assert world.says("Stalled") is None
    world.pass_time(61)
    world.settle()
    assert world.says("Stalled") == Reason.POD_REJECTED
    [stalled] = [said for said in world.study.status.conditions if said.type == "Stalled"]
    assert "ServiceAccount" in stalled.message
    world.start_pods()
    world.settle()
    assert world.ready() == ("True", Reason.RUNNING)
