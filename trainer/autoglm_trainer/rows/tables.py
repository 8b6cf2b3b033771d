"""Rows of a table: cells by column, and what is to be found. Every refusal names source, line, value and remedy."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue

from autoglm_api.study import Data
from autoglm_api.tables.cells import as_number, as_text, is_missing
from autoglm_api.tables.history import time_of
from autoglm_trainer.errors import DataError

from .cells import check_characters, no_column
from .door import read_records
from .holding_out import HoldOut
from .reading import read_splits
from .records import Locate, Records
from .splits import Rows, Splits, cut, some

# Where more than this share of the rows repeat others, that is how the table is, and no accident.
_REPEATED = 0.1


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row.

    Attributes:
        cells: in the order of the table's `names`.
        answer: the class, or the number.
        group: what it belongs to, where the study names such a column.
        place: source and line, where equal rows are other observations: a few categories are all that is known of each.
    """

    cells: tuple[JsonValue, ...]
    answer: str | float
    line: int
    group: str | None = None
    place: str | None = None

    @property
    def content(self) -> JsonValue:
        """Cells and answer."""
        return [*self.cells, self.answer]

    @property
    def unit(self) -> Hashable:
        """Its group; without one its cells, so that no row is judged on whose copy was learned from."""
        if self.group is not None:
            return self.group
        return self.place or repr(self.cells)


@dataclass(frozen=True)
class TableRows:
    """A study's rows.

    Attributes:
        names: the columns of the cells.
        features: those of them that are learned from.
        roles: role → column, for those that are played.
        ignored: what the study leaves out.
    """

    splits: Splits[TableRow]
    names: tuple[str, ...]
    features: tuple[str, ...]
    roles: Mapping[str, str]
    ignored: tuple[str, ...]

    def column(self, name: str, rows: Sequence[TableRow]) -> list[JsonValue]:
        """The cells of one column."""
        place = self.names.index(name)
        return [row.cells[place] for row in rows]


def load_table(data: Data, locate: Locate, *, roles: Mapping[str, str], answer: str, seed: int) -> TableRows:
    """Read all sources, and hold out validation rows if asked to: the latest ones where a time is named.

    Rows are not cleaned: equal rows of a table are different observations.

    Args:
        data: the study's `data`; `validation.groupBy` and `validation.timeBy` play the roles `group` and `time`.
        locate: URI → location.
        roles: role → column, with defaults.
        answer: the role that is to be found; `label` is a class, anything else a number.
        seed: chooses the held-out rows.

    Raises:
        DataError: with the sentence for the user.
    """
    split = data.validation
    told = {"group": split.group_by, "time": roles.get("time") or split.time_by}
    roles = {**roles, **{role: name for role, name in told.items() if name}}
    if split.fraction is not None and "time" in roles and not split.group_by:
        by_time = split.model_copy(update={"time_by": split.time_by or roles["time"]})
        data = data.model_copy(update={"validation": by_time})
    opened = read_records(data.train.source, locate)
    features = _features(opened, data, roles, answer)
    kept = (roles[role] for role in ("time", "entity") if role in roles)
    names = tuple(dict.fromkeys([*features, *kept]))
    is_class = answer == "label"
    hold_out = HoldOut[TableRow](
        stratum=lambda row: str(row.answer) if is_class else "",
        single="no class has two rows that differ" if is_class else "all are alike",
    )
    splits = read_splits(
        data,
        locate,
        lambda records: _read(records, names, roles, answer),
        hold_out=lambda _: hold_out,
        seed=seed,
        opened=opened,
    )
    return TableRows(splits, names, features, roles, data.ignore)


def _features(records: Records, data: Data, roles: Mapping[str, str], answer: str) -> tuple[str, ...]:
    """The columns to learn from.

    Raises:
        DataError: a named column is not there, or none is left.
    """
    split = data.validation
    drawn = {"data.validation.groupBy": split.group_by, "data.validation.timeBy": split.time_by}
    fields = {
        **dict.fromkeys(data.features, "data.features"),
        **dict.fromkeys(data.ignore, "data.ignore"),
        **dict.fromkeys(roles.values(), "data.columns"),
        **{name: field for field, name in drawn.items() if name},
    }
    for name, field in fields.items():
        if name not in records.columns:
            raise no_column(records, records.source, name, records.columns, field=field)
    left_out = {roles[answer], *data.ignore, *(roles[role] for role in ("group", "entity") if role in roles)}
    features = tuple(name for name in (data.features or records.columns) if name not in left_out)
    for name in features:
        check_characters(f"{records.source}: the name of a column", name)
    if not features:
        raise DataError(f"{records.source}: no column is left to learn from beside {roles[answer]!r}")
    return features


def _read(records: Records, names: Sequence[str], roles: Mapping[str, str], answer: str) -> Rows[TableRow]:
    missing = [name for name in names if name not in records.columns]
    # Objects of JSON may leave keys out; a column that a whole file lacks is a mistake.
    if missing:
        raise DataError(f"{records.source}: no column {missing[0]!r}, which the training rows have")
    rows = []
    for line, row in records:
        group = as_text(row.get(roles["group"])) if "group" in roles else None
        cells = tuple(_cell(records, line, name, row.get(name)) for name in names)
        rows.append(TableRow(cells, _answer(records, line, row.get(roles[answer]), roles, answer), line, group))
    if len({row.unit for row in rows}) < (1 - _REPEATED) * len(rows):
        rows = [replace(row, place=records.where(row.line)) for row in rows]
    return some(records, rows, (roles[answer],))


def _answer(records: Records, line: int, value: JsonValue, roles: Mapping[str, str], answer: str) -> str | float:
    where = f"{records.where(line)}: {roles[answer]!r}"
    if is_missing(value):
        raise DataError(f"{where} is missing; fill it in or drop the row")
    found: str | float | None = as_text(value) if answer == "label" else as_number(value)
    if found is None:
        wanted = "a text, a number or a boolean" if answer == "label" else "a number"
        raise DataError(f"{where} must be {wanted}, got {cut(str(value))}")
    return found if isinstance(found, float) else str(_cell(records, line, roles[answer], found))


def _cell(records: Records, line: int, name: str, value: JsonValue) -> JsonValue:
    """Words of categories stand in a table again and again, and in memory once."""
    if not isinstance(value, str):
        return value
    check_characters(f"{records.where(line)}: {name!r}", value)
    return sys.intern(value)


def moment(rows: Rows[TableRow], row: TableRow, place: int, name: str) -> float:
    """When a row was.

    Raises:
        DataError: it does not say.
    """
    try:
        time = time_of(name, row.cells[place])
    except ValueError as error:
        raise DataError(f"{rows.where(row)}: {error}") from error
    if time is None:
        raise DataError(f"{rows.where(row)}: {name!r} is missing, and rows are in time's order; fill it in or drop it")
    return time
