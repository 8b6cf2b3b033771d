"""An endpoint's life as its user sees it: the first model, better, worse and broken ones, and studies that go."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta

import pytest
from tests.operator.endpoint.world import NAME, World, digest_of, short

from autoglm_api.names import (
    ANNOTATION_CHAMPION,
    ANNOTATION_PREVIOUS,
    ANNOTATION_REJECTED,
    FINALIZER,
)
from autoglm_operator.kube import DEPLOYMENTS, ENDPOINTS, JOBS, SERVICES, STUDIES, Unavailable


@pytest.fixture
def world() -> World:
    return World(replicas=2)


def served(world: World, value: float = 0.8, name: str = "first", number: int = 1) -> str:
    """A champion of this value."""
    digest = world.add_study(name, value, number=number)
    world.settle()
    assert world.served == short(digest)
    return digest


def test_without_a_complete_study_it_waits_and_says_so(world: World) -> None:
    world.add_study("running", 0.9, complete=False)
    world.settle()
    assert world.ready() == ("False", "NoCandidate")
    assert world.kube.all(SERVICES) == []
    assert world.status.phase == "Pending"


def test_the_first_model_is_copied_rolled_out_and_served(world: World) -> None:
    digest = world.add_study("first", 0.8, number=1)
    world.pass_once()
    assert world.ready() == ("False", "Copying")
    (job,) = world.kube.all(JOBS)
    env = {entry["name"]: entry.get("value") for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["AUTOGLM_SOURCE_URI"] == "s3://models/first/export"
    assert env["AUTOGLM_TARGET_URI"] == f"s3://models/live/team/endpoints/sentiment/{digest[7:]}"
    assert world.kube.all(DEPLOYMENTS) == []

    world.finish_jobs()
    world.pass_once()
    assert world.ready() == ("False", "RollingOut")
    assert world.kube.all(SERVICES) == []

    deployment = world.deployment(digest)
    assert deployment is not None
    world.set_ready(deployment, 1)
    world.pass_once()
    assert world.kube.all(SERVICES) == []

    world.make_ready()
    world.pass_once()
    assert world.served == short(digest)
    assert world.ready() == ("True", "Serving")
    status = world.status
    assert status.url == "http://sentiment.team.svc"
    champion = status.champion
    assert champion is not None
    assert (champion.study, champion.trial, champion.value, champion.digest) == ("first", 7, 0.8, digest)
    assert champion.uri == f"s3://models/live/team/endpoints/sentiment/{digest[7:]}"
    assert champion.since is not None
    world.settle()
    assert world.kube.all(JOBS) == []
    assert status.ready_replicas == 2


def test_a_better_model_takes_over_only_when_all_its_servers_are_ready(world: World) -> None:
    old = served(world)
    new = world.add_study("better", 0.9, number=2)
    world.pass_once()
    world.finish_jobs()
    world.pass_once()
    assert world.served == short(old)
    assert world.ready() == ("True", "Serving")
    reconciling = world.condition("Reconciling")
    assert reconciling is not None
    assert reconciling.reason == "RollingOut"
    assert world.status.candidate is not None
    world.make_ready()
    world.pass_once()
    assert world.served == short(new)
    assert world.replicas() == {old[7:15]: 2, new[7:15]: 2}, "the old servers finish what they have begun"
    world.now += timedelta(seconds=11)
    world.settle()
    assert world.replicas() == {old[7:15]: 0, new[7:15]: 2}
    assert world.status.previous is not None
    assert world.status.previous.digest == old
    assert world.status.candidate is None


def test_only_one_previous_model_is_kept(world: World) -> None:
    digests = []
    for number, value in enumerate((0.7, 0.8, 0.9), start=1):
        digests.append(served(world, value, f"study-{number}", number))
    assert world.replicas() == {digests[2][7:15]: 2, digests[1][7:15]: 0}


@pytest.mark.parametrize(
    ("value", "gate", "expected"),
    [
        (0.79, {}, "GateRefused"),
        (0.80, {}, "GateRefused"),
        (0.81, {"minImprovement": 0.05}, "GateRefused"),
        (0.90, {"constraints": [{"metric": "latency_p95_ms", "operator": "LessOrEqual", "value": 5}]}, "GateRefused"),
        (0.90, {"constraints": [{"metric": "recall", "operator": "GreaterOrEqual", "value": 0.1}]}, "GateRefused"),
    ],
    ids=["worse", "equal", "not enough better", "too slow", "constraint never measured"],
)
def test_what_the_gate_refuses_never_serves(value: float, gate: dict[str, object], expected: str) -> None:
    world = World(replicas=1)
    old = served(world)
    world.edit(gate=gate)
    world.add_study("other", value, number=2, latency_p95_ms=9.0)
    world.settle()
    assert world.served == short(old)
    assert world.ready() == ("True", expected)
    message = world.condition("Ready")
    assert message is not None
    assert "study other (00000002) is refused" in message.message
    assert world.replicas() == {old[7:15]: 1}


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"test_digest": "u" * 64}, "different test rows"),
        ({"test_digest": None}, "no test rows"),
        ({"metric": "accuracy"}, "Maximize accuracy against Maximize f1_macro"),
        ({"direction": "Minimize"}, "Minimize f1_macro against Maximize f1_macro"),
    ],
    ids=["other rows", "no rows", "other metric", "other direction"],
)
def test_what_cannot_be_compared_never_replaces_the_champion(
    world: World, other: dict[str, object], sentence: str
) -> None:
    old = served(world)
    world.add_study("other", 0.99, number=2, **other)  # type: ignore[arg-type]
    world.settle()
    assert world.served == short(old)
    assert world.ready() == ("True", "NotComparable")
    ready = world.condition("Ready")
    assert ready is not None
    assert sentence in ready.message


def test_a_smaller_loss_is_better(world: World) -> None:
    world.add_study("first", 0.5, number=1, metric="loss", direction="Minimize")
    world.settle()
    new = world.add_study("second", 0.4, number=2, metric="loss", direction="Minimize")
    world.add_study("third", 0.6, number=3, metric="loss", direction="Minimize")
    world.settle()
    assert world.served == short(new)


def test_a_model_that_lost_before_the_champion_came_is_no_news(world: World) -> None:
    world.add_study("worse", 0.7, number=1)
    best = world.add_study("best", 0.9, number=2)
    world.settle()
    assert world.served == short(best)
    assert world.ready() == ("True", "Serving")


def test_studies_elsewhere_or_with_policy_never_are_no_candidates(world: World) -> None:
    world.add_study("unlabelled", 0.9, number=1, labels={"app": "other"})
    world.add_study("never", 0.9, number=2, policy="Never")
    world.settle()
    assert world.ready() == ("False", "NoCandidate")


@pytest.mark.parametrize("what", ["deleted", "unlabelled", "never", "invalid", "deleting"])
def test_nothing_that_happens_to_its_study_disturbs_the_champion(world: World, what: str) -> None:
    digest = served(world)
    study = world.kube.objects[STUDIES.plural, "first"]
    if what == "deleted":
        world.kube.remove(STUDIES, "first")
    elif what == "unlabelled":
        study["metadata"]["labels"] = {}
    elif what == "never":
        study["spec"] = {"promotion": {"policy": "Never"}}
    elif what == "invalid":
        study["spec"], study["status"] = {"task": 3}, {"conditions": "none"}
    else:
        study["metadata"]["deletionTimestamp"] = world.now.isoformat()
    before = world.kube.writes.copy()
    world.settle()
    assert world.kube.writes == before, "nothing is written at all"
    assert world.served == short(digest)
    assert world.ready() == ("True", "Serving")


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


def test_a_lost_status_is_rebuilt_from_the_deployments(world: World) -> None:
    served(world, 0.7, "one", 1)
    served(world, 0.8, "two", 2)
    before = world.status
    world.endpoint.pop("status")
    world.kube.remove(STUDIES, "one")
    world.kube.remove(STUDIES, "two")
    world.settle()
    after = world.status
    assert after.champion == before.champion
    assert after.previous == before.previous
    assert after.url == before.url


def test_a_deployment_deleted_by_hand_comes_back(world: World) -> None:
    digest = served(world)
    deployment = world.deployment(digest)
    assert deployment is not None
    world.kube.remove(STUDIES, "first")
    world.kube.remove(DEPLOYMENTS, deployment["metadata"]["name"])
    world.settle()
    assert world.served == short(digest)
    assert world.ready() == ("True", "Serving")


def test_a_service_deleted_or_turned_by_hand_comes_back(world: World) -> None:
    old = served(world, 0.7, "one", 1)
    new = served(world, 0.8, "two", 2)
    world.kube.remove(SERVICES, "sentiment")
    world.settle()
    assert world.served == short(new)
    world.kube.all(SERVICES)[0]["spec"]["selector"]["autoglm.io/digest"] = short(old)
    world.settle()
    assert world.served == short(new)


@pytest.mark.parametrize("writes", range(8))
def test_a_promotion_cut_off_anywhere_is_finished_by_the_next_pass(world: World, writes: int) -> None:
    old = served(world)
    new = world.add_study("better", 0.9, number=2)
    world.pass_once()
    world.finish_jobs()
    world.pass_once()
    world.make_ready()
    world.kube.break_after = writes
    with contextlib.suppress(Unavailable):
        world.pass_once()
    world.kube.break_after = None
    world.endpoint.pop("status")
    world.settle()
    assert world.served == short(new)
    status = world.status
    assert status.champion is not None
    assert status.previous is not None
    assert (status.champion.digest, status.previous.digest) == (new, old)
    annotations = [one["metadata"]["annotations"] for one in world.kube.all(DEPLOYMENTS)]
    assert sorted(ANNOTATION_CHAMPION in one for one in annotations) == [False, True]
    assert sorted(ANNOTATION_PREVIOUS in one for one in annotations) == [False, True]


def test_replicas_image_and_resources_reach_the_champion_without_moving_traffic(world: World) -> None:
    digest = served(world)
    world.edit(replicas=3, image="mine:2", resources={"limits": {"cpu": "2"}})
    world.pass_once()
    deployment = world.deployment(digest)
    assert deployment is not None
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert (deployment["spec"]["replicas"], container["image"]) == (3, "mine:2")
    assert container["resources"] == {"limits": {"cpu": "2"}}
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    world.pass_once()
    assert world.ready() == ("False", "NotReady")
    world.settle()
    assert world.ready() == ("True", "Serving")
    assert world.served == short(digest)


def test_scaling_by_hand_is_undone(world: World) -> None:
    digest = served(world)
    deployment = world.deployment(digest)
    assert deployment is not None
    deployment["spec"]["replicas"] = 7
    world.settle()
    assert world.replicas() == {digest[7:15]: 2}


def test_promotion_does_not_restart_the_servers(world: World) -> None:
    digest = world.add_study("first", 0.8, number=1)
    world.pass_once()
    world.finish_jobs()
    world.pass_once()
    deployment = world.deployment(digest)
    assert deployment is not None
    before = json.dumps(deployment["spec"]["template"])
    world.settle()
    assert json.dumps(deployment["spec"]["template"]) == before


def test_zero_replicas_is_suspended_and_promotes_nothing(world: World) -> None:
    digest = served(world)
    world.edit(replicas=0)
    world.add_study("better", 0.9, number=2)
    world.settle()
    assert world.replicas() == {digest[7:15]: 0}
    assert world.ready() == ("True", "Suspended")
    assert world.condition("Suspended") is not None
    world.edit(replicas=1)
    world.settle()
    assert world.served == short(digest_of(2))


def test_a_pinned_model_is_served_whatever_it_measures_and_nothing_else_is(world: World) -> None:
    served(world)
    pinned = digest_of(77)
    world.edit(source={"model": {"uri": "s3://models/pinned", "digest": pinned}})
    world.add_study("better", 0.99, number=2)
    world.settle()
    assert world.served == short(pinned)
    champion = world.status.champion
    assert champion is not None
    assert champion.study is None


def test_pinning_the_previous_model_rolls_back_to_it(world: World) -> None:
    old = served(world, 0.7, "one", 1)
    new = served(world, 0.8, "two", 2)
    world.edit(source={"model": {"uri": "s3://models/one/export", "digest": old}})
    world.settle()
    assert world.served == short(old)
    assert world.replicas() == {old[7:15]: 2, new[7:15]: 0}


def test_a_pinned_champion_learns_its_value_when_its_study_is_selected(world: World) -> None:
    world.edit(source={"model": {"uri": "s3://models/one/export", "digest": digest_of(1)}})
    world.settle()
    world.edit(source={"studySelector": {"matchLabels": {"app": "sentiment"}}})
    world.add_study("unknown", 0.9, number=2)
    world.settle()
    assert world.ready() == ("True", "NotComparable")
    world.add_study("one", 0.8, number=1)
    world.settle()
    assert world.served == short(digest_of(2))


def test_an_invalid_edit_leaves_the_champion_alone(world: World) -> None:
    digest = served(world)
    before = len(world.kube.writes)
    world.edit(replicas="many")
    world.settle()
    assert [one for one in world.kube.writes[before:] if not one.startswith("status")] == []
    assert world.ready() == ("False", "InvalidSpec")
    ready = world.condition("Ready")
    assert ready is not None
    assert "spec.replicas" in ready.message
    assert world.status.champion is not None
    assert world.served == short(digest)


def test_a_place_the_installation_does_not_allow_is_refused(world: World) -> None:
    world.edit(artifacts={"uri": "file:///etc"})
    world.settings = world.settings.model_copy(update={"allowed_sources": ("s3://",)})
    world.settle()
    assert world.ready() == ("False", "InvalidSpec")


def test_somebody_elses_service_is_never_touched(world: World) -> None:
    world.kube.put(SERVICES, {"metadata": {"name": NAME}, "spec": {"selector": {"app": "mine"}}})
    world.add_study("first", 0.8, number=1)
    world.settle()
    assert world.kube.all(SERVICES)[0]["spec"]["selector"] == {"app": "mine"}
    assert world.ready() == ("False", "NameTaken")


def test_what_the_api_server_refuses_is_said_in_its_own_words(world: World) -> None:
    world.kube.refuses["deployments"] = "exceeded quota: pods"
    world.add_study("first", 0.8, number=1)
    world.pass_once()
    world.finish_jobs()
    after = world.pass_once()
    stalled = world.condition("Stalled")
    assert stalled is not None
    assert (stalled.reason, stalled.message) == ("PodRejected", "exceeded quota: pods")
    assert after is not None
    world.kube.refuses.clear()
    world.settle()
    assert world.ready() == ("True", "Serving")


def test_deleting_with_retain_needs_no_finalizer(world: World) -> None:
    served(world)
    assert FINALIZER not in world.endpoint["metadata"].get("finalizers", [])


def deleted_with_policy_delete(world: World) -> None:
    world.edit(deletionPolicy="Delete")
    served(world)
    assert world.endpoint["metadata"]["finalizers"] == [FINALIZER]
    world.endpoint["metadata"]["deletionTimestamp"] = world.now.isoformat()


def test_deleting_with_delete_removes_servers_then_models_then_the_object(world: World) -> None:
    deleted_with_policy_delete(world)
    world.kube.objects["namespaces", "team"] = {"metadata": {"name": "team"}}
    world.pass_once()
    assert world.kube.all(DEPLOYMENTS) == []
    (job,) = world.kube.all(JOBS)
    env = {entry["name"]: entry.get("value") for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["AUTOGLM_TARGET_URI"] == "s3://models/live/team/endpoints/sentiment"
    world.pass_once()
    assert (ENDPOINTS.plural, NAME) in world.kube.objects
    world.finish_jobs()
    world.pass_once()
    assert (ENDPOINTS.plural, NAME) not in world.kube.objects


@pytest.mark.parametrize("why", ["too late", "namespace", "secret"])
def test_cleaning_up_is_given_up_when_it_cannot_work(world: World, why: str) -> None:
    deleted_with_policy_delete(world)
    world.kube.objects["namespaces", "team"] = {"metadata": {"name": "team"}}
    if why == "too late":
        world.pass_once()
        world.now += timedelta(seconds=601)
    elif why == "namespace":
        world.kube.objects["namespaces", "team"]["metadata"]["deletionTimestamp"] = "2026-11-01T00:00:00Z"
    else:
        world.endpoint["spec"]["artifacts"]["secretRef"] = {"name": "gone"}
    world.pass_once()
    assert (ENDPOINTS.plural, NAME) not in world.kube.objects
    assert "s3://models/live/team/endpoints/sentiment was left behind" in world.kube.events[-1]["message"]


def test_a_policy_changed_to_retain_takes_the_finalizer_away(world: World) -> None:
    world.edit(deletionPolicy="Delete")
    served(world)
    world.endpoint["metadata"]["finalizers"] = ["somebody.else/x", FINALIZER]
    world.edit(deletionPolicy="Retain")
    world.settle()
    assert world.endpoint["metadata"]["finalizers"] == ["somebody.else/x"]


def test_a_settled_endpoint_writes_nothing(world: World) -> None:
    served(world)
    before = world.kube.writes.copy()
    for _ in range(3):
        world.now += timedelta(hours=1)
        assert world.pass_once() == 300
    assert world.kube.writes == before
