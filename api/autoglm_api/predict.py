"""The prediction request and answer of the model server."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, JsonValue, StringConstraints

MAX_ITEMS = 512
MAX_CHARACTERS = 100_000

# The JSON schema of one text, as tasks that read texts document it.
TEXT: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS}


class PredictRequest(BaseModel):
    """`{"model_name", "task_type", "data"}`: one item, or a list of up to 512; the two names are optional checks."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model_name: Annotated[str, StringConstraints(max_length=253)] | None = None
    task_type: Annotated[str, StringConstraints(max_length=63)] | None = None
    data: JsonValue


class TextPrediction(BaseModel):
    """The winning label of one text, its probability, and the probability of every label."""

    model_config = ConfigDict(frozen=True)

    label: str
    score: float
    scores: dict[str, float]


class SeveralLabels(BaseModel):
    """Every label that one text has, in the model's order, and the probability of each label there is."""

    model_config = ConfigDict(frozen=True)

    labels: list[str]
    scores: dict[str, float]


class PredictResponse(BaseModel):
    """`predictions` in the order of `data`, always a list; what one looks like is the task's own."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_name: str
    task_type: str
    digest: str
    predictions: list[dict[str, JsonValue]]
