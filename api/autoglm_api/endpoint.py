"""`AutoGLMEndpoint`: serves the best model that the selected studies have found so far."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from .base import Model, Name
from .parts import ArtifactUri, LabelMap, PodOptions, Resources, SecretRef
from .study import Artifacts, Constraint

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]


class LabelSelector(Model):
    """Studies in the endpoint's namespace with all of these labels."""

    match_labels: LabelMap = Field(min_length=1, max_length=16)


class PinnedModel(Model):
    """One exact model; nothing is compared, nothing else is promoted."""

    uri: ArtifactUri
    digest: Digest


class Source(Model):
    """Where models come from: one study by name, studies by label, or a pinned model."""

    study: Name | None = None
    study_selector: LabelSelector | None = None
    model: PinnedModel | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Source:
        given = [name for name in ("study", "study_selector", "model") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of study, studySelector, model, got {len(given)}")
        return self


class Gate(Model):
    """What a candidate must show before it replaces the champion."""

    min_improvement: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    constraints: tuple[Constraint, ...] = Field(default=(), max_length=8)


class EndpointSpec(Model):
    """What the user writes under `spec`; `model_secret_ref` opens the endpoint that a forwarded model asks."""

    source: Source
    gate: Gate = Gate()
    replicas: Annotated[int, Field(ge=0, le=1_000)] = 1
    image: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    resources: Resources = Resources()
    service_account_name: Name | None = None
    pod: PodOptions = PodOptions()
    artifacts: Artifacts | None = None
    model_secret_ref: SecretRef | None = None
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
