"""Training rows cleaned: empty ones, control characters, repetitions, and rows that are judged on; all of it counted.

Validation and test rows that a study names are never changed: they are what models are judged and compared by.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from pydantic import JsonValue

from autoglm_trainer.contract import Section, Table
from autoglm_trainer.errors import DataError

from .records import Numbered, Records
from .splits import Change, R, Row, Rows

log = logging.getLogger(__name__)
EXAMPLES = 5
# Of a row, as an example.
_SHOWN = 80
# Controls but for tab and line feed, and marks of byte order; those that part words leave a space.
_CONTROLS = {code: " " if chr(code).isspace() else None for code in (*range(32), *range(0x7F, 0xA0), 0xFEFF)}
_CONTROLS |= {ord("\t"): "\t", ord("\n"): "\n"}
_SPACE_AT_ENDS = re.compile(r"[^\S\n]+(?=\n|\Z)")


@dataclass(frozen=True)
class Cleanable:
    """What cleaning may do to a task's training rows.

    Attributes:
        required: columns without which a row says nothing; a row where one is blank is left out.
        rewritten: columns whose texts may lose control characters and white space at the ends of lines.
    """

    required: tuple[str, ...]
    rewritten: tuple[str, ...] = ()


@runtime_checkable
class Named(Protocol):
    """A row that people know by a name, as a picture by its file's."""

    name: str


@dataclass
class Cleaning:
    """The cleaning of one source, and what it did."""

    records: Records
    cleanable: Cleanable
    _found: dict[str, tuple[int, list[tuple[str, str]]]] = field(default_factory=dict)

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was done, in order."""
        return tuple(Change(what, count, tuple(examples)) for what, (count, examples) in self._found.items())

    def wash(self, rows: Numbered) -> Numbered:
        """Rows without blank ones, texts without control characters.

        Raises:
            DataError: more than half of the rows are blank.
        """
        self._found.clear()
        count = blanks = 0
        for line, row in rows:
            count += 1
            washed = {**row, **{name: washed_text(row[name]) for name in self.cleanable.rewritten if name in row}}
            blank = next((name for name in self.cleanable.required if name in row and _is_blank(washed[name])), None)
            if blank is not None:
                blanks += 1
                self._note(f"left out: {blank!r} is empty", self.records.where(line), _shown(row))
                continue
            if washed != row:
                self._note("control characters and white space removed", self.records.where(line), _shown(row))
            yield line, washed
        if blanks > count / 2:
            what = next(iter(self._found)).removeprefix("left out: ")
            raise DataError(
                f"{self.records.source}: {blanks} of {count} rows say nothing ({what}); fill them in, or name another"
                " column in data.columns"
            )

    def without_repetitions(self, rows: Rows[R]) -> Rows[R]:
        """The first of all rows that are equal."""
        known = dict[str, int]()
        kept = []
        for row in rows:
            first = known.setdefault(repr(row.content), row.line)
            if first == row.line:
                kept.append(row)
            else:
                place = f"{rows.where(row)}, as {rows.numbering.short(first)}"
                self._note(
                    "left out: repeats an earlier row",
                    place,
                    _said(row),
                )
        self._tell(rows.source, len(rows), len(kept))
        return replace(rows, rows=tuple(kept))

    def without(self, rows: Rows[R], judged: Rows[R], split: str) -> Rows[R]:
        """The rows whose text (`Row.unit`) does not stand in `judged`.

        A study that names one source for both wants to train on what it is judged by, so nothing is left out.

        Raises:
            DataError: no row would be left.
        """
        if judged.source == rows.source:
            return rows
        units: set[Hashable] = {row.unit for row in judged}
        kept = []
        for row in rows:
            if row.unit in units:
                self._note(
                    f"left out: stands in the {split} rows too",
                    rows.where(row),
                    _said(row),
                )
            else:
                kept.append(row)
        if not kept:
            raise DataError(
                f"{rows.source}: all {len(rows)} training rows stand in the {split} rows too ({judged.source});"
                " name other rows, or set data.cleaning: Off to train on them all the same"
            )
        self._tell(rows.source, len(rows), len(kept))
        return replace(rows, rows=tuple(kept))

    def _note(self, what: str, place: str, shown: str) -> None:
        count, examples = self._found.get(what, (0, []))
        if count < EXAMPLES:
            examples.append((place, shown))
        self._found[what] = (count + 1, examples)

    def _tell(self, source: str, before: int, after: int) -> None:
        if after < before:
            log.info("%s: %d of %d training rows are left out by cleaning", source, before - after, before)


def change_tables(changes: Sequence[Change]) -> list[Section]:
    """For the report: a row a change, with the first rows that it befell; no table where nothing was changed."""
    if not changes:
        return []
    rows = [
        (
            change.what,
            change.count,
            "; ".join(f"{place.rsplit('/', 1)[-1]}: {said}" for place, said in change.examples[:2]),
        )
        for change in changes
    ]
    note = "Rows to validate and test on are as they were. With data.cleaning: Off those to train on are, too."
    return [Table("What cleaning did to the training rows", note, ("change", "rows", "for example"), tuple(rows))]


def washed_text(value: JsonValue) -> JsonValue:
    """A text without control characters, and without white space at its ends and those of its lines."""
    if not isinstance(value, str):
        return value
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    return _SPACE_AT_ENDS.sub("", lines.translate(_CONTROLS)).strip()


def _is_blank(value: JsonValue) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _said(row: Row) -> str:
    return _shown(row.name if isinstance(row, Named) else row.content)


def _shown(content: JsonValue) -> str:
    if isinstance(content, dict):
        content = {name: value for name, value in content.items() if value is not None}
    written = json.dumps(content, ensure_ascii=False)
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}…"
