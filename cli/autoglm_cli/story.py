"""What happened to the trials, told in lines: pure, from trials to text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import Limits, TrialAttribute
from autoglm_api.base import Scalar
from autoglm_api.run import Run
from autoglm_api.status import TrialCounts
from autoglm_store.attempts import attempt_of
from autoglm_store.ledger import (
    LogicalTrial,
    best,
    cause_of,
    counts,
    is_candidate,
    is_feasible,
    is_ours,
    logical_trials,
    origin_of,
)

_RECENT = 10
_LONGEST_TEXT = 40
_LONGEST_REASON = 80


@dataclass(frozen=True)
class Training:
    """An attempt that is training: whose, at which point, and its last report."""

    name: str
    point: str
    report: str


@dataclass(frozen=True)
class View:
    """A study at one moment, as far as people look at it.

    Attributes:
        eta_seconds: None until something has finished.
    """

    counts: TrialCounts
    maximum: int
    best: FrozenTrial | None
    training: tuple[Training, ...]
    eta_seconds: float | None


def view(trials: Sequence[FrozenTrial], run: Run, limits: Limits, parallel: int) -> View:
    """The study as it is now."""
    tally = counts(trials, limits)
    training = tuple(_training(trial) for trial in trials if trial.state == TrialState.RUNNING and trial.params)
    return View(tally, limits.max, best(trials, run), training, _eta(trials, tally, limits, parallel))


def _training(trial: FrozenTrial) -> Training:
    step = trial.last_step
    report = "" if step is None else f"step {step}: {number(trial.intermediate_values[step])}"
    return Training(f"trial {origin_of(trial)}{_again(trial)}", parameters(trial.params), report)


def _again(trial: FrozenTrial) -> str:
    attempt = attempt_of(trial)
    return f" (attempt {attempt})" if attempt > 1 else ""


def _eta(trials: Sequence[FrozenTrial], tally: TrialCounts, limits: Limits, parallel: int) -> float | None:
    durations = [
        seconds
        for trial in trials
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        and is_ours(trial)
        and (seconds := duration(trial)) is not None
    ][-_RECENT:]
    if not durations:
        return None
    left = max(0, limits.max - tally.finished)
    return left * sum(durations) / len(durations) / max(1, min(parallel, left))


def duration(trial: FrozenTrial) -> float | None:
    """Seconds from claim to end."""
    if trial.datetime_start is None or trial.datetime_complete is None:
        return None
    return (trial.datetime_complete - trial.datetime_start).total_seconds()


def changes(
    before: Mapping[int, TrialState], trials: Sequence[FrozenTrial], run: Run, limits: Limits
) -> list[tuple[str, str]]:
    """(line, style) for each attempt that ended since `before` was noted, in the order in which they ended."""
    ended = [
        trial
        for trial in trials
        if trial.state.is_finished()
        and is_ours(trial)
        and not before.get(trial.number, TrialState.WAITING).is_finished()
    ]
    ended.sort(key=lambda trial: trial.datetime_complete or datetime.min)  # noqa: DTZ901  Optuna's times are naive
    leader = best(trials, run)
    due = {trial.last.number for trial in logical_trials(trials, limits) if trial.retry_due(limits)}
    return [_ending(trial, run, again=trial.number in due, leads=trial is leader) for trial in ended]


def _ending(trial: FrozenTrial, run: Run, *, again: bool, leads: bool) -> tuple[str, str]:
    name = f"trial {origin_of(trial)}{_again(trial)}"
    took = f"   {seconds(duration(trial))}"
    point = f"   {parameters(trial.params)}"
    match trial.state:
        case TrialState.COMPLETE:
            told = results(trial.values, run)
            if not is_feasible(trial):
                return f"{name}   {told}, breaks {broken(trial, run)}{took}{point}", "yellow"
            return f"{name}   {told}{' ← best' if leads else ''}{took}{point}", "green" if leads else ""
        case TrialState.PRUNED if TrialAttribute.INFEASIBLE in trial.user_attrs:
            return f"{name}   cannot be trained here: {_message(trial)}{point}", "yellow"
        case TrialState.PRUNED:
            return f"{name}   pruned after step {trial.last_step}{took}{point}", "dim"
        case _:
            cause = cause_of(trial)
            if again and cause is not None and cause.free:
                return f"{name}   cut short ({cause}), goes on later: {_message(trial)}{point}", "yellow"
            then = "; will be tried again" if again else ""
            return f"{name}   failed ({cause}): {_message(trial)}{then}{point}", "red"


def _message(trial: FrozenTrial) -> str:
    lines = str(trial.user_attrs.get(TrialAttribute.MESSAGE) or "no message").strip().splitlines()
    return lines[-1] if lines else "no message"


def broken(trial: FrozenTrial, run: Run) -> str:
    """The constraints that the trial does not keep, with what was measured."""
    metrics: Mapping[str, float] = trial.user_attrs.get(TrialAttribute.METRICS) or {}
    told = []
    for constraint in run.constraints:
        measured = metrics.get(constraint.metric)
        if measured is not None and constraint.violation(measured) > 0:
            sign = "≤" if constraint.operator == "LessOrEqual" else "≥"
            told.append(f"{constraint.metric} {sign} {constraint.value:g} (is {number(measured)})")
    return ", ".join(told) or "a constraint"


def state_of(trial: LogicalTrial, limits: Limits, run: Run) -> str:
    """The state of a logical trial, in a word or a few."""
    last = trial.last
    match trial.phase(limits):
        case "complete" if not is_feasible(last):
            return f"breaks {broken(last, run)}"
        case "complete" if not is_candidate(last):
            return f"same as trial {last.user_attrs.get(TrialAttribute.DUPLICATE_OF)}"
        case "failed":
            told = _message(last)
            return f"failed: {told if len(told) <= _LONGEST_REASON else told[:_LONGEST_REASON] + '…'}"
        case "waiting" if last.state == TrialState.FAIL:
            return "cut short"
        case phase:
            return phase


def results(values: Sequence[float], run: Run) -> str:
    """Each objective with its value, in a line."""
    named = zip(run.objectives, values, strict=True)
    return ", ".join(f"{objective.metric} {number(value)}" for objective, value in named)


def parameters(point: Mapping[str, Scalar]) -> str:
    """A point in one line; the method, which says most, without its name."""
    shown = [str(point["method"])] if "method" in point else []
    return "  ".join([*shown, *(f"{name} {number(value)}" for name, value in point.items() if name != "method")])


def number(value: Scalar | None) -> str:
    """Four significant digits for floats, the beginning of long texts, everything else as written."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def seconds(value: float | None) -> str:
    """A duration as people say it."""
    if value is None:
        return "?"
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
