"""Conditions: passing types vanish, transition times move only with the status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from autoglm_api.conditions import ConditionType, Reason, condition, merge_conditions

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)


def ready(status: bool | None, now: datetime, reason: Reason = Reason.RUNNING) -> object:
    return condition(ConditionType.READY, status, reason, "m", generation=1, now=now)


def test_transition_time_stays_while_the_status_does() -> None:
    (merged,) = merge_conditions([ready(True, NOON)], [ready(True, LATER, Reason.COMPLETE)])  # type: ignore[list-item]
    assert merged.last_transition_time == NOON
    assert merged.reason == "Complete"


def test_transition_time_moves_with_the_status() -> None:
    (merged,) = merge_conditions([ready(True, NOON)], [ready(False, LATER)])  # type: ignore[list-item]
    assert merged.last_transition_time == LATER


def test_passing_conditions_are_there_only_while_true() -> None:
    gone = condition(ConditionType.STALLED, False, Reason.POD_REJECTED, "", generation=1, now=NOON)
    kept = condition(ConditionType.COMPLETE, False, Reason.SEARCHING, "", generation=1, now=NOON)
    assert [known.type for known in merge_conditions([], [gone, kept])] == ["Complete"]


def test_a_long_message_is_cut_and_unknown_is_a_status() -> None:
    long = condition(ConditionType.READY, None, Reason.ACCEPTED, "x" * 5000, generation=1, now=NOON)
    assert len(long.message) == 1024
    assert long.status == "Unknown"
