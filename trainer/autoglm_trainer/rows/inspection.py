"""What a source of rows holds, column by column, and what cleaning would do to it: a look before a study."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from autoglm_api.catalog import TaskDeclaration

from . import prompts, questions, tagged, texts
from .cleaning import Cleanable, Cleaning
from .conll import column_number
from .holding_out import is_moment
from .images import LabelledPicture
from .records import Records
from .splits import Change, Rows, cut

# Values beyond so many different ones are counted no further, so that memory stays small.
MOST_DISTINCT = 10_000

READERS: Mapping[str, tuple[Callable[[Records, Mapping[str, str]], Rows[Any]], Callable[..., Cleanable]]] = {
    "text-classification": (texts.read_texts, texts.cleanable),
    "token-classification": (tagged.read_tagged, tagged.cleanable),
    "question-answering": (questions.read_questions, questions.cleanable),
    "text-generation": (prompts.read_prompts, prompts.cleanable),
}


@dataclass
class Column:
    """One column over all rows.

    Attributes:
        kinds: how often a value is `text`, `whole number`, `number`, `time`, `yes or no`, `list` or `object`.
        values: how often each text, number or element of a list stands there, as text.
        shortest, longest, total: characters of texts, or elements of lists.
        lowest, highest: of numbers; infinities until there is one.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    shortest: int | None = None
    longest: int = 0
    total: int = 0
    lowest: float = math.inf
    highest: float = -math.inf

    def add(self, value: JsonValue) -> None:
        """Count one row's value."""
        if value is None:
            self.missing += 1
            return
        kind = _kind(value)
        self.kinds[kind] += 1
        if kind in ("number", "whole number") and not isinstance(value, list | dict):
            with suppress(OverflowError):  # a whole number of hundreds of digits
                number = float(value)
                self.lowest, self.highest = min(self.lowest, number), max(self.highest, number)
        for one in value if isinstance(value, list) else [value]:
            if str(one) in self.values or len(self.values) < MOST_DISTINCT:
                self.values[str(one)] += 1
        if isinstance(value, str | list):
            self.shortest = len(value) if self.shortest is None else min(self.shortest, len(value))
            self.longest = max(self.longest, len(value))
            self.total += len(value)

    @property
    def kind(self) -> str:
        """What the values are: one word, or several where they differ."""
        found = set(self.kinds)
        if found == {"whole number", "number"}:
            return "number"
        return " or ".join(kind for kind, _ in self.kinds.most_common()) or "nothing"


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        count: of rows.
        columns: by name, in order.
    """

    records: Records
    count: int
    columns: Mapping[str, Column]


def inspect(records: Records) -> Inspection:
    """Read all rows once.

    Raises:
        DataError: they cannot be read.
    """
    columns = {name: Column() for name in records.columns}
    count = 0
    for _, row in records:
        count += 1
        for name in row:
            if name not in columns:
                columns[name] = Column(missing=count - 1)
        for name, column in columns.items():
            column.add(row.get(name))
    return Inspection(records, count, columns)


def read_for(task: TaskDeclaration, records: Records, named: Mapping[str, str]) -> tuple[Rows[Any], tuple[Change, ...]]:
    """The rows as a task would read them, and what cleaning would change of them; nothing for tasks of other rows.

    Raises:
        DataError: the task refuses a row.
    """
    if task.name not in READERS:
        return Rows(records.source, ()), ()
    read, cleanable = READERS[task.name]
    cleaning = Cleaning(records, cleanable(named))
    rows = cleaning.without_repetitions(read(records.through(cleaning.wash), named))
    return rows, cleaning.changes


def columns_of(records: Records, named: Mapping[str, str]) -> Mapping[str, str]:
    """Role → column; of CoNLL by number, the first for words and the last for tags where no number is named."""
    if records.format != "CoNLL":
        return named
    return {
        role: column_number(records.source, name, records.columns, last=role == "tags") for role, name in named.items()
    }


def answer_column(task: TaskDeclaration, named: Mapping[str, str]) -> str | None:
    """The column of what is to be answered, where its values can be counted: labels, tags."""
    if task.name in ("question-answering", "text-generation", "tabular-regression"):
        return None
    return next((named[role] for role, column in task.columns.items() if column.answer and role in named), None)


def conflicts(rows: Rows[Any]) -> list[tuple[str, str]]:
    """Places, or pictures' names, of rows that ask the same as an earlier one and say otherwise, each with what."""
    first: dict[object, Any] = {}
    found = []
    for row in rows:
        known = first.setdefault(row.unit, row)
        if isinstance(row, texts.LabelledText) and known.labels != row.labels:
            said = f"{', '.join(row.labels)}; {rows.numbering.short(known.line)} says {', '.join(known.labels)}"
            found.append((rows.where(row), f"{cut(row.text, 40)}: {said}"))
        if isinstance(row, LabelledPicture) and known.label != row.label:
            found.append((row.name, f"{row.label}; {known.name} is the same picture and says {known.label}"))
    return found


def _kind(value: JsonValue) -> str:
    match value:
        case bool():
            return "yes or no"
        case int():
            return "whole number"
        case float():
            return "number"
        case list():
            return "list"
        case dict():
            return "object"
        case str():
            return _kind_of_text(value)
        case _:
            return "nothing"


def _kind_of_text(value: str) -> str:
    text = value.strip()
    if text.removeprefix("-").isdecimal() and len(text) < 19:
        return "whole number"
    try:
        float(text)
    except ValueError:
        return "time" if is_moment(text) else "text"
    return "number"
