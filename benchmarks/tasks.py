"""What a study is worth: each task's baseline, default configuration and tuned model on test rows, over some seeds."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from autoglm_api import environment as env
from benchmarks.results import Aim, Row, Table
from benchmarks.studies import EXAMPLE, MODEL, create, in_turn, journal_url, read_rows
from benchmarks.workers import environment, run_worker, start

SETS_VARIABLE = "AUTOGLM_BENCH_SETS"
CASES_VARIABLE = "AUTOGLM_BENCH_CASES"
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
WORKER = ("-m", "autoglm_trainer.main", "work")
EXPORTER = ("-m", "autoglm_trainer.main", "export")
# The share of a default configuration's error that the search should remove.
REMOVED = Aim("at least", 0.24)
# What transformers' TrainingArguments and its example scripts train with when nothing is said.
LIBRARY: tuple[tuple[str, Any], ...] = (
    ("method", "full"),
    ("learning_rate", 5e-5),
    ("head_learning_rate", 5e-5),
    ("epochs", 3),
    ("batch_size", 8),
    ("weight_decay", 0.0),
    ("warmup_ratio", 0.0),
    ("scheduler", "linear"),
)


@dataclass(frozen=True)
class Case:
    """One task on one data set.

    Attributes:
        folder: of the data set, below the folder that `AUTOGLM_BENCH_SETS` names; empty = the examples' own rows.
        rows: how many of each split: train, validation, test.
        label: column by which rows are taken in turn, so that every label has as many; None = a fixed random choice.
        trials: of the study, on the task's own search space.
        files: field of `data` → file of the folder, where its rows are taken as they are.
        model: the base model; None = the task learns without.
        spec: fields of the study's spec beside these.
        library: the one point that a script without a search would train; empty = not measured.
        aim: for the shares of the defaults' errors that are removed.
        reached: for the tuned model's metric.
    """

    name: str
    task: str
    folder: str
    rows: tuple[int, int, int]
    metric: str
    trials: int
    label: str | None = None
    files: tuple[tuple[str, str], ...] = ()
    model: str | None = MODEL
    spec: tuple[tuple[str, Any], ...] = ()
    library: tuple[tuple[str, Any], ...] = ()
    aim: Aim | None = None
    reached: Aim | None = None


@dataclass(frozen=True)
class Outcome:
    """One seed's figures: the objective on test rows, and seconds; `library` NaN where it is not measured."""

    baseline: float
    default: float
    tuned: float
    default_seconds: float
    search_seconds: float
    library: float = math.nan

    @property
    def removed(self) -> float:
        """Share of the default's error that the tuned model does not make; 1 is the metric's best value."""
        return (self.tuned - self.default) / (1 - self.default)

    @property
    def removed_of_library(self) -> float:
        """The same share of the error of the libraries' defaults."""
        return (self.tuned - self.library) / (1 - self.library)


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
    library=LIBRARY,
    aim=REMOVED,
)
ENTITIES = Case(
    "token-classification, WNUT17",
    "token-classification",
    "en_wnut17_ner",
    (1_000, 300, 600),
    metric="f1",
    trials=16,
    library=LIBRARY,
    aim=REMOVED,
)
ANSWERS = Case(
    "question-answering, XQuAD",
    "question-answering",
    "en_xquad_qa",
    (250, 100, 251),
    metric="f1",
    trials=8,
    library=LIBRARY,
)
# Planetoid's split of Yang et al. 2016, marked in the file: 20 training nodes a label, 500 and 1,000 to judge on.
PAPERS = Case(
    "node-classification, Cora",
    "node-classification",
    "graph_cora",
    (140, 500, 1_000),
    metric="accuracy",
    trials=20,
    files=(("train", "nodes.jsonl"), ("edges", "edges.csv")),
    model=None,
    reached=Aim("at least", 0.81),
)
# The plain random forest of the baseline reaches .747 on these test rows.
LOANS = Case(
    "tabular-classification, German credit",
    "tabular-classification",
    "tab_german_credit",
    (640, 160, 200),
    metric="auc",
    trials=20,
    files=tuple((split, f"{split}.csv") for split in SPLITS),
    model=None,
    reached=Aim("at least", 0.747),
)
FULL = Size((INTENTS, ENTITIES, ANSWERS, PAPERS, LOANS), seeds=(1, 2, 3))
_ONE_POINT = (("parameters", [{"name": "method", "categorical": {"choices": ["head"]}}]),)
_ONE_STEP = (*LIBRARY[:3], ("epochs", 1), ("batch_size", 64))
SMALL = Size(
    (replace(INTENTS, folder="", rows=(60, 30, 30), trials=1, spec=_ONE_POINT, library=_ONE_STEP),), seeds=(1,)
)


def run(folder: Path, size: Size) -> Table:
    """Every chosen case with every seed, one after another.

    Raises:
        FileNotFoundError: a data set is not there.
        RuntimeError: a worker or an export failed.
    """
    rows: list[Row] = []
    notes: list[str] = []
    for case in chosen(size.cases):
        place = folder / case.folder
        data = sources(case, place / "data")
        found = [measure(case, data, seed, place / str(seed)) for seed in size.seeds]
        rows += _rows(case, found)
        notes.append(_note(case, found))
    notes.append(
        "The default is the task's own configuration without any search; of language models the libraries' default is"
        " what transformers trains with when nothing is said (every weight, rate 5e-5, 3 epochs, batches of 8), through"
        " the same worker. Error is 1 minus the metric. Values are means over the seeds of sampler and training; the"
        " rows stay the same. One worker process of one thread."
    )
    return Table(name="tasks", title="What a study is worth", rows=tuple(rows), notes=tuple(notes))


def chosen(cases: Sequence[Case]) -> list[Case]:
    """All, or those whose names have what `AUTOGLM_BENCH_CASES` says."""
    return [case for case in cases if os.environ.get(CASES_VARIABLE, "") in case.name]


def measure(case: Case, data: Mapping[str, str], seed: int, folder: Path) -> Outcome:
    """One study from its first trial to its export, and one of the libraries' point alone."""
    told, seconds = _study(case, data, seed, folder / "search", {"trials": {"max": case.trials}, **dict(case.spec)})
    found = _outcome(told, case.metric, seconds)
    if not case.library:
        return found
    point = [{"name": name, "categorical": {"choices": [value]}} for name, value in case.library]
    told, _ = _study(case, data, seed, folder / "library", {"trials": {"max": 1}, "parameters": point})
    return replace(found, library=_contenders(told)["winner"]["metrics"][case.metric])


def _study(
    case: Case, data: Mapping[str, str], seed: int, folder: Path, fields: dict[str, Any]
) -> tuple[dict[str, Any], float]:
    """`comparison.json` of a study on the case's rows (field → URI), and the seconds of its search."""
    spec = {
        "task": case.task,
        **({"model": {"source": case.model}} if case.model else {}),
        "data": {field: {"source": uri} for field, uri in data.items()},
        "objectives": [{"metric": case.metric, "direction": "Maximize"}],
        "sampler": {"seed": seed},
        **fields,
    }
    folder.mkdir(parents=True)
    study = create(spec, journal_url(folder / "journal.log"), name=f"seed-{seed}", artifacts=folder / "artifacts")
    timing = run_worker(study, folder / "worker", program=WORKER, extra={})
    environ = {**environment(folder), env.STORAGE_URL: study.url, env.STUDY: study.name}
    environ |= {env.OWNER_NAME: "export", env.OWNER_IDENTITY: f"{folder}"}
    if start(EXPORTER, folder / "export.log", environ).wait():
        raise RuntimeError(f"the export failed:\n{(folder / 'export.log').read_text(errors='replace')[-3_000:]}")
    return json.loads(next((folder / "artifacts").rglob("comparison.json")).read_text()), timing.ended


def _outcome(told: dict[str, Any], metric: str, search_seconds: float) -> Outcome:
    """The figures of `comparison.json`; a winner that is the default configuration stands for both."""
    contenders = _contenders(told)
    winner, baseline = contenders["winner"], contenders["baseline"]
    default = contenders.get("default", winner)
    return Outcome(
        baseline=baseline["metrics"][metric],
        default=default["metrics"][metric],
        tuned=winner["metrics"][metric],
        default_seconds=default["seconds"],
        search_seconds=search_seconds,
    )


def _contenders(told: dict[str, Any]) -> dict[str, Any]:
    return {each["name"].split(" ")[0]: each for each in told["contenders"]}


def sources(case: Case, folder: Path) -> dict[str, str]:
    """Field of `data` → URI; rows that are chosen are written to `folder`.

    Raises:
        FileNotFoundError: the data set is not there.
        ValueError: it has fewer rows.
    """
    source = EXAMPLE if not case.folder else Path(os.environ.get(SETS_VARIABLE, "")) / case.folder
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is no folder: set {SETS_VARIABLE} to the one that holds {case.folder}")
    if case.files:
        return {field: (source / name).resolve().as_uri() for field, name in case.files}
    _write_subset(case, source, folder)
    return {split: (folder / f"{split}.jsonl").as_uri() for split in SPLITS}


def _write_subset(case: Case, source: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for split, wanted in zip(SPLITS, case.rows, strict=True):
        rows = _shuffled(read_rows(source, split))
        if case.label is not None:
            labels = sorted({row[case.label] for row in rows})
            rows = in_turn([[row for row in rows if row[case.label] == label] for label in labels])
        if len(rows) < wanted:
            raise ValueError(f"{source} has {len(rows)} {split} rows, {wanted} needed")
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows[:wanted])
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def _shuffled(rows: list[Any]) -> list[Any]:
    return random.Random(13).sample(rows, len(rows))


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
    return [
        Row(f"{case.name}: {case.metric}, baseline", fmean(each.baseline for each in found), ""),
        Row(f"{case.name}: {case.metric}, default", fmean(each.default for each in found), ""),
        Row(f"{case.name}: {case.metric}, tuned", fmean(each.tuned for each in found), "", case.reached),
        Row(f"{case.name}: share of the default's error removed", removed, "", case.aim),
        *library,
        Row(f"{case.name}: training the default", fmean(each.default_seconds for each in found), "s"),
        Row(f"{case.name}: the search", fmean(each.search_seconds for each in found), "s"),
    ]


def _note(case: Case, found: Sequence[Outcome]) -> str:
    train, validation, test = case.rows
    spread = f", standard deviation {stdev(each.tuned for each in found):.3f}" if len(found) > 1 else ""
    told = "; ".join(f"{each.default:.3f} → {each.tuned:.3f}" for each in found)
    model = "all-MiniLM-L6-v2, " if case.model else ""
    return (
        f"{case.name}: {train} training, {validation} validation, {test} test rows, {model}{case.trials}"
        f" trials; default → tuned by seed: {told}{spread}."
    )
