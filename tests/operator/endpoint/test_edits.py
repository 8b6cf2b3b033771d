"""Edits of an endpoint: replicas, resources, pinned models, and specs that are refused."""

from __future__ import annotations

import json

from tests.operator.endpoint.world import NAME, World, digest_of, served, short

from autoglm_operator.kube import SERVICES


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
