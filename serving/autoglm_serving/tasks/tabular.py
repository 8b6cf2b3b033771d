"""`tabular-classification` and `tabular-regression`: a row as a JSON object, answered by a class or a number.

A key that is left out, or null, is a missing value. How cells become numbers is `autoglm_api.tables`, as in training;
everything after that is in the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from autoglm_api.manifest import Manifest
from autoglm_api.predict import TextPrediction
from autoglm_api.tables import TABLE, CellError, TableSchema
from autoglm_serving.encoder import GRAPH, load_session
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.requests import Refused, kind_of

ROW: dict[str, Any] = {
    "type": "object",
    "description": "a row: column → value; a column that is left out is a missing value",
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
_INPUT = "cells"


class RowReader:
    """Table and graph of a model: rows to numbers, numbers to outputs. Safe to call from several threads."""

    item: ClassVar[dict[str, Any]] = ROW

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int) -> None:
        """Load from a checked folder; see `Answerer`."""
        self.outputs = max(1, len(manifest.labels))
        self.schema = _load_table(folder / TABLE)
        self._known = frozenset(self.schema.names)
        self._session = load_session(folder / GRAPH, threads)
        (asked,) = self._session.get_inputs()
        if (asked.name, asked.shape[-1]) != (_INPUT, len(self.schema.parts)):
            raise UnusableModelError(
                f"{GRAPH} takes {asked.name} of {asked.shape[-1]}, {TABLE} has {len(self.schema.parts)} numbers a row"
            )

    def parse(self, item: object, where: str) -> list[float]:
        """A row as numbers."""
        if not isinstance(item, dict):
            raise Refused(422, "BadItem", f"{where} must be an object, column → value, got {kind_of(item)}")
        for name in item:
            if name not in self._known:
                near = get_close_matches(str(name), self.schema.names, 1)
                known = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self.schema.names[:20])}"
                raise Refused(422, "BadItem", f"{where}: the model knows no column {str(name)[:100]!r}; {known}")
        try:
            return self.schema.read(item)
        except CellError as error:
            raise Refused(422, "WrongType", f"{where}: {error}") from error

    def run(self, rows: Sequence[list[float]]) -> NDArray[np.float64]:
        """(rows, outputs).

        Raises:
            UnusableModelError: the graph fails, or answers with another shape or with no numbers.
        """
        cells = np.array(rows, dtype=np.float32)
        try:
            (answers,) = self._session.run(None, {_INPUT: cells})
        except Exception as error:
            raise UnusableModelError(f"{GRAPH} failed: {error}") from error
        if answers.shape != (len(rows), self.outputs) or not np.isfinite(answers).all():
            raise UnusableModelError(f"{GRAPH} answers {answers.shape} for {len(rows)} rows, or no finite numbers")
        return np.asarray(answers, dtype=np.float64)

    def samples(self) -> list[list[float]]:
        """A row of which nothing is known, twice."""
        return [self.schema.read({}), self.schema.read({})]


class RowClassifier(RowReader):
    """Of two classes the rarer is answered from the manifest's threshold on; of more the likeliest."""

    answer: ClassVar[dict[str, Any]] = TextPrediction.model_json_schema()

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int) -> None:
        """Load from a checked folder; see `Answerer`."""
        super().__init__(folder, manifest, threads=threads)
        self.labels = manifest.labels
        positive = manifest.settings.get("positive")
        if positive is not None and (positive not in self.labels or len(self.labels) != 2):
            raise UnusableModelError(f"the manifest's positive class {positive!r} is none of two classes")
        self._positive = None if positive is None else self.labels.index(str(positive))
        self._threshold = float(manifest.settings.get("threshold", 0.5))

    def predict(self, items: Sequence[list[float]]) -> list[dict[str, Any]]:
        """One prediction a row, in order."""
        return [self._prediction(row) for row in self.run(items)]

    def _prediction(self, probabilities: NDArray[np.float64]) -> dict[str, Any]:
        scores = {label: float(score) for label, score in zip(self.labels, probabilities, strict=True)}
        best = int(probabilities.argmax())
        if self._positive is not None:
            chosen = probabilities[self._positive] >= self._threshold
            best = self._positive if chosen else 1 - self._positive
        return TextPrediction(label=self.labels[best], score=float(probabilities[best]), scores=scores).model_dump()


class RowEstimator(RowReader):
    """Answers the number."""

    answer: ClassVar[dict[str, Any]] = {
        "type": "object",
        "required": ["value"],
        "properties": {"value": {"type": "number", "description": "in the unit of the training rows"}},
    }

    def predict(self, items: Sequence[list[float]]) -> list[dict[str, Any]]:
        """One number a row, in order."""
        return [{"value": float(row[0])} for row in self.run(items)]


def _load_table(path: Path) -> TableSchema:
    try:
        return TableSchema.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UnusableModelError(f"the model has no {TABLE}") from error
    except ValidationError as error:
        raise UnusableModelError(f"{TABLE} cannot be read: {error.errors(include_url=False)[0]['msg']}") from error
