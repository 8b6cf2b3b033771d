"""Pictures on this machine, to recognise what a source is and to have something to ask a server."""

from __future__ import annotations

import base64
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from autoglm_api.catalog.image_classification import IMAGE_ENDINGS

_LONGEST_PATH = 1_000


@dataclass(frozen=True)
class LocalPicture:
    """A file in a folder or zip by class. `label`: the folder that it lies in, below the source."""

    label: str
    read: Callable[[], bytes]

    @property
    def row(self) -> dict[str, str]:
        """As a row of a table that holds its pictures."""
        return {"image": base64.b64encode(self.read()).decode(), "label": self.label}


def local_pictures(source: Path) -> Iterator[LocalPicture]:
    """The pictures of a folder or a zip, by path; none where it is neither, or cannot be read."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in IMAGE_ENDINGS:
                yield LocalPicture(path.parent.relative_to(source).as_posix(), path.read_bytes)
        return
    try:
        with zipfile.ZipFile(source) as archive:
            names = sorted(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return
    for name in names:
        member = PurePosixPath(name)
        if member.suffix.lower() in IMAGE_ENDINGS:
            label = member.parent.as_posix().removeprefix(f"{source.stem}/")
            yield LocalPicture(label, partial(_member, source, name))


def _member(source: Path, name: str) -> bytes:
    with zipfile.ZipFile(source) as archive:
        return archive.read(name)


def with_bytes(row: Mapping[str, Any], column: str, table: Path) -> Mapping[str, Any]:
    """A table's row whose picture is there as base64, also where it names a file beside the table."""
    named = table.parent / str(row.get(column, ""))[:_LONGEST_PATH]
    if named.suffix.lower() not in IMAGE_ENDINGS or not named.is_file():
        return row
    return {**row, column: base64.b64encode(named.read_bytes()).decode()}
