"""What the trials amount to: logical trials, counts, best, why a study ends, which retries are due. Pure.

An attempt is one Optuna trial. The chain of an origin and its retries is one logical trial, and people see only those.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from operator import attrgetter
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import Fatal, Limits, TrialAttribute
from autoglm_api.base import Scalar
from autoglm_api.catalog import find_task
from autoglm_api.conditions import Reason
from autoglm_api.exits import MAX_FREE_ATTEMPTS, Cause
from autoglm_api.run import Run
from autoglm_api.space import is_active, space_size
from autoglm_api.status import TrialCounts

from .preference import at_goal, preference

Phase = Literal["waiting", "running", "complete", "pruned", "infeasible", "failed"]
FIXED_PARAMETERS = "fixed_params"  # Optuna's own system attribute for enqueued points
Point = frozenset[tuple[str, bool, Scalar]]


@dataclass(frozen=True)
class LogicalTrial:
    """One trial as people see it: the original and its retries, in order."""

    attempts: tuple[FrozenTrial, ...]

    @property
    def last(self) -> FrozenTrial:
        """The attempt that decides."""
        return self.attempts[-1]

    def phase(self, limits: Limits) -> Phase:
        """Where the trial stands; a failure whose retry is due but not created yet is waiting.

        A trial that was stopped because the study had ended has not failed: it was given up early, as by a pruner.
        """
        match self.last.state:
            case TrialState.WAITING:
                return "waiting"
            case TrialState.RUNNING:
                return "running"
            case TrialState.COMPLETE:
                return "complete"
            case TrialState.PRUNED:
                return "infeasible" if TrialAttribute.INFEASIBLE in self.last.user_attrs else "pruned"
            case TrialState.FAIL if cause_of(self.last) == Cause.STOPPED:
                return "pruned"
            case TrialState.FAIL:
                return "waiting" if self.retry_due(limits) else "failed"

    def retry_due(self, limits: Limits) -> bool:
        """Whether the last attempt failed for a reason that allows another one."""
        if self.last.state != TrialState.FAIL:
            return False
        last = cause_of(self.last)
        if last is None or not last.retryable:
            return False
        alike = [cause for cause in map(cause_of, self.attempts) if cause is not None and cause.free == last.free]
        return len(alike) <= (MAX_FREE_ATTEMPTS if last.free else limits.retries)


def cause_of(trial: FrozenTrial) -> Cause | None:
    """Why the attempt ended without a result; a FAIL without a word is a crash."""
    written = trial.user_attrs.get(TrialAttribute.CAUSE)
    if written is not None:
        return Cause(written)
    return Cause.CRASHED if trial.state == TrialState.FAIL else None


def retry_of(trial: FrozenTrial) -> int | None:
    """The number of the attempt that this one repeats; None for an original."""
    number: int | None = trial.user_attrs.get(TrialAttribute.RETRY_OF)
    return number


def origin_of(trial: FrozenTrial) -> int:
    """The number of the logical trial's first attempt."""
    number: int = trial.user_attrs.get(TrialAttribute.ORIGIN, trial.number)
    return number


def is_ours(trial: FrozenTrial) -> bool:
    """Whether the trial may appear in counts, best and report: neither void nor imported."""
    return not (trial.user_attrs.get(TrialAttribute.VOID) or trial.user_attrs.get(TrialAttribute.IMPORTED))


def is_counted(trial: FrozenTrial) -> bool:
    """Whether the trial uses up one of `max`: neither retry, nor imported, nor void."""
    return is_ours(trial) and retry_of(trial) is None


def rank(number: int, trials: Sequence[FrozenTrial]) -> int:
    """How many counted originals have a lower number; below `max` = one of those that may be trained."""
    return sum(trial.number < number and is_counted(trial) for trial in trials)


def logical_trials(trials: Sequence[FrozenTrial], limits: Limits) -> list[LogicalTrial]:
    """The logical trials in the order of their origins.

    Originals beyond `max` appear only if they are being trained or have a result (`max` was lowered): a claim would
    void them, and one that was killed while it was doing that is not retried. The second of two retries of one attempt
    is left out as well.
    """
    chains: dict[int, list[FrozenTrial]] = {}
    repeated: set[int] = set()
    for trial in sorted(filter(is_ours, trials), key=attrgetter("number")):
        again = retry_of(trial)
        if again is None:
            chains[trial.number] = [trial]
        elif again not in repeated and origin_of(trial) in chains:
            repeated.add(again)
            chains[origin_of(trial)].append(trial)
    return [
        LogicalTrial(tuple(attempts))
        for index, attempts in enumerate(chains.values())
        if index < limits.max or _was_granted(attempts[-1])
    ]


def _was_granted(trial: FrozenTrial) -> bool:
    """Whether the attempt is being trained or has a result; only a granted claim has parameters."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or (
        trial.state == TrialState.RUNNING and bool(trial.params)
    )


def counts(trials: Sequence[FrozenTrial], limits: Limits) -> TrialCounts:
    """Logical trials by state; `retried` counts the extra attempts."""
    logical = logical_trials(trials, limits)
    phases = [trial.phase(limits) for trial in logical]
    return TrialCounts(
        waiting=phases.count("waiting"),
        running=phases.count("running"),
        complete=phases.count("complete"),
        pruned=phases.count("pruned"),
        infeasible=phases.count("infeasible"),
        failed=phases.count("failed"),
        retried=sum(len(trial.attempts) - 1 for trial in logical),
    )


def constraint_names(run: Run) -> list[str]:
    """What Optuna calls the run's constraints, in their order; two may limit the same metric."""
    return [f"{index}:{constraint.metric}" for index, constraint in enumerate(run.constraints)]


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether the trial was trained and breaks no constraint."""
    return all(violation <= 0 for violation in trial.constraints.values())


def is_candidate(trial: FrozenTrial) -> bool:
    """Whether the trial may be best: complete, finite, feasible, ours, and no copy of another one."""
    return (
        trial.state == TrialState.COMPLETE
        and bool(trial.values)
        and all(map(math.isfinite, trial.values))
        and is_ours(trial)
        and TrialAttribute.DUPLICATE_OF not in trial.user_attrs
        and is_feasible(trial)
    )


def top(trials: Sequence[FrozenTrial], run: Run, n: int = 10) -> list[FrozenTrial]:
    """The `n` best candidates by `preference`, best first; of equals, the older one."""
    ordered = sorted(filter(is_candidate, trials), key=lambda trial: (preference(trial.values, run), trial.number))
    return ordered[:n]


def best(trials: Sequence[FrozenTrial], run: Run) -> FrozenTrial | None:
    """The best candidate, which becomes the model; None while there is none."""
    return next(iter(top(trials, run, 1)), None)


def would_lead(values: Sequence[float], trials: Sequence[FrozenTrial], run: Run, n: int) -> bool:
    """Whether a feasible trial with `values` would now be one of the `n` best; of equals, the older one stays."""
    own = preference(values, run)
    leading = (trial for trial in trials if is_candidate(trial) and preference(trial.values, run) <= own)
    return len(list(islice(leading, n))) < n


def retries_due(trials: Sequence[FrozenTrial], limits: Limits) -> list[FrozenTrial]:
    """Failed attempts whose retry should exist and does not; none once the study is being stopped."""
    if limits.stop:
        return []
    return [trial.last for trial in logical_trials(trials, limits) if trial.retry_due(limits)]


def end_reason(
    trials: Sequence[FrozenTrial], run: Run, limits: Limits, now: datetime, fatal: Fatal | None = None
) -> Reason | None:
    """Why no trial should be started any more; None = go on. Trials may still be running.

    Args:
        trials: all of the study's.
        run: the frozen run.
        limits: the limits as they are now.
        now: with a time zone.
        fatal: `read_fatal(study)`.
    """
    if fatal is not None:
        return Reason.DATA_ERROR if fatal.cause == Cause.DATA else Reason.SPEC_ERROR
    if any(objective.goal is not None for objective in run.objectives):
        leader = best(trials, run)
        if leader is not None and at_goal(leader.values, run):
            return Reason.GOAL_REACHED
    if is_past(limits.deadline, now):
        return Reason.DEADLINE
    size = space_size(run.parameters)
    if len(trials) < min(limits.max, size) and _ended_badly(trials) <= limits.max_failed:
        return None  # there cannot be more logical trials than attempts, so they need not be sorted out
    tally = counts(trials, limits)
    if tally.failed > limits.max_failed:
        return Reason.TOO_MANY_FAILED
    if tally.waiting or tally.running:
        return None
    if tally.finished >= limits.max:
        return Reason.SPACE_EXHAUSTED if ends_grid(run, limits) else Reason.MAX_TRIALS
    if tally.finished >= size and len(tried_points(trials, run)) >= size:
        return Reason.SPACE_EXHAUSTED
    return None


def is_grid(run: Run) -> bool:
    """Whether the run's points come from a grid."""
    return run.sampler.type == "Grid"


def ends_grid(run: Run, limits: Limits) -> bool:
    """Whether `limits.max` trials are a whole grid."""
    return is_grid(run) and limits.max >= space_size(run.parameters)


def _ended_badly(trials: Sequence[FrozenTrial]) -> int:
    """Attempts that failed, for whatever reason."""
    return [trial.state for trial in trials].count(TrialState.FAIL)


def is_past(deadline: datetime | None, now: datetime) -> bool:
    """Whether the deadline has come; one written without a time zone means UTC."""
    if deadline is None:
        return False
    return now >= (deadline if deadline.tzinfo else deadline.replace(tzinfo=UTC))


def tried_points(trials: Sequence[FrozenTrial], run: Run) -> set[Point]:
    """Every point at which an attempt of ours has ended; one that died before it had a whole point is left out.

    So is one that a task has made something of: at the same point it would make something else the next time.
    """
    finished = (trial for trial in trials if trial.state.is_finished() and is_ours(trial) and not is_derived(trial))
    return {as_point(trial.params) for trial in finished if is_whole(trial.params, run)}


def is_derived(trial: FrozenTrial) -> bool:
    """Whether the task has decided what the point leaves open."""
    return TrialAttribute.DERIVED in trial.user_attrs


def whole_point(trial: FrozenTrial) -> dict[str, Scalar]:
    """The point, with what the task has made of values that it leaves open."""
    return {**trial.params, **trial.user_attrs.get(TrialAttribute.DERIVED, {})}


def is_default(point: Mapping[str, Scalar], run: Run) -> bool:
    """Whether this is the task's default configuration, which the report compares the winner with."""
    task = find_task(run.task).for_model(run.model)
    return as_point({**task.defaults(point), **point}) == as_point(task.defaults({}))


def is_whole(parameters: Mapping[str, Scalar], run: Run) -> bool:
    """Whether every parameter that exists at this point has a value."""
    return all(parameter.name in parameters for parameter in run.parameters if is_active(parameter, parameters))


def as_point(parameters: Mapping[str, Scalar]) -> Point:
    """A hashable form, in which `True` is not `1`, and a step that Optuna reached by adding is the one as written."""
    return frozenset((name, isinstance(value, bool), _written(value)) for name, value in parameters.items())


def _written(value: Scalar) -> Scalar:
    return float(f"{value:.12g}") if isinstance(value, float) else value


def gpu_seconds(trials: Sequence[FrozenTrial]) -> tuple[float, float]:
    """GPU-seconds held by all attempts, and the part of them in attempts without a result."""
    used = wasted = 0.0
    for trial in trials:
        held = seconds(trial) * float(trial.user_attrs.get(TrialAttribute.GPUS, 0))
        used += held
        wasted += held if trial.state == TrialState.FAIL else 0.0
    return used, wasted


def seconds(trial: FrozenTrial) -> float:
    """How long the attempt took; by its times where its worker did not come to note it."""
    written = trial.user_attrs.get(TrialAttribute.SECONDS)
    if written is not None:
        return float(written)
    if trial.datetime_start is None or trial.datetime_complete is None:
        return 0.0
    return (trial.datetime_complete - trial.datetime_start).total_seconds()
