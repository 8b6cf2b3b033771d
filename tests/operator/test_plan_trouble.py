"""What keeps a study from running is said in a condition, and tried again at a pace that grows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from optuna.trial import TrialState
from tests.operator.simulation import (
    CONNECTED,
    DOWN,
    START,
    Simulation,
    leave,
    make_study,
    running,
    work,
    workers,
)

from autoglm_api.conditions import Reason
from autoglm_api.exits import Cause
from autoglm_operator import actions as act
from autoglm_operator.observation import Pod, Storage
from autoglm_operator.planning.trouble import trouble_of


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


def test_an_export_deleted_by_hand_gives_no_successor_its_sisters_name() -> None:
    world = running()
    work(world, 0.5, 0.9, 0.7, 0.6, 0.8, 0.4)
    leave(world)
    names = []
    for _ in range(2):
        world.settle()
        world.pass_time(400)
        world.settle()
        world.start_pods()
        [export] = world.active("export")
        names.append(export.name)
        world.exit(world.pods[f"{export.name}-x"], 70)
    del world.jobs[names[0]]
    world.settle()
    world.pass_time(400)
    world.settle()
    [third] = world.active("export")
    assert third.name not in names


def test_a_secret_that_pods_wait_for_is_named() -> None:
    world = Simulation()
    world.settle()
    seen = replace(world.observe(), lost_secret="s3-credentials")
    trouble = trouble_of(seen, now=world.now, settings=world.settings)
    assert trouble is not None
    assert trouble.reason is Reason.SECRET_NOT_FOUND
    assert "Secret s3-credentials does not exist" in trouble.message


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        (("ErrImagePull", "pull access denied, repository secret/trainer may need a login"), Reason.IMAGE_PULL),
        (("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"), Reason.CANNOT_START),
        (("CreateContainerConfigError", "couldn't find key url in Secret team/dsn"), Reason.SECRET_NOT_FOUND),
        (("RunContainerError", 'exec: "autoglm-trainer": executable file not found in $PATH'), Reason.CANNOT_START),
    ],
)
def test_what_the_kubelet_says_of_a_container_that_cannot_start_is_passed_on(
    waiting: tuple[str, str], reason: Reason
) -> None:
    world = running()
    seen = world.observe()
    pods = tuple(replace(pod, phase="Pending", waiting=waiting) for pod in seen.pods)
    trouble = trouble_of(replace(seen, pods=pods), now=world.now, settings=world.settings)
    assert trouble is not None
    assert trouble.reason is reason
    assert waiting[1] in trouble.message


@pytest.mark.parametrize(
    ("waiting", "seconds", "expected"),
    [
        (("ContainerCreating", ""), 21, True),
        (("ContainerCreating", ""), 19, False),
        (("ImagePullBackOff", "no such image"), 60, False),
        (None, 60, True),
    ],
)
def test_only_a_pod_that_should_have_started_is_looked_at_more_closely(
    waiting: tuple[str, str] | None, seconds: int, expected: bool
) -> None:
    pod = Pod("w0", "pod-1", "Pending", START, waiting=waiting)
    assert pod.is_held_up(START + timedelta(seconds=seconds)) is expected
