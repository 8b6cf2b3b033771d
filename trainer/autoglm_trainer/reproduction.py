"""A trial made again from what the study keeps of it, and how far both agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import Owner, Surroundings, TrialAttribute
from autoglm_api.run import Run
from autoglm_store.ledger import origin_of, whole_point
from autoglm_store.limits import read_surroundings
from autoglm_store.sampling import training_seed

from .contract import LoadedTask, Places
from .errors import DataError, NothingToReproduce
from .tasks import get_task
from .work.surroundings import look_around

# Time is the one thing that never comes out the same.
_TIMED = frozenset({"latency_p95_ms"})


@dataclass(frozen=True)
class Figure:
    """One value, as the study keeps it and as it came out now; `now` is None where the trial no longer got there."""

    name: str
    stored: float
    now: float | None

    def agrees(self, tolerance: float) -> bool:
        """Whether both are equal, `tolerance` being the largest relative difference."""
        return self.now is not None and math.isclose(self.stored, self.now, rel_tol=tolerance, abs_tol=tolerance)


@dataclass(frozen=True)
class Reproduction:
    """What came out.

    Attributes:
        figures: the values reported after each step, then the metrics, but for measured times.
        changed: what is not as it was when the trial was made, each a sentence.
    """

    trial: int
    figures: tuple[Figure, ...]
    changed: tuple[str, ...]


@dataclass
class Repetition:
    """The control of a training that is compared: it notes reports and ends where the first one was pruned."""

    seed: int
    pruned_after: int | None
    reports: dict[int, float] = field(default_factory=dict)
    resume_from: Path | None = None

    def report(self, step: int, value: float) -> None:
        """Note it."""
        self.reports[step] = value
        if step == self.pruned_after:
            raise optuna.TrialPruned

    def heartbeat(self) -> None:
        """Nobody waits."""

    def checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Nothing is due."""


def reproduce(study: optuna.Study, run: Run, trial: FrozenTrial, places: Places) -> Reproduction:
    """Train `trial` again, at its point and from its seed, and compare every value that the study keeps of it.

    Nothing is written to the study.

    Raises:
        NothingToReproduce: the trial has neither metrics nor reports.
        DataError: the rows are not those that the trial was trained and measured on.
        SpecError: the model cannot be used any more.
    """
    metrics = trial.user_attrs.get(TrialAttribute.METRICS, {})
    reports = {} if run.objective.metric in _TIMED else trial.intermediate_values
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) or not (metrics or reports):
        raise NothingToReproduce(
            f"trial {origin_of(trial)} is {trial.state.name} and has no result to compare with; choose one that is"
            " COMPLETE, or PRUNED after a step"
        )
    loaded = get_task(run.task).load(run, places)
    before = _surroundings(study, trial)
    changed = [] if before is None else _changes(before, look_around(loaded))
    pruned = max(trial.intermediate_values) if trial.state == TrialState.PRUNED else None
    control = Repetition(training_seed(run, origin_of(trial)), pruned)
    measured = _train(loaded, trial, control)
    steps = [
        Figure(f"step {step}: {run.objective.metric}", value, control.reports.get(step))
        for step, value in sorted(reports.items())
    ]
    ends = [Figure(name, value, measured.get(name)) for name, value in metrics.items() if name not in _TIMED]
    return Reproduction(origin_of(trial), tuple(steps + ends), tuple(changed))


def _train(loaded: LoadedTask, trial: FrozenTrial, control: Repetition) -> Mapping[str, float]:
    try:
        return loaded.fit(whole_point(trial), control).evaluate("validation")
    except optuna.TrialPruned:
        return {}


def _surroundings(study: optuna.Study, trial: FrozenTrial) -> Surroundings | None:
    owner = trial.user_attrs.get(TrialAttribute.OWNER)
    return None if owner is None else read_surroundings(study, Owner.model_validate(owner).surroundings)


def _changes(before: Surroundings, now: Surroundings) -> list[str]:
    """Sentences for what a small difference may come from.

    Raises:
        DataError: the rows differ, so that a comparison would say nothing.
    """
    for split in ("train", "validation"):
        was, is_ = getattr(before.data, split), getattr(now.data, split)
        if was != is_:
            raise DataError(
                f"data.{split}: the rows are not those of the trial any more (digest {was[:19]}… then,"
                f" {is_[:19]}… now); put the files back as they were"
            )
    changed = [
        f"{library} {then} then, {now.versions.get(library, 'none')} now"
        for library, then in before.versions.items()
        if now.versions.get(library) != then
    ]
    if before.device != now.device:
        changed.append(f"device {before.device} then, {now.device} now")
    if before.threads != now.threads:
        changed.append(f"{before.threads} threads then, {now.threads} now")
    return changed
