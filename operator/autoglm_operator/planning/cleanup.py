"""Deleting a study with `deletionPolicy: Delete`: trials and artifacts go first, for ten minutes at most."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from autoglm_api.names import FINALIZER, Component
from autoglm_operator.observation import Job, JobState, Observation, Study, next_number
from autoglm_operator.settings import Settings

from .slots import backoff

LOOK_AGAIN_SECONDS = 5.0


@dataclass(frozen=True)
class CleanupPlan:
    """The next step of a cleanup.

    Attributes:
        stop: Jobs that might still write.
        create: number of the cleanup Job to create.
        delete_trials: the artifacts are gone, now the trials.
        release: the finalizer goes.
        left: what was given up, for an Event.
    """

    stop: tuple[Job, ...] = ()
    create: int | None = None
    delete_trials: bool = False
    release: bool = False
    left: str | None = None
    requeue_seconds: float | None = None


def plan_cleanup(seen: Observation, *, now: datetime, settings: Settings) -> CleanupPlan:
    """What to do next for a study that carries our finalizer and is being deleted."""
    study = seen.study
    assert study.deleted is not None, "only deleted studies are cleaned up"
    if study.spec is not None and study.spec.deletion_policy == "Retain":
        return CleanupPlan(release=True)
    where = f"its trials and everything below its artifact prefix ({study.namespace}/{study.uid})"
    if study.spec is None:
        return CleanupPlan(release=True, left=f"the spec cannot be read; left behind: {where}")
    if seen.doomed is not None:
        return CleanupPlan(release=True, left=f"{seen.doomed}; left behind: {where}")
    if now > study.deleted + timedelta(seconds=settings.cleanup_timeout_seconds):
        minutes = settings.cleanup_timeout_seconds / 60
        return CleanupPlan(
            release=True, left=f"cleaning up did not succeed in {minutes:g} minutes; left behind: {where}"
        )
    if not seen.storage.connected:
        return CleanupPlan(requeue_seconds=seen.storage.retry_seconds or LOOK_AGAIN_SECONDS)
    return _remove(seen, now, settings)


def _remove(seen: Observation, now: datetime, settings: Settings) -> CleanupPlan:
    writers = [job for job in seen.jobs if job.component != Component.CLEANUP]
    active = tuple(job for job in writers if job.state is JobState.ACTIVE)
    if active:
        stop = tuple(job for job in active if job.deleted is None)
        return CleanupPlan(stop=stop, requeue_seconds=LOOK_AGAIN_SECONDS)
    cleanup = seen.jobs_of(Component.CLEANUP)
    cleaners = {job.uid for job in cleanup}
    if any(pod.phase in ("Pending", "Running") and pod.job_uid not in cleaners for pod in seen.pods):
        return CleanupPlan(requeue_seconds=LOOK_AGAIN_SECONDS)
    if any(job.state is JobState.COMPLETE for job in cleanup):
        return CleanupPlan(delete_trials=seen.stored is not None, release=True)
    if seen.stored is None and not cleanup:
        return CleanupPlan(release=True)  # it never started: there is nothing to remove
    last = cleanup[-1] if cleanup else None
    if last is None or (
        last.state is JobState.FAILED and now >= (last.finished or last.created) + backoff(1, settings)
    ):
        return CleanupPlan(create=next_number(cleanup), requeue_seconds=LOOK_AGAIN_SECONDS)
    return CleanupPlan(requeue_seconds=LOOK_AGAIN_SECONDS)


def has_finalizer(study: Study) -> bool:
    """Whether the study waits for us when it is deleted."""
    return FINALIZER in study.finalizers
