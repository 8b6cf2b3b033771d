"""CSV, JSON lines and CoNLL, from bytes to cells. Every refusal names the source, the line, and what to do."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from autoglm_trainer.errors import DataError

from .conll import conll_sentences

_BOM = "\ufeff"


def read_cells(
    source: str, content: bytes, columns: Sequence[str], *, optional: Sequence[str] = ()
) -> Iterator[tuple[int, list[str]]]:
    """The cells of `columns`, row by row, each with the line it starts at (from 1).

    Args:
        source: the URI; its ending tells the format.
        content: the file, UTF-8 with or without a byte order mark, any line ends.
        columns: the wanted columns, in the order of the cells.
        optional: those of them that may be missing; their cells are empty then.

    Raises:
        DataError: unknown ending, not UTF-8, broken line, missing column.
    """
    parsers = {".csv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines}
    parser = parsers.get(PurePosixPath(source).suffix.lower())
    if parser is None:
        raise DataError(f"{source}: rows are read from .csv and .jsonl files; convert or rename the file")
    return parser(source, _decode(source, content), columns, optional)


def read_cells_or_lists(
    source: str, content: bytes, columns: Sequence[str]
) -> Iterator[tuple[int, list[str | list[str]]]]:
    """As `read_cells`, where JSON lines may hold a list of strings in place of a string.

    Raises:
        DataError: as `read_cells`.
    """
    if PurePosixPath(source).suffix.lower() not in (".jsonl", ".ndjson"):
        for line, cells in read_cells(source, content, columns):
            yield line, [*cells]
        return
    for line, row in _json_objects(source, _decode(source, content), '{"text": "…", "label": "…"}'):
        found: list[str | list[str]] = []
        for column in columns:
            listed = isinstance(row.get(column), list)
            found.append((_json_list if listed else _json_cell)(source, line, row, column))
        yield line, found


def read_lists(source: str, content: bytes, columns: Sequence[str]) -> Iterator[tuple[int, list[list[str]]]]:
    """As `read_cells`, where each cell is a list of words.

    In JSON lines a list of strings; in CSV (and in a JSON string) words with spaces between; in CoNLL a column of the
    lines of one sentence.

    Raises:
        DataError: as `read_cells`.
    """
    parsers = {".csv": _csv_lists, ".jsonl": _json_lists, ".ndjson": _json_lists}
    parsers |= dict.fromkeys((".conll", ".bio", ".iob"), conll_sentences)
    parser = parsers.get(PurePosixPath(source).suffix.lower())
    if parser is None:
        raise DataError(f"{source}: rows are read from .csv, .jsonl and .conll files; convert or rename the file")
    return parser(source, _decode(source, content), columns)


def _decode(source: str, content: bytes) -> str:
    try:
        return content.decode("utf-8").removeprefix(_BOM)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{source}, line {line}: not UTF-8, byte 0x{content[error.start]:02x} at offset {error.start};"
            " save the file as UTF-8"
        ) from error


def _csv(
    source: str, text: str, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        absent = set(optional) - set(header)
        places = [None if column in absent else _place(source, header, column) for column in columns]
        line = reader.line_num + 1
        for row in reader:
            if row:
                if len(row) != len(header):
                    raise DataError(
                        f"{source}, line {line}: {len(row)} columns where the header has {len(header)};"
                        " quote texts that hold commas or line ends"
                    )
                yield line, ["" if place is None else row[place] for place in places]
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{source}, line {reader.line_num}: {error}; check the quotes") from error


def _place(source: str, header: Sequence[str], column: str) -> int:
    count = header.count(column)
    if count == 0:
        raise DataError(_missing_column(f"{source}, line 1", column, header))
    if count > 1:
        raise DataError(f"{source}, line 1: the column {column!r} stands there {count} times; keep one")
    return header.index(column)


def _csv_lists(source: str, text: str, columns: Sequence[str]) -> Iterator[tuple[int, list[list[str]]]]:
    for line, cells in _csv(source, text, columns):
        yield line, [cell.split() for cell in cells]


def _json_lines(
    source: str, text: str, columns: Sequence[str], optional: Sequence[str]
) -> Iterator[tuple[int, list[str]]]:
    for line, row in _json_objects(source, text, '{"text": "…", "label": "…"}'):
        known = row | {column: "" for column in optional if row.get(column) is None}
        yield line, [_json_cell(source, line, known, column) for column in columns]


def _json_lists(source: str, text: str, columns: Sequence[str]) -> Iterator[tuple[int, list[list[str]]]]:
    example = "{" + ", ".join(f'"{column}": ["…", "…"]' for column in columns) + "}"
    for line, row in _json_objects(source, text, example):
        yield line, [_json_list(source, line, row, column) for column in columns]


def _json_objects(source: str, text: str, example: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # Not splitlines(): JSON strings may hold U+2028 and the like, which are no line ends here.
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{source}, line {line}: not JSON ({error}); each line must be one object such as {example}"
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"{source}, line {line}: {type(row).__name__} where an object is needed")
        yield line, row


def _json_cell(source: str, line: int, row: dict[str, Any], column: str) -> str:
    return _json_text(f"{source}, line {line}: {column!r}", _json_value(source, line, row, column))


def _json_list(source: str, line: int, row: dict[str, Any], column: str) -> list[str]:
    value = _json_value(source, line, row, column)
    where = f"{source}, line {line}: {column!r}"
    if not isinstance(value, list):
        return _json_text(where, value).split()
    return [_json_text(f"{where}, word {place},", word) for place, word in enumerate(value, start=1)]


def _json_value(source: str, line: int, row: dict[str, Any], column: str) -> Any:
    if column not in row:
        raise DataError(_missing_column(f"{source}, line {line}", column, list(row)))
    return row[column]


def _json_text(where: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise DataError(f"{where} is {json.dumps(value)[:80]}; write it as a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where} holds half of a surrogate pair (\\u{ord(value[error.start]):04x}); write the whole character"
        ) from error
    return value


def _missing_column(where: str, column: str, found: Sequence[str]) -> str:
    listed = ", ".join(repr(name) for name in found[:20]) or "none"
    return f"{where}: no column {column!r}; found: {listed}; name the right one in data.columns"
