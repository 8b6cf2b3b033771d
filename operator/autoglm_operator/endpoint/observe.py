"""Reads the world of one endpoint, fresh from the API server: there are few of them, and they change seldom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from pydantic import ValidationError

from autoglm_api import environment
from autoglm_api.exits import ExitCode, Termination
from autoglm_api.names import (
    ANNOTATION_CANDIDATE,
    ANNOTATION_CHAMPION,
    ANNOTATION_MANIFEST,
    ANNOTATION_MODEL,
    ANNOTATION_PREVIOUS,
    ARTIFACTS_CLAIM,
    FINALIZER,
    LABEL_COMPONENT,
    LABEL_DIGEST,
    LABEL_ENDPOINT_UID,
    Component,
    endpoint_service_name,
)
from autoglm_api.status import ServedModel
from autoglm_operator.kube import (
    CLAIMS,
    DEPLOYMENTS,
    ENDPOINTS,
    JOBS,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICES,
    STUDIES,
    Kube,
    NotFound,
    Object,
    Resource,
)
from autoglm_operator.observe import lost_secret
from autoglm_operator.parse import parse_pod
from autoglm_operator.settings import Settings

from .door import pinned_candidate, read_candidate, read_endpoint, read_time
from .manifests import artifacts_prefix, artifacts_secret
from .observation import Candidate, Endpoint, EndpointJob, JobState, Observation, Record, SeenService, Server

_STARTING = frozenset({"ContainerCreating", "PodInitializing"})
# Exit codes by which a server says that this model cannot be run here; not 69, for a store may come back.
_VERDICTS = frozenset({ExitCode.SPEC, ExitCode.DATA, ExitCode.OTHER})
TROUBLE_LIMIT = 400


async def observe(kube: Kube, settings: Settings, namespace: str, name: str) -> Observation | None:
    """Everything the plan needs; None if there is no such endpoint.

    Raises:
        KubeError: as `Kube` translates them.
    """
    body = await _get(kube, ENDPOINTS, namespace, name)
    if body is None:
        return None
    endpoint = read_endpoint(body, settings)
    mine = {LABEL_ENDPOINT_UID: endpoint.uid}
    deployments = await kube.list(DEPLOYMENTS, namespace, mine)
    jobs = await kube.list(JOBS, namespace, mine)
    troubled = any(_ready(one) < one["spec"].get("replicas", 1) for one in deployments) or bool(jobs)
    pods = await kube.list(PODS, namespace, mine) if troubled else []
    lost = await lost_secret(kube, namespace, map(parse_pod, pods))
    service = await _get(kube, SERVICES, namespace, endpoint_service_name(name))
    return Observation(
        endpoint=endpoint,
        candidates=await _candidates(kube, endpoint, settings),
        servers=tuple(read_server(one, pods, lost) for one in deployments),
        jobs=tuple(read_job(one, pods, lost) for one in jobs),
        service=read_service(service, endpoint) if service is not None else None,
        has_claim=await _has_claim(kube, endpoint, settings),
        doomed=await _doomed(kube, endpoint, settings),
    )


async def _get(kube: Kube, resource: Resource, namespace: str | None, name: str) -> Object | None:
    try:
        return await kube.get(resource, namespace, name)
    except NotFound:
        return None


async def _candidates(kube: Kube, endpoint: Endpoint, settings: Settings) -> tuple[Candidate, ...]:
    spec = endpoint.spec
    if spec is None or endpoint.deleted is not None:
        return ()
    if spec.source.study is not None:
        study = await _get(kube, STUDIES, endpoint.namespace, spec.source.study)
        studies = [study] if study is not None else []
    elif spec.source.study_selector is not None:
        studies = await kube.list(STUDIES, endpoint.namespace, spec.source.study_selector.match_labels)
    else:
        pinned = pinned_candidate(spec, settings)
        return (pinned,) if pinned is not None else ()
    found = (read_candidate(study, settings) for study in studies)
    return tuple(candidate for candidate in found if candidate is not None)


async def _has_claim(kube: Kube, endpoint: Endpoint, settings: Settings) -> bool | None:
    spec = endpoint.spec
    if spec is None or endpoint.deleted is not None:
        return None
    if not artifacts_prefix(endpoint, spec, settings).startswith(f"pvc://{ARTIFACTS_CLAIM}/"):
        return None
    return await _get(kube, CLAIMS, endpoint.namespace, ARTIFACTS_CLAIM) is not None


async def _doomed(kube: Kube, endpoint: Endpoint, settings: Settings) -> str | None:
    if endpoint.deleted is None or FINALIZER not in endpoint.finalizers:
        return None
    namespace = await _get(kube, NAMESPACES, None, endpoint.namespace)
    if namespace is None or namespace["metadata"].get("deletionTimestamp"):
        return f"namespace {endpoint.namespace} is being deleted"
    secret = artifacts_secret(endpoint.spec, settings) if endpoint.spec is not None else None
    if secret is not None and await _get(kube, SECRETS, endpoint.namespace, secret) is None:
        return f"Secret {secret} is gone"
    return None


# ---- from objects to values


def read_server(body: Object, pods: Iterable[Object], lost: str | None = None) -> Server:
    """A Deployment of ours; what its model is stands in its annotation, or at least in its environment."""
    metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    annotations = metadata.get("annotations") or {}
    record = _record(body)
    label = (metadata.get("labels") or {}).get(LABEL_DIGEST)
    return Server(
        name=metadata["name"],
        uid=metadata["uid"],
        digest=record.model.digest,
        record=record,
        manifest_hash=annotations.get(ANNOTATION_MANIFEST, ""),
        replicas=spec.get("replicas", 1),
        ready=_ready(body),
        available=status.get("availableReplicas", 0),
        champion=read_time(annotations.get(ANNOTATION_CHAMPION)),
        previous=read_time(annotations.get(ANNOTATION_PREVIOUS)),
        candidate=read_time(annotations.get(ANNOTATION_CANDIDATE)),
        deleted="deletionTimestamp" in metadata,
        trouble=_trouble(pods, Component.SERVER, label, lost) or _refused_pods(status),
        hopeless=any(_gave_up(pod.get("status") or {}) for pod in _of(pods, Component.SERVER, label)),
    )


def read_job(body: Object, pods: Iterable[Object], lost: str | None = None) -> EndpointJob:
    """A copy or cleanup Job."""
    metadata, labels = body["metadata"], body["metadata"].get("labels") or {}
    state, finished = JobState.ACTIVE, None
    for one in (body.get("status") or {}).get("conditions") or ():
        if one["status"] == "True" and one["type"] in ("Complete", "Failed"):
            state, finished = JobState(one["type"]), read_time(one.get("lastTransitionTime"))
    component = labels.get(LABEL_COMPONENT, "")
    return EndpointJob(
        name=metadata["name"],
        uid=metadata["uid"],
        component=component,
        digest=labels.get(LABEL_DIGEST, ""),
        state=state,
        created=read_time(metadata.get("creationTimestamp")) or datetime.now(UTC),
        finished=finished,
        deleted="deletionTimestamp" in metadata,
        trouble=_trouble(pods, component, labels.get(LABEL_DIGEST), lost),
    )


def read_service(body: Object, endpoint: Endpoint) -> SeenService:
    """The Service under the endpoint's name, whosever it is."""
    metadata = body["metadata"]
    owners = {owner["uid"] for owner in metadata.get("ownerReferences") or ()}
    selector = body["spec"].get("selector") or {}
    return SeenService(
        uid=metadata["uid"],
        ours=endpoint.uid in owners,
        digest=selector.get(LABEL_DIGEST) if selector.get(LABEL_ENDPOINT_UID) == endpoint.uid else None,
        manifest_hash=(metadata.get("annotations") or {}).get(ANNOTATION_MANIFEST, ""),
    )


def _record(body: Object) -> Record:
    text = (body["metadata"].get("annotations") or {}).get(ANNOTATION_MODEL, "")
    try:
        return Record.model_validate_json(text)
    except ValidationError:
        env = body["spec"]["template"]["spec"]["containers"][0].get("env") or ()
        values = {entry["name"]: entry.get("value", "") for entry in env}
        digest = values.get(environment.MODEL_DIGEST, "")
        return Record(model=ServedModel(digest=digest, uri=values.get(environment.MODEL_URI, "")))


def _ready(body: Object) -> int:
    """Replicas of the present template that are ready; 0 until the controller has seen the present spec."""
    status = body.get("status") or {}
    if status.get("observedGeneration", 0) < body["metadata"].get("generation", 0):
        return 0
    total, updated = status.get("replicas", 0), status.get("updatedReplicas", 0)
    # Every replica of an older template may be among the ready ones.
    ready: int = min(updated, status.get("readyReplicas", 0) - (total - updated))
    return max(0, ready)


def _trouble(pods: Iterable[Object], component: str, digest: str | None, lost: str | None) -> str | None:
    """The first pod's own words for why it does not run, or that a Secret which it mounts does not exist."""
    for pod in _of(pods, component, digest):
        words = _words(pod.get("status") or {})
        if words is None and lost in parse_pod(pod).secrets:
            words = f"Secret {lost} does not exist"
        if words is not None:
            return f"pod {pod['metadata']['name']}: {words}"[:TROUBLE_LIMIT]
    return None


def _of(pods: Iterable[Object], component: str, digest: str | None) -> Iterator[Object]:
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        if labels.get(LABEL_COMPONENT) == component and labels.get(LABEL_DIGEST) == digest:
            yield pod


def _gave_up(status: Object) -> bool:
    """Whether the server ended at least twice, the last time by its own verdict on the model."""
    for container in status.get("containerStatuses") or ():
        ended = (container.get("lastState") or {}).get("terminated") or {}
        if container.get("restartCount", 0) >= 1 and ended.get("exitCode") in _VERDICTS:
            return True
    return False


def _words(status: Object) -> str | None:
    for container in status.get("containerStatuses") or ():
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            ended = state.get("terminated")
            if ended and ended.get("exitCode"):
                return f"ended with code {ended['exitCode']}: {_last_words(ended)}"
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in _STARTING:
            return f"{waiting['reason']}: {waiting.get('message', '')}"
    for one in status.get("conditions") or ():
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return f"{one.get('reason', 'Unschedulable')}: {one.get('message', '')}"
    return None


def _last_words(ended: Object) -> str:
    message = str(ended.get("message") or ended.get("reason") or "no message")
    try:
        return Termination.model_validate_json(message).message
    except ValidationError:
        return message.strip().splitlines()[-1]


def _refused_pods(status: Object) -> str | None:
    """Pods that could not even be created: a quota, an admission rule."""
    for one in status.get("conditions") or ():
        if one["type"] == "ReplicaFailure" and one["status"] == "True":
            return str(one.get("message", ""))[:TROUBLE_LIMIT]
    return None
