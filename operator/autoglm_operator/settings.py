"""The installation's settings, read once from `AUTOGLM_OPERATOR_*`; docs/reference/settings.md documents each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from autoglm_api.names import ARTIFACTS_CLAIM
from autoglm_api.parts import ArtifactUri

PREFIX = "AUTOGLM_OPERATOR_"


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
Optional = BeforeValidator(_none_if_empty)


class Settings(BaseModel):
    """Every setting is the field's name in capitals behind `AUTOGLM_OPERATOR_`; lists are separated by commas."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # What is watched
    namespaces: Words = ()
    reconcilers: Annotated[int, Field(ge=1, le=256)] = 16
    # Storage
    database_url: Annotated[str | None, Optional] = None
    storage_threads: Annotated[int, Field(ge=1, le=64)] = 8
    storage_timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
    trials_max_age_seconds: Annotated[float, Field(ge=0)] = 1.0
    # Pods
    trainer_image: str = "autoglm-trainer:0.1.0"
    serving_image: str = "autoglm-serving:0.1.0"
    serving_generation_image: str = "autoglm-serving-generation:0.1.0"
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: Words = ()
    pod_fs_group: Annotated[int | None, Optional] = 65532
    pod_http_proxy: str = ""
    pod_https_proxy: str = ""
    pod_no_proxy: str = ""
    # Sources and artifacts
    allowed_sources: Words = ("hf://", "s3://", "gs://", "pvc://", "package://", "https://")
    artifacts_uri: ArtifactUri = f"pvc://{ARTIFACTS_CLAIM}"
    artifacts_secret: Annotated[str | None, Optional] = None
    artifacts_claim_size: str = "20Gi"
    artifacts_claim_class: Annotated[str | None, Optional] = None
    artifacts_claim_access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] = "ReadWriteOnce"
    # Pace
    poll_seconds: Annotated[float, Field(gt=0)] = 5.0
    status_interval_seconds: Annotated[float, Field(ge=0)] = 5.0
    # Longer than a stopped worker can hold another one's signature up: the database ends idle transactions after 30 s.
    claim_grace_seconds: Annotated[float, Field(ge=40)] = 60.0
    unschedulable_grace_seconds: Annotated[float, Field(ge=0)] = 30.0
    slot_backoff_seconds: Annotated[float, Field(gt=0)] = 10.0
    slot_backoff_limit_seconds: Annotated[float, Field(gt=0)] = 300.0
    cleanup_timeout_seconds: Annotated[float, Field(gt=0)] = 600.0
    promotion_timeout_seconds: Annotated[float, Field(gt=0)] = 600.0
    kube_timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
    # The process itself
    http_host: str = "0.0.0.0"  # noqa: S104 - probes and Prometheus come from other addresses
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Read the environment.

        Raises:
            SettingsError: a variable is unknown or has a value that is not allowed; the sentence names it.
        """
        given = {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SettingsError(
                "; ".join(_sentence(detail["loc"], detail["msg"]) for detail in error.errors())
            ) from None


class SettingsError(ValueError):
    """The environment cannot be used; the message is for the person who installs."""


def _sentence(location: tuple[int | str, ...], problem: str) -> str:
    name = PREFIX + str(location[0]).upper()
    if problem.startswith("Extra inputs"):
        return f"{name} is not a setting; see docs/reference/settings.md"
    return f"{name}: {problem}"
