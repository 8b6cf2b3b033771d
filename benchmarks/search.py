"""Whether the search pays: how long a study takes to reach what random search found in all its trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from statistics import fmean

from optuna.trial import TrialState

from autoglm_api.attempts import TrialAttribute
from autoglm_store.connection import load_study
from benchmarks.cases import ENTITIES, INTENTS, PAPERS, Case, chosen, sources
from benchmarks.results import Aim, Row, Table
from benchmarks.studies import CreatedStudy, create, journal_url
from benchmarks.workers import WORKER, run_worker

SHARE = Aim("at most", 2 / 3)
COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED


@dataclass(frozen=True)
class Moment:
    """When a trial was told, in seconds since a study's first trial was asked for.

    Attributes:
        wall: by the clock.
        cpu: of all trials told until then; on a busy machine sturdier.
        value: of the trial on validation rows; None = pruned.
    """

    wall: float
    cpu: float
    value: float | None


@dataclass(frozen=True)
class Race:
    """One seed on one data set.

    Attributes:
        random: when random search had its best value, which is the goal.
        ours: when our study had it, or its last trial.
        reached: whether it had it at all.
    """

    random: Moment
    ours: Moment
    reached: bool


@dataclass(frozen=True)
class Size:
    """Which data sets, with which seeds; our study may take `patience` times as many trials as random search."""

    cases: tuple[Case, ...]
    seeds: tuple[int, ...]
    patience: int = 2


FULL = Size(
    (
        replace(INTENTS, rows=(308, 154, 77), trials=12),
        replace(ENTITIES, rows=(300, 300, 50), trials=12),
        replace(PAPERS, trials=12),
    ),
    seeds=(1, 2, 3, 4, 5),
)
_HEAD = (("parameters", [{"name": "head_c", "float": {"min": 1e-3, "max": 1e3, "log": True}}]),)
SMALL = Size((replace(INTENTS, folder="", rows=(60, 30, 30), trials=2, spec=_HEAD),), seeds=(1,))


def run(folder: Path, size: Size) -> Table:
    """Every chosen data set with every seed: random search first, then ours with its best value as the goal.

    Raises:
        FileNotFoundError: a data set is not there.
        RuntimeError: a worker failed.
    """
    rows: list[Row] = []
    notes: list[str] = []
    for case in chosen(size.cases):
        place = folder / case.task
        data = sources(case, place / "data")
        races = [race(case, data, seed, place / str(seed), size.patience) for seed in size.seeds]
        rows += _rows(case, races)
        notes.append(_note(case, races))
    notes.append(
        "Random search: sampler Random, no pruner, no fixed points; its time is that until its best trial was told."
        " Ours: the study as it is without a word about the search: the task's good points, TPE, the Median pruner."
        " Both search the task's own space with one worker of one thread; the model is loaded before the clock runs."
        " CPU seconds are those of fitting and judging trials, by the worker's own count."
    )
    return Table(name="search", title="Time to random search's best", rows=tuple(rows), notes=tuple(notes))


def race(case: Case, data: Mapping[str, str], seed: int, folder: Path, patience: int) -> Race:
    """Random search to its end, then our study until it is as good."""
    folder.mkdir(parents=True)
    theirs = _search(case, data, folder / "random", fixed_points=False, sampler={"type": "Random", "seed": seed})
    best = max((each for each in _course(theirs, folder / "random") if each.value is not None), key=_value)
    ours = _search(
        case, data, folder / "ours", sampler={"seed": seed}, goal=best.value, trials=patience * case.trials, pruner=None
    )
    course = _course(ours, folder / "ours")
    arrived = next((each for each in course if _value(each) >= _value(best)), None)
    return Race(best, arrived or course[-1], reached=arrived is not None)


def _value(moment: Moment) -> float:
    return -math.inf if moment.value is None else moment.value


def _search(
    case: Case,
    data: Mapping[str, str],
    folder: Path,
    *,
    sampler: dict[str, object],
    goal: float | None = None,
    trials: int | None = None,
    pruner: str | None = "None",
    fixed_points: bool = True,
) -> CreatedStudy:
    folder.mkdir()
    spec = {
        "task": case.task,
        **({"model": {"source": case.model}} if case.model else {}),
        "data": {field: {"source": uri} for field, uri in data.items() if field != "test"},
        "objectives": [{"metric": case.metric, "direction": "Maximize", **({} if goal is None else {"goal": goal})}],
        "sampler": sampler,
        "trials": {"max": trials or case.trials},
        **({} if pruner is None else {"pruner": {"type": pruner}}),
        **dict(case.spec),
    }
    url = journal_url(folder / "journal.log")
    return create(spec, url, name=folder.name, artifacts=folder / "artifacts", fixed_points=fixed_points)


def _course(study: CreatedStudy, folder: Path) -> list[Moment]:
    """Train; then what was told, in order."""
    run_worker(study, folder / "worker", program=WORKER, extra={})
    trials = load_study(study.url, study.name).get_trials(deepcopy=False, states=(COMPLETE, PRUNED))
    told = sorted((trial.datetime_complete, trial) for trial in trials if trial.datetime_complete is not None)
    began = min(trial.datetime_start for _, trial in told if trial.datetime_start is not None)
    spent = accumulate(trial.user_attrs.get(TrialAttribute.CPU_SECONDS, 0.0) for _, trial in told)
    return [
        Moment((when - began).total_seconds(), cpu, trial.value if trial.state is COMPLETE else None)
        for (when, trial), cpu in zip(told, spent, strict=True)
    ]


def _rows(case: Case, races: Sequence[Race]) -> list[Row]:
    def mean(pick: Callable[[Race], float]) -> float:
        return fmean(map(pick, races))

    theirs, ours = mean(lambda race: race.random.wall), mean(lambda race: race.ours.wall)
    theirs_cpu, ours_cpu = mean(lambda race: race.random.cpu), mean(lambda race: race.ours.cpu)
    return [
        Row(f"{case.name}: until random search's best, random", theirs, "s"),
        Row(f"{case.name}: until random search's best, ours", ours, "s"),
        Row(f"{case.name}: ours over random", ours / theirs, "", SHARE),
        Row(f"{case.name}: CPU until random search's best, random", theirs_cpu, "s"),
        Row(f"{case.name}: CPU until random search's best, ours", ours_cpu, "s"),
        Row(f"{case.name}: ours over random, by CPU", ours_cpu / theirs_cpu, "", SHARE),
        Row(f"{case.name}: seeds that reached it", sum(each.reached for each in races), f"of {len(races)}"),
    ]


def _note(case: Case, races: Sequence[Race]) -> str:
    told = "; ".join(
        f"{each.random.value:.3f} after {each.random.wall:.0f} s, ours {each.ours.wall:.0f} s"
        f"{'' if each.reached else ' (not reached)'}"
        for each in races
    )
    train, validation, _ = case.rows
    return f"{case.name}: {train} training, {validation} validation rows, {case.trials} random trials. By seed: {told}."
