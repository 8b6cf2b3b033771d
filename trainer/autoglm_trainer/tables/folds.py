"""Parts of the training rows that are held out in turn, so that nothing leaks from one into another."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Hashable

import numpy as np

from autoglm_trainer.metrics import Ints
from autoglm_trainer.rows.tables import moment

from .table import Table


def folds_of(table: Table, count: int, *, seed: int, classes: int) -> tuple[Ints, bool]:
    """For each training row its part, from 0, and whether parts are in time's order.

    With a time the rows are cut into parts by it, and rows of one moment stay together. Otherwise units (groups, or
    equal rows) are dealt out whole, those of each class in turn.
    """
    rows = table.rows.splits.train
    if "time" in table.rows.roles:
        name = table.rows.roles["time"]
        place = table.rows.names.index(name)
        times = np.array([moment(rows, row, place, name) for row in rows])
        # One part more: the first is only learned from.
        borders = np.quantile(times, np.arange(1, count + 1) / (count + 1))
        found = np.searchsorted(borders, times, side="left").astype(np.int64)
        # Parts without rows leave no gap.
        return np.unique(found, return_inverse=True)[1].astype(np.int64), True
    by_stratum: dict[str, dict[Hashable, list[int]]] = defaultdict(lambda: defaultdict(list))
    first: dict[Hashable, str] = {}
    for index, row in enumerate(rows):
        stratum = first.setdefault(row.unit, str(row.answer) if classes else "")
        by_stratum[stratum][row.unit].append(index)
    folds = np.zeros(len(rows), dtype=np.int64)
    turn = 0
    for stratum, units in sorted(by_stratum.items()):
        order = list(units.values())
        random.Random(f"{seed}/{stratum}").shuffle(order)
        for members in order:
            folds[members] = turn % count
            turn += 1
    return folds, False
