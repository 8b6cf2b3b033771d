"""All that a plan may ask for, as values: a closed union. Only `apply.py` and `trials.py` carry them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoglm_api.attempts import Fatal, Limits
from autoglm_api.exits import Cause
from autoglm_api.run import Run
from autoglm_api.study import StudySpec

from .kube import Object, Resource

EventType = Literal["Normal", "Warning"]


@dataclass(frozen=True)
class Create:
    """POST an object. That it exists already and is owned by the same owner counts as done."""

    resource: Resource
    body: Object


@dataclass(frozen=True)
class Apply:
    """Server-side apply of an object that is ours."""

    resource: Resource
    body: Object


@dataclass(frozen=True)
class Patch:
    """Merge patch of one object."""

    resource: Resource
    namespace: str
    name: str
    body: Object


@dataclass(frozen=True)
class Delete:
    """Delete exactly the object with this UID, and what it owns; already gone counts as done."""

    resource: Resource
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class WriteStatus:
    """Server-side apply of a whole status."""

    resource: Resource
    namespace: str
    name: str
    status: Object


@dataclass(frozen=True)
class EmitEvent:
    """A Kubernetes Event about an object, for people; dropped when it was said a moment ago."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    type: EventType
    reason: str
    message: str


KubeAction = Create | Apply | Patch | Delete | WriteStatus | EmitEvent
"""Actions on the API server alone; all that an endpoint needs."""


@dataclass(frozen=True)
class StudyRef:
    """Where a study's trials are: the Secret that holds the URL, and the name in Optuna."""

    namespace: str
    secret: str
    key: str
    study: str


@dataclass(frozen=True)
class ProvisionDatabase:
    """Make the namespace's Secret, role and database; complete whatever of it exists."""

    namespace: str


@dataclass(frozen=True)
class CreateStudy:
    """Create schema, study and enqueued trials; `spec` is kept with the run."""

    ref: StudyRef
    run: Run
    limits: Limits
    spec: StudySpec


@dataclass(frozen=True)
class WriteLimits:
    """Tell the workers the limits as they are now."""

    ref: StudyRef
    limits: Limits


@dataclass(frozen=True)
class WriteFatal:
    """Record the error that every trial would meet."""

    ref: StudyRef
    fatal: Fatal


@dataclass(frozen=True)
class FailAttempt:
    """Record why a RUNNING attempt is over, then tell FAIL (PRUNED and infeasible when `infeasible`)."""

    ref: StudyRef
    trial: int
    cause: Cause
    message: str
    infeasible: bool = False


@dataclass(frozen=True)
class VoidAttempt:
    """A claim that its claimer never filled: it counts nowhere."""

    ref: StudyRef
    trial: int


@dataclass(frozen=True)
class CreateRetry:
    """One new WAITING attempt for the failed attempt `trial`."""

    ref: StudyRef
    trial: int


@dataclass(frozen=True)
class RefillGrid:
    """Enqueue the next points of a grid."""

    ref: StudyRef
    run: Run
    limits: Limits


@dataclass(frozen=True)
class DeleteTrials:
    """Delete the study and all its trials from the database."""

    ref: StudyRef


StoreAction = (
    ProvisionDatabase
    | CreateStudy
    | WriteLimits
    | WriteFatal
    | FailAttempt
    | VoidAttempt
    | CreateRetry
    | RefillGrid
    | DeleteTrials
)
"""Actions on the database."""

Action = KubeAction | StoreAction
