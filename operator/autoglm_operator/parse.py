"""From the API server's dicts to the values of `observation.py`; missing fields mean what Kubernetes means by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from autoglm_api.names import LABEL_COMPONENT, LABEL_SLOT
from autoglm_api.status import StudyStatus

from .kube import Object
from .observation import Job, JobState, Pod, Study, Termination
from .planning.door import admit
from .settings import Settings


def parse_study(body: Object, settings: Settings) -> Study:
    """A study as the planner sees it; a spec that cannot be used becomes `invalid`."""
    metadata = body["metadata"]
    spec, invalid = admit(body.get("spec") or {}, settings)
    return Study(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        resource_version=metadata.get("resourceVersion", ""),
        finalizers=tuple(metadata.get("finalizers", ())),
        deleted=_time(metadata.get("deletionTimestamp")),
        spec=spec,
        invalid=invalid,
        status=_status(body.get("status") or {}),
    )


def _status(status: Object) -> StudyStatus:
    try:
        return StudyStatus.model_validate(status)
    except ValidationError:
        # Only we write it, so it is another version's; everything in it is rebuilt from the database.
        return StudyStatus()


def parse_job(body: Object) -> Job:
    """A Job of ours."""
    metadata, status = body["metadata"], body.get("status") or {}
    labels = metadata.get("labels") or {}
    ended = {entry["type"]: entry for entry in status.get("conditions") or () if entry.get("status") == "True"}
    state = JobState.COMPLETE if "Complete" in ended else JobState.FAILED if "Failed" in ended else JobState.ACTIVE
    last = ended.get("Complete") or ended.get("Failed") or {}
    slot = labels.get(LABEL_SLOT)
    number = metadata["name"].rpartition("-")[2]
    return Job(
        name=metadata["name"],
        uid=metadata["uid"],
        component=labels.get(LABEL_COMPONENT, ""),
        state=state,
        created=_time(metadata.get("creationTimestamp")) or datetime.now(UTC),
        slot=int(slot) if slot is not None else None,
        number=int(number) if number.isdigit() else 0,
        held=bool((body.get("spec") or {}).get("suspend", False)),
        deleted=_time(metadata.get("deletionTimestamp")),
        finished=_time(status.get("completionTime") or last.get("lastTransitionTime")),
    )


def parse_pod(body: Object) -> Pod:
    """A pod of ours."""
    metadata, status = body["metadata"], body.get("status") or {}
    containers = status.get("containerStatuses") or [{}]
    conditions = {entry["type"]: entry for entry in status.get("conditions") or ()}
    owner: Object = next((owner for owner in metadata.get("ownerReferences", ()) if owner.get("controller")), {})
    disruption = conditions.get("DisruptionTarget", {})
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        phase=status.get("phase", "Pending"),
        created=_time(metadata.get("creationTimestamp")) or datetime.now(UTC),
        job_uid=owner.get("uid"),
        deleted=_time(metadata.get("deletionTimestamp")),
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        disruption=disruption.get("reason", "") if disruption.get("status") == "True" else "",
        waiting=_waiting(containers[0]),
        unschedulable=_unschedulable(conditions.get("PodScheduled", {})),
        termination=_termination(containers[0]),
        secrets=tuple(_secrets((body.get("spec") or {}).get("volumes") or ())),
    )


def _secrets(volumes: Iterable[Object]) -> Iterator[str]:
    for volume in volumes:
        if "secret" in volume and not volume["secret"].get("optional"):
            yield volume["secret"]["secretName"]


def _waiting(container: Object) -> tuple[str, str] | None:
    waiting = (container.get("state") or {}).get("waiting")
    return (waiting.get("reason") or "", waiting.get("message") or "") if waiting else None


def _unschedulable(condition: Object) -> str | None:
    refused = condition.get("status") == "False" and condition.get("reason") == "Unschedulable"
    return condition.get("message") or "no reason given" if refused else None


def _termination(container: Object) -> Termination | None:
    ended = (container.get("state") or {}).get("terminated")
    if not ended:
        return None
    return Termination(ended.get("exitCode", 0), ended.get("reason") or "", ended.get("message") or "")


def _time(stamp: Any) -> datetime | None:
    return datetime.fromisoformat(stamp) if isinstance(stamp, str) else None
