"""The rows of a study as cells: columns typed by the training rows, and every split's numbers."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from pydantic import JsonValue
from typing_extensions import override

from autoglm_api.tables import CellError, History, NumberColumn, Past, TableSchema, as_text, is_missing
from autoglm_trainer.errors import DataError
from autoglm_trainer.rows.splits import Rows
from autoglm_trainer.rows.tables import TableRow, TableRows, moment

from .detection import detect_columns
from .features import Cells

# Of so many numbers an entity's means are taken.
_MOST_MEANS = 16


@dataclass(frozen=True)
class Table:
    """A study's rows, typed.

    Attributes:
        cells: split → (rows, parts), NaN where a cell is missing.
    """

    rows: TableRows
    schema: TableSchema
    cells: dict[str, Cells]

    def item(self, row: TableRow) -> dict[str, JsonValue]:
        """A row as the server is asked for it."""
        return dict(zip(self.rows.names, row.cells, strict=True))


class Shown(Sequence[str]):
    """Rows as a report quotes them, written when they are asked for."""

    def __init__(self, table: Table, rows: Rows[TableRow]) -> None:
        self._table, self._rows = table, rows

    @override
    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    @override
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        item = self._table.item(self._rows.rows[place])
        return ", ".join(f"{name}: {_told(value)}" for name, value in item.items())


def _told(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def type_table(rows: TableRows) -> Table:
    """Tell the columns' kinds from the training rows, then read every cell by them.

    Raises:
        DataError: nothing can be learned from any column, or a cell of validation or test rows is of another kind.
    """
    train = rows.splits.train
    columns, dropped = detect_columns({name: rows.column(name, train.rows) for name in rows.features})
    if not columns:
        why = "; ".join(f"{each.name!r}: {each.why}" for each in dropped[:5])
        raise DataError(f"{train.source}: no column can be learned from ({why}); name others in data.features")
    roles = tuple(name for name in rows.roles.values() if name not in rows.names)
    numbers = [column for column in columns if isinstance(column, NumberColumn)][:_MOST_MEANS]
    schema = TableSchema(
        columns=columns,
        dropped=dropped,
        known=(*roles, *rows.ignored),
        history=_history(rows, numbers) if "entity" in rows.roles else None,
    )
    return Table(rows, schema, {split: _cells(rows, schema, split) for split in rows.splits.by_name})


def _cells(rows: TableRows, schema: TableSchema, split: str) -> Cells:
    """Column by column, so that objects of one column at a time are made."""
    source = rows.splits.by_name[split]
    blocks = []
    for column in schema.columns:
        place = rows.names.index(column.name)
        block = np.empty((len(source), len(column.parts)), dtype=np.float32)
        for index, row in enumerate(source):
            try:
                block[index] = column.read(row.cells[place])
            except CellError as error:
                raise DataError(f"{source.where(row)}: {error}; set it right or drop the row") from error
        blocks.append(block)
    if schema.history is not None:
        blocks.append(_past_cells(rows, schema, schema.history, source, itself=split == "train"))
    return np.concatenate(blocks, axis=1)


def _past_cells(
    rows: TableRows, schema: TableSchema, history: History, source: Rows[TableRow], *, itself: bool
) -> Cells:
    entity = rows.names.index(history.entity)
    time = rows.names.index(history.time) if history.time else None
    numbers = [(column, rows.names.index(column.name)) for column in schema.number_columns[: len(history.numbers)]]
    found = np.empty((len(source), len(history.parts)), dtype=np.float32)
    for index, row in enumerate(source):
        own = [column.read(row.cells[at])[0] for column, at in numbers]
        when = None if time is None else row.cells[time]
        try:
            found[index] = history.read(row.cells[entity], when, own if itself else None)
        except CellError as error:
            raise DataError(f"{source.where(row)}: {error}; set it right or drop the row") from error
    return found


def _history(rows: TableRows, numbers: Sequence[NumberColumn]) -> History:
    """The training rows of each entity, in the order of time where one is named."""
    train, entity, time = rows.splits.train, rows.names.index(rows.roles["entity"]), rows.roles.get("time")
    places = [(column, rows.names.index(column.name)) for column in numbers]
    found: dict[str, list[tuple[float, tuple[float | None, ...]]]] = defaultdict(list)
    for row in train:
        if is_missing(row.cells[entity]):
            continue
        when = 0.0 if time is None else moment(train, row, rows.names.index(time), time)
        values = [column.read(row.cells[place])[0] for column, place in places]
        known = tuple(None if np.isnan(value) else value for value in values)
        found[as_text(row.cells[entity]) or ""].append((when, known))
    past = {}
    for name, theirs in found.items():
        ordered = sorted(theirs, key=lambda each: each[0])
        times = tuple(when for when, _ in ordered) if time is not None else ()
        past[name] = Past(times=times, rows=tuple(values for _, values in ordered))
    return History(entity=rows.roles["entity"], time=time, numbers=tuple(column.name for column in numbers), past=past)
