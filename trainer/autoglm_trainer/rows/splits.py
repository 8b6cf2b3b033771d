"""What rows of every kind have in common: a source, a digest, and three splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from pydantic import JsonValue

from autoglm_api.manifest import DataDigests
from autoglm_trainer.errors import DataError

from .numbering import Numbering
from .records import Records


class Row(Protocol):
    """One row, and its number in its source."""

    @property
    def line(self) -> int:
        """The line where it begins, from 1, or its number where the file has no lines; see `Numbering`."""

    @property
    def content(self) -> JsonValue:
        """All that tells it from other rows; the digest is of this."""

    @property
    def unit(self) -> Hashable:
        """What must not be both trained on and judged on: rows of one unit are held out together."""


R = TypeVar("R", bound=Row)


@dataclass(frozen=True)
class Change:
    """One thing that cleaning did to training rows.

    Attributes:
        what: in a few words.
        count: of rows.
        examples: the first of them: place, and what stood there.
    """

    what: str
    count: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Rows(Generic[R]):
    """The rows of one source, in its order; `numbering`: what their `line` says."""

    source: str
    rows: tuple[R, ...]
    numbering: Numbering = field(default_factory=Numbering)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[R]:
        return iter(self.rows)

    def where(self, row: R) -> str:
        """A row's place as messages name it."""
        return self.numbering.where(self.source, row.line)

    @property
    def digest(self) -> str:
        """sha256 of the rows as read; files of several formats with the same rows have the same digest."""
        state = hashlib.sha256()
        for row in self.rows:
            state.update(json.dumps(row.content, ensure_ascii=False).encode() + b"\n")
        return f"sha256:{state.hexdigest()}"


@dataclass(frozen=True)
class Splits(Generic[R]):
    """A study's rows; `test` only where the study names it. `changes`: what cleaning did to the training rows."""

    train: Rows[R]
    validation: Rows[R]
    test: Rows[R] | None
    changes: tuple[Change, ...] = ()

    @property
    def by_name(self) -> dict[str, Rows[R]]:
        """Those that there are."""
        found = {"train": self.train, "validation": self.validation}
        return {**found, "test": self.test} if self.test else found

    @property
    def digests(self) -> DataDigests:
        """Digests of the rows as read and split."""
        return DataDigests(**{split: rows.digest for split, rows in self.by_name.items()})

    @property
    def counts(self) -> dict[str, int]:
        """Rows by split."""
        return {split: len(rows) for split, rows in self.by_name.items()}

    def overlap(self, split: str) -> int:
        """How many rows of `split` have a unit that also stands in the training rows."""
        known = {row.unit for row in self.train}
        return sum(row.unit in known for row in self.by_name[split])


def some(records: Records, rows: list[R], columns: tuple[str, ...]) -> Rows[R]:
    """The rows that were made of `records`, at least one.

    Raises:
        DataError: there is none.
    """
    if not rows:
        raise DataError(f"{records.source}: no rows; it needs at least one with {_and(columns)}")
    return Rows(records.source, tuple(rows), records.numbering)


def cut(value: str, shown: int = 80) -> str:
    """A value as messages quote it."""
    return repr(value if len(value) <= shown else value[:shown] + "…")


def _and(columns: tuple[str, ...]) -> str:
    *others, last = map(repr, columns)
    return f"{', '.join(others)} and {last}" if others else last
