"""From a study's `data` to its rows: sources read, a sample taken, training rows cleaned, validation rows held out."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from pydantic import JsonValue

from autoglm_api.study import Data

from .cells import value_of
from .cleaning import Cleanable, Cleaning
from .door import read_records
from .holding_out import HoldOut, groups_of, times_of
from .records import Locate, Numbered, Records
from .splits import R, Rows, Splits

log = logging.getLogger(__name__)


def read_splits(
    data: Data,
    locate: Locate,
    read: Callable[[Records], Rows[R]],
    *,
    hold_out: Callable[[Rows[R]], HoldOut[R]],
    seed: int,
    cleanable: Cleanable | None = None,
    opened: Records | None = None,
) -> Splits[R]:
    """Read all sources; clean the training rows, and hold out validation rows, as the study says.

    Args:
        data: the study's `data`.
        locate: URI → location.
        read: a source's records → its rows.
        hold_out: training rows → how to draw from them, where the study names a fraction.
        seed: chooses the sample and the held-out rows.
        cleanable: what cleaning may do to this task's training rows; None = nothing.
        opened: the records of the training rows, for whoever had to look at them before.

    Raises:
        DataError: with the sentence for the user.
    """
    records = opened or read_records(data.train.source, locate)
    if data.train.limit is not None:
        records = records.through(sampled(data.train.limit, seed))
    cleaning = Cleaning(records, cleanable) if cleanable and data.cleaning == "Standard" else None
    if cleaning:
        records = records.through(cleaning.wash)
    noted = dict[int, JsonValue]()
    by = data.validation.group_by or data.validation.time_by
    train = read(records.through(_noting(records, by, noted)) if by else records)
    validation = read(read_records(data.validation.source, locate)) if data.validation.source else None
    test = read(read_records(data.test.source, locate)) if data.test else None
    if cleaning:
        train = cleaning.without_repetitions(train)
        train = cleaning.without(train, test, "test") if test else train
    if validation is None:
        train, validation = _held_out(data, train, hold_out(train), noted, seed=seed)
    if cleaning:
        train = cleaning.without(train, validation, "validation")
    return Splits(train, validation, test, cleaning.changes if cleaning else ())


def sampled(limit: int, seed: int) -> Callable[[Numbered], Numbered]:
    """At most `limit` rows, each with the same chance, in their order; only these are kept while reading.

    This is Vitter's algorithm R, "Random sampling with a reservoir", ACM TOMS 11 (1985).
    """

    def step(rows: Numbered) -> Numbered:
        chance = random.Random(seed)
        kept: list[tuple[int, dict[str, JsonValue]]] = []
        for count, row in enumerate(rows):
            if count < limit:
                kept.append(row)
            elif (place := chance.randrange(count + 1)) < limit:
                kept[place] = row
        kept.sort(key=lambda row: row[0])
        yield from kept

    return step


def _noting(records: Records, column: str, noted: dict[int, JsonValue]) -> Callable[[Numbered], Numbered]:
    """Keeps each row's value of `column` in `noted`, by the row's line."""

    def step(rows: Numbered) -> Numbered:
        for line, row in rows:
            noted[line] = value_of(records, line, row, column, field="data.validation")
            yield line, row

    return step


def _held_out(
    data: Data, train: Rows[R], hold_out: HoldOut[R], noted: dict[int, JsonValue], *, seed: int
) -> tuple[Rows[R], Rows[R]]:
    wanted = data.validation
    assert wanted.fraction is not None, "the spec holds exactly one of source and fraction"
    if wanted.group_by:
        groups = groups_of(train, noted, wanted.group_by)
        return hold_out.split_groups(train, groups, wanted.fraction, seed=seed)
    if wanted.time_by:
        return hold_out.split_times(train, times_of(train, noted, wanted.time_by), wanted.fraction)
    return hold_out.split(train, wanted.fraction, seed=seed)
