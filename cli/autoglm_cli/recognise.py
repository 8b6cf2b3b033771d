"""`task: auto` on this machine: the roles that a study does not name are read off the header of its training rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoglm_api.catalog import AUTO, TASKS, recognised_roles

from .pictures import local_pictures
from .sources import FILE, files_here

_HEADER_BYTES = 2**20


def with_recognised_columns(spec: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """The raw spec with `data.columns` filled in, where `task` is `auto`, none is named, and the rows are here.

    Where only an answer is recognised, `data.features` names the other columns: it is a table.

    Args:
        spec: as it stands in the document; whatever is wrong with it is left for the check to say.
        folder: where relative `file://` sources begin.
    """
    data = spec.get("data")
    if spec.get("task") != AUTO or not isinstance(data, Mapping) or data.get("columns") or data.get("edges"):
        return spec
    train = data.get("train")
    source = train.get("source") if isinstance(train, Mapping) else None
    if not isinstance(source, str) or not source.startswith(FILE):
        return spec
    here = files_here(source, folder)
    names = header(here[0]) if here else ()
    columns = recognised_roles(TASKS, names)
    if not columns:
        return spec
    known = [task.columns[role] for task in TASKS.values() for role in columns if role in task.columns]
    others = [name for name in names if name not in columns.values()] if all(each.answer for each in known) else []
    return {**spec, "data": {"features": others, **data, "columns": columns}}


def header(path: Path) -> tuple[str, ...]:
    """The columns' names of a CSV or JSON lines file, or of pictures in folders; empty where there are none."""
    if path.is_dir() or path.suffix.lower() == ".zip":
        # Folders of pictures by class have these roles whatever they are called.
        return ("image", "label") if next(local_pictures(path), None) else ()
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
