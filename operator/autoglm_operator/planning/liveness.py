"""Whether a RUNNING attempt is over, and why. The operator alone decides it, from the pod that owns the attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from autoglm_api.exits import Cause, ExitCode
from autoglm_api.exits import Termination as LastWords
from autoglm_operator.observation import Attempt, Observation, Pod

LOST_AFTER_GRACE = timedelta(seconds=60)
_ENDED = ("Succeeded", "Failed")

_BY_EXIT_CODE = {
    ExitCode.NOTHING_LEFT: Cause.LOST,
    ExitCode.SPEC: Cause.SPEC,
    ExitCode.DATA: Cause.DATA,
    ExitCode.STORAGE: Cause.STORAGE,
    ExitCode.RELEASED: Cause.RELEASED,
}
# 128 + SIGKILL and SIGTERM: somebody outside ended the process, be it the node, an operator's hand or a kernel that was
# out of memory beyond the pod's own limit. A trial cannot do that to itself; one that always meets it runs out of its
# free attempts.
_KILLED = (137, 143)
_BY_POD_REASON = {
    "Evicted": Cause.EVICTED,
    "NodeShutdown": Cause.EVICTED,
    "Terminated": Cause.EVICTED,
    "NodeLost": Cause.LOST,
    "Preempting": Cause.PREEMPTED,
    "Preempted": Cause.PREEMPTED,
}
_BY_DISRUPTION = {
    "PreemptionByScheduler": Cause.PREEMPTED,
    "PreemptionByKubeScheduler": Cause.PREEMPTED,
    "TerminationByKubelet": Cause.EVICTED,
    "EvictionByEvictionAPI": Cause.EVICTED,
    "DeletionByTaintManager": Cause.EVICTED,
}


@dataclass(frozen=True)
class Verdict:
    """An attempt that is over: `void` = it counts nowhere; `infeasible` = this point cannot be trained."""

    trial: int
    cause: Cause
    message: str
    void: bool = False
    infeasible: bool = False


def verdicts(
    seen: Observation, attempts: tuple[Attempt, ...], *, claim_grace: timedelta, now: datetime
) -> list[Verdict]:
    """All attempts that are over, each with its cause; those of living pods are left out."""
    found = [_verdict(seen, attempt, claim_grace, now) for attempt in attempts]
    return [verdict for verdict in found if verdict is not None]


def _verdict(seen: Observation, attempt: Attempt, claim_grace: timedelta, now: datetime) -> Verdict | None:
    if attempt.owner is None:
        return _ownerless(attempt, claim_grace, now)
    if attempt.owner.identity not in seen.owners:
        return None
    pod = seen.owners[attempt.owner.identity]
    if pod is None or pod.uid != attempt.owner.identity:
        return Verdict(attempt.number, Cause.LOST, f"pod {attempt.owner.name} is gone")
    if pod.phase in _ENDED:
        return _ended(attempt, pod)
    if pod.deleted is not None and now > pod.deleted + LOST_AFTER_GRACE:
        # metadata.deletionTimestamp already includes the grace period.
        return Verdict(attempt.number, Cause.LOST, f"pod {pod.name} should have ended {LOST_AFTER_GRACE} ago")
    return None


def _ownerless(attempt: Attempt, claim_grace: timedelta, now: datetime) -> Verdict | None:
    if now - attempt.first_seen < claim_grace:
        return None
    if attempt.fixed or not attempt.empty:
        return Verdict(attempt.number, Cause.CLAIM_LOST, "claimed by a worker that never said who it is")
    return Verdict(attempt.number, Cause.CLAIM_LOST, "", void=True)


def _ended(attempt: Attempt, pod: Pod) -> Verdict:
    cause, message = cause_of(pod)
    if cause is Cause.OUT_OF_MEMORY and (attempt.claims_before == 0 or attempt.exhausted_memory):
        # Not the fault of an earlier trial's leftovers: this point does not fit into this pod.
        return Verdict(attempt.number, cause, message, infeasible=True)
    return Verdict(attempt.number, cause, message)


def cause_of(pod: Pod) -> tuple[Cause, str]:
    """Why an ended pod ended, and a sentence."""
    disrupted = _BY_DISRUPTION.get(pod.disruption) or _BY_POD_REASON.get(pod.reason)
    if disrupted is not None:
        return disrupted, pod.message or f"pod {pod.name}: {pod.disruption or pod.reason}"
    ended = pod.termination
    if ended is None:
        return Cause.LOST, pod.message or f"pod {pod.name} ended without saying how"
    if ended.reason == "OOMKilled":
        return Cause.OUT_OF_MEMORY, f"pod {pod.name} was killed because it exceeded its memory limit"
    words = last_words(ended.message)
    if words is not None:
        return words.cause, words.message
    tail = f": {ended.message.strip()[-400:]}" if ended.message.strip() else ""
    if ended.exit_code in _KILLED:
        return Cause.LOST, f"pod {pod.name} was killed from outside (exit code {ended.exit_code}){tail}"
    cause = _BY_EXIT_CODE.get(ExitCode(ended.exit_code)) if ended.exit_code in list(ExitCode) else None
    return cause or Cause.CRASHED, f"pod {pod.name} ended with exit code {ended.exit_code}{tail}"


def last_words(message: str) -> LastWords | None:
    """What the worker wrote as it ended; None when that is not from our worker."""
    try:
        return LastWords.model_validate_json(message)
    except ValidationError:
        return None
