"""The edges of a graph: read and checked against its nodes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autoglm_trainer.errors import DataError
from autoglm_trainer.metrics import Floats, Ints

from .cells import text
from .door import read_records
from .node import as_number
from .records import Locate
from .splits import cut


@dataclass(frozen=True)
class GivenEdges:
    """Edges as they were given, by places of their nodes, (edges,) each; `digest` is of their names and weights."""

    source: Ints
    target: Ints
    weight: Floats
    digest: str


def load_edges(source: str, locate: Locate, columns: Mapping[str, str], nodes: Mapping[str, int]) -> GivenEdges:
    """Read one source.

    Args:
        source: the URI.
        locate: URI → location.
        columns: role → name, all roles given; the weight's column may be missing, then all weigh 1.
        nodes: name → place.

    Raises:
        DataError: it cannot be had, an edge ends nowhere, or a weight is not above 0.
    """
    records = read_records(source, locate)
    weighted = columns["weight"] in records.columns
    ends: tuple[list[int], list[int]] = ([], [])
    weights: list[float] = []
    state = hashlib.sha256()
    for number, row in records:
        names = [text(records, number, row, columns[role]) for role in ("source", "target")]
        for name, places, role in zip(names, ends, ("source", "target"), strict=True):
            if name not in nodes:
                raise DataError(
                    f"{records.where(number)}: {columns[role]!r} is {cut(name)}, which is the name of no node; add the"
                    " node or drop the edge"
                )
            places.append(nodes[name])
        weight = 1.0
        if weighted:
            where = f"{records.where(number)}: {columns['weight']!r}"
            weight = as_number(where, row.get(columns["weight"]), otherwise="leave the column out")
            if weight <= 0:
                raise DataError(f"{where} is {weight:g}; a weight must be above 0, drop edges that do not count")
        weights.append(weight)
        state.update(json.dumps([*names, weight], ensure_ascii=False).encode() + b"\n")
    if not weights:
        raise DataError(f"{source}: no edges; it needs rows with {columns['source']!r} and {columns['target']!r}")
    begun, ended = (np.array(places, dtype=np.int64) for places in ends)
    return GivenEdges(begun, ended, np.array(weights, dtype=np.float64), state.hexdigest())
