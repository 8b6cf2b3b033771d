"""`task: auto` on this machine: the roles that a study does not name are read off the header of its training rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoglm_api.catalog import AUTO, TASKS, recognised_roles

from .pictures import local_pictures
from .reading import records_of
from .sources import FILE, files_here

_HEADER_BYTES = 2**20
_SHOWN = 10


def with_recognised_columns(spec: Mapping[str, Any], folder: Path) -> tuple[Mapping[str, Any], str | None]:
    """The raw spec with `data.columns` filled in, where `task` is `auto`, none is named, and the rows are here.

    Where only an answer is recognised, `data.features` names the other columns: it is a table.

    Args:
        spec: as it stands in the document; whatever is wrong with it is left for the check to say.
        folder: where relative `file://` sources begin.

    Returns:
        the spec, and why nothing was recognised in rows that should be here.
    """
    data = spec.get("data")
    if spec.get("task") != AUTO or not isinstance(data, Mapping) or data.get("columns") or data.get("edges"):
        return spec, None
    train = data.get("train")
    source = train.get("source") if isinstance(train, Mapping) else None
    if not isinstance(source, str) or not source.startswith(FILE):
        return spec, None
    here = files_here(source, folder)
    if not here:
        return spec, f"{source} is not on this machine, so its columns are not known"
    try:
        names = header(here[0])
    except ValueError as error:
        return spec, str(error)
    columns = recognised_roles(TASKS, names)
    if not columns:
        shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "") or "none"
        return spec, f"its columns have no names that say their roles: {shown}; name the roles in data.columns"
    known = [task.columns[role] for task in TASKS.values() for role in columns if role in task.columns]
    others = [name for name in names if name not in columns.values()] if all(each.answer for each in known) else []
    return {**spec, "data": {"features": others, **data, "columns": columns}}, None


def header(path: Path) -> tuple[str, ...]:
    """The columns' names of a file of rows, or of pictures in folders; empty where there are none.

    Without the trainer's packages, and of large texts, it is the first line alone: of CSV or JSON lines.

    Raises:
        ValueError: the file cannot be read.
    """
    if (path.is_dir() or path.suffix.lower() == ".zip") and next(local_pictures(path), None):
        return ("image", "label")  # folders of pictures by class have these roles whatever they are called
    if records := records_of(path):
        # Columns of CoNLL have numbers, and are always these two.
        return ("tokens", "tags") if records.format == "CoNLL" else (*records.columns, *records.pictures)
    try:
        with path.open("rb") as file:
            first = file.readline(_HEADER_BYTES).decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError):
        return ()
    if path.suffix.lower() == ".csv":
        return tuple(next(csv.reader([first]), ()))
    try:
        row = json.loads(first)
    except ValueError:
        return ()
    return tuple(row) if isinstance(row, dict) else ()
