"""The export: one Job at a time until the database holds its result, at most three in all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autoglm_api.exits import Cause
from autoglm_api.names import Component
from autoglm_operator.observation import Job, JobState, Observation, next_number
from autoglm_operator.settings import Settings

from .liveness import cause_of
from .slots import backoff

MAX_FAILED_EXPORTS = 3


@dataclass(frozen=True)
class ExportPlan:
    """What the export needs next.

    Attributes:
        create: number of the Job to create.
        failed: why the export has been given up.
        requeue_seconds: when the next attempt is due.
    """

    create: int | None = None
    failed: str | None = None
    requeue_seconds: float | None = None


def plan_export(seen: Observation, *, now: datetime, settings: Settings) -> ExportPlan:
    """The next step of a study whose search is over and whose result is not in the database yet."""
    jobs = seen.jobs_of(Component.EXPORT)
    if not jobs:
        return ExportPlan(create=0)
    last = jobs[-1]
    if last.state is JobState.ACTIVE:
        return ExportPlan()
    ended = last.finished or last.created
    following = next_number(jobs)
    due = ended + backoff(len(jobs), settings)
    if last.state is JobState.COMPLETE:
        # Its result was written before it ended; the next look at the database shows it.
        return ExportPlan(requeue_seconds=1.0) if now < due else ExportPlan(create=following)
    cause, message = _cause(seen, last)
    paid = [job for job in jobs if job.state is JobState.FAILED and not _cause(seen, job)[0].free]
    if cause.ends_study or len(paid) >= MAX_FAILED_EXPORTS:
        return ExportPlan(failed=message)
    if now < due:
        return ExportPlan(requeue_seconds=(due - now).total_seconds())
    return ExportPlan(create=following)


def _cause(seen: Observation, job: Job) -> tuple[Cause, str]:
    pod = seen.pod_of(job)
    if pod is None or pod.phase not in ("Succeeded", "Failed"):
        return Cause.LOST, f"the pod of Job {job.name} is gone"
    return cause_of(pod)
