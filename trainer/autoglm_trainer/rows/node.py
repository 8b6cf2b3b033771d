"""One node of a graph, from a row of any file: its name, what it is known by, its label and what it is for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from autoglm_api.study import Data
from autoglm_api.tables.cells import LARGEST
from autoglm_trainer.errors import DataError

from .cells import Row, check_characters, no_column, optional_text, text, words
from .records import Records
from .splits import cut

OTHER = "none"
SPLITS = ("train", "validation", "test", OTHER)
_ROLES = ("node", "words", "label", "split")
_IGNORED = "name the column in data.ignore"


@dataclass(frozen=True)
class Node:
    """One node and where it stands; `label` is empty where it is not known, `split` where the file says nothing."""

    name: str
    words: tuple[str, ...]
    numbers: tuple[float, ...]
    label: str
    split: str
    line: int

    @property
    def content(self) -> list[JsonValue]:
        """All of it, as read."""
        return [self.name, list(self.words), list(self.numbers), self.label]

    @property
    def unit(self) -> str:
        """Its name: nodes that are known by the same still stand at different places of the graph."""
        return self.name


@dataclass(frozen=True)
class Reader:
    """How a file's rows become nodes.

    Attributes:
        columns: role → name.
        numbers: the columns that play no role: each has a number, or a list of so many.
        has_words: whether nodes are known by their words, too.
    """

    columns: Mapping[str, str]
    numbers: Mapping[str, int | None]
    has_words: bool

    @classmethod
    def of(cls, records: Records, columns: Mapping[str, str], data: Data) -> Reader:
        """Read off the first row which columns hold lists; `data.features` and `data.ignore` choose among them.

        Raises:
            DataError: there is nothing that nodes are known by, or not what the study names.
        """
        for name in (*data.features, *data.ignore):
            if name not in records.columns:
                fields = "data.features or data.ignore"
                raise no_column(records, records.source, name, records.columns, field=fields)
        left_out = {*(columns[role] for role in _ROLES), *data.ignore}
        free = [column for column in data.features or records.columns if column not in left_out]
        for column in free:
            check_characters(f"{records.source}: the name of a column", column)
        chosen = {columns["words"]} & set(data.features or records.columns) - set(data.ignore)
        if not free and not chosen:
            raise DataError(
                f"{records.source}: nodes have nothing but names and labels; add a column {columns['words']!r} of what"
                " each has, or columns of numbers"
            )
        first: Row = next((row for _, row in records), {})
        lengths = {column: len(value) if isinstance(value := first.get(column), list) else None for column in free}
        return cls(columns, lengths, bool(chosen))

    @property
    def names(self) -> tuple[str, ...]:
        """What each number is."""
        return tuple(
            name
            for column, length in self.numbers.items()
            for name in ([column] if length is None else [f"{column}[{place}]" for place in range(length)])
        )

    def read(self, records: Records) -> Iterator[Node]:
        """Every row as a node.

        Raises:
            DataError: a row has no name, or something else where a number is needed.
        """
        for number, row in records:
            yield self.whole(records, number, row)

    def whole(self, records: Records, number: int, row: Row) -> Node:
        """A row with all that its node is known by."""
        node, column = self.named(records, number, row), self.columns["words"]
        # A node without words may leave them out.
        has = words(records, number, {column: row.get(column)}, column) if self.has_words else ()
        return replace(node, words=tuple(has), numbers=self._numbers(records, number, row))

    def named(self, records: Records, number: int, row: Row) -> Node:
        """A row's name, label and split alone."""
        name = text(records, number, row, self.columns["node"])
        if not name.strip():
            raise DataError(f"{records.where(number)}: {self.columns['node']!r} is empty; every node needs a name")
        split = optional_text(records, number, row, self.columns["split"])
        if split and split not in SPLITS:
            raise DataError(
                f"{records.where(number)}: {self.columns['split']!r} is {cut(split)}, which is none of"
                f" {', '.join(SPLITS)}; correct it, or leave it empty for a node that is only part of the graph"
            )
        label = optional_text(records, number, row, self.columns["label"])
        return Node(name, (), (), label.strip() and label, split, number)

    def _numbers(self, records: Records, number: int, row: Row) -> tuple[float, ...]:
        found: list[float] = []
        for column, length in self.numbers.items():
            where, value = f"{records.where(number)}: {column!r}", row.get(column)
            if length is None:
                found.append(as_number(where, value, otherwise=_IGNORED))
            elif not isinstance(value, list) or len(value) != length:
                has = f"{len(value)} numbers" if isinstance(value, list) else "no list"
                raise DataError(f"{where} has {has}, in the first row it has {length}; give all nodes as many")
            else:
                numbers = enumerate(value, start=1)
                found += [as_number(f"{where}, number {at},", one, otherwise=_IGNORED) for at, one in numbers]
        return tuple(found)


def as_number(where: str, value: JsonValue, *, otherwise: str) -> float:
    """A number of at most `LARGEST`; `otherwise`: what can be done beside correcting it.

    Raises:
        DataError: `where` holds something else.
    """
    if value is None:
        raise DataError(f"{where} is missing; fill it in, or {otherwise}")
    try:
        found = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not abs(found) <= LARGEST:
        raise DataError(
            f"{where} is {cut(str(value))}, which is no number of at most {LARGEST:g}; correct it, or {otherwise}"
        )
    return found
