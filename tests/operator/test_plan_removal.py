"""What a deleted or finished study leaves behind, and in which order it goes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.operator.simulation import (
    DOWN,
    Simulation,
    leave,
    running,
    work,
)

from autoglm_api.names import FINALIZER
from autoglm_operator.plan import plan


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
