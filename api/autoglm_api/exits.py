"""How workers end and why attempts end: a table of exit codes and one of causes, for operator and trainer alike."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from .base import Model

MESSAGE_BYTES = 1024
LOG_TAIL_BYTES = 4096
MAX_FREE_ATTEMPTS = 10


class ExitCode(IntEnum):
    """Exit codes of `autoglm-trainer` and `autoglm-serving` jobs."""

    NOTHING_LEFT = 0
    SPEC = 64
    DATA = 65
    STORAGE = 69
    OTHER = 70
    RELEASED = 75


class Cause(StrEnum):
    """Why an attempt ended without a result."""

    LOST = "Lost"
    CLAIM_LOST = "ClaimLost"
    RELEASED = "Released"
    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    OUT_OF_MEMORY = "OutOfMemory"
    CRASHED = "Crashed"
    TASK_ERROR = "TaskError"
    TIMEOUT = "Timeout"
    NON_FINITE = "NonFiniteMetric"
    SPEC = "SpecError"
    DATA = "DataError"
    STORAGE = "StorageError"
    STOPPED = "Stopped"
    INFEASIBLE = "Infeasible"

    @property
    def free(self) -> bool:
        """Not the trial's fault: retried without being counted, up to `MAX_FREE_ATTEMPTS`."""
        return self in _FREE

    @property
    def retryable(self) -> bool:
        """Whether another attempt may end differently."""
        return self.free or self in _PAID

    @property
    def ends_study(self) -> bool:
        """Whether every other trial would end the same way."""
        return self in (Cause.SPEC, Cause.DATA)


_FREE = frozenset({Cause.LOST, Cause.CLAIM_LOST, Cause.RELEASED, Cause.EVICTED, Cause.PREEMPTED, Cause.STORAGE})
_PAID = frozenset({Cause.OUT_OF_MEMORY, Cause.CRASHED, Cause.TASK_ERROR})


class Termination(Model):
    """What a worker writes to its termination message as it ends; at most 1 kB of message."""

    cause: Cause
    message: str
    trial: int | None = None
