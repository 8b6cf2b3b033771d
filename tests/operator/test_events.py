"""Events: each thing once, and never a flood."""

from __future__ import annotations

from autoglm_operator.actions import EmitEvent
from autoglm_operator.events import BURST, REFILL_SECONDS, SAME_AGAIN_SECONDS, EventBudget
from autoglm_operator.kube import STUDIES


def event(message: str = "trials are running", uid: str = "1") -> EmitEvent:
    return EmitEvent(STUDIES, "team-a", "intents", uid, "Normal", "Running", message)


def test_the_same_is_said_once_in_half_an_hour() -> None:
    budget = EventBudget()
    assert budget.allows(event(), 0.0)
    assert not budget.allows(event(), SAME_AGAIN_SECONDS - 1)
    assert budget.allows(event(), SAME_AGAIN_SECONDS + 1)


def test_one_object_cannot_flood_and_does_not_silence_others() -> None:
    budget = EventBudget()
    said = [budget.allows(event(f"trial {number}"), number / 100) for number in range(100)]
    assert sum(said) == BURST
    assert budget.allows(event(uid="2"), 1.0)
    assert budget.allows(event("later"), 1.0 + REFILL_SECONDS)
