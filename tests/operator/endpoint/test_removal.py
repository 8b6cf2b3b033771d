"""What goes when it is no longer needed: an endpoint with its servers and models."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.operator.endpoint.world import NAME, World, served, short

from autoglm_api.names import FINALIZER, LABEL_COMPONENT, Component
from autoglm_operator.kube import DEPLOYMENTS, ENDPOINTS, JOBS


def collections(world: World) -> dict[str, str]:
    """The Jobs that remove single copies: name → what they remove."""
    found = {}
    for job in world.kube.all(JOBS):
        if job["metadata"]["labels"][LABEL_COMPONENT] == Component.COLLECT:
            [container] = job["spec"]["template"]["spec"]["containers"]
            env = {entry["name"]: entry.get("value") for entry in container["env"]}
            found[job["metadata"]["name"]] = env["AUTOGLM_TARGET_URI"]
    return found


def collecting(world: World) -> str:
    """An endpoint that has just promoted its third model; returns the first one's digest."""
    first = served(world, 0.7, "one", 1)
    served(world, 0.8, "two", 2)
    world.add_study("three", 0.9, number=3)
    for _ in range(10):
        world.pass_once()
        if collections(world):
            return first
        world.finish_jobs()
        world.make_ready()
        world.now += timedelta(seconds=11)
    raise AssertionError("nothing is collected")


def test_the_copy_of_a_model_older_than_the_previous_one_is_removed(world: World) -> None:
    first = collecting(world)
    prefix = "s3://models/live/team/endpoints/sentiment"
    assert list(collections(world).values()) == [f"{prefix}/{first.removeprefix('sha256:')}"]
    world.settle()
    assert world.kube.all(JOBS) == []
    assert len(world.replicas()) == 2


def test_a_copy_outside_the_endpoints_present_place_is_left_alone(world: World) -> None:
    served(world, 0.7, "one", 1)
    world.edit(artifacts={"uri": "s3://models/elsewhere"})
    served(world, 0.8, "two", 2)
    served(world, 0.9, "three", 3)
    assert len(world.replicas()) == 2
    assert not any("collect" in write for write in world.kube.writes)


def test_a_copy_that_cannot_be_removed_is_said_and_given_up(world: World) -> None:
    first = collecting(world)
    world.finish_jobs("Failed")
    world.settle()
    assert world.kube.all(JOBS) == []
    [event] = [event for event in world.kube.events if event["reason"] == "CopyLeft"]
    assert short(first)[:8] in event["message"]


def test_a_model_wanted_again_while_its_copy_is_removed_is_copied_anew(world: World) -> None:
    first = collecting(world)
    [removing] = collections(world)
    world.edit(source={"model": {"uri": "s3://models/one/export", "digest": first}})
    for _ in range(3):
        world.pass_once()
        assert [job["metadata"]["name"] for job in world.kube.all(JOBS)] == [removing]
        assert world.deployment(first) is None
    world.finish_jobs()
    world.pass_once()
    world.pass_once()
    assert [job["metadata"]["labels"][LABEL_COMPONENT] for job in world.kube.all(JOBS)] == [Component.COPY]
    world.settle()
    assert world.served == short(first)


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
