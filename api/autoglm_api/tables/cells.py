"""One cell: missing, a number, a truth, a moment, or a text. CSV has texts for all of them, JSON has types."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from pydantic import JsonValue

# What people write where nothing is known.
MISSING = frozenset({"", "?", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_MOMENT = re.compile(r"\d{4}[-/]\d{2}[-/]\d{2}([T ]\d{2}:\d{2}.*)?")
_TRUTHS = {"true": 1.0, "false": 0.0}
# How some programs write whole numbers once a column lacks some.
_WHOLE = re.compile(r"^(-?\d+)\.0$")
# Models compute in float32; beyond this a difference of two numbers is near its end.
LARGEST = 1e37


class CellError(ValueError):
    """A cell of the wrong kind; the text is a sentence that names the column and the value."""


def is_missing(value: JsonValue) -> bool:
    """Whether nothing is known: null, or one of the words for it."""
    return value is None or (isinstance(value, str) and value.strip() in MISSING)


def as_number(value: JsonValue) -> float | None:
    """The number that a cell holds; None if it is something else, or beyond `LARGEST`. Booleans are no numbers."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value.strip()):
            return None
        value = float(value)
    # Compared before it becomes a float, which a whole number of JSON may be too large for; NaN is not below either.
    return float(value) if isinstance(value, int | float) and abs(value) <= LARGEST else None


def as_truth(value: JsonValue) -> float | None:
    """1 for true, 0 for false; None if it is neither."""
    if isinstance(value, bool):
        return float(value)
    return _TRUTHS.get(value.strip().lower()) if isinstance(value, str) else None


def as_moment(value: JsonValue) -> datetime | None:
    """A date, or a date and a time, as ISO 8601 has them (slashes will do); None if it is neither.

    Times with a zone are moved to UTC; those without are taken as they are.
    """
    if not isinstance(value, str) or not _MOMENT.fullmatch(value.strip()):
        return None
    try:
        moment = datetime.fromisoformat(value.strip().replace("/", "-"))
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):  # in UTC it may be before the year 1
        return None


def as_text(value: JsonValue) -> str | None:
    """What a category is known by: the same for `3` and `3.0`, of JSON and of CSV; None for lists and objects."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case str():
            return _WHOLE.sub(r"\1", value.strip())
        case _:
            return None


def quoted(value: JsonValue) -> str:
    """A value as messages show it."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"
