"""Whatever is lost, deleted, turned by hand or cut off in the middle: the next passes put it right."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from tests.operator.endpoint.world import World, served, short

from autoglm_api.names import (
    ANNOTATION_CHAMPION,
    ANNOTATION_PREVIOUS,
)
from autoglm_operator.kube import DEPLOYMENTS, SERVICES, STUDIES, Unavailable


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


def test_scaling_by_hand_is_undone(world: World) -> None:
    digest = served(world)
    deployment = world.deployment(digest)
    assert deployment is not None
    deployment["spec"]["replicas"] = 7
    world.settle()
    assert world.replicas() == {digest[7:15]: 2}


def test_a_settled_endpoint_writes_nothing(world: World) -> None:
    served(world)
    before = world.kube.writes.copy()
    for _ in range(3):
        world.now += timedelta(hours=1)
        assert world.pass_once() == 300
    assert world.kube.writes == before
