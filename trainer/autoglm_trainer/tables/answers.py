"""What a table's task is about, classes or a number: rows' answers become targets, outputs become answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from autoglm_api.base import Scalar
from autoglm_api.catalog import TaskDeclaration
from autoglm_api.catalog.tabular import TABULAR_CLASSIFICATION, TABULAR_REGRESSION
from autoglm_trainer.contract import Predictions, Section
from autoglm_trainer.errors import DataError
from autoglm_trainer.metrics import Floats, Ints
from autoglm_trainer.predictions.numbers import NumberPredictions
from autoglm_trainer.predictions.scored import Decision, ScoredClasses
from autoglm_trainer.rows.splits import Rows, cut
from autoglm_trainer.rows.tables import TableRow, TableRows

from .graph import Graph
from .settings import TableSettings

# Thresholds that are tried: so many quantiles of the probabilities, on no more rows than this.
_CANDIDATES, _DECIDING_ROWS = 99, 10_000
Importances = Callable[[], Sequence[Section]]
# Indices of classes, or numbers; (rows,).
Truth = Ints | Floats


class Answers(Protocol):
    """Classes or numbers."""

    @property
    def declaration(self) -> TaskDeclaration:
        """The task as the door knows it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes by index; empty for numbers."""

    @property
    def truth(self) -> Mapping[str, Truth]:
        """Split → indices of classes, or numbers, (rows,)."""

    @property
    def output(self) -> str:
        """Name of the graph's output."""

    def check_measurable(self, metric: str) -> None:
        """Refuse rows to judge on that tell nothing by a metric.

        Raises:
            DataError: all of a split have the same answer.
        """

    def targets(self) -> Floats:
        """Of the training rows: indicators (rows, classes), or scaled numbers (rows, 1)."""

    def weights(self, settings: TableSettings) -> Floats:
        """Of the training rows, (rows,), of mean 1."""

    def finish(self, graph: Graph, output: str) -> str:
        """Nodes from a learner's output to what the graph answers."""

    def scaled(self, outputs: Floats) -> Floats:
        """A learner's own outputs as the graph answers them."""

    def decide(self, settings: TableSettings, truth: Truth, outputs: Floats, metric: str) -> Decision:
        """How answers are read off the outputs; may look at some rows that were not trained on."""

    def predictions(
        self, truth: Truth, outputs: Floats, decision: Decision, texts: Sequence[str] = (), why: Importances = tuple
    ) -> Predictions:
        """Outputs (rows, …) of some rows beside their truth (rows,), with texts to show them by."""

    def told(self, decision: Decision) -> Mapping[str, Scalar]:
        """What the server must know of it."""


@dataclass(frozen=True)
class Classes:
    """A class a row."""

    labels: tuple[str, ...]
    truth: Mapping[str, Ints]
    declaration = TABULAR_CLASSIFICATION
    output = "probabilities"

    @classmethod
    def of(cls, rows: TableRows) -> Classes:
        """The classes of the training rows.

        Raises:
            DataError: there are fewer than two, or other splits have more.
        """
        train = rows.splits.train
        labels = tuple(sorted({str(row.answer) for row in train}))
        if len(labels) < 2:
            raise DataError(
                f"{train.source}: all {len(train)} training rows have the class {labels[0]!r}; two are needed"
            )
        index = {label: place for place, label in enumerate(labels)}
        truth = {split: _indices(each, split, index, train.source) for split, each in rows.splits.by_name.items()}
        return cls(labels, truth)

    def check_measurable(self, metric: str) -> None:
        """See `Answers`; areas are of one class beside others."""
        if metric in ("auc", "average_precision"):
            _check_differ(self.truth, metric, lambda answer: f"the class {cut(self.labels[int(answer)])}")

    @property
    def positive(self) -> int | None:
        """The rarer of two classes."""
        counts = np.bincount(self.truth["train"], minlength=len(self.labels))
        return int(counts[1] <= counts[0]) if len(self.labels) == 2 else None

    def targets(self) -> Floats:
        """See `Answers`."""
        return np.eye(len(self.labels))[self.truth["train"]]

    def weights(self, settings: TableSettings) -> Floats:
        """See `Answers`."""
        truth = self.truth["train"]
        if settings.class_weight != "balanced":
            return np.ones(len(truth))
        counts = np.bincount(truth, minlength=len(self.labels))
        return np.asarray(len(truth) / (len(self.labels) * counts))[truth]

    def finish(self, graph: Graph, output: str) -> str:
        """Probabilities are what learners answer."""
        return output

    def scaled(self, outputs: Floats) -> Floats:
        """As they are."""
        return outputs

    def decide(self, settings: TableSettings, truth: Truth, outputs: Floats, metric: str) -> Decision:
        """The point's threshold, or the best one by the metric; by F1 where the metric does not ask for any."""
        if self.positive is None or settings.threshold_from == "point":
            return Decision(self.positive, settings.threshold)
        rows = np.arange(0, len(truth), -(-len(truth) // _DECIDING_ROWS))
        truth, outputs = truth[rows], outputs[rows]
        judged = metric if metric in ("accuracy", "balanced_accuracy", "f1_macro") else "f1_macro"

        def value(threshold: float) -> float:
            decision = Decision(self.positive, threshold)
            return self.predictions(truth, outputs, decision).measure()[judged]

        candidates = np.unique(np.quantile(outputs[:, self.positive], np.linspace(0.01, 0.99, _CANDIDATES)))
        return Decision(self.positive, max(map(float, candidates), key=value))

    def predictions(
        self, truth: Truth, outputs: Floats, decision: Decision, texts: Sequence[str] = (), why: Importances = tuple
    ) -> ScoredClasses:
        """See `Answers`."""
        return ScoredClasses(self.labels, np.asarray(truth, dtype=np.int64), outputs, texts, decision, why)

    def told(self, decision: Decision) -> Mapping[str, Scalar]:
        """See `Answers`."""
        if decision.positive is None:
            return {}
        return {"positive": self.labels[decision.positive], "threshold": decision.threshold}


@dataclass(frozen=True)
class Numbers:
    """A number a row; learners see it with mean 0 and variance 1."""

    truth: Mapping[str, Floats]
    mean: float
    scale: float
    declaration = TABULAR_REGRESSION
    labels: tuple[str, ...] = ()
    output = "values"

    @classmethod
    def of(cls, rows: TableRows) -> Numbers:
        """The numbers of all splits, scaled by the training rows'.

        Raises:
            DataError: they are all the same.
        """
        truth = {split: np.array([float(row.answer) for row in each]) for split, each in rows.splits.by_name.items()}
        train = truth["train"]
        if not train.std() > 0:
            source = rows.splits.train.source
            raise DataError(
                f"{source}: all {len(train)} training rows have the number {train[0]:g}; nothing can be learned"
            )
        return cls(truth, float(train.mean()), float(train.std()))

    def check_measurable(self, metric: str) -> None:
        """See `Answers`; R² is a share of how much the truth differs."""
        if metric == "r2":
            _check_differ(self.truth, metric, lambda answer: f"the number {answer:g}")

    def targets(self) -> Floats:
        """See `Answers`."""
        return ((self.truth["train"] - self.mean) / self.scale)[:, None]

    def weights(self, settings: TableSettings) -> Floats:
        """All alike."""
        return np.ones(len(self.truth["train"]))

    def finish(self, graph: Graph, output: str) -> str:
        """Back to the unit of the rows."""
        scaled = graph.add("Mul", output, graph.constant([[self.scale]]))
        return graph.add("Add", scaled, graph.constant([[self.mean]]))

    def scaled(self, outputs: Floats) -> Floats:
        """Back to the unit of the rows."""
        return outputs * self.scale + self.mean

    def decide(self, settings: TableSettings, truth: Truth, outputs: Floats, metric: str) -> Decision:
        """There is nothing to decide."""
        return Decision()

    def predictions(
        self, truth: Truth, outputs: Floats, decision: Decision, texts: Sequence[str] = (), why: Importances = tuple
    ) -> NumberPredictions:
        """See `Answers`."""
        return NumberPredictions(np.asarray(truth, dtype=np.float64), outputs[:, 0], texts, why)

    def told(self, decision: Decision) -> Mapping[str, Scalar]:
        """Nothing."""
        return {}


def _check_differ(truth: Mapping[str, Truth], metric: str, told: Callable[[float], str]) -> None:
    for split, answers in truth.items():
        if split != "train" and (answers == answers[0]).all():
            raise DataError(
                f"data.{split}: all {len(answers)} rows have {told(answers[0])}, so {metric} cannot be measured on"
                " them; give rows with others, or choose another metric"
            )


def _indices(rows: Rows[TableRow], split: str, index: Mapping[str, int], train_source: str) -> Ints:
    for row in rows:
        if str(row.answer) not in index:
            raise DataError(
                f"{rows.where(row)}: the class {cut(str(row.answer))} stands in the {split} rows only, never in"
                f" {train_source}; add training rows for it or drop these rows"
            )
    return np.array([index[str(row.answer)] for row in rows], dtype=np.int64)
