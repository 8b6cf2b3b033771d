"""`manifest.json`: what makes a folder a model. Written last; a folder without it is half an upload."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from .base import Model, Scalar

MANIFEST = "manifest.json"
FORMAT = 1


class ModelFile(Model):
    """One file of the model, relative to the manifest; never absolute, never upwards."""

    path: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", max_length=512)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=0)]

    @field_validator("path")
    @classmethod
    def _stays_below(cls, path: str) -> str:
        if {".", ".."} & set(path.split("/")):
            raise ValueError(f"a file's path must stay below the manifest, got {path!r}")
        return path


class Provenance(Model):
    """Where the model came from."""

    namespace: str
    study: str
    study_uid: str
    trial: int
    base_model: str | None = None
    revision: str | None = None


class DataDigests(Model):
    """sha256 over the rows as read, by split; comparable between studies that read the same rows."""

    train: str
    validation: str
    test: str | None = None


class Manifest(Model):
    """A complete model.

    Attributes:
        inputs: names of the ONNX graph's inputs, in order; empty where a model is no graph.
        max_length: tokens per text; longer texts are truncated exactly as in training, or refused (text generation).
        labels: class names, by the index of the model's output; empty where there are none.
        settings: what the server must know besides, by the task's own names (windows, thresholds).
        validation: the winning trial's metrics on the validation rows. test: the model's on the test rows.
        trained_on: the splits that the model has learned from, where they are not the training rows alone.
    """

    format: int = FORMAT
    task: str
    created: datetime
    files: tuple[ModelFile, ...]
    labels: tuple[str, ...]
    max_length: int
    inputs: tuple[str, ...]
    settings: dict[str, Scalar] = Field(default_factory=dict)
    metric: str
    direction: str
    parameters: dict[str, Scalar]
    validation: dict[str, float]
    test: dict[str, float] | None = None
    trained_on: tuple[str, ...] | None = None
    seed: int
    versions: dict[str, str]
    data: DataDigests
    provenance: Provenance


def digest(manifest_bytes: bytes) -> str:
    """The model's name for ever: `sha256:` of the manifest file's bytes (which hold the digests of all others)."""
    return f"sha256:{hashlib.sha256(manifest_bytes).hexdigest()}"
