"""The benchmarks' tasks and data sets: which rows, which base model, how many trials, and what should come out."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.results import Aim
from benchmarks.studies import EXAMPLE, MODEL, in_turn, read_rows
from benchmarks.writers import COLUMNS, taught, untaught

SETS_VARIABLE = "AUTOGLM_BENCH_SETS"
CASES_VARIABLE = "AUTOGLM_BENCH_CASES"
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# The share of a default configuration's error that the search should remove.
REMOVED = Aim("at least", 0.24)
TRAIN_ON_BOTH = {"trainOn": "TrainAndValidation"}
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
        columns: role → column, where they differ from the task's own names.
        model: the base model, or what writes it from the case's rows into a folder; None = the task learns without.
        model_name: what a note calls it.
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
    columns: tuple[tuple[str, str], ...] = ()
    model: str | Callable[[Mapping[str, str], Path], str] | None = MODEL
    model_name: str = "all-MiniLM-L6-v2"
    spec: tuple[tuple[str, Any], ...] = ()
    library: tuple[tuple[str, Any], ...] = ()
    aim: Aim | None = None
    reached: Aim | None = None

    @property
    def joined(self) -> bool:
        """Whether the model learns from the validation rows too, when they have chosen it."""
        return dict(self.spec).get("export") == TRAIN_ON_BOTH


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
# The same tests of a model that a few hundred labelled rows have taught.
# Half of them are held out to choose by, and then learned from.
_FEW: dict[str, Any] = {"spec": (("export", TRAIN_ON_BOTH),)}
FEW_INTENTS = replace(INTENTS, name="text-classification, Banking77, few rows", rows=(308, 308, 770), **_FEW)
FEW_ENTITIES = replace(ENTITIES, name="token-classification, WNUT17, few rows", rows=(300, 300, 600), **_FEW)
ANSWERS = Case(
    "question-answering, XQuAD",
    "question-answering",
    "en_xquad_qa",
    (200, 80, 251),
    metric="f1",
    trials=4,
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
# As many of either label, so that the share of right answers says something: of all messages 12 % are spam.
WRITTEN = Case(
    "text-generation, SMS Spam",
    "text-generation",
    "en_sms_spam",
    (900, 170, 208),
    metric="exact_match",
    trials=8,
    label="label",
    columns=COLUMNS,
    model=untaught,
    model_name="a GLM of 0.8 million random weights",
    # Nothing is to be adapted in random weights, and they want greater steps than the task's own space has.
    spec=(
        (
            "parameters",
            [
                {"name": "method", "categorical": {"choices": ["full"]}},
                {"name": "learning_rate", "float": {"min": 3e-4, "max": 1e-2, "log": True}},
                {"name": "epochs", "int": {"min": 2, "max": 8}},
                {"name": "max_new_tokens", "categorical": {"choices": [4]}},
            ],
        ),
    ),
)
PROMPTED = replace(
    WRITTEN,
    name="prompt-optimization, SMS Spam",
    task="prompt-optimization",
    metric="accuracy",
    trials=20,
    model=taught,
    model_name="that GLM after a study has taught it these rows, asked without a word beside the message",
    spec=(),
)


def chosen(cases: Sequence[Case]) -> list[Case]:
    """All, or those in whose names the regular expression `AUTOGLM_BENCH_CASES` is found."""
    return [case for case in cases if re.search(os.environ.get(CASES_VARIABLE, ""), case.name)]


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
