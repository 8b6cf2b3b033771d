"""Several files as one source: which of a folder's they are, that they fit each other, and the rows of all in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

from autoglm_api.shards import numbered_parts
from autoglm_trainer.errors import DataError

from .delimited import HEADLESS
from .numbering import number_of
from .records import Numbered, Records
from .splits import cut

_SHOWN = 3


def rows_of_folder(source: str, paths: Collection[str]) -> list[str]:
    """The files of a folder without pictures that are its rows, in order.

    Args:
        source: the folder's URI.
        paths: of all files below it, relative to it.

    Raises:
        DataError: they are not the numbered parts of one table.
    """
    if parts := numbered_parts(paths):
        return parts
    first = [cut(path, 40) for path in sorted(paths, key=lambda path: (path.count("/"), path))[:_SHOWN]]
    shown = ", ".join([*first, "…"] if len(paths) > _SHOWN else first)
    raise DataError(
        f"{source} is a folder, not a file; none of the {len(paths)} files below is an image, and they are not the"
        f" numbered parts of one table ({shown}); name a file in it, several by a pattern such as"
        f" {source.rstrip('/')}/part-*.csv, or a folder of pictures in folders by class"
    )


def together(source: str, parts: Sequence[Records]) -> Records:
    """The rows of all files, in the order of the files; at least one.

    Raises:
        DataError: two differ in format or columns.
    """
    first = parts[0]
    for part in parts[1:]:
        _check_alike(first, part)
    columns = dict.fromkeys(name for part in parts for name in part.columns)
    return Records(
        source,
        first.detected,
        tuple(columns),
        lambda: _rows(parts),
        pictures=first.pictures,
        find_picture=_Pictures(parts).find,
        passed_over=sum(part.passed_over for part in parts),
        classes=first.classes,
        parts=tuple(parts),
    )


def _check_alike(first: Records, other: Records) -> None:
    if other.format != first.format:
        raise DataError(
            f"{other.source} is {other.format}, but {first.source} is {first.format}; files of one source must be of"
            " one format"
        )
    if first.format in ("JSON", "JSONL", "SQuAD"):
        return  # Objects leave out what they have not: a whole file of them may, too.
    for has, lacks in ((first, other), (other, first)):
        known = {*lacks.columns, *lacks.pictures}
        lacking = [name for name in (*has.columns, *has.pictures) if name not in known]
        if lacking:
            odd = next((each for each in (lacks, has) if each.headless), None)
            remedy = f"in {odd.source} {HEADLESS}" if odd else "give all files of one source the same columns"
            raise DataError(f"{lacks.source} has no column {cut(lacking[0])}, which {has.source} has; {remedy}")


def _rows(parts: Sequence[Records]) -> Numbered:
    for place, part in enumerate(parts):
        for number, row in part:
            held = {
                column: f"{name} of {_name(part)}"
                for column in part.pictures
                if isinstance(name := row.get(column), str) and part.find_picture(name)
            }
            yield number_of(place, number), {**row, **held}


class _Pictures:
    """The pictures of all files. Only the file read last keeps some of them, so that memory is as of one file."""

    def __init__(self, parts: Sequence[Records]) -> None:
        self.parts = parts
        self._last = parts[0]

    def find(self, name: str) -> Callable[[], bytes] | None:
        for part in self.parts:
            own = name.removesuffix(f" of {_name(part)}")
            if own != name and (read := part.find_picture(own)):
                return partial(self._read, part, read)
        return None

    def _read(self, part: Records, read: Callable[[], bytes]) -> bytes:
        if part is not self._last:
            self._last.rest()
            self._last = part
        return read()


def _name(part: Records) -> str:
    return part.source.rpartition("/")[2]
