"""Models that cannot be copied or served: what is said, what goes on serving, and what is tried again."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from tests.operator.endpoint.world import World, digest_of, served, short

from autoglm_api.names import ANNOTATION_REJECTED
from autoglm_operator.kube import JOBS, PODS, STUDIES


def test_a_candidate_that_is_never_ready_is_rolled_back_and_not_tried_again(world: World) -> None:
    old = served(world)
    bad = world.add_study("bad", 0.95, number=2)
    world.pass_once()
    world.finish_jobs()
    world.pass_once()
    ended = {"exitCode": 65, "message": json.dumps({"cause": "DataError", "message": "model.onnx was changed"})}
    world.add_pod(bad, containerStatuses=[{"lastState": {"terminated": ended}, "state": {}}])
    world.now += timedelta(seconds=601)
    world.pass_once()
    world.settle()
    assert world.served == short(old)
    assert world.ready() == ("True", "Serving")
    rolled_back = world.condition("RolledBack")
    assert rolled_back is not None
    assert "ended with code 65: model.onnx was changed" in rolled_back.message
    assert world.endpoint["metadata"]["annotations"][ANNOTATION_REJECTED] == bad
    assert world.replicas() == {old[7:15]: 2}
    assert world.kube.all(JOBS) == []

    world.endpoint["metadata"]["annotations"].pop(ANNOTATION_REJECTED)
    world.settle()
    assert world.served == short(bad), "tried again once it was asked for"
    assert world.condition("RolledBack") is None


@pytest.mark.parametrize(
    ("code", "restarts", "given_up"), [(70, 1, True), (65, 3, True), (70, 0, False), (69, 5, False)]
)
def test_a_server_that_says_twice_that_it_cannot_run_the_model_is_believed(
    world: World, code: int, restarts: int, given_up: bool
) -> None:
    old = served(world)
    bad = world.add_study("bad", 0.95, number=2)
    world.pass_once()
    world.finish_jobs()
    world.pass_once()
    ended = {"terminated": {"exitCode": code, "message": "the graph is broken"}}
    world.add_pod(bad, containerStatuses=[{"restartCount": restarts, "lastState": ended, "state": {}}])
    world.pass_once()
    assert (world.condition("RolledBack") is not None) is given_up
    assert world.served == short(old)


def test_a_first_model_that_is_never_ready_is_stalled_and_the_next_one_served(world: World) -> None:
    world.add_study("bad", 0.95, number=1)
    world.pass_once()
    world.finish_jobs()
    world.pass_once()
    world.now += timedelta(seconds=601)
    world.pass_once()
    world.pass_once()
    assert world.ready() == ("False", "NotReady")
    assert world.condition("Stalled") is not None
    good = world.add_study("good", 0.9, number=2)
    world.settle()
    assert world.served == short(good)
    assert world.condition("Stalled") is None


def test_at_most_ten_rejected_digests_are_kept(world: World) -> None:
    for number in range(1, 14):
        world.add_study(f"bad-{number}", 0.5 + number / 100, number=number)
        world.pass_once()
        world.finish_jobs()
        world.pass_once()
        world.now += timedelta(seconds=601)
        world.pass_once()
        world.kube.remove(STUDIES, f"bad-{number}")
    rejected = world.endpoint["metadata"]["annotations"][ANNOTATION_REJECTED].split(",")
    assert rejected == [digest_of(number) for number in range(4, 14)]


def test_a_secret_that_servers_wait_for_is_named(world: World) -> None:
    digest = world.add_study("one", 0.8, number=1)
    for _ in range(3):
        world.pass_once()
        world.finish_jobs()
    again = world.pass_once()
    assert again is not None
    assert again <= 30
    world.add_pod(digest, phase="Pending")
    [pod] = world.kube.all(PODS)
    pod["metadata"]["creationTimestamp"] = world.now.isoformat()
    pod["spec"] = {"volumes": [{"name": "secret-artifacts", "secret": {"secretName": "s3-credentials"}}]}
    world.pass_once()
    ready = world.condition("Ready")
    assert ready is not None
    assert "Secret s3-credentials does not exist" in ready.message


def test_a_copy_that_fails_is_said_and_tried_again_later(world: World) -> None:
    old = served(world)
    new = world.add_study("better", 0.9, number=2)
    world.pass_once()
    world.finish_jobs("Failed")
    after = world.pass_once()
    assert world.ready() == ("True", "Serving")
    stalled = world.condition("Stalled")
    assert stalled is not None
    assert stalled.reason == "CopyFailed"
    assert after is not None
    assert after > 60
    world.now += timedelta(seconds=after + 1)
    world.pass_once()
    assert world.kube.all(JOBS) == []
    world.settle()
    assert world.served == short(new) != short(old)
