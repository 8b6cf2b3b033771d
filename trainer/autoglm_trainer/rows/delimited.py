"""CSV and TSV: a header, then a row of as many cells, quoted where a cell holds a separator or a line end."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence

from pydantic import JsonValue

from autoglm_trainer.errors import DataError

# What may stand between cells, the likeliest first.
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
HEADLESS = "the first line looks like a row: if there is no header line, write one above it, such as text,label"
_QUOTED = re.compile(r'"[^"]*"')


# Names of columns are seldom numbers, dates, or as long as sentences.
_VALUE = re.compile(r"[-+]?\d[\d.,:/eE+-]*|.*[.!?\u3002\uff01\uff1f]|.{60,}|(\S+\s+){5,}.*", re.DOTALL)


def separator_of(line: str) -> str:
    """What stands between the names of a header: the first of `SEPARATORS` outside quotes, else a comma."""
    plain = _QUOTED.sub("", line)
    return next((separator for separator in SEPARATORS if separator in plain), ",")


def looks_like_row(names: Sequence[str]) -> bool:
    """Whether what stands in a header's place has a cell that is seldom a name."""
    return any(_VALUE.fullmatch(name.strip()) for name in names)


def header(source: str, lines: Iterable[str], separator: str) -> tuple[str, ...]:
    """The columns that have a name.

    Raises:
        DataError: a name stands there twice, or the quotes are broken.
    """
    reader = csv.reader(lines, delimiter=separator, strict=True)
    return tuple(filter(None, _header(source, reader)))


def delimited_rows(source: str, lines: Iterable[str], separator: str) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """Each row with the line it starts at; an empty cell is None, and empty lines are left out.

    Raises:
        DataError: a row of another width than the header, or broken quotes.
    """
    reader = csv.reader(lines, delimiter=separator, strict=True)
    names = _header(source, reader)
    line = reader.line_num + 1
    for row in _rows(source, reader):
        if row:
            if len(row) != len(names):
                raise DataError(
                    f"{source}, line {line}: {len(row)} cells where the header has {len(names)};"
                    f" quote texts that hold {SEPARATORS[separator]} or line ends"
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
    line = reader.line_num  # type: ignore[attr-defined]
    try:
        for row in reader:
            line = reader.line_num  # type: ignore[attr-defined]
            yield row
    except csv.Error as error:
        if str(error) == "unexpected end of data":
            told = "a quote opens in this row and the file ends before it closes; close it, or double quotes in texts"
            raise DataError(f"{source}, line {line + 1}: {told}") from error
        raise DataError(f"{source}, line {reader.line_num}: {error}; check the quotes") from error  # type: ignore[attr-defined]
