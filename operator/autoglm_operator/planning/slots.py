"""Worker slots: which Jobs to create, which to delete, and when a failing slot may try again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from autoglm_api.names import Component
from autoglm_operator.observation import Job, JobState, Observation, Rejection, next_number
from autoglm_operator.settings import Settings

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
STREAK_KEPT = 8
"""Finished Jobs kept for a failing slot: enough to know that its back-off has reached the limit."""


@dataclass(frozen=True)
class Replacement:
    """A Job to create: its slot, and the number that tells it from the slot's earlier Jobs."""

    slot: int
    number: int


@dataclass(frozen=True)
class SlotPlan:
    """What happens to the slots; `requeue_seconds` = when a back-off ends."""

    create: tuple[Replacement, ...] = ()
    delete: tuple[Job, ...] = ()
    requeue_seconds: float | None = None


def plan_slots(seen: Observation, *, wanted: int, allowed: int, now: datetime, settings: Settings) -> SlotPlan:
    """Fill up to `wanted` slots; take away Jobs only above `allowed`.

    Args:
        seen: the observation.
        wanted: slots that have work; limits creation alone.
        allowed: slots that may exist: `trials.parallel`, or 0 while suspended or stopped.
        now: the moment of planning.
        settings: the back-off's pace.
    """
    workers = seen.jobs_of(Component.WORKER)
    taken = [job for job in workers if job.state is JobState.ACTIVE]
    excess = surplus(seen, taken, allowed)
    if excess:
        return SlotPlan(delete=excess)
    slots = by_slot(workers)
    resting = {slot: due for slot in range(allowed) if (due := _rests_until(seen, slots[slot], settings)) > now}
    occupied = {job.slot for job in taken}
    missing = min(wanted, allowed) - len(taken) - len(resting.keys() - occupied)
    free = [slot for slot in range(allowed) if slot not in occupied and slot not in resting]
    create = tuple(Replacement(slot, next_number(slots[slot])) for slot in free[: max(0, missing)])
    waits = [(due - now).total_seconds() for slot, due in resting.items() if slot not in occupied]
    return SlotPlan(create=create, requeue_seconds=min(waits) if waits and wanted > len(taken) else None)


def surplus(seen: Observation, taken: Sequence[Job], allowed: int) -> tuple[Job, ...]:
    """The Jobs above `allowed`: first those without a running pod, then idle workers, then the youngest trials."""
    present = [job for job in taken if job.deleted is None]
    trial_of = _trials_by_owner(seen)

    def cost(job: Job) -> tuple[int, int]:
        pod = seen.pod_of(job)
        if pod is None or pod.phase != "Running":
            return 0, 0
        trial = trial_of.get(pod.uid)
        return (1, 0) if trial is None else (2, -trial)

    return tuple(sorted(present, key=cost)[: max(0, len(present) - allowed)])


def _trials_by_owner(seen: Observation) -> dict[str, int]:
    if seen.stored is None:
        return {}
    running = seen.stored.trials.running
    return {attempt.owner.identity: attempt.number for attempt in running if attempt.owner is not None}


def by_slot(workers: Sequence[Job]) -> dict[int, list[Job]]:
    """A slot's Jobs, newest first; slots without any are empty lists."""
    slots: defaultdict[int, list[Job]] = defaultdict(list)
    for job in sorted(workers, key=lambda job: job.number, reverse=True):
        if job.slot is not None:
            slots[job.slot].append(job)
    return slots


def streak(seen: Observation, jobs: Sequence[Job]) -> list[Job]:
    """The newest finished Jobs of a slot that finished no trial, up to the first that did; newest first."""
    barren = []
    for job in jobs:
        if job.state is JobState.ACTIVE or _productive(seen, job):
            break
        barren.append(job)
    return barren


def _productive(seen: Observation, job: Job) -> bool:
    pod = seen.pod_of(job)
    if pod is None:
        return job.state is JobState.COMPLETE
    return seen.stored is not None and seen.stored.trials.finished_by.get(pod.uid, 0) > 0


def _rests_until(seen: Observation, jobs: Sequence[Job], settings: Settings) -> datetime:
    barren = streak(seen, jobs)
    if not barren:
        return _LONG_AGO
    ended = barren[0].finished or barren[0].created
    return ended + backoff(len(barren), settings)


def backoff(times: int, settings: Settings) -> timedelta:
    """10 s after the first failure, doubled at each further one, up to 5 minutes."""
    seconds = settings.slot_backoff_seconds * 2 ** min(times - 1, 16)
    return timedelta(seconds=min(seconds, settings.slot_backoff_limit_seconds))


def refused_until(rejection: Rejection, settings: Settings) -> datetime:
    """When a Job that the API server refused may be tried again."""
    return rejection.at + backoff(rejection.times, settings)


def expired(seen: Observation, *, ended: datetime | None, ttl_seconds: int, now: datetime) -> tuple[Job, ...]:
    """Finished Jobs whose time is over; while the study runs, those that a slot's back-off counts are kept.

    Args:
        seen: the observation.
        ended: when the study ended; None while it runs. Afterwards Jobs that never finished go too.
        ttl_seconds: `spec.ttlSecondsAfterFinished`.
        now: the moment of planning.
    """
    ttl = timedelta(seconds=ttl_seconds)
    if ended is not None:
        over = now >= ended + ttl
        return tuple(job for job in seen.jobs if job.deleted is None and over)
    # Failed exports are counted, so they stay until the end.
    workers = seen.jobs_of(Component.WORKER)
    kept = {job.uid for jobs in by_slot(workers).values() for job in _counted(seen, jobs)}
    return tuple(
        job
        for job in workers
        if job.finished is not None and job.deleted is None and job.uid not in kept and now >= job.finished + ttl
    )


def _counted(seen: Observation, jobs: Sequence[Job]) -> list[Job]:
    # The newest one is kept in any case: it carries the number that the next one counts on from.
    finished = [job for job in jobs if job.state is not JobState.ACTIVE]
    return finished[:1] + streak(seen, finished)[:STREAK_KEPT]
