"""Validation rows drawn from training rows: a share of each stratum, whole groups, or the latest."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate
from typing import Generic

from pydantic import JsonValue

from autoglm_trainer.errors import DataError

from .splits import R, Rows, cut


@dataclass(frozen=True)
class HoldOut(Generic[R]):
    """How validation rows are drawn from training rows; either side keeps the order of the source.

    Attributes:
        stratum: the share is taken of each stratum for itself.
        single: what is so of rows of which none can be held out, for the message.
    """

    stratum: Callable[[R], str]
    single: str

    def split(self, rows: Rows[R], fraction: float, *, seed: int) -> tuple[Rows[R], Rows[R]]:
        """Training and validation rows, no unit on both sides.

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
        return self._parted(rows, [row.unit in chosen for row in rows], self.single)

    def split_groups(
        self, rows: Rows[R], groups: Sequence[Hashable], fraction: float, *, seed: int
    ) -> tuple[Rows[R], Rows[R]]:
        """Training and validation rows, no group on both sides.

        Groups are drawn as long as they fit into the share of rows; if none does, it is the smallest. None is drawn
        that holds all that is left of a stratum, so that each can still be learned.

        Args:
            rows: to be parted.
            groups: of each row.
            fraction: share of rows.
            seed: chooses the groups.

        Raises:
            DataError: nothing can be held out.
        """
        strata: dict[Hashable, Counter[str]] = defaultdict(Counter)
        for row, group in zip(rows, groups, strict=True):
            strata[group][self.stratum(row)] += 1
        left = sum(strata.values(), Counter[str]())

        def can_be_spared(group: Hashable) -> bool:
            return all(left[name] > count for name, count in strata[group].items())

        wanted, chosen = round(len(rows) * fraction), set[Hashable]()
        order = list(strata)
        random.Random(seed).shuffle(order)
        for group in order:
            if strata[group].total() <= wanted and can_be_spared(group):
                chosen.add(group)
                left -= strata[group]
                wanted -= strata[group].total()
        if not chosen:
            smallest = sorted(order, key=lambda group: strata[group].total())
            chosen.update(next(([group] for group in smallest if can_be_spared(group)), []))
        return self._parted(rows, [group in chosen for group in groups], f"of {len(strata)} groups none can be spared")

    def split_times(self, rows: Rows[R], times: Sequence[float], fraction: float) -> tuple[Rows[R], Rows[R]]:
        """The earlier rows to train on, the latest for validation; rows of one moment stay together.

        Args:
            rows: to be parted.
            times: of each row.
            fraction: share of rows; the share nearest to it that moments allow is held out.

        Raises:
            DataError: all rows are of one moment.
        """
        at_moment = Counter(times)
        moments = sorted(at_moment, reverse=True)
        held_out = accumulate(at_moment[moment] for moment in moments[:-1])
        sizes = dict(zip(moments, held_out, strict=False))
        first = min(sizes, key=lambda moment: abs(sizes[moment] - fraction * len(rows)), default=float("inf"))
        return self._parted(rows, [moment >= first for moment in times], "all are of one moment")

    def _parted(self, rows: Rows[R], held_out: Sequence[bool], single: str) -> tuple[Rows[R], Rows[R]]:
        if not any(held_out):
            raise DataError(
                f"{rows.source}: no rows can be held out for validation, {single}; add rows or name a validation source"
            )
        train = tuple(row for row, out in zip(rows, held_out, strict=True) if not out)
        validation = tuple(row for row, out in zip(rows, held_out, strict=True) if out)
        return (
            replace(rows, rows=train),
            replace(rows, source=f"{rows.source} (held out)", rows=validation),
        )


def groups_of(rows: Rows[R], values: Mapping[int, JsonValue], column: str) -> list[Hashable]:
    """Each row's group; `values` by the row's line.

    Raises:
        DataError: a row has none, or a list or object in its place.
    """
    found: list[Hashable] = []
    for row in rows:
        value = values[row.line]
        if value is None or isinstance(value, list | dict):
            told = "is missing" if value is None else f"is {cut(str(value))}"
            raise DataError(
                f"{rows.where(row)}: the group in {column!r} {told}; each row needs one, a text or a number"
            )
        found.append(value)
    return found


def times_of(rows: Rows[R], values: Mapping[int, JsonValue], column: str) -> list[float]:
    """Each row's moment: numbers as they are, else seconds of a date or time in ISO 8601 (UTC where it names no zone).

    Raises:
        DataError: a value is neither, or some are numbers and others are not.
    """
    found = [(_moment(f"{rows.where(row)}: the time in {column!r}", values[row.line]), row) for row in rows]
    (_, numeric), _ = found[0]
    odd = next((row for (_, is_number), row in found if is_number != numeric), None)
    if odd is not None:
        one, others = ("a date", "numbers") if numeric else ("a number", "dates")
        raise DataError(f"{rows.where(odd)}: the time in {column!r} is {one}, the rows before have {others}")
    return [moment for (moment, _), _ in found]


def is_moment(text: str) -> bool:
    """Whether a text is a date or time in ISO 8601."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _moment(where: str, value: JsonValue) -> tuple[float, bool]:
    """Seconds, or the number itself; and whether it is a number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), True
    text = value.strip() if isinstance(value, str) else ""
    try:
        return float(text), True
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        told = "is missing" if value is None else f"is {cut(str(value))}"
        raise DataError(
            f"{where} {told}; write a date such as 2026-11-28 or 2026-11-28T14:30:00Z, or a number"
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(), False
