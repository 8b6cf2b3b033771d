"""A task on a table: typed once, learned from in many ways; what is trained is a graph, and is asked as one."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from autoglm_api.base import Scalar
from autoglm_api.manifest import DataDigests
from autoglm_api.tables import TABLE
from autoglm_trainer.contract import ExportDescription, Predictions, Section, SplitName, TrialControl
from autoglm_trainer.contract import Table as TableSection
from autoglm_trainer.errors import DataError, ExportError
from autoglm_trainer.metrics import Floats, Ints, latency_p95_ms
from autoglm_trainer.predictions.scored import Decision

from .answers import Answers
from .baseline import forest_probabilities, ridge_values
from .detection import described
from .features import Choices, Features, make_features
from .folds import folds_of
from .graph import INPUT, Session
from .importance import ROWS, importances
from .learners import Course, Learned, Lesson, get_learner
from .settings import TableSettings
from .table import Shown, Table

GRAPH, SETTINGS = "model.onnx", "settings.json"
LATENCY = "latency_p95_ms"
# Reports while training look at this many validation rows.
REPORT_ROWS = 1_000
# Numbers of the libraries are doubles, the graph's are not; a split right at a cell's value may fall either way.
TOLERANCE = 1e-3
_CHECKED_ROWS = 256


@dataclass
class LoadedTable:
    """Rows in memory; meets `contract.LoadedTask`.

    Attributes:
        metric: the objective's.
    """

    table: Table
    answers: Answers
    metric: str
    _features: dict[Choices, Features] = field(default_factory=dict, repr=False)

    @property
    def digests(self) -> DataDigests:
        """Digests of the rows as read."""
        return self.table.rows.splits.digests

    @property
    def has_test(self) -> bool:
        """Whether the study named test rows."""
        return "test" in self.row_counts

    @property
    def row_counts(self) -> Mapping[str, int]:
        """Rows by split."""
        return self.table.rows.splits.counts

    @property
    def baseline_name(self) -> str:
        """What the baseline is."""
        return "random forest" if self.answers.labels else "ridge regression"

    @property
    def maximize(self) -> bool:
        """Whether more of the metric is better."""
        return self.answers.declaration.metrics[self.metric] == "Maximize"

    def overlap(self, split: SplitName) -> int:
        """How many rows of `split` also stand in the training rows, or belong to a group that does."""
        self.check_split(split)
        return self.table.rows.splits.overlap(split)

    def check_split(self, split: str) -> None:
        """Refuse a split without rows.

        Raises:
            DataError: the study names none.
        """
        if split not in self.row_counts:
            raise DataError(f"data.{split}: the study names no {split} rows; add data.{split}.source")

    def baseline(self, split: SplitName) -> Predictions:
        """A plain random forest, or a ridge regression."""
        self.check_split(split)
        targets = self.answers.targets()
        plain = forest_probabilities if self.answers.labels else ridge_values
        outputs = self.answers.scaled(plain(self.table, targets, split))
        usual = self.settings({})
        decision = self.answers.decide(usual, outputs, np.arange(len(outputs)), self.metric)
        return self.predictions(split, np.arange(len(outputs)), outputs, decision)

    def settings(self, parameters: Mapping[str, Scalar]) -> TableSettings:
        """Every knob at a point."""
        return TableSettings.of(self.answers.declaration, parameters)

    def features(self, settings: TableSettings) -> Features:
        """The features at a point; made once for each choice."""
        if settings.choices not in self._features:
            made = make_features(self.table.schema, self.table.cells["train"], self.answers.targets(), settings.choices)
            self._features[settings.choices] = made
        return self._features[settings.choices]

    def fit(self, parameters: Mapping[str, Scalar], control: TrialControl) -> FittedTable:
        """Train at `parameters`, and have the graph answer from then on.

        Raises:
            ExportError: the graph answers differently from what was trained.
        """
        settings = self.settings(parameters)
        features = self.features(settings)
        learned = get_learner(settings.method).learn(self._lesson(settings, features, control))
        graph = features.graph.copy()
        output = self.answers.finish(graph, learned.add_to(graph, features))
        model = graph.model(output, self.answers.output)
        self._check(model, learned)
        rows = self._report_rows()
        outputs = Session(model).run(self.table.cells["validation"][rows])
        decision = self.answers.decide(settings, outputs, rows, self.metric)
        return FittedTable(self, settings, model, decision)

    def _lesson(self, settings: TableSettings, features: Features, control: TrialControl) -> Lesson:
        rows = self._report_rows()

        def value(outputs: Floats) -> float:
            scaled = self.answers.scaled(outputs)
            decision = self.answers.decide(settings, scaled, rows, self.metric)
            return self.predictions("validation", rows, scaled, decision).measure()[self.metric]

        course = Course(control, value, self.table.cells["validation"][rows], told=self.metric != LATENCY)
        folds, in_turn = folds_of(self.table, settings.folds, seed=control.seed, classes=len(self.answers.labels))
        return Lesson(
            features=features,
            cells=self.table.cells["train"],
            targets=self.answers.targets(),
            classes=len(self.answers.labels),
            weights=self.answers.weights(settings),
            folds=folds,
            in_turn=in_turn,
            settings=settings,
            course=course,
            seed=random.Random(control.seed).getrandbits(31),
        )

    def _report_rows(self) -> Ints:
        """Every k-th validation row: a fixed sample that does not depend on how the source is ordered."""
        count = self.row_counts["validation"]
        return np.arange(0, count, -(-count // REPORT_ROWS))

    def _check(self, model: bytes, learned: Learned) -> None:
        cells = self.table.cells["validation"][:_CHECKED_ROWS]
        ours, theirs = Session(model).run(cells), self.answers.scaled(learned.answer(cells))
        difference = float((np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))).max(initial=0.0))
        # Written so that a NaN fails too; a network that has run away is a matter of its metrics.
        if np.isfinite(theirs).all() and not difference <= TOLERANCE:
            raise ExportError(
                f"the exported graph answers differently: its numbers differ by up to {difference:.2g} (allowed"
                f" {TOLERANCE:g}); please report this with the study's parameters"
            )

    def predictions(
        self, split: str, chosen: Ints, outputs: Floats, decision: Decision, model: FittedTable | None = None
    ) -> Predictions:
        """Outputs of some rows beside their truth."""
        source = self.table.rows.splits.by_name[split]
        shown = Shown(self.table, source, [int(row) for row in chosen])

        def why() -> Sequence[Section]:
            return [] if model is None else [model.importances(split), model.columns()]

        return self.answers.predictions(split, chosen, outputs, decision, shown, why)

    def restore(self, parameters: Mapping[str, Scalar], folder: Path) -> FittedTable:
        """The model that `save` wrote.

        Raises:
            DataError: the rows have other classes or columns now.
        """
        written = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        for what, known in (("classes", list(self.answers.labels)), ("columns", list(self.table.schema.parts))):
            if written[what] != known:
                raise DataError(
                    f"data.train: the {what} are now {known[:20]}, the saved model has {written[what][:20]};"
                    " the rows changed while the study ran, start a new study"
                )
        settings = self.settings({**written["parameters"], **parameters})
        return FittedTable(self, settings, (folder / GRAPH).read_bytes(), Decision(**written["decision"]))


@dataclass
class FittedTable:
    """A trained model: the graph that answers, and how its answers are read."""

    task: LoadedTable
    settings: TableSettings
    model: bytes = field(repr=False)
    decision: Decision

    @cached_property
    def _session(self) -> Session:
        return Session(self.model, threads=torch.get_num_threads())

    def evaluate(self, split: SplitName) -> Mapping[str, float]:
        """All metrics on `split`."""
        return {**self.predict(split).measure(), LATENCY: self._latency(split)}

    def predict(self, split: SplitName) -> Predictions:
        """What the model says of each row."""
        self.task.check_split(split)
        cells = self.task.table.cells[split]
        return self.task.predictions(split, np.arange(len(cells)), self._session.run(cells), self.decision, self)

    def _latency(self, split: str) -> float:
        """95th percentile in milliseconds of one row, from its cells as words to the answer."""
        table, rows = self.task.table, self.task.table.rows.splits.by_name[split].rows

        def forward(row: int) -> None:
            cells = table.schema.read(table.item(rows[row]))
            self._session.run(np.array([cells], dtype=np.float32))

        return latency_p95_ms(forward, len(rows))

    def importances(self, split: str) -> TableSection:
        """Which columns matter, on the judged rows."""
        task, table = self.task, self.task.table
        cells = table.cells[split]
        rows = np.arange(0, len(cells), -(-len(cells) // ROWS))
        metric = task.metric if task.metric != LATENCY else task.answers.declaration.shown[0]

        def value(changed: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
            outputs = self._session.run(changed)
            return task.predictions(split, rows, outputs, self.decision).measure()[metric]

        better = task.answers.declaration.metrics[metric] == "Maximize"
        dropped = len(table.schema.dropped)
        return importances(table.schema, cells[rows], value, metric=metric, maximize=better, dropped=dropped)

    def columns(self) -> TableSection:
        """What every column was taken for."""
        schema = self.task.table.schema
        kept = [(column.name, described(column)) for column in schema.columns]
        left_out = [(each.name, f"left out: {each.why}") for each in schema.dropped]
        note = "Told from the training rows; data.features and data.ignore choose otherwise."
        return TableSection("What the columns were taken for", note, ("column", "kind"), (*kept, *left_out))

    def save(self, folder: Path) -> None:
        """Write the graph and how it is read."""
        written = {
            "parameters": dict(self.settings.point),
            "classes": list(self.task.answers.labels),
            "columns": list(self.task.table.schema.parts),
            "decision": {"positive": self.decision.positive, "threshold": self.decision.threshold},
        }
        (folder / GRAPH).write_bytes(self.model)
        (folder / SETTINGS).write_text(json.dumps(written, ensure_ascii=False), encoding="utf-8")

    def export(self, folder: Path) -> ExportDescription:
        """Write graph and table, and check that rows as the server reads them are answered alike."""
        table, answers = self.task.table, self.task.answers
        (folder / GRAPH).write_bytes(self.model)
        (folder / TABLE).write_text(table.schema.model_dump_json(by_alias=True), encoding="utf-8")
        read = type(table.schema).model_validate_json((folder / TABLE).read_bytes())
        rows = table.rows.splits.validation.rows[:_CHECKED_ROWS]
        cells = np.array([read.read(table.item(row)) for row in rows], dtype=np.float32)
        ours = Session((folder / GRAPH).read_bytes()).run(cells)
        theirs = self._session.run(table.cells["validation"][: len(rows)])
        if not np.allclose(ours, theirs, rtol=1e-5, atol=1e-6, equal_nan=True):
            raise ExportError("rows read by the exported table are answered differently; please report this")
        return ExportDescription(
            labels=answers.labels, max_length=0, inputs=(INPUT,), settings=answers.told(self.decision)
        )
