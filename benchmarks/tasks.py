"""What a study is worth: each task's baseline, default configuration and tuned model on test rows, over some seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from autoglm_api.catalog import find_task
from benchmarks.cases import (
    ANSWERS,
    ENTITIES,
    FEW_ENTITIES,
    FEW_INTENTS,
    INTENTS,
    LIBRARY,
    LOANS,
    PAPERS,
    PROMPTED,
    TRAIN_ON_BOTH,
    WRITTEN,
    Case,
    chosen,
    sources,
)
from benchmarks.results import Row, Table
from benchmarks.studies import create, journal_url
from benchmarks.workers import WORKER, export, run_worker

WINNER, ALONE = "winner", "winner of the training rows alone"


@dataclass(frozen=True)
class Outcome:
    """One seed's figures: the objective on test rows, and seconds.

    Attributes:
        library: of the libraries' default; NaN where it is not measured.
        alone: of the tuned model before the validation rows were added; NaN where they were not.
        both: of the default configuration with the validation rows added; NaN where they were not.
    """

    baseline: float
    default: float
    tuned: float
    default_seconds: float
    search_seconds: float
    library: float = math.nan
    alone: float = math.nan
    both: float = math.nan

    @property
    def removed(self) -> float:
        """Share of the default's error that the tuned model does not make; 1 is the metric's best value."""
        return (self.tuned - self.default) / (1 - self.default)

    @property
    def removed_of_both(self) -> float:
        """The same share of the error of the default configuration on as many rows."""
        return (self.tuned - self.both) / (1 - self.both)

    @property
    def removed_of_library(self) -> float:
        """The same share of the error of the libraries' defaults."""
        return (self.tuned - self.library) / (1 - self.library)


@dataclass(frozen=True)
class Size:
    """Which cases, and with which seeds."""

    cases: tuple[Case, ...]
    seeds: tuple[int, ...]


FULL = Size((FEW_INTENTS, INTENTS, FEW_ENTITIES, ENTITIES, ANSWERS, PAPERS, LOANS, WRITTEN, PROMPTED), seeds=(1, 2, 3))
_ONE_POINT = (("parameters", [{"name": "method", "categorical": {"choices": ["head"]}}]),)
_ONE_STEP = (*LIBRARY[:3], ("epochs", 1), ("batch_size", 64))
SMALL = Size(
    (
        replace(
            INTENTS,
            folder="",
            rows=(60, 30, 30),
            trials=1,
            spec=(*_ONE_POINT, ("export", TRAIN_ON_BOTH)),
            library=_ONE_STEP,
        ),
        replace(PROMPTED, folder="", rows=(60, 30, 30), trials=2),
    ),
    seeds=(1,),
)


def run(folder: Path, size: Size) -> Table:
    """Every chosen case with every seed, one after another.

    Raises:
        FileNotFoundError: a data set is not there.
        RuntimeError: a worker or an export failed.
    """
    rows: list[Row] = []
    notes: list[str] = []
    for number, case in enumerate(chosen(size.cases)):
        place = folder / str(number)
        data = sources(case, place / "data")
        model = case.model(data, place / "model") if callable(case.model) else case.model
        found = [measure(replace(case, model=model), data, seed, place / str(seed)) for seed in size.seeds]
        rows += _rows(case, found)
        notes.append(_note(case, found))
    notes.append(
        "The default is the task's own configuration without any search; of language models the libraries' default is"
        " what transformers trains with when nothing is said (every weight, rate 5e-5, 3 epochs, batches of 8), through"
        " the same worker. Error is 1 minus the metric. Values are means over the seeds of sampler and training; the"
        " rows stay the same. One worker process of one thread."
    )
    return Table(name="tasks", title="What a study is worth", rows=tuple(rows), notes=tuple(notes))


def measure(case: Case, data: Mapping[str, str], seed: int, folder: Path) -> Outcome:
    """One study from its first trial to its export, and one of the libraries' point alone."""
    told, seconds = _study(case, data, seed, folder / "search", {"trials": {"max": case.trials}, **dict(case.spec)})
    found = _outcome(told, case.metric, seconds)
    if case.library:
        told, _ = _study(case, data, seed, folder / "library", _one_point(case.library))
        found = replace(found, library=_contenders(told)[WINNER]["metrics"][case.metric])
    if case.joined:
        default = tuple(find_task(case.task).defaults({}).items())
        told, _ = _study(case, data, seed, folder / "both", {**_one_point(default), **dict(case.spec)})
        found = replace(found, both=_contenders(told)[WINNER]["metrics"][case.metric])
    return found


def _one_point(point: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a study of one trial."""
    parameters = [{"name": name, "categorical": {"choices": [value]}} for name, value in point]
    return {"trials": {"max": 1}, "parameters": parameters}


def _study(
    case: Case, data: Mapping[str, str], seed: int, folder: Path, fields: dict[str, Any]
) -> tuple[dict[str, Any], float]:
    """`comparison.json` of a study on the case's rows (field → URI), and the seconds of its search."""
    spec = {
        "task": case.task,
        **({"model": {"source": case.model}} if case.model else {}),
        "data": {**{field: {"source": uri} for field, uri in data.items()}, "columns": dict(case.columns)},
        "objectives": [{"metric": case.metric, "direction": "Maximize"}],
        "sampler": {"seed": seed},
        **fields,
    }
    folder.mkdir(parents=True)
    study = create(spec, journal_url(folder / "journal.log"), name=f"seed-{seed}", artifacts=folder / "artifacts")
    timing = run_worker(study, folder / "worker", program=WORKER, extra={})
    return json.loads((export(study, folder) / "comparison.json").read_text()), timing.ended


def _outcome(told: dict[str, Any], metric: str, search_seconds: float) -> Outcome:
    """The figures of `comparison.json`; a winner that is the default configuration stands for both."""
    contenders = _contenders(told)
    winner = contenders[WINNER]
    baseline = next(each for name, each in contenders.items() if name.startswith("baseline"))
    default = contenders.get("default configuration", contenders.get(ALONE, winner))
    return Outcome(
        baseline=baseline["metrics"][metric],
        default=default["metrics"][metric],
        tuned=winner["metrics"][metric],
        default_seconds=default["seconds"],
        alone=contenders.get(ALONE, {"metrics": {metric: math.nan}})["metrics"][metric],
        search_seconds=search_seconds,
    )


def _contenders(told: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in told["contenders"]}


def _rows(case: Case, found: Sequence[Outcome]) -> list[Row]:
    removed = fmean(each.removed for each in found)
    library = (
        [
            Row(f"{case.name}: {case.metric}, libraries' default", fmean(each.library for each in found), ""),
            Row(
                f"{case.name}: share of the libraries' default's error removed",
                fmean(each.removed_of_library for each in found),
                "",
                case.aim,
            ),
        ]
        if case.library
        else []
    )
    joined = (
        [
            Row(
                f"{case.name}: {case.metric}, tuned, on the training rows alone",
                fmean(each.alone for each in found),
                "",
            ),
            Row(f"{case.name}: {case.metric}, default, on all those rows", fmean(each.both for each in found), ""),
            Row(
                f"{case.name}: share of the error removed of the default on all those rows",
                fmean(each.removed_of_both for each in found),
                "",
            ),
        ]
        if case.joined
        else []
    )
    return [
        Row(f"{case.name}: {case.metric}, baseline", fmean(each.baseline for each in found), ""),
        Row(f"{case.name}: {case.metric}, default", fmean(each.default for each in found), ""),
        Row(f"{case.name}: {case.metric}, tuned", fmean(each.tuned for each in found), "", case.reached),
        Row(f"{case.name}: share of the default's error removed", removed, "", case.aim),
        *joined,
        *library,
        Row(f"{case.name}: training the default", fmean(each.default_seconds for each in found), "s"),
        Row(f"{case.name}: the search", fmean(each.search_seconds for each in found), "s"),
    ]


def _note(case: Case, found: Sequence[Outcome]) -> str:
    train, validation, test = case.rows
    spread = f", standard deviation {stdev(each.tuned for each in found):.3f}" if len(found) > 1 else ""
    told = "; ".join(f"{each.default:.3f} → {each.tuned:.3f}" for each in found)
    model = f"{case.model_name}, " if case.model else ""
    return (
        f"{case.name}: {train} training, {validation} validation, {test} test rows, {model}{case.trials}"
        f" trials; default → tuned by seed: {told}{spread}."
    )
