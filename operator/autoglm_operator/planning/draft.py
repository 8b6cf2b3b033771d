"""A plan in the making: actions in order, Events for later, and the earliest moment to look again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from autoglm_operator.actions import Action, Delete, EventType
from autoglm_operator.kube import JOBS
from autoglm_operator.observation import Job, Study

SOON_SECONDS = 0.1


@dataclass
class Draft:
    """Filled step by step by the parts of the planner."""

    actions: list[Action] = field(default_factory=list)
    events: list[tuple[EventType, str, str]] = field(default_factory=list)
    requeue_seconds: float | None = None

    def look_again(self, seconds: float | None) -> None:
        """Ask to be planned again in `seconds`; the earliest wish counts, None is no wish."""
        if seconds is None:
            return
        wish = max(SOON_SECONDS, seconds)
        self.requeue_seconds = wish if self.requeue_seconds is None else min(self.requeue_seconds, wish)

    def look_again_at(self, moment: datetime, now: datetime) -> None:
        """The same, for a moment."""
        self.look_again((moment - now).total_seconds())

    def delete(self, study: Study, jobs: Iterable[Job]) -> None:
        """Delete Jobs of the study."""
        self.actions += [Delete(JOBS, study.namespace, job.name, job.uid) for job in jobs]

    def say(self, type_: EventType, reason: str, message: str) -> None:
        """An Event about the study."""
        self.events.append((type_, reason, message))
