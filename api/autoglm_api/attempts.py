"""What stands in Optuna's user attributes: names, and models of their values. Workers and operator meet only here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import model_validator

from .base import Model
from .manifest import DataDigests


class TrialAttribute(StrEnum):
    """User attributes of one attempt (one Optuna trial)."""

    OWNER = "autoglm:owner"
    VOID = "autoglm:void"
    ORIGIN = "autoglm:origin"
    RETRY_OF = "autoglm:retry_of"
    ATTEMPT = "autoglm:attempt"
    CHECKPOINT = "autoglm:checkpoint"
    ENQUEUED = "autoglm:enqueued"
    IMPORTED = "autoglm:imported"
    CAUSE = "autoglm:cause"
    MESSAGE = "autoglm:message"
    LOG = "autoglm:log"
    INFEASIBLE = "autoglm:infeasible"
    DUPLICATE_OF = "autoglm:duplicate_of"
    METRICS = "autoglm:metrics"
    WEIGHTS = "autoglm:weights"
    SIZES = "autoglm:sizes"
    MEMORY = "autoglm:memory"
    DERIVED = "autoglm:derived"
    SECONDS = "autoglm:seconds"
    CPU_SECONDS = "autoglm:cpu_seconds"
    GPUS = "autoglm:gpus"


class StudyAttribute(StrEnum):
    """User attributes of the Optuna study."""

    RUN = "autoglm:run"
    LIMITS = "autoglm:limits"
    EXPORT = "autoglm:export"
    EXHAUSTED = "autoglm:exhausted"
    FATAL = "autoglm:fatal"
    WARM_START = "autoglm:warm_start"
    SURROUNDINGS = "autoglm:surroundings"


class Owner(Model):
    """Who trains an attempt: a pod, or locally a process; `name` and `identity` together are never used twice.

    In a cluster `identity` is the pod's UID; locally it is `<pid>@<start time>`. `surroundings` is the key of the
    `Surroundings` that the study keeps.
    """

    name: str
    identity: str
    surroundings: str | None = None


class Surroundings(Model):
    """What a result depends on besides parameters and seed: the rows as read, the libraries, and the device."""

    data: DataDigests
    versions: dict[str, str]
    device: str
    threads: int

    @property
    def key(self) -> str:
        """Equal for equal surroundings; many workers share one."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


class Limits(Model):
    """What may change while a study runs; written by the operator (locally the supervisor) alone.

    Goals cannot change and stand in the run; limits that were stored with one are read without it.
    """

    max: int
    max_failed: int
    retries: int
    deadline: datetime | None = None
    stop: bool = False
    generation: int = 0

    @model_validator(mode="before")
    @classmethod
    def _without_goal(cls, stored: Any) -> Any:
        if isinstance(stored, Mapping) and "goal" in stored:
            return {name: value for name, value in stored.items() if name != "goal"}
        return stored


class Checkpoint(Model):
    """The last saved state of an attempt: a folder below the run's artifact prefix, and the step it was saved after."""

    path: str
    step: int


class Export(Model):
    """Result of the export job; `trial` is the number of its first attempt, by which people know it.

    `trained_on`: as in the manifest, the splits where they are not the training rows alone.
    """

    uri: str
    digest: str
    trial: int
    metrics: dict[str, float]
    test_digest: str | None = None
    trained_on: tuple[str, ...] | None = None


class Fatal(Model):
    """An error that every trial would meet; the study ends with it."""

    cause: str
    message: str
