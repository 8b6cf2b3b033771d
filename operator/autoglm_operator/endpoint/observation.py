"""All that an endpoint's plan may know, as frozen values. `observe.py` fills them in; the plan reads nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from autoglm_api.base import Model
from autoglm_api.endpoint import EndpointSpec
from autoglm_api.status import EndpointStatus, ServedModel


class Record(Model):
    """What a Deployment remembers of its model, so that neither a lost status nor a deleted study matters.

    Attributes:
        model: facts of the model; `uri` is the endpoint's own copy.
        secret: the Secret that opens `model.uri`.
    """

    model: ServedModel
    secret: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A study that offers a model, or a pinned model.

    Attributes:
        model: facts of the model; `uri` is where the study exported it to.
        metrics: what the gate's constraints are held against.
        secret: the Secret that opens `model.uri`.
        completed: when the study ended; None = pinned.
    """

    model: ServedModel
    metrics: dict[str, float]
    secret: str | None = None
    completed: datetime | None = None


@dataclass(frozen=True)
class Server:
    """A Deployment of this endpoint.

    Attributes:
        digest: of its model, in full.
        manifest_hash: of the manifest that was applied last.
        replicas: as its spec says.
        ready: replicas that are up to date and ready, as far as its controller has seen the present spec.
        available: replicas that answer now, of whatever template.
        champion, previous, candidate: since when it is in that place.
        trouble: why its pods are not ready, if they say so.
        hopeless: a server has said more than once that it cannot run this model.
    """

    name: str
    uid: str
    digest: str
    record: Record
    manifest_hash: str = ""
    replicas: int = 0
    ready: int = 0
    available: int = 0
    champion: datetime | None = None
    previous: datetime | None = None
    candidate: datetime | None = None
    deleted: bool = False
    trouble: str | None = None
    hopeless: bool = False


class JobState(StrEnum):
    """A Job is active until its controller says Complete or Failed."""

    ACTIVE = "Active"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True)
class EndpointJob:
    """A copy or cleanup Job of this endpoint; `digest` is a prefix of the model's digest without `sha256:`."""

    name: str
    uid: str
    component: str
    digest: str
    state: JobState
    created: datetime
    finished: datetime | None = None
    deleted: bool = False
    trouble: str | None = None


@dataclass(frozen=True)
class SeenService:
    """The Service under the endpoint's name.

    Attributes:
        ours: it belongs to this endpoint.
        digest: prefix of the digest that it selects, without `sha256:`; None = it selects something else.
        manifest_hash: of the manifest that was applied last.
    """

    uid: str
    ours: bool
    digest: str | None
    manifest_hash: str = ""


@dataclass(frozen=True)
class Endpoint:
    """The live object, parsed; `spec` is None when `invalid` says what is wrong with it.

    Attributes:
        rejected: digests that are not tried again, oldest first.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    finalizers: tuple[str, ...] = ()
    deleted: datetime | None = None
    spec: EndpointSpec | None = None
    invalid: str | None = None
    status: EndpointStatus = field(default_factory=EndpointStatus)
    rejected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observation:
    """The world of one endpoint at one moment.

    Attributes:
        candidates: what the source offers now; never the choice itself.
        has_claim: the namespace has the installation's artifact claim; None = not asked, because it is not needed.
        doomed: why cleaning up cannot work (namespace terminating, Secret gone); None = it can.
    """

    endpoint: Endpoint
    candidates: tuple[Candidate, ...] = ()
    servers: tuple[Server, ...] = ()
    jobs: tuple[EndpointJob, ...] = ()
    service: SeenService | None = None
    has_claim: bool | None = None
    doomed: str | None = None

    def server(self, digest: str) -> Server | None:
        """The Deployment of a model, unless it is on its way out."""
        return next((server for server in self.servers if server.digest == digest and not server.deleted), None)
