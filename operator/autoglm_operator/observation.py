"""All that a plan may know, as frozen values. `observe.py` fills them in; the planner reads nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from autoglm_api.attempts import Export, Fatal, Limits, Owner
from autoglm_api.conditions import Reason
from autoglm_api.run import Run
from autoglm_api.status import BestTrial, StudyStatus, TrialCounts
from autoglm_api.study import StudySpec

# Images that are there, volumes and network take seconds.
MOUNTING_GRACE = timedelta(seconds=20)


class JobState(StrEnum):
    """A Job is active until its controller says Complete or Failed."""

    ACTIVE = "Active"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True)
class Job:
    """One of a study's Jobs.

    Attributes:
        slot: worker slot; None for export and cleanup.
        number: the last part of its name, counted up at each replacement; 0 where the name has none.
        held: its `spec.suspend` is set: a queueing system has not admitted it.
        deleted: when its deletion was asked for.
    """

    name: str
    uid: str
    component: str
    state: JobState
    created: datetime
    slot: int | None = None
    number: int = 0
    held: bool = False
    deleted: datetime | None = None
    finished: datetime | None = None


def next_number(jobs: Iterable[Job]) -> int:
    """The number of the next Job of its kind: not their count, for one deleted by hand would make two names alike."""
    return max((job.number for job in jobs), default=-1) + 1


@dataclass(frozen=True)
class Termination:
    """How the container ended: exit code, Kubernetes' own reason (`OOMKilled`, `Error`), and its last message."""

    exit_code: int
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Pod:
    """One pod of a study.

    Attributes:
        phase: Pending, Running, Succeeded, Failed, Unknown.
        job_uid: the Job that controls it.
        reason, message: the pod's own, as with Evicted.
        disruption: reason of a true `DisruptionTarget` condition.
        waiting: reason and message of a container that cannot start.
        unschedulable: the scheduler's sentence.
        secrets: names of the Secrets that it mounts.
    """

    name: str
    uid: str
    phase: str
    created: datetime
    job_uid: str | None = None
    deleted: datetime | None = None
    reason: str = ""
    message: str = ""
    disruption: str = ""
    waiting: tuple[str, str] | None = None
    unschedulable: str | None = None
    termination: Termination | None = None
    secrets: tuple[str, ...] = ()

    def is_held_up(self, now: datetime) -> bool:
        """Whether it has a node, and should have started by now; what its containers wait for, only Events tell."""
        starting = self.waiting is None or self.waiting[0] in ("", "ContainerCreating", "PodInitializing")
        placed = self.phase == "Pending" and self.unschedulable is None and self.deleted is None
        return placed and starting and now - self.created >= MOUNTING_GRACE


@dataclass(frozen=True)
class Attempt:
    """A RUNNING attempt.

    Attributes:
        claims_before: attempts that the same owner had claimed earlier.
        exhausted_memory: an earlier attempt of the same logical trial ran out of memory.
        fixed: it was claimed with fixed parameters (a retry, an enqueued point).
        empty: no parameter is recorded yet.
    """

    number: int
    first_seen: datetime
    owner: Owner | None = None
    claims_before: int = 0
    exhausted_memory: bool = False
    fixed: bool = False
    empty: bool = True


@dataclass(frozen=True)
class Trials:
    """The study's trials as counters; never all of them.

    Attributes:
        top: the best ten, the one that becomes the model first.
        front: of the Pareto front, some of its members.
        due: failed attempts that need a retry, and have none.
        finished_by: attempts that finished, by their owner's identity.
        last_failure: the newest trial that finally failed, and why, in a sentence.
    """

    counts: TrialCounts = field(default_factory=TrialCounts)
    top: tuple[BestTrial, ...] = ()
    front: tuple[BestTrial, ...] = ()
    running: tuple[Attempt, ...] = ()
    due: tuple[int, ...] = ()
    finished_by: Mapping[str, int] = field(default_factory=dict)
    last_failure: str | None = None
    gpu_seconds_used: float = 0.0
    gpu_seconds_wasted: float = 0.0

    @property
    def best(self) -> BestTrial | None:
        """The best feasible finished trial."""
        return self.top[0] if self.top else None


@dataclass(frozen=True)
class StoredStudy:
    """What the database holds of a study; `spec` is the one it was accepted with."""

    run: Run
    limits: Limits
    spec: StudySpec
    trials: Trials = Trials()
    export: Export | None = None
    fatal: Fatal | None = None
    exhausted: bool = False
    warm_start: str | None = None


@dataclass(frozen=True)
class Storage:
    """Whether the database can be used.

    Attributes:
        reason: CONNECTED, or why not.
        missing: the namespace's database (Secret, role or database) has to be made first.
        retry_seconds: when the circuit breaker lets the next call through.
    """

    reason: Reason
    message: str
    missing: bool = False
    retry_seconds: float | None = None

    @property
    def connected(self) -> bool:
        """Whether trials can be read and written."""
        return self.reason is Reason.CONNECTED


@dataclass(frozen=True)
class Study:
    """The live object, parsed; `spec` is None when `invalid` says what is wrong with it."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    finalizers: tuple[str, ...] = ()
    deleted: datetime | None = None
    spec: StudySpec | None = None
    invalid: str | None = None
    status: StudyStatus = field(default_factory=StudyStatus)


@dataclass(frozen=True)
class Rejection:
    """The API server refused to create something: what, in its words; when; how often in a row."""

    message: str
    at: datetime
    times: int


@dataclass(frozen=True)
class Observation:
    """The world of one study at one moment.

    Attributes:
        stored: None when storage cannot be read or the study is not in it yet.
        owners: pods that own RUNNING attempts, by owner identity, read directly from the API server where the
            cache does not show them alive; None = there is no such pod.
        has_claim: the namespace has the artifact claim; None = not asked, because it is not needed.
        lost_secret: the Secret that keeps a pod from starting, because it does not exist.
        lost_source: a study of `warmStart.fromStudies` was not found.
        doomed: why cleaning up cannot work (namespace terminating, Secret gone); None = it can.
        status_written: when we last wrote the status.
    """

    study: Study
    storage: Storage
    stored: StoredStudy | None = None
    jobs: tuple[Job, ...] = ()
    pods: tuple[Pod, ...] = ()
    owners: Mapping[str, Pod | None] = field(default_factory=dict)
    has_claim: bool | None = None
    lost_secret: str | None = None
    doomed: str | None = None
    rejection: Rejection | None = None
    lost_source: Rejection | None = None
    status_written: datetime | None = None

    def pod_of(self, job: Job) -> Pod | None:
        """The newest pod of a Job."""
        return max((pod for pod in self.pods if pod.job_uid == job.uid), key=lambda pod: pod.created, default=None)

    def jobs_of(self, component: str) -> tuple[Job, ...]:
        """The Jobs of one component, oldest first."""
        return tuple(sorted((job for job in self.jobs if job.component == component), key=lambda job: job.created))
