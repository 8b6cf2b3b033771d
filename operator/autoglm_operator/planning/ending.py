"""When a study is over, and whether it ended well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autoglm_api.attempts import Fatal, Limits
from autoglm_api.conditions import Reason
from autoglm_api.exits import Cause
from autoglm_api.run import Run
from autoglm_api.status import BestTrial, TrialCounts
from autoglm_operator.observation import JobState, Observation, StoredStudy
from autoglm_store import ledger
from autoglm_store.preference import at_goal

from .liveness import cause_of


@dataclass(frozen=True)
class Ending:
    """Why no further trial will run; `hard` = trials that still run are stopped."""

    reason: Reason
    message: str
    failed: bool = False
    hard: bool = False


def ending_of(stored: StoredStudy, limits: Limits, fatal: Fatal | None, now: datetime) -> Ending | None:
    """Why the search is over; None while it goes on."""
    counts, best = stored.trials.counts, stored.trials.best
    if fatal is not None:
        reason = Reason.DATA_ERROR if fatal.cause == Cause.DATA else Reason.SPEC_ERROR
        return Ending(reason, fatal.message, failed=True, hard=True)
    if best is not None and at_goal(best.values or (best.value,), stored.run):
        return Ending(Reason.GOAL_REACHED, _goals_reached(best, stored.run), hard=True)
    if limits.deadline is not None and ledger.is_past(limits.deadline, now):
        message = f"budget.deadline {limits.deadline.isoformat()} has passed"
        return _with_result(stored, Reason.DEADLINE, message, hard=True)
    if counts.failed > limits.max_failed:
        message = f"{counts.failed} trials failed; trials.maxFailed allows {limits.max_failed}"
        return Ending(Reason.TOO_MANY_FAILED, message + last_failure(stored), failed=True, hard=True)
    if counts.running or counts.waiting:
        return None
    if counts.finished >= limits.max and ledger.ends_grid(stored.run, limits):
        return _with_result(stored, Reason.SPACE_EXHAUSTED, f"all {limits.max} points of the grid have been tried")
    if counts.finished >= limits.max:
        return _with_result(stored, Reason.MAX_TRIALS, f"all {limits.max} trials are finished")
    if stored.exhausted:
        message = f"the search space has no untried point left after {counts.finished} trials"
        return _with_result(stored, Reason.SPACE_EXHAUSTED, message)
    return None


def _goals_reached(best: BestTrial, run: Run) -> str:
    """Every goal beside what the trial has of it."""
    named = zip(run.objectives, best.values or (best.value,), strict=True)
    reached = [f"{each.metric} {value:g} (the goal is {each.goal:g})" for each, value in named if each.goal is not None]
    return f"trial {best.trial} reached {' and '.join(reached)}"


def remaining(counts: TrialCounts, limits: Limits, *, exhausted: bool) -> int:
    """Logical trials that workers could still be busy with: WAITING, RUNNING, and not yet claimed."""
    under_way = counts.waiting + counts.running
    return under_way + (0 if exhausted else max(0, limits.max - under_way - counts.finished))


def fatal_of(seen: Observation) -> Fatal | None:
    """The error that every trial would meet: as stored, or as a worker's pod said when it ended."""
    if seen.stored is not None and seen.stored.fatal is not None:
        return seen.stored.fatal
    for job in seen.jobs:
        pod = seen.pod_of(job)
        if job.state is JobState.FAILED and pod is not None and pod.termination is not None:
            cause, message = cause_of(pod)
            if cause.ends_study:
                return Fatal(cause=cause, message=message)
    return None


def _with_result(stored: StoredStudy, reason: Reason, message: str, *, hard: bool = False) -> Ending:
    if stored.trials.best is not None:
        return Ending(reason, message, hard=hard)
    counts = stored.trials.counts
    nothing = (
        f"{message}, and none is a feasible result: {counts.failed} failed, {counts.pruned} pruned,"
        f" {counts.infeasible} infeasible, {counts.complete} complete{last_failure(stored)}"
    )
    return Ending(Reason.NO_FEASIBLE_TRIAL, nothing, failed=True, hard=hard)


def last_failure(stored: StoredStudy) -> str:
    """The end of a sentence about failed trials: what the last of them said; empty when none failed."""
    said = stored.trials.last_failure
    return f"; the last one was {said}" if said else ""
