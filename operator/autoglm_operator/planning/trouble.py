"""Why no worker runs although one should: what people would otherwise look for with `kubectl describe`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from autoglm_api.conditions import Reason
from autoglm_api.names import Component
from autoglm_operator.observation import Job, JobState, Observation, Pod
from autoglm_operator.settings import Settings

from .liveness import cause_of
from .slots import by_slot, streak

BARREN_BEFORE_STALLED = 3
STARTING_GRACE = timedelta(minutes=10)
PODLESS_GRACE = timedelta(minutes=1)
_IMAGE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "RegistryUnavailable",
        "ImageInspectError",
    }
)
_CONTAINER = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


@dataclass(frozen=True)
class Trouble:
    """Why nothing moves, for the conditions Stalled and Queued."""

    reason: Reason
    message: str


def trouble_of(seen: Observation, *, now: datetime, settings: Settings) -> Trouble | None:
    """What keeps every worker (or the export) from running; None when one runs or nothing is known to be wrong."""
    active = [job for job in seen.jobs if job.state is JobState.ACTIVE and job.component != Component.CLEANUP]
    pods = [pod for job in active if (pod := seen.pod_of(job)) is not None]
    if any(pod.phase == "Running" for pod in pods):
        return None
    if seen.rejection is not None:
        return Trouble(Reason.POD_REJECTED, f"the API server refuses a {seen.rejection.message}")
    held = [job for job in active if job.held]
    return (
        _lost_secret(seen)
        or _cannot_start(pods)
        or _unschedulable(pods, now, settings)
        or _queued(held, active)
        or _failing(seen)
        or _podless(seen, active, now)
        or _not_starting(pods, now)
    )


def _lost_secret(seen: Observation) -> Trouble | None:
    if seen.lost_secret is None:
        return None
    return Trouble(Reason.SECRET_NOT_FOUND, f"Secret {seen.lost_secret} does not exist, and pods wait for it to start")


def _cannot_start(pods: list[Pod]) -> Trouble | None:
    for pod in pods:
        if pod.waiting is not None and pod.waiting[0] in _IMAGE | _CONTAINER:
            reason, message = pod.waiting
            return Trouble(
                _kind(reason, message), f"pod {pod.name} cannot start: {reason}: {message or 'no further word'}"
            )
    return None


def _kind(reason: str, message: str) -> Reason:
    if reason in _IMAGE:
        return Reason.IMAGE_PULL
    # A key that a Secret lacks ends here too, with a message that names both.
    return Reason.SECRET_NOT_FOUND if "secret" in message.lower() else Reason.CANNOT_START


def _unschedulable(pods: list[Pod], now: datetime, settings: Settings) -> Trouble | None:
    grace = timedelta(seconds=settings.unschedulable_grace_seconds)
    for pod in pods:
        if pod.unschedulable is not None and now - pod.created >= grace:
            return Trouble(Reason.UNSCHEDULABLE, f"pod {pod.name} finds no node: {pod.unschedulable}")
    return None


def _podless(seen: Observation, active: list[Job], now: datetime) -> Trouble | None:
    """The Job is welcome and its pod is not; the API server tells only the Job controller why."""
    for job in active:
        known = job.held or job.deleted is not None or seen.pod_of(job) is not None
        if not known and now - job.created >= PODLESS_GRACE:
            hint = "its ServiceAccount may be missing, or a quota or policy refuses the pod"
            message = f"Job {job.name} gets no pod: {hint}; see the Events of `kubectl describe job {job.name}`"
            return Trouble(Reason.POD_REJECTED, message)
    return None


def _not_starting(pods: list[Pod], now: datetime) -> Trouble | None:
    """What only Events tell: a claim that cannot be mounted, a node that does not answer."""
    for pod in pods:
        if pod.phase == "Pending" and now - pod.created >= STARTING_GRACE:
            reason, message = pod.waiting or ("", "")
            why = ": ".join(word for word in (reason, message) if word) or "no further word"
            seconds = int((now - pod.created).total_seconds()) // 60 * 60
            hint = f"see the Events of `kubectl describe pod {pod.name}`; a claim may not be mountable"
            return Trouble(Reason.UNSCHEDULABLE, f"pod {pod.name} has not started in {seconds} s ({why}): {hint}")
    return None


def _queued(held: list[Job], active: list[Job]) -> Trouble | None:
    if not held or len(held) < len(active):
        return None
    return Trouble(Reason.QUEUED, f"{len(held)} worker Jobs wait for admission by the cluster's queue")


def _failing(seen: Observation) -> Trouble | None:
    longest = max((streak(seen, jobs) for jobs in by_slot(_finished_workers(seen)).values()), key=len, default=[])
    failed = [job for job in longest if job.state is JobState.FAILED]
    if len(failed) < BARREN_BEFORE_STALLED:
        return None
    pod = next((pod for job in failed if (pod := seen.pod_of(job)) is not None and pod.termination), None)
    why = cause_of(pod)[1] if pod is not None else "their pods are gone"
    return Trouble(Reason.WORKERS_FAILING, f"{len(failed)} workers in a row ended without finishing a trial: {why}")


def _finished_workers(seen: Observation) -> tuple[Job, ...]:
    return tuple(job for job in seen.jobs_of(Component.WORKER) if job.state is not JobState.ACTIVE)
