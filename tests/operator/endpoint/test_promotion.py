"""An endpoint's way from study to study: the first model, better and worse ones, and those that cannot be compared."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.operator.endpoint.world import World, served, short

from autoglm_operator.kube import DEPLOYMENTS, JOBS, SERVICES, STUDIES


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


def test_a_model_that_writes_texts_gets_a_server_with_pytorch_even_when_its_study_is_gone(world: World) -> None:
    digest = world.add_study("writer", 0.8, number=1, task="text-generation")
    world.pass_once()
    world.finish_jobs()
    world.settle()
    world.kube.remove(STUDIES, "writer")
    world.settle()
    world.edit(replicas=3)
    world.settle()
    deployment = world.deployment(digest)
    assert deployment is not None
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "autoglm-serving-generation:0.1.0"


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
