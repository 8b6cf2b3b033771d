"""From cells to features, as the beginning of the graph that is exported: training and serving run the same nodes.

Every decision here is taken on the training rows: medians, scales, which columns are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from autoglm_api.tables import CategoryColumn, NumberColumn, TableSchema
from autoglm_api.tables.history import WINDOWS
from autoglm_trainer.metrics import Floats

from .graph import INPUT, Graph, Session

Cells = NDArray[np.float32]
# Ratios beyond these are a division by next to nothing; so many deviations from the mean are all the same to a model.
_LARGEST_RATIO = _LARGEST_SCALED = 1e6
_WINDOW_NAMES = {"last": 1, "five": 5, "all": 0}


@dataclass(frozen=True)
class Choices:
    """What can be chosen of the features: the knobs of the same names."""

    categories: str
    integers: str
    paired_columns: int
    window: str


@dataclass(frozen=True)
class Codes:
    """A column of categories as the network reads it: its part, and how many values it knows."""

    part: int
    values: int


@dataclass(frozen=True)
class Features:
    """The beginning of a graph.

    Attributes:
        graph: from the cells to the three below; learners add to copies of it.
        plain: name of the features (rows, features) as they are, for trees.
        scaled: the same with mean 0 and variance 1 in the training rows, for what computes distances and sums.
        numbers: as `scaled`, with a share alone for each category; the categories themselves are `codes`.
    """

    graph: Graph
    plain: str
    scaled: str
    numbers: str
    codes: tuple[Codes, ...]

    def of(self, name: str, cells: Cells) -> Cells:
        """The values of `plain`, `scaled` or `numbers` for some cells."""
        return Session(self.graph.model(name, "features")).run(cells).astype(np.float32)


def make_features(schema: TableSchema, cells: Cells, targets: Floats, choices: Choices) -> Features:
    """The features of a table.

    Args:
        schema: its columns.
        cells: the training rows, (rows, parts).
        targets: what is to be learned, (rows, outputs): indicators of classes, or a number.
        choices: the point's.
    """
    makers = _Makers(schema, cells, choices)
    numbers = makers.numbers(targets)
    words = makers.words()
    graph = makers.graph
    everything = graph.add("Concat", *numbers, *words, axis=1)
    counted = graph.add("Concat", *numbers, *makers.shares(), axis=1)
    return Features(
        graph=graph,
        plain=everything,
        scaled=_scaled(graph, everything, cells),
        numbers=_scaled(graph, counted, cells),
        codes=makers.codes(),
    )


class _Makers:
    """The blocks of features, each a name in the graph."""

    def __init__(self, schema: TableSchema, cells: Cells, choices: Choices) -> None:
        self.graph, self.cells, self.choices = Graph(cells.shape[1]), cells, choices
        self.places = {part: place for place, part in enumerate(schema.parts)}
        self.categories = [column for column in schema.columns if isinstance(column, CategoryColumn)]
        words = {column.name for column in self.categories}
        own = [part for column in schema.columns for part in column.parts if part not in words]
        self.number_parts = [*own, *_history_parts(schema, choices.window)]
        self.levels = [column for column in schema.number_columns if column.levels]
        self.pairable = [column.name for column in schema.columns if isinstance(column, NumberColumn)]

    def numbers(self, targets: Floats) -> list[str]:
        """Numbers, the median where one is missing; which are missing; and pairs of numbers."""
        places = [self.places[part] for part in self.number_parts]
        if not places:
            return []
        medians = [_median(self.cells[:, place]) for place in places]
        raw = self.graph.columns(INPUT, places)
        filled = self.graph.add("Where", self.graph.add("IsNaN", raw), self.graph.constant([medians]), raw)
        gaps = [place for place in places if np.isnan(self.cells[:, place]).any()]
        return [filled, *([self._gaps(gaps)] if gaps else []), *self._pairs(filled, targets)]

    def _gaps(self, places: Sequence[int]) -> str:
        """1 where a cell is missing."""
        return self.graph.add("Cast", self.graph.add("IsNaN", self.graph.columns(INPUT, places)), to=1)

    def _pairs(self, filled: str, targets: Floats) -> list[str]:
        """Difference and ratio of each two of the numbers that go most with the targets."""
        order = [self.number_parts.index(name) for name in self.pairable]
        values = Session(self.graph.model(filled, "filled")).run(self.cells)[:, order] if order else np.zeros((1, 0))
        related = _relation(values, targets)
        best = np.argsort(-related, kind="stable")[: self.choices.paired_columns]
        pairs = [(order[one], order[other]) for place, one in enumerate(best) for other in best[place + 1 :]]
        if not pairs:
            return []
        one, other = (self.graph.columns(filled, places) for places in zip(*pairs, strict=True))
        zero, unit = self.graph.constant(0.0), self.graph.constant(1.0)
        nothing = self.graph.add("Equal", other, zero)
        ratio = self.graph.add("Div", one, self.graph.add("Where", nothing, unit, other))
        limits = self.graph.constant(-_LARGEST_RATIO), self.graph.constant(_LARGEST_RATIO)
        bounded = self.graph.add("Where", nothing, zero, self.graph.add("Clip", ratio, *limits))
        return [self.graph.add("Sub", one, other), bounded]

    def words(self) -> list[str]:
        """Categories as levels, as shares, or as both; whole numbers of few values as levels if so chosen."""
        levels = [(self.places[each.name], place) for each in self.categories for place in range(len(each.values))]
        blocks = self.shares() if self.choices.categories != "levels" else []
        if self.choices.categories == "counts":
            levels = []
        if self.choices.integers == "levels":
            levels += [(self.places[column.name], level) for column in self.levels for level in column.levels]
        if levels:
            taken = self.graph.columns(INPUT, [place for place, _ in levels])
            equal = self.graph.add("Equal", taken, self.graph.constant([[level for _, level in levels]]))
            blocks.append(self.graph.add("Cast", equal, to=1))
        places = [self.places[each.name] for each in self.categories]
        gaps = [place for place in places if np.isnan(self.cells[:, place]).any()]
        return [*blocks, *([self._gaps(gaps)] if gaps else [])]

    def shares(self) -> list[str]:
        """Which share of the training rows has the value of each category; 0 for one that none has."""
        return [self._share(column) for column in self.categories]

    def _share(self, column: CategoryColumn) -> str:
        table = self.graph.constant([*column.shares, 0.0])
        codes = code_column(self.graph, self.places[column.name], len(column.values))
        return self.graph.add("Gather", table, codes, axis=0)

    def codes(self) -> tuple[Codes, ...]:
        """The columns of categories."""
        return tuple(Codes(self.places[column.name], len(column.values)) for column in self.categories)


def code_column(graph: Graph, place: int, missing: int) -> str:
    """A column's codes (rows, 1) as whole numbers, `missing` where there is none."""
    raw = graph.columns(INPUT, [place])
    whole = graph.add("Where", graph.add("IsNaN", raw), graph.constant(float(missing)), raw)
    return graph.add("Cast", whole, to=7)


def _history_parts(schema: TableSchema, window: str) -> list[str]:
    """Of the entity's past: how often, how long ago, and the means over the chosen window."""
    if schema.history is None or window == "none":
        return []
    parts, numbers = schema.history.parts, schema.history.numbers
    first = len(parts) - len(numbers) * (len(WINDOWS) if schema.history.time else 1)
    chosen = WINDOWS.index(_WINDOW_NAMES[window]) if schema.history.time else 0
    start = first + chosen * len(numbers)
    return [*parts[:first], *parts[start : start + len(numbers)]]


def _relation(values: Floats, targets: Floats) -> Floats:
    """How much each column goes with the targets: its largest correlation with one of them, by ranks; (columns,)."""
    if not values.shape[1]:
        return np.zeros(0)
    ranks = rankdata(values, axis=0)
    one, other = ranks - ranks.mean(0), targets - targets.mean(0)
    norms = np.linalg.norm(one, axis=0)[:, None] * np.linalg.norm(other, axis=0)[None]
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.abs(one.T @ other) / norms
    return np.asarray(np.nan_to_num(correlation).max(1))


def _median(numbers: Cells) -> float:
    known = numbers[~np.isnan(numbers)]
    return float(np.median(known)) if len(known) else 0.0


def _scaled(graph: Graph, name: str, cells: Cells) -> str:
    values = Session(graph.model(name, "features")).run(cells)
    spread = values.std(0)
    scale = np.where(spread > 1e-6, spread, 1.0)
    centred = graph.add("Sub", name, graph.constant([values.mean(0)]))
    scaled = graph.add("Div", centred, graph.constant([scale]))
    return graph.add("Clip", scaled, graph.constant(-_LARGEST_SCALED), graph.constant(_LARGEST_SCALED))
