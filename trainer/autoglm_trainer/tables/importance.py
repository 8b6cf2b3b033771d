"""Which columns a model leans on: how much worse it gets when a column's cells are dealt out anew among the rows.

Source: Breiman 2001, "Random Forests"; on rows that the model was not trained on, as Fisher et al. 2019 advise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from autoglm_api.tables import TableSchema
from autoglm_trainer.contract import Table

from .features import Cells

# Columns of very wide tables are dealt once; beyond so many rows a sample will do.
ROWS = 1_000
_TIMES, _MANY, _SHOWN = 3, 60, 30


def importances(
    schema: TableSchema, cells: Cells, value: Callable[[Cells], float], *, metric: str, maximize: bool, dropped: int
) -> Table:
    """The report's section.

    Args:
        schema: the table's columns.
        cells: judged rows, (rows, parts).
        value: cells → the metric of the model's answers to them.
        metric: its name.
        maximize: whether more is better.
        dropped: how many columns of the training rows nothing was learned from.
    """
    base, draw = value(cells), np.random.default_rng(0)
    sign = 1 if maximize else -1
    owners = _owners(schema)
    times = _TIMES if len(owners) <= _MANY else 1
    found = []
    for name, parts in owners.items():
        drops = [sign * (base - value(_dealt(cells, parts, draw.permutation(len(cells))))) for _ in range(times)]
        found.append((name, float(np.mean(drops)), float(np.std(drops))))
    found.sort(key=lambda row: -row[1])
    note = (
        f"How much worse {metric} gets when a column's cells are dealt out anew among the rows, {times} times; columns"
        f" that say the same share what they are worth. {len(owners)} columns are learned from, {dropped} left out."
    )
    return Table("Which columns matter", note, ("column", f"{metric} lost", "±"), tuple(found[:_SHOWN]))


def _owners(schema: TableSchema) -> dict[str, list[int]]:
    """Column → the places of its parts; an entity's history counts as one."""
    owners: dict[str, list[int]] = {}
    place = 0
    for column in schema.columns:
        owners[column.name] = list(range(place, place + len(column.parts)))
        place += len(column.parts)
    if schema.history is not None:
        owners[f"the past of {schema.history.entity}"] = list(range(place, len(schema.parts)))
    return owners


def _dealt(cells: Cells, parts: Sequence[int], order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Cells:
    changed = cells.copy()
    changed[:, parts] = cells[order][:, parts]
    return changed
