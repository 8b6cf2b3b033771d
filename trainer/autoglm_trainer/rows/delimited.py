"""CSV and TSV: a header, then a row of as many cells, quoted where a cell holds a separator or a line end."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

from pydantic import JsonValue

from autoglm_trainer.errors import DataError

_SEPARATORS = {"CSV": ",", "TSV": "\t"}


def header(source: str, lines: Iterable[str], kind: str) -> tuple[str, ...]:
    """The columns that have a name.

    Raises:
        DataError: a name stands there twice, or the quotes are broken.
    """
    reader = csv.reader(lines, delimiter=_SEPARATORS[kind], strict=True)
    return tuple(filter(None, _header(source, reader)))


def delimited_rows(
    source: str,
    lines: Iterable[str],
    kind: str,
) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """Each row with the line it starts at; an empty cell is None, and empty lines are left out.

    Raises:
        DataError: a row of another width than the header, or broken quotes.
    """
    reader = csv.reader(lines, delimiter=_SEPARATORS[kind], strict=True)
    names = _header(source, reader)
    line = reader.line_num + 1
    for row in _rows(source, reader):
        if row:
            if len(row) != len(names):
                separator = "commas" if kind == "CSV" else "tabs"
                raise DataError(
                    f"{source}, line {line}: {len(row)} columns where the header has {len(names)};"
                    f" quote texts that hold {separator} or line ends"
                )
            yield line, {name: cell or None for name, cell in zip(names, row, strict=True) if name}
        line = reader.line_num + 1


def _header(source: str, reader: Iterator[list[str]]) -> list[str]:
    names = next((row for row in _rows(source, reader) if row), [])
    for name in names:
        if name and names.count(name) > 1:
            raise DataError(
                f"{source}, line 1: the column {name[:60]!r} stands there {names.count(name)} times; keep one"
            )
    return names


def _rows(source: str, reader: Iterator[list[str]]) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{source}, line {reader.line_num}: {error}; check the quotes") from error  # type: ignore[attr-defined]
