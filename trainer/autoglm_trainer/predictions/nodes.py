"""One label for each node of a graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from autoglm_trainer.contract import Section, Table
from autoglm_trainer.metrics import Ints

from .classes import ClassPredictions

# Upper ends of the groups that nodes are shown in, by how many edges they have.
_EDGES = (0, 1, 2, 4, 8, 16, 64)


@dataclass(frozen=True)
class NodePredictions(ClassPredictions):
    """As `ClassPredictions`; `edges` (rows,): how many edges each node has in the whole graph."""

    edges: Ints

    @override
    def sections(self) -> list[Section]:
        """Besides where it is wrong: label by label, and by how well a node is connected."""
        matrix, *curves = super().sections()
        return [matrix, self._by_label(), self._by_edges(), *curves]

    def _by_label(self) -> Table:
        hits, true, given = np.diag(self.confusion), self.confusion.sum(1), self.confusion.sum(0)
        rows = tuple(
            (label, int(true[place]), int(hits[place]), int(given[place] - hits[place]), int(true[place] - hits[place]))
            for place, label in enumerate(self.labels)
        )
        header = ("label", "nodes", "right", "too many", "missing")
        return Table("Label by label", "Of how many nodes each label was found.", header, rows)

    def _by_edges(self) -> Table:
        right = self.probabilities.argmax(1) == self.truth
        rows = []
        for low, high in zip((0, *(end + 1 for end in _EDGES)), (*_EDGES, None), strict=True):
            within = (self.edges >= low) & (self.edges <= (np.inf if high is None else high))
            if within.any():
                name = f"{low} and more" if high is None else str(low) if high == low else f"{low} to {high}"
                rows.append((name, int(within.sum()), float(right[within].mean())))
        note = "Where nodes with few edges do worse, more edges would help; where all do alike, features tell enough."
        return Table("By how many edges a node has", note, ("edges", "nodes", "accuracy"), tuple(rows))
