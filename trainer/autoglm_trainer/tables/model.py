"""A table's trained model: the graph that answers, how its answers are read, and what it is worth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.numpy import save_file

from autoglm_api.tables import TABLE
from autoglm_trainer.contract import ExportDescription, Predictions, SplitName
from autoglm_trainer.contract import Table as TableSection
from autoglm_trainer.errors import ExportError
from autoglm_trainer.metrics import Floats, Ints, latency_p95_ms
from autoglm_trainer.predictions.scored import Decision

from .detection import described
from .graph import INPUT, Session
from .importance import ROWS, importances
from .settings import TableSettings

if TYPE_CHECKING:
    from .task import LoadedTable

GRAPH, SETTINGS, HELD_OUT = "model.onnx", "settings.json", "held_out.safetensors"
LATENCY = "latency_p95_ms"
CHECKED_ROWS = 256


@dataclass(frozen=True)
class HeldOutAnswers:
    """What was answered for training rows by models that have not seen them: `rows` (any,), `outputs` (any, …)."""

    rows: Ints
    outputs: Floats


@dataclass
class FittedTable:
    """Meets `contract.FittedModel`.

    Attributes:
        model: the graph.
        decision: how its outputs become answers.
        held_out: training rows that say what the point is worth, beside the validation rows; None on large tables.
    """

    task: LoadedTable
    settings: TableSettings
    model: bytes = field(repr=False)
    decision: Decision
    held_out: HeldOutAnswers | None

    @cached_property
    def _session(self) -> Session:
        return Session(self.model, threads=torch.get_num_threads())

    def evaluate(self, split: SplitName) -> Mapping[str, float]:
        """All metrics on `split`; on validation rows, and on training rows that are held out in turn."""
        self.task.check_split(split)
        truth, outputs = self.task.judged(self.held_out, self._outputs(split), split)
        judged = self.task.answers.predictions(truth, outputs, self.decision)
        return {**judged.measure(), LATENCY: self._latency(split)}

    def _outputs(self, split: str) -> Floats:
        return self._session.run(self.task.table.cells[split])

    def predict(self, split: SplitName) -> Predictions:
        """What the model says of each row."""
        self.task.check_split(split)
        return self.task.predictions(split, self._outputs(split), self.decision, self)

    def _latency(self, split: str) -> float:
        """95th percentile in milliseconds of one row, from its cells as words to the answer."""
        table, rows = self.task.table, self.task.table.rows.splits.by_name[split].rows

        def forward(row: int) -> None:
            cells = table.schema.read(table.item(rows[row]))
            self._session.run(np.array([cells], dtype=np.float32))

        return latency_p95_ms(forward, len(rows))

    def sections(self, split: str) -> list[TableSection]:
        """What the report shows of the model: which columns matter, what they were taken for, which rows judged it."""
        return [self._importances(split), self._columns(), *self._judges()]

    def _judges(self) -> list[TableSection]:
        if self.held_out is None:
            return []
        note = (
            "A trial's value is over both. Each of these training rows was answered by a model that had learned from"
            " others; the model itself has learned from all training rows."
        )
        counts = {"training": len(self.held_out.rows), "validation": self.task.row_counts["validation"]}
        return [TableSection("Which rows judged the trials", note, ("rows", "count"), tuple(counts.items()))]

    def _importances(self, split: str) -> TableSection:
        """Measured on the rows of a split."""
        task, table = self.task, self.task.table
        cells = table.cells[split]
        rows = np.arange(0, len(cells), -(-len(cells) // ROWS))
        metric = task.metric if task.metric != LATENCY else task.answers.declaration.shown[0]

        def value(changed: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
            truth = task.answers.truth[split][rows]
            return task.answers.predictions(truth, self._session.run(changed), self.decision).measure()[metric]

        better = task.answers.declaration.metrics[metric] == "Maximize"
        dropped = len(table.schema.dropped)
        return importances(table.schema, cells[rows], value, metric=metric, maximize=better, dropped=dropped)

    def _columns(self) -> TableSection:
        schema = self.task.table.schema
        kept = [(column.name, described(column)) for column in schema.columns]
        left_out = [(each.name, f"left out: {each.why}") for each in schema.dropped]
        note = "Told from the training rows; data.features and data.ignore choose otherwise."
        return TableSection("What the columns were taken for", note, ("column", "kind"), (*kept, *left_out))

    def save(self, folder: Path) -> None:
        """Write the graph, how it is read, and what it is judged by."""
        written = {
            "parameters": dict(self.settings.point),
            "classes": list(self.task.answers.labels),
            "columns": list(self.task.table.schema.parts),
            "decision": {"positive": self.decision.positive, "threshold": self.decision.threshold},
        }
        (folder / GRAPH).write_bytes(self.model)
        (folder / SETTINGS).write_text(json.dumps(written, ensure_ascii=False), encoding="utf-8")
        if self.held_out is not None:
            save_file({"rows": self.held_out.rows, "outputs": self.held_out.outputs}, folder / HELD_OUT)

    def export(self, folder: Path) -> ExportDescription:
        """Write graph and table, and check that rows as the server reads them are answered alike."""
        table, answers = self.task.table, self.task.answers
        (folder / GRAPH).write_bytes(self.model)
        (folder / TABLE).write_text(table.schema.model_dump_json(by_alias=True), encoding="utf-8")
        read = type(table.schema).model_validate_json((folder / TABLE).read_bytes())
        rows = table.rows.splits.validation.rows[:CHECKED_ROWS]
        cells = np.array([read.read(table.item(row)) for row in rows], dtype=np.float32)
        ours = Session((folder / GRAPH).read_bytes()).run(cells)
        theirs = self._session.run(table.cells["validation"][: len(rows)])
        if not np.allclose(ours, theirs, rtol=1e-5, atol=1e-6, equal_nan=True):
            raise ExportError("rows read by the exported table are answered differently; please report this")
        return ExportDescription(
            labels=answers.labels, max_length=0, inputs=(INPUT,), settings=answers.told(self.decision)
        )
