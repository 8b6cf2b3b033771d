"""What samplers are shown of a study that learn from complete trials only: pruned and infeasible ones as well.

A sampler that never hears of a point which ran out of memory proposes it again and again.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from autoglm_api.attempts import TrialAttribute
from autoglm_api.run import Run

from .ledger import constraint_names

GENERATION = ":generation"
"""How the system attribute ends in which a sampler notes a trial's generation; retries keep it."""
_CONSTRAINTS = "constraints"  # Optuna's own system attributes for what `set_constraint` writes begin so


class Shown(optuna.Study):
    """A study with other trials; everything else, storage included, is the real one's."""

    def __init__(self, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        self.__dict__.update(study.__dict__)
        self._shown = trials

    @override
    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return self._get_trials(deepcopy, states)

    @override
    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self._shown if states is None or trial.state in states]


def lessons(trials: Sequence[FrozenTrial], run: Run) -> list[FrozenTrial]:
    """The trials with every result in the form of a complete trial, in the order of their numbers.

    A pruned trial counts by its last report; in a study with constraints, which it never measured, not at all. An
    infeasible one is as bad as the worst in every objective and breaks every constraint. A result without generation is
    of the first.
    """
    complete = [trial.values for trial in trials if trial.state == TrialState.COMPLETE and trial.values]
    worst = None
    if complete:
        by_objective = zip(run.objectives, zip(*complete, strict=True), strict=True)
        worst = [max(values, key=objective.cost) for objective, values in by_objective]
    violation = max((1.0, *(value for trial in trials for value in trial.constraints.values())))
    shown = (_as_complete(trial, run, worst, violation) for trial in trials)
    return [trial for trial in shown if trial is not None]


def _as_complete(trial: FrozenTrial, run: Run, worst: list[float] | None, violation: float) -> FrozenTrial | None:
    if trial.state != TrialState.PRUNED:
        return trial
    infeasible = TrialAttribute.INFEASIBLE in trial.user_attrs
    values = worst if infeasible else None if run.constraints else trial.values
    if values is None:
        return None
    seen = copy.copy(trial)
    seen.state, seen.values = TrialState.COMPLETE, values
    attributes = {key: known for key, known in trial.system_attrs.items() if not key.startswith(f"{_CONSTRAINTS}:")}
    if infeasible:
        attributes |= {f"{_CONSTRAINTS}:{name}": violation for name in constraint_names(run)}
    seen.system_attrs = attributes
    return seen


def with_generations(trials: Sequence[FrozenTrial], key: str) -> list[FrozenTrial]:
    """The trials, those that no generation asked for (enqueued, imported) as members of the first."""
    return [_of_the_first(trial, key) if trial.state == TrialState.COMPLETE else trial for trial in trials]


def _of_the_first(trial: FrozenTrial, key: str) -> FrozenTrial:
    if key in trial.system_attrs:
        return trial
    seen = copy.copy(trial)
    seen.system_attrs = {**trial.system_attrs, key: 0}
    return seen
