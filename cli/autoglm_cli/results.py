"""How a run ended: the table of trials, and a sentence for each way to end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from optuna.trial import FrozenTrial
from rich.console import Console

from autoglm_api.attempts import Fatal, Limits
from autoglm_api.conditions import Reason
from autoglm_api.run import Run
from autoglm_store.front import front
from autoglm_store.ledger import LogicalTrial, counts, logical_trials, top

from .sections import Columns, print_table
from .story import duration, number, parameters, seconds, state_of

MAX_ROWS = 30

_ENDS: Mapping[Reason, str] = {
    Reason.MAX_TRIALS: "all trials are finished",
    Reason.GOAL_REACHED: "the goal is reached",
    Reason.DEADLINE: "the deadline has come",
    Reason.SPACE_EXHAUSTED: "every point of the space has been tried",
    Reason.TOO_MANY_FAILED: "too many trials failed",
    Reason.SPEC_ERROR: "the study cannot be run as it is written",
    Reason.DATA_ERROR: "the data cannot be used",
}


def ending(reason: Reason, trials: Sequence[FrozenTrial], limits: Limits, fatal: Fatal | None) -> str:
    """Why the study ended, in a sentence."""
    told = _ENDS.get(reason, str(reason))
    tally = counts(trials, limits)
    if fatal is not None:
        return f"{told}: {fatal.message}"
    if reason == Reason.TOO_MANY_FAILED:
        return f"{told}: {tally.failed}, with trials.maxFailed {limits.max_failed}"
    states = [(tally.complete, "complete"), (tally.pruned, "pruned"), (tally.infeasible, "infeasible")]
    named = [f"{count} {name}" for count, name in [*states, (tally.failed, "failed")] if count]
    return f"{told}: {', '.join(named)}"


def print_results(console: Console, trials: Sequence[FrozenTrial], run: Run, limits: Limits) -> None:
    """A table of all logical trials, candidates first and ranked, of several objectives those on the front marked.

    At most thirty rows.
    """
    several = len(run.objectives) > 1
    marked = {trial.number for trial in front(trials, run)} if several else set()
    ranks = {trial.number: rank for rank, trial in enumerate(top(trials, run, len(trials)), start=1)}
    logical = sorted(
        logical_trials(trials, limits),
        key=lambda trial: (ranks.get(trial.last.number, len(trials) + 1), trial.last.number),
    )
    columns: Columns = {
        "RANK": "right",
        "TRIAL": "right",
        **({"FRONT": "left"} if several else {}),
        **{objective.metric.upper(): "right" for objective in run.objectives},
        "TIME": "right",
        "STATE": "left",
        "PARAMETERS": "left",
    }
    rows = [(_row(trial, ranks, marked, run, limits), _style(trial, ranks)) for trial in logical[:MAX_ROWS]]
    if len(logical) > MAX_ROWS:
        empty = [""] * (len(columns) - 2)
        rows.append(((*empty, f"… {len(logical) - MAX_ROWS} more", ""), ""))
    print_table(console, columns, rows)


def _row(
    trial: LogicalTrial, ranks: Mapping[int, int], marked: Collection[int], run: Run, limits: Limits
) -> tuple[str, ...]:
    last = trial.last
    mark = ["●" if last.number in marked else ""] if len(run.objectives) > 1 else []
    return (
        str(ranks.get(last.number, "")),
        str(trial.attempts[0].number),
        *mark,
        *(map(number, last.values) if last.values else [""] * len(run.objectives)),
        "" if duration(last) is None else seconds(duration(last)),
        state_of(trial, limits, run),
        parameters(last.params),
    )


def _style(trial: LogicalTrial, ranks: Mapping[int, int]) -> str:
    rank = ranks.get(trial.last.number)
    return "bold green" if rank == 1 else "" if rank else "dim"
