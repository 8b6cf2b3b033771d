"""Conditions and their reasons. A table in the docs turns each state into kstatus and Argo CD health."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import StringConstraints

from .base import Model

MESSAGE_LIMIT = 1024


class ConditionType(StrEnum):
    """Types; all but READY, STORAGE_READY and COMPLETE are present only while True."""

    READY = "Ready"
    STORAGE_READY = "StorageReady"
    COMPLETE = "Complete"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    QUEUED = "Queued"
    SUSPENDED = "Suspended"
    FAILED = "Failed"
    ROLLED_BACK = "RolledBack"


ALWAYS_PRESENT = frozenset({ConditionType.READY, ConditionType.STORAGE_READY, ConditionType.COMPLETE})


class Reason(StrEnum):
    """Why a condition is what it is: one word for machines, beside a sentence for people."""

    # Ready, studies
    ACCEPTED = "Accepted"
    RUNNING = "Running"
    QUEUED = "Queued"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    INVALID_SPEC = "InvalidSpec"
    SPEC_CHANGED = "SpecChanged"
    DELETING = "Deleting"
    # StorageReady
    CONNECTED = "Connected"
    UNREACHABLE = "Unreachable"
    SCHEMA_MISMATCH = "SchemaMismatch"
    SECRET_NOT_FOUND = "SecretNotFound"
    PROVISIONING = "Provisioning"
    # Complete
    SEARCHING = "Searching"
    EXPORTING = "Exporting"
    MAX_TRIALS = "MaxTrialsReached"
    GOAL_REACHED = "GoalReached"
    DEADLINE = "DeadlineReached"
    SPACE_EXHAUSTED = "SpaceExhausted"
    # Stalled, Failed
    SOURCE_NOT_FOUND = "SourceStudyNotFound"
    POD_REJECTED = "PodRejected"
    IMAGE_PULL = "ImagePull"
    CANNOT_START = "CannotStart"
    UNSCHEDULABLE = "Unschedulable"
    WORKERS_FAILING = "WorkersFailing"
    STORAGE_LOST = "StorageLost"
    TOO_MANY_FAILED = "MaxFailedExceeded"
    SPEC_ERROR = "SpecError"
    DATA_ERROR = "DataError"
    NO_FEASIBLE_TRIAL = "NoFeasibleTrial"
    EXPORT_FAILED = "ExportFailed"
    # endpoints
    SERVING = "Serving"
    NO_CANDIDATE = "NoCandidate"
    PROMOTING = "Promoting"
    COPYING = "Copying"
    ROLLING_OUT = "RollingOut"
    NOT_COMPARABLE = "NotComparable"
    GATE_REFUSED = "GateRefused"
    COPY_FAILED = "CopyFailed"
    NOT_READY = "NotReady"
    NAME_TAKEN = "NameTaken"


class Condition(Model):
    """`metav1.Condition`."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    message: Annotated[str, StringConstraints(max_length=32_768)] = ""
    observed_generation: int | None = None
    last_transition_time: datetime


def condition(
    type_: ConditionType,
    status: bool | None,
    reason: Reason,
    message: str,
    *,
    generation: int,
    now: datetime,
) -> Condition:
    """A condition; `status` None = Unknown, `message` is cut at 1 kB."""
    word: Literal["True", "False", "Unknown"] = "Unknown" if status is None else "True" if status else "False"
    return Condition(
        type=type_,
        status=word,
        reason=reason,
        message=message[:MESSAGE_LIMIT],
        observed_generation=generation,
        last_transition_time=now.replace(microsecond=0),
    )


def merge_conditions(old: Iterable[Condition], new: Iterable[Condition]) -> tuple[Condition, ...]:
    """`new`, with the old transition time where `status` did not change.

    Passing types (all but Ready, StorageReady, Complete) are left out while they are not True.
    """
    before = {known.type: known for known in old}
    merged = []
    for fresh in new:
        if fresh.status != "True" and fresh.type not in ALWAYS_PRESENT:
            continue
        known = before.get(fresh.type)
        if known is not None and known.status == fresh.status:
            fresh = fresh.model_copy(update={"last_transition_time": known.last_transition_time})
        merged.append(fresh)
    return tuple(merged)
