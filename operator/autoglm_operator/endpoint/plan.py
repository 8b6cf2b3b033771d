"""From what was seen of an endpoint to what is to be done. Pure.

Traffic is where the Service points: it is moved only to a model all of whose servers are ready, and before anything
else changes. What the roles of the others are follows from there, so a pass that was cut off is taken up by the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from autoglm_api.endpoint import EndpointSpec
from autoglm_api.names import (
    ANNOTATION_CANDIDATE,
    ANNOTATION_CHAMPION,
    ANNOTATION_MANIFEST,
    ANNOTATION_PREVIOUS,
    ANNOTATION_REJECTED,
    ARTIFACTS_CLAIM,
    FINALIZER,
    Component,
    endpoint_service_name,
)
from autoglm_api.status import ServedModel
from autoglm_operator.actions import Apply, Create, Delete, EmitEvent, EventType, KubeAction, Patch
from autoglm_operator.kube import CLAIMS, DEPLOYMENTS, ENDPOINTS, JOBS, SERVICES, Object
from autoglm_operator.manifests.claim import artifacts_claim
from autoglm_operator.settings import Settings

from .manifests import (
    artifacts_prefix,
    collect_job,
    copy_job,
    server_deployment,
    server_service,
    short_digest,
)
from .observation import Endpoint, JobState, Observation
from .roles import Findings, Promotion, Serving, Stage, collection_of, copy_of, find

REJECTED_KEPT = 10
# Servers that lost the traffic stay this long: the cluster's proxies learn of the new ones at their own pace.
SETTLE = timedelta(seconds=10)
# Pods that wait for a Secret say nothing, and change nothing that is watched.
LOOK_CLOSER = timedelta(seconds=30)


class Outcome(StrEnum):
    """What is counted of promotions."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True)
class Plan:
    """What to do now, what to count, and when to look again at the latest (None = only when something changes)."""

    actions: tuple[KubeAction, ...] = ()
    findings: Findings = field(default_factory=Findings)
    outcome: Outcome | None = None
    requeue_seconds: float | None = None


def plan(seen: Observation, *, settings: Settings, now: datetime) -> Plan:
    """The next step of a live endpoint with a valid spec."""
    endpoint, spec = seen.endpoint, seen.endpoint.spec
    assert spec is not None, "an invalid endpoint has no plan"
    if seen.service is not None and not seen.service.ours:
        name = endpoint_service_name(endpoint.name)
        taken = f"a Service {name} exists that is not this endpoint's; delete or rename one of them"
        return Plan(findings=Findings(taken_name=taken))
    found = find(seen, spec, settings, now)
    outcome: Outcome | None = None
    events: list[tuple[EventType, str, str]] = []
    promotion = found.promotion
    if promotion is not None and promotion.stage is Stage.READY:
        found, outcome = _switched(found, promotion, now), Outcome.PROMOTED
        events.append(("Normal", "Promoted", f"{said(promotion.place.record.model)} serves now"))
    elif promotion is not None and promotion.stage is Stage.NEVER_READY:
        found, outcome = _rejected(found, promotion), Outcome.ROLLED_BACK
        events.append(("Warning", "RolledBack", never_ready(promotion.candidate.model, promotion.trouble, settings)))
    elif promotion is not None and promotion.stage is Stage.COPY_FAILED:
        events.append(("Warning", "CopyFailed", promotion.trouble or "the copy Job failed"))
    actions = [
        *_finalizer(endpoint, spec),
        *_rejections(endpoint, found.rejected),
        *_claim(seen, spec, found, settings),
        *_traffic(seen, found),
        *_servers(seen, spec, found, settings, now),
        *_copies(seen, spec, found, settings),
        *_unneeded_servers(seen, spec, found, settings),
        *_unneeded_jobs(seen, found, now),
        *(_event(endpoint, *event) for event in events),
    ]
    return Plan(tuple(actions), found, outcome, _requeue(found, settings, now))


def never_ready(model: ServedModel, trouble: str | None, settings: Settings) -> str:
    """The sentence for a candidate that was given up."""
    return (
        f"{said(model)} did not become ready: "
        f"{trouble or f'nothing was heard of its pods in {settings.promotion_timeout_seconds:g} s'}; it is not tried "
        f"again until its digest is removed from the annotation {ANNOTATION_REJECTED}"
    )


def _switched(found: Findings, promotion: Promotion, now: datetime) -> Findings:
    champion = replace(promotion.place, since=now)
    previous = replace(found.champion, since=now) if found.champion is not None else found.previous
    return replace(found, champion=champion, previous=previous, promotion=None)


def _rejected(found: Findings, promotion: Promotion) -> Findings:
    kept = [digest for digest in found.rejected if digest != promotion.place.digest]
    rejected = (*kept, promotion.place.digest)[-REJECTED_KEPT:]
    choice = replace(found.choice, winner=None, rejected=promotion.candidate)
    return replace(found, rejected=rejected, promotion=None, choice=choice)


def _finalizer(endpoint: Endpoint, spec: EndpointSpec) -> list[KubeAction]:
    """Ours is there exactly while deleting has something to remove."""
    wanted = spec.deletion_policy == "Delete"
    if wanted == (FINALIZER in endpoint.finalizers):
        return []
    return [set_finalizer(endpoint, present=wanted)]


def set_finalizer(endpoint: Endpoint, *, present: bool) -> Patch:
    """Add or remove our finalizer; others' stay, and a concurrent change of the list is a conflict."""
    others = [name for name in endpoint.finalizers if name != FINALIZER]
    metadata: Object = {
        "finalizers": [*others, FINALIZER] if present else others,
        "resourceVersion": endpoint.resource_version,
    }
    return Patch(ENDPOINTS, endpoint.namespace, endpoint.name, {"metadata": metadata})


def _rejections(endpoint: Endpoint, rejected: tuple[str, ...]) -> list[KubeAction]:
    if rejected == endpoint.rejected:
        return []
    body: Object = {"metadata": {"annotations": {ANNOTATION_REJECTED: ",".join(rejected)}}}
    return [Patch(ENDPOINTS, endpoint.namespace, endpoint.name, body)]


def _claim(seen: Observation, spec: EndpointSpec, found: Findings, settings: Settings) -> list[KubeAction]:
    """The installation's try-out place is a claim in the namespace; it must be there before a Job mounts it."""
    if found.promotion is None or seen.has_claim is not False:
        return []
    if not artifacts_prefix(seen.endpoint, spec, settings).startswith(f"pvc://{ARTIFACTS_CLAIM}/"):
        return []
    return [Create(CLAIMS, artifacts_claim(seen.endpoint.namespace, settings))]


def _traffic(seen: Observation, found: Findings) -> list[KubeAction]:
    if found.champion is None:
        return []
    body = server_service(seen.endpoint, found.champion.digest)
    # The hash says what we applied, the selector what is there.
    there = None if seen.service is None else (seen.service.manifest_hash, seen.service.digest)
    return [] if there == (_hash(body), short_digest(found.champion.digest)) else [Apply(SERVICES, body)]


def _servers(
    seen: Observation, spec: EndpointSpec, found: Findings, settings: Settings, now: datetime
) -> list[KubeAction]:
    wanted: list[tuple[Serving, str, int]] = []
    if found.champion is not None:
        wanted.append((found.champion, ANNOTATION_CHAMPION, spec.replicas))
    promotion = found.promotion
    if promotion is not None and promotion.stage is Stage.ROLLING_OUT:
        wanted.append((promotion.place, ANNOTATION_CANDIDATE, spec.replicas))
    if found.previous is not None:
        wanted.append((found.previous, ANNOTATION_PREVIOUS, _retiring(found, now)))
    actions: list[KubeAction] = []
    for place, role, replicas in wanted:
        body = server_deployment(
            seen.endpoint, spec, place.record, replicas=replicas, role=role, since=place.since, settings=settings
        )
        server = place.server
        if server is None or server.manifest_hash != _hash(body) or server.replicas != replicas:
            actions.append(Apply(DEPLOYMENTS, body))
    return actions


def _retiring(found: Findings, now: datetime) -> int:
    """Replicas of the previous model: as many as it has until the traffic has moved, then none."""
    assert found.previous is not None
    server = found.previous.server
    settled = found.champion is not None and now >= found.champion.since + SETTLE
    return 0 if settled or server is None else server.replicas


def _copies(seen: Observation, spec: EndpointSpec, found: Findings, settings: Settings) -> list[KubeAction]:
    promotion = found.promotion
    if promotion is None or promotion.stage is not Stage.NEW:
        return []
    return [Create(JOBS, copy_job(seen.endpoint, spec, promotion.candidate, promotion.place.record, settings))]


def _unneeded_servers(seen: Observation, spec: EndpointSpec, found: Findings, settings: Settings) -> list[KubeAction]:
    """Deployments that nobody needs any more go, and with them our copy of their model.

    Its Job is created first, for the Deployment is all that knows the copy. A model that is wanted again meanwhile is
    copied anew when the Job has ended.
    """
    endpoint, prefix = seen.endpoint, artifacts_prefix(seen.endpoint, spec, settings)
    kept = {place.digest for place in (found.champion, found.previous) if place is not None}
    actions: list[KubeAction] = []
    for server in seen.servers:
        collecting = collection_of(seen, server.digest) is not None
        wanted = found.promotion is not None and found.promotion.place.digest == server.digest and not collecting
        if server.deleted or server.digest in kept or wanted:
            continue
        if not collecting and server.record.model.uri.startswith(f"{prefix}/"):
            actions.append(Create(JOBS, collect_job(endpoint, spec, server.record, settings)))
        actions.append(Delete(DEPLOYMENTS, endpoint.namespace, server.name, server.uid))
    return actions


def _unneeded_jobs(seen: Observation, found: Findings, now: datetime) -> list[KubeAction]:
    """Jobs whose work is done, or not wanted any more."""
    endpoint, promotion = seen.endpoint, found.promotion
    wanted = None
    if promotion is not None and promotion.place.server is None:
        due = promotion.retry_at is not None and now >= promotion.retry_at
        job = copy_of(seen, promotion.place.digest)
        wanted = job.name if job is not None and not due else None
    actions: list[KubeAction] = []
    for job in seen.jobs:
        copied = job.component == Component.COPY and job.name != wanted
        collected = job.component == Component.COLLECT and job.state is not JobState.ACTIVE
        if job.deleted or not (copied or collected):
            continue
        if collected and job.state is JobState.FAILED:
            message = f"the copy of model {job.digest[:8]} was left behind: {job.trouble or 'its Job failed'}"
            actions.append(_event(endpoint, "Warning", "CopyLeft", message))
        actions.append(Delete(JOBS, endpoint.namespace, job.name, job.uid))
    return actions


def _requeue(found: Findings, settings: Settings, now: datetime) -> float | None:
    due: list[datetime] = []
    promotion = found.promotion
    if promotion is not None and promotion.stage is Stage.ROLLING_OUT:
        due.append(promotion.place.since + timedelta(seconds=settings.promotion_timeout_seconds))
    if promotion is not None and promotion.retry_at is not None:
        due.append(promotion.retry_at)
    if promotion is not None and promotion.trouble is None:
        due.append(now + LOOK_CLOSER)
    previous = found.previous
    if found.champion is not None and previous is not None and previous.server is not None and previous.server.replicas:
        due.append(found.champion.since + SETTLE)
    return max(0.1, (min(due) - now).total_seconds()) if due else None


def _event(endpoint: Endpoint, type_: EventType, reason: str, message: str) -> EmitEvent:
    return EmitEvent(ENDPOINTS, endpoint.namespace, endpoint.name, endpoint.uid, type_, reason, message)


def said(model: ServedModel) -> str:
    """A model as people know it."""
    where = f"the model of study {model.study}, trial {model.trial}," if model.study else "the pinned model"
    return f"{where} {short_digest(model.digest)[:8]}"


def _hash(body: Object) -> str:
    return str(body["metadata"]["annotations"][ANNOTATION_MANIFEST])
