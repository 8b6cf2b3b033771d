"""A real row to ask the fresh server about: from the study's own where they are at hand."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoglm_api.catalog import TASKS
from autoglm_api.run import Run

from .pictures import local_pictures, with_bytes
from .reading import records_of
from .sources import FILE, files_here

if TYPE_CHECKING:
    from autoglm_trainer.rows.records import Records

_ROWS = 50


def sample(run: Run) -> tuple[Any, str | None]:
    """An item to predict and what its row says the answer is; test rows before training rows.

    Only local files are read: a prediction to try out is not worth a download. Without them it is the task's example.
    """
    task = TASKS[run.task]
    columns = task.named_columns(run.data.columns)
    asked = task.asked
    answers = [columns[role] for role, column in task.columns.items() if column.answer]
    for split in (run.data.test, run.data.train):
        here = files_here(split.source, Path("/")) if split is not None and split.source.startswith(FILE) else []
        if here:
            known = _with_pictures(here[0], columns["image"]) if "image" in asked else _rows(here[0])
            rows = [row for row in known if all(row.get(columns[role]) for role in asked)]
            if rows:
                # Not the first: files are often sorted, and the first rows are everybody's favourite example.
                row = rows[len(rows) // 2]
                if task.wide and not task.sources:
                    return {name: value for name, value in row.items() if name not in answers}, _first(row, answers)
                item = {role: row[columns[role]] for role in asked}
                return (item if len(item) > 1 else next(iter(item.values()))), _first(row, answers)
    return task.example, None


def _first(row: Mapping[str, object], columns: list[str]) -> str | None:
    known = [row[column] for column in columns if row.get(column) is not None]
    return str(known[0]) if known and isinstance(known[0], str | int) else None


def _with_pictures(path: Path, column: str) -> list[Mapping[str, Any]]:
    found = [picture.row for picture in islice(local_pictures(path), _ROWS)]
    return [*found] if found else [with_bytes(row, column, path) for row in _rows(path)]


def _rows(path: Path) -> list[Mapping[str, object]]:
    """Some of the first rows, pictures in base64; none where they cannot be read."""
    try:
        if records := records_of(path):
            return [_held(records, row) for _, row in islice(records, _ROWS)]
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                return list(islice(csv.DictReader(file), _ROWS))
            return [json.loads(line) for line in islice(file, _ROWS) if line.strip()]
    except (OSError, ValueError):
        # The trial rows were read well enough to train on; without this convenience nothing is lost.
        return []


def _held(records: Records, row: Mapping[str, object]) -> Mapping[str, object]:
    reads = {name: records.find_picture(str(row.get(name))) for name in records.pictures}
    return {**row, **{name: base64.b64encode(read()).decode() for name, read in reads.items() if read}}
