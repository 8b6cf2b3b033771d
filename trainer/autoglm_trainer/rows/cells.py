"""What tasks ask of a row's values: a text, a list of words. Every refusal names source, row and remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from autoglm_trainer.errors import DataError

from .delimited import HEADLESS
from .records import Records
from .splits import cut

Row = Mapping[str, JsonValue]


def value_of(records: Records, number: int, row: Row, column: str, *, field: str = "data.columns") -> JsonValue:
    """What stands in `column`; `field` of the study names it.

    Raises:
        DataError: no such column.
    """
    if column not in row:
        raise no_column(records, records.where(number), column, tuple(row), field=field)
    return row[column]


def no_column(records: Records, where: str, column: str, names: Sequence[str], *, field: str) -> DataError:
    """What to say where `column`, which `field` of the study names, is none of `names`."""
    found = ", ".join(cut(name, 40) for name in names[:20]) or "none"
    remedy = f"{HEADLESS}; else name the right column in" if records.headless else "name the right one in"
    return DataError(f"{where}: no column {column!r}; found: {found} (read as {records.format}); {remedy} {field}")


def text(records: Records, number: int, row: Row, column: str) -> str:
    """The text in `column`; a missing one is empty, a whole number is written out.

    Raises:
        DataError: no such column, or neither text nor whole number.
    """
    return _text(f"{records.where(number)}: {column!r}", value_of(records, number, row, column))


def optional_text(records: Records, number: int, row: Row, column: str) -> str:
    """As `text`, where the column may be missing.

    Raises:
        DataError: neither text nor whole number.
    """
    return _text(f"{records.where(number)}: {column!r}", row.get(column))


def words(records: Records, number: int, row: Row, column: str) -> list[str]:
    """The words in `column`: a list of texts, or a text with spaces between them.

    Raises:
        DataError: as `text`.
    """
    value = value_of(records, number, row, column)
    if isinstance(value, list):
        return _listed(records, number, column, value)
    return _text(f"{records.where(number)}: {column!r}", value).split()


def text_or_list(records: Records, number: int, row: Row, column: str) -> str | list[str]:
    """The text in `column`, or the list of texts.

    Raises:
        DataError: as `text`.
    """
    value = value_of(records, number, row, column)
    if isinstance(value, list):
        return _listed(records, number, column, value)
    return _text(f"{records.where(number)}: {column!r}", value)


def _listed(records: Records, number: int, column: str, value: list[JsonValue]) -> list[str]:
    where = f"{records.where(number)}: {column!r}"
    for place, word in enumerate(value, start=1):
        if word is None:
            raise DataError(f"{where}, word {place}, is null; write it as a string")
    return [_text(f"{where}, word {place},", word) for place, word in enumerate(value, start=1)]


def _text(where: str, value: JsonValue) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise DataError(f"{where} is {json.dumps(value, ensure_ascii=False)[:80]}; write it as a string")
    check_characters(where, value)
    return value


def check_characters(where: str, text: str) -> None:
    """Refuse half a character, which JSON can write and no file can hold.

    Raises:
        DataError: `text` has one.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where} holds half of a surrogate pair (\\u{ord(text[error.start]):04x}); write the whole character"
        ) from error
