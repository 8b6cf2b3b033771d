"""What a study is worth: each task's baseline, default configuration and tuned model on test rows, over some seeds."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from autoglm_api import environment as env
from benchmarks.results import Aim, Row, Table
from benchmarks.studies import EXAMPLE, MODEL, create, in_turn, journal_url, read_rows
from benchmarks.workers import environment, run_worker, start

SETS_VARIABLE = "AUTOGLM_BENCH_SETS"
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
WORKER = ("-m", "autoglm_trainer.main", "work")
EXPORTER = ("-m", "autoglm_trainer.main", "export")
# The share of the default configuration's error that the search should remove.
REMOVED = Aim("at least", 0.24)


@dataclass(frozen=True)
class Case:
    """One task on one data set.

    Attributes:
        folder: of the data set, below the folder that `AUTOGLM_BENCH_SETS` names; empty = the examples' own rows.
        rows: how many of each split: train, validation, test.
        label: column by which rows are taken in turn, so that every label has as many; None = a fixed random choice.
        trials: of the study, on the task's own search space.
        spec: fields of the study's spec beside these.
        aim: for the share of the default's error that is removed.
    """

    name: str
    task: str
    folder: str
    rows: tuple[int, int, int]
    metric: str
    trials: int
    label: str | None = None
    spec: tuple[tuple[str, Any], ...] = ()
    aim: Aim | None = None


@dataclass(frozen=True)
class Outcome:
    """One seed's figures: the objective on test rows, and seconds."""

    baseline: float
    default: float
    tuned: float
    default_seconds: float
    search_seconds: float

    @property
    def removed(self) -> float:
        """Share of the default's error that the tuned model does not make; 1 is the metric's best value."""
        return (self.tuned - self.default) / (1 - self.default)


@dataclass(frozen=True)
class Size:
    """Which cases, and with which seeds."""

    cases: tuple[Case, ...]
    seeds: tuple[int, ...]


INTENTS = Case(
    "text-classification, Banking77",
    "text-classification",
    "en_banking77_intent",
    (770, 385, 770),
    metric="accuracy",
    trials=16,
    label="label",
    aim=REMOVED,
)
ENTITIES = Case(
    "token-classification, WNUT17",
    "token-classification",
    "en_wnut17_ner",
    (1_000, 300, 600),
    metric="f1",
    trials=16,
    aim=REMOVED,
)
ANSWERS = Case("question-answering, XQuAD", "question-answering", "en_xquad_qa", (400, 120, 251), metric="f1", trials=8)
FULL = Size((INTENTS, ENTITIES, ANSWERS), seeds=(1, 2, 3))
_ONE_POINT = (("parameters", [{"name": "method", "categorical": {"choices": ["head"]}}]),)
SMALL = Size((replace(INTENTS, folder="", rows=(60, 30, 30), trials=1, spec=_ONE_POINT),), seeds=(1,))


def run(folder: Path, size: Size) -> Table:
    """Every case with every seed, one after another.

    Raises:
        FileNotFoundError: a data set is not there.
        RuntimeError: a worker or an export failed.
    """
    rows: list[Row] = []
    notes: list[str] = []
    for case in size.cases:
        place = folder / case.folder
        data = subset(case, place / "data")
        found = [measure(case, data, seed, place / str(seed)) for seed in size.seeds]
        rows += _rows(case, found)
        notes.append(_note(case, found))
    notes.append(
        "The default is the task's own configuration without any search. Error is 1 minus the metric. Values are means"
        " over the seeds of sampler and training; the rows stay the same. One worker process of one thread."
    )
    return Table(name="tasks", title="What a study is worth", rows=tuple(rows), notes=tuple(notes))


def measure(case: Case, data: Path, seed: int, folder: Path) -> Outcome:
    """One study from its first trial to its export."""
    spec = {
        "task": case.task,
        "model": {"source": MODEL},
        "data": {split: {"source": (data / f"{split}.jsonl").as_uri()} for split in SPLITS},
        "objectives": [{"metric": case.metric, "direction": "Maximize"}],
        "sampler": {"seed": seed},
        "trials": {"max": case.trials},
        **dict(case.spec),
    }
    folder.mkdir(parents=True)
    study = create(spec, journal_url(folder / "journal.log"), name=f"seed-{seed}", artifacts=folder / "artifacts")
    timing = run_worker(study, folder / "worker", program=WORKER, extra={})
    environ = {**environment(folder), env.STORAGE_URL: study.url, env.STUDY: study.name}
    environ |= {env.OWNER_NAME: "export", env.OWNER_IDENTITY: f"{folder}"}
    if start(EXPORTER, folder / "export.log", environ).wait():
        raise RuntimeError(f"the export failed:\n{(folder / 'export.log').read_text(errors='replace')[-3_000:]}")
    told = json.loads(next((folder / "artifacts").rglob("comparison.json")).read_text())
    return _outcome(told, case.metric, timing.ended)


def _outcome(told: dict[str, Any], metric: str, search_seconds: float) -> Outcome:
    """The figures of `comparison.json`; a winner that is the default configuration stands for both."""
    contenders = {each["name"].split(" ")[0]: each for each in told["contenders"]}
    winner, baseline = contenders["winner"], contenders["baseline"]
    default = contenders.get("default", winner)
    return Outcome(
        baseline=baseline["metrics"][metric],
        default=default["metrics"][metric],
        tuned=winner["metrics"][metric],
        default_seconds=default["seconds"],
        search_seconds=search_seconds,
    )


def subset(case: Case, folder: Path) -> Path:
    """The case's rows as three files.

    Raises:
        FileNotFoundError: the data set is not there.
        ValueError: it has fewer rows.
    """
    folder.mkdir(parents=True)
    source = EXAMPLE if not case.folder else Path(os.environ.get(SETS_VARIABLE, "")) / case.folder
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is no folder: set {SETS_VARIABLE} to the one that holds {case.folder}")
    for split, wanted in zip(SPLITS, case.rows, strict=True):
        rows = _shuffled(read_rows(source, split))
        if case.label is not None:
            labels = sorted({row[case.label] for row in rows})
            rows = in_turn([[row for row in rows if row[case.label] == label] for label in labels])
        if len(rows) < wanted:
            raise ValueError(f"{source} has {len(rows)} {split} rows, {wanted} needed")
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows[:wanted])
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def _shuffled(rows: list[Any]) -> list[Any]:
    return random.Random(13).sample(rows, len(rows))


def _rows(case: Case, found: Sequence[Outcome]) -> list[Row]:
    removed = fmean(each.removed for each in found)
    return [
        Row(f"{case.name}: {case.metric}, baseline", fmean(each.baseline for each in found), ""),
        Row(f"{case.name}: {case.metric}, default", fmean(each.default for each in found), ""),
        Row(f"{case.name}: {case.metric}, tuned", fmean(each.tuned for each in found), ""),
        Row(f"{case.name}: share of the default's error removed", removed, "", case.aim),
        Row(f"{case.name}: training the default", fmean(each.default_seconds for each in found), "s"),
        Row(f"{case.name}: the search", fmean(each.search_seconds for each in found), "s"),
    ]


def _note(case: Case, found: Sequence[Outcome]) -> str:
    train, validation, test = case.rows
    spread = f", standard deviation {stdev(each.tuned for each in found):.3f}" if len(found) > 1 else ""
    told = "; ".join(f"{each.default:.3f} → {each.tuned:.3f}" for each in found)
    return (
        f"{case.name}: {train} training, {validation} validation, {test} test rows, all-MiniLM-L6-v2, {case.trials}"
        f" trials; default → tuned by seed: {told}{spread}."
    )
