"""A table as the training rows have it: which columns there are, of which kind, and which were left out, and why."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from autoglm_api.base import Model

from .columns import ColumnKind, NumberColumn
from .history import History

# The file in a model's folder.
TABLE = "table.json"


class Dropped(Model):
    """A column that nothing is learned from, and why."""

    name: str
    why: str


class TableSchema(Model):
    """Decided on the training rows alone, and part of every exported model.

    Attributes:
        columns: what is learned from.
        dropped: what is not, though it was there.
        known: further names that an item may have without being asked for: the answer, roles, ignored columns.
        history: what is known of entities, if one is named.
    """

    columns: tuple[ColumnKind, ...]
    dropped: tuple[Dropped, ...] = ()
    known: tuple[str, ...] = ()
    history: History | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that an item may have."""
        roles = [self.history.entity, *([self.history.time] if self.history.time else [])] if self.history else []
        asked = [*(column.name for column in self.columns), *roles, *(each.name for each in self.dropped), *self.known]
        return tuple(dict.fromkeys(asked))

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the numbers that a row becomes."""
        own = tuple(part for column in self.columns for part in column.parts)
        return own + (self.history.parts if self.history else ())

    def read(self, row: Mapping[str, JsonValue]) -> list[float]:
        """A row's numbers, (parts,); a key that is not there is a missing value.

        Raises:
            CellError: a cell is of the wrong kind.
        """
        numbers = [number for column in self.columns for number in column.read(row.get(column.name))]
        if self.history is not None:
            time = row.get(self.history.time) if self.history.time else None
            numbers += self.history.read(row.get(self.history.entity), time)
        return numbers

    @property
    def number_columns(self) -> tuple[NumberColumn, ...]:
        """Those that hold numbers."""
        return tuple(column for column in self.columns if isinstance(column, NumberColumn))
