"""Why attempts are over: the pod that owns them decides, and what it says decides the cause."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.operator.simulation import CONNECTED, START, make_study

from autoglm_api.attempts import Owner
from autoglm_api.exits import Cause
from autoglm_api.exits import Termination as LastWords
from autoglm_operator.observation import Attempt, Observation, Pod, Termination
from autoglm_operator.planning.liveness import Verdict, verdicts

OWNER = Owner(name="w0", identity="pod-1")
POD = Pod("w0", "pod-1", "Running", START)
GRACE = timedelta(seconds=60)


def verdict(pod: Pod | None, attempt: Attempt | None = None, *, later: float = 0) -> Verdict | None:
    attempt = attempt or Attempt(4, START, owner=OWNER, empty=False)
    seen = Observation(make_study(), CONNECTED, owners={"pod-1": pod})
    found = verdicts(seen, (attempt,), claim_grace=GRACE, now=START + timedelta(seconds=later))
    return found[0] if found else None


def ended(code: int, *, reason: str = "Error", message: str = "", phase: str = "Failed") -> Pod:
    return replace(POD, phase=phase, termination=Termination(code, reason, message))


def cause(pod: Pod | None) -> Cause:
    found = verdict(pod)
    assert found is not None
    return found.cause


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (None, Cause.LOST),
        (replace(POD, uid="another"), Cause.LOST),
        (ended(0, reason="Completed", phase="Succeeded"), Cause.LOST),
        (ended(1), Cause.CRASHED),
        (ended(139), Cause.CRASHED),
        (ended(137), Cause.LOST),
        (ended(143), Cause.LOST),
        (ended(64), Cause.SPEC),
        (ended(65), Cause.DATA),
        (ended(69), Cause.STORAGE),
        (ended(75), Cause.RELEASED),
        (ended(137, reason="OOMKilled"), Cause.OUT_OF_MEMORY),
        (replace(POD, phase="Failed", reason="Evicted", message="low on memory"), Cause.EVICTED),
        (replace(ended(137), disruption="PreemptionByScheduler"), Cause.PREEMPTED),
        (replace(POD, phase="Failed"), Cause.LOST),
    ],
    ids=lambda value: value.value if isinstance(value, Cause) else "",
)
def test_cause_follows_from_the_pod(pod: Pod | None, expected: Cause) -> None:
    assert cause(pod) is expected


def test_what_the_worker_says_counts_more_than_its_exit_code() -> None:
    words = LastWords(cause=Cause.TASK_ERROR, message="loss became NaN").model_dump_json(by_alias=True)
    found = verdict(ended(70, message=words))
    assert found == Verdict(4, Cause.TASK_ERROR, "loss became NaN")


def test_a_crash_without_last_words_shows_the_end_of_its_log() -> None:
    found = verdict(ended(139, message="Fatal Python error: Segmentation fault"))
    assert found is not None
    assert "139" in found.message
    assert "Segmentation fault" in found.message


def test_an_owner_that_was_not_asked_for_is_alive() -> None:
    seen = Observation(make_study(), CONNECTED)
    assert verdicts(seen, (Attempt(4, START, owner=OWNER),), claim_grace=GRACE, now=START) == []


def test_a_pod_being_deleted_lives_until_a_minute_after_its_grace() -> None:
    leaving = replace(POD, deleted=START)
    assert verdict(leaving, later=59) is None
    late = verdict(leaving, later=61)
    assert late is not None
    assert late.cause is Cause.LOST


def test_a_claim_without_owner_is_void_after_a_minute() -> None:
    claimed = Attempt(4, START)
    assert verdict(None, claimed, later=59) is None
    found = verdict(None, claimed, later=61)
    assert found is not None
    assert found.void


@pytest.mark.parametrize("claimed", [Attempt(4, START, fixed=True), Attempt(4, START, empty=False)])
def test_a_claim_of_a_given_point_is_retried_and_not_void(claimed: Attempt) -> None:
    found = verdict(None, claimed, later=61)
    assert found is not None
    assert (found.void, found.cause) == (False, Cause.CLAIM_LOST)


@pytest.mark.parametrize(
    ("claims_before", "exhausted_memory", "infeasible"), [(0, False, True), (3, False, False), (3, True, True)]
)
def test_out_of_memory_is_tried_once_in_a_fresh_process(
    claims_before: int, exhausted_memory: bool, infeasible: bool
) -> None:
    attempt = Attempt(4, START, owner=OWNER, claims_before=claims_before, exhausted_memory=exhausted_memory)
    found = verdict(ended(137, reason="OOMKilled"), attempt)
    assert found is not None
    assert (found.cause, found.infeasible) == (Cause.OUT_OF_MEMORY, infeasible)
