"""A watch that stopped telling is noticed; one that is merely a moment behind is not."""

from __future__ import annotations

from autoglm_operator.hearing import DEAF_SECONDS, Hearing
from autoglm_operator.kube import Object

LONG = DEAF_SECONDS + 1


def listed(**versions: str) -> list[Object]:
    return [{"metadata": {"uid": uid, "resourceVersion": version}} for uid, version in versions.items()]


def hearing(**versions: str) -> Hearing:
    """One that has heard of these."""
    made = Hearing()
    for uid, version in versions.items():
        made.hear(uid, version, gone=False)
    return made


def test_a_cluster_without_objects_is_healthy() -> None:
    ears = hearing()
    ears.compare([], 0.0)
    assert ears.problem(LONG) is None


def test_a_change_that_is_never_told_is_a_problem_after_some_minutes() -> None:
    for missed in (listed(a="2", b="1"), listed(a="1", b="1", new="1"), listed(a="1")):
        ears = hearing(a="1", b="1")
        ears.compare(missed, 10.0)
        assert ears.problem(10.0 + DEAF_SECONDS) is None
        ears.compare(missed, 100.0)
        problem = ears.problem(10.0 + LONG)
        assert problem is not None
        assert "181 s" in problem


def test_a_list_that_overtook_the_watch_is_no_problem() -> None:
    ears = hearing(a="1")
    ears.compare(listed(a="2"), 0.0)
    ears.hear("a", "2", gone=False)
    assert ears.problem(LONG) is None


def test_a_watch_that_overtook_the_list_is_no_problem_once_a_list_agrees() -> None:
    ears = hearing(a="2")
    ears.compare(listed(a="1"), 0.0)
    ears.compare(listed(a="2"), 45.0)
    assert ears.problem(LONG) is None


def test_an_object_that_never_stops_changing_is_no_problem() -> None:
    ears = hearing(a="0")
    for version in range(1, 20):
        ears.compare(listed(a=str(version)), version * 45.0)
        ears.hear("a", str(version), gone=False)
    assert ears.problem(20 * 45.0) is None


def test_a_deleted_object_is_forgotten_when_the_watch_says_so() -> None:
    ears = hearing(a="1")
    ears.hear("a", "1", gone=True)
    ears.compare([], 0.0)
    assert ears.problem(LONG) is None
