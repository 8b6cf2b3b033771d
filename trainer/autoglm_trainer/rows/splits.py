"""What rows of every kind have in common: a source, a digest, and three splits of which one may be held out."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pydantic import JsonValue

from autoglm_api.manifest import DataDigests
from autoglm_api.study import Data
from autoglm_trainer.errors import DataError

from .door import Records


class Row(Protocol):
    """One row, and the line of its source where it begins."""

    @property
    def line(self) -> int:
        """Counted from 1; a row's number where the file has no lines."""

    @property
    def content(self) -> JsonValue:
        """All that tells it from other rows; the digest is of this."""

    @property
    def unit(self) -> Hashable:
        """What must not be both trained on and judged on: rows of one unit are held out together."""


R = TypeVar("R", bound=Row)


@dataclass(frozen=True)
class Rows(Generic[R]):
    """The rows of one source, in its order; `counted`: what their `line` counts, lines or rows."""

    source: str
    rows: tuple[R, ...]
    counted: str = "line"

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[R]:
        return iter(self.rows)

    def where(self, row: R) -> str:
        """A row's place as messages name it."""
        return f"{self.source}, {self.counted} {row.line}"

    @property
    def digest(self) -> str:
        """sha256 of the rows as read; files of several formats with the same rows have the same digest."""
        state = hashlib.sha256()
        for row in self.rows:
            state.update(json.dumps(row.content, ensure_ascii=False).encode() + b"\n")
        return f"sha256:{state.hexdigest()}"


@dataclass(frozen=True)
class Splits(Generic[R]):
    """A study's rows; `test` only where the study names it."""

    train: Rows[R]
    validation: Rows[R]
    test: Rows[R] | None

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


@dataclass(frozen=True)
class HoldOut(Generic[R]):
    """How validation rows are drawn from training rows.

    Attributes:
        stratum: the share is taken of each stratum for itself.
        single: what is so of rows of which none can be held out, for the message.
    """

    stratum: Callable[[R], str]
    single: str

    def split(self, rows: Rows[R], fraction: float, *, seed: int) -> tuple[Rows[R], Rows[R]]:
        """Training and validation rows, each in the order of the source.

        A stratum with a single unit stays in the training rows; a unit is of the stratum of its first row.

        Raises:
            DataError: nothing can be held out.
        """
        stratum_of: dict[Hashable, str] = {}
        for row in rows:
            stratum_of.setdefault(row.unit, self.stratum(row))
        units: dict[str, list[Hashable]] = defaultdict(list)
        for unit, stratum in stratum_of.items():
            units[stratum].append(unit)
        chosen: set[Hashable] = set()
        for stratum, candidates in units.items():
            # A stratum's own generator: rows added to one label do not move those of another.
            random.Random(f"{seed}/{stratum}").shuffle(candidates)
            count = min(max(1, round(len(candidates) * fraction)), len(candidates) - 1)
            chosen.update(candidates[:count])
        if not chosen:
            raise DataError(
                f"{rows.source}: no rows can be held out for validation, {self.single};"
                " add rows or name a validation source"
            )
        train = tuple(row for row in rows if row.unit not in chosen)
        validation = tuple(row for row in rows if row.unit in chosen)
        held_out = Rows(f"{rows.source} (held out)", validation, rows.counted)
        return Rows(rows.source, train, rows.counted), held_out


def read_splits(
    data: Data, read: Callable[[str], Rows[R]], hold_out: Callable[[Rows[R]], HoldOut[R]], *, seed: int
) -> Splits[R]:
    """Read all sources; hold out validation rows if asked to.

    Args:
        data: the study's `data`.
        read: source → its rows.
        hold_out: training rows → how to draw from them, where the study names a fraction.
        seed: chooses the held-out rows.

    Raises:
        DataError: with the sentence for the user.
    """
    train = read(data.train.source)
    if data.validation.source is not None:
        validation = read(data.validation.source)
    else:
        assert data.validation.fraction is not None, "the spec holds exactly one of source and fraction"
        train, validation = hold_out(train).split(train, data.validation.fraction, seed=seed)
    return Splits(train, validation, read(data.test.source) if data.test else None)


def some(records: Records, rows: list[R], columns: tuple[str, ...]) -> Rows[R]:
    """The rows that were made of `records`, at least one.

    Raises:
        DataError: there is none.
    """
    if not rows:
        raise DataError(f"{records.source}: no rows; it needs at least one with {_and(columns)}")
    return Rows(records.source, tuple(rows), records.counted)


def cut(value: str, shown: int = 80) -> str:
    """A value as messages quote it."""
    return repr(value if len(value) <= shown else value[:shown] + "…")


def _and(columns: tuple[str, ...]) -> str:
    *others, last = map(repr, columns)
    return f"{', '.join(others)} and {last}" if others else last
