"""Whether the search pays: how long a study takes to reach what random search found in all its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from optuna.trial import TrialState

from autoglm_store.connection import load_study
from benchmarks.results import Aim, Row, Table
from benchmarks.studies import MODEL, CreatedStudy, create, journal_url
from benchmarks.tasks import ENTITIES, INTENTS, WORKER, Case, sources
from benchmarks.workers import run_worker

SHARE = Aim("at most", 2 / 3)


@dataclass(frozen=True)
class Race:
    """One seed on one data set, in seconds since the first trial was asked for.

    Attributes:
        goal: the best validation value of random search.
        random_seconds: until random search had it.
        our_seconds: until our study had it, or until its end.
        reached: whether it had it at all.
    """

    goal: float
    random_seconds: float
    our_seconds: float
    reached: bool


@dataclass(frozen=True)
class Size:
    """Which data sets, with which seeds; our study may take `patience` times as many trials as random search."""

    cases: tuple[Case, ...]
    seeds: tuple[int, ...]
    patience: int = 2


FULL = Size(
    (replace(INTENTS, rows=(308, 154, 77), trials=20), replace(ENTITIES, rows=(300, 150, 50), trials=20)),
    seeds=(1, 2, 3, 4, 5),
)
_HEAD = (("parameters", [{"name": "head_c", "float": {"min": 1e-3, "max": 1e3, "log": True}}]),)
SMALL = Size((replace(INTENTS, folder="", rows=(60, 30, 30), trials=2, spec=_HEAD),), seeds=(1,))


def run(folder: Path, size: Size) -> Table:
    """Every data set with every seed: random search first, then ours with its best value as the goal.

    Raises:
        FileNotFoundError: a data set is not there.
        RuntimeError: a worker failed.
    """
    rows: list[Row] = []
    notes: list[str] = []
    for case in size.cases:
        place = folder / case.task
        data = sources(case, place / "data")
        races = [race(case, data, seed, place / str(seed), size.patience) for seed in size.seeds]
        rows += _rows(case, races)
        notes.append(_note(case, races))
    notes.append(
        "Random search: sampler Random, no pruner, no fixed points; its time is that until its best trial was told."
        " Ours: the study as it is without a word about the search: the task's good points, TPE, the Median pruner."
        " Both search the task's own space with one worker of one thread; the model is loaded before the clock runs."
    )
    return Table(name="search", title="Time to random search's best", rows=tuple(rows), notes=tuple(notes))


def race(case: Case, data: Mapping[str, str], seed: int, folder: Path, patience: int) -> Race:
    """Random search to its end, then our study until it is as good."""
    folder.mkdir(parents=True)
    theirs = _search(case, data, folder / "random", fixed_points=False, sampler={"type": "Random", "seed": seed})
    values = _course(theirs, folder / "random")
    goal = max(value for _, value in values)
    ours = _search(
        case, data, folder / "ours", sampler={"seed": seed}, goal=goal, trials=patience * case.trials, pruner=None
    )
    course = _course(ours, folder / "ours")
    return Race(
        goal=goal,
        random_seconds=next(seconds for seconds, value in values if value >= goal),
        our_seconds=next((seconds for seconds, value in course if value >= goal), course[-1][0]),
        reached=any(value >= goal for _, value in course),
    )


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
        "model": {"source": MODEL},
        "data": {split: {"source": data[split]} for split in ("train", "validation")},
        "objectives": [{"metric": case.metric, "direction": "Maximize", **({} if goal is None else {"goal": goal})}],
        "sampler": sampler,
        "trials": {"max": trials or case.trials},
        **({} if pruner is None else {"pruner": {"type": pruner}}),
        **dict(case.spec),
    }
    url = journal_url(folder / "journal.log")
    return create(spec, url, name=folder.name, artifacts=folder / "artifacts", fixed_points=fixed_points)


def _course(study: CreatedStudy, folder: Path) -> list[tuple[float, float]]:
    """Train; when each complete trial was told, in seconds since the first was asked for, and its value."""
    run_worker(study, folder / "worker", program=WORKER, extra={})
    trials = load_study(study.url, study.name).get_trials(deepcopy=False)
    began = min(trial.datetime_start for trial in trials if trial.datetime_start is not None)
    course = [
        ((trial.datetime_complete - began).total_seconds(), trial.value)
        for trial in trials
        if trial.state is TrialState.COMPLETE and trial.datetime_complete is not None and trial.value is not None
    ]
    return sorted(course)


def _rows(case: Case, races: Sequence[Race]) -> list[Row]:
    ours, theirs = sum(each.our_seconds for each in races), sum(each.random_seconds for each in races)
    return [
        Row(f"{case.name}: until random search's best, random", theirs / len(races), "s"),
        Row(f"{case.name}: until random search's best, ours", ours / len(races), "s"),
        Row(f"{case.name}: ours over random", ours / theirs, "", SHARE),
        Row(f"{case.name}: seeds that reached it", sum(each.reached for each in races), f"of {len(races)}"),
    ]


def _note(case: Case, races: Sequence[Race]) -> str:
    told = "; ".join(
        f"{each.goal:.3f} after {each.random_seconds:.0f} s, ours {each.our_seconds:.0f} s"
        f"{'' if each.reached else ' (not reached)'}"
        for each in races
    )
    train, validation, _ = case.rows
    return f"{case.name}: {train} training, {validation} validation rows, {case.trials} random trials. By seed: {told}."
