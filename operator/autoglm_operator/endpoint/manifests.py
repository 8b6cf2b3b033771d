"""The objects of an endpoint: a Deployment a model, one Service, and the Jobs that copy and remove models."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

from autoglm_api import environment
from autoglm_api.catalog import TASKS
from autoglm_api.endpoint import EndpointSpec
from autoglm_api.names import (
    ANNOTATION_MANIFEST,
    ANNOTATION_MODEL,
    ENDPOINT_KIND,
    LABEL_COMPONENT,
    LABEL_DIGEST,
    LABEL_ENDPOINT,
    LABEL_ENDPOINT_UID,
    Component,
    endpoint_object_name,
    endpoint_service_name,
    label_value,
)
from autoglm_api.parts import PodOptions, Resources
from autoglm_api.study import API_VERSION
from autoglm_operator.kube import Object
from autoglm_operator.manifests.pod import Container, Place, own_labels, plain_env, pod_template
from autoglm_operator.settings import Settings

from .observation import Candidate, Endpoint, Record

PORT = 8080
SERVICE_PORT = 80
# Time for the cluster to stop sending requests, then for the server to finish those it has.
PRE_STOP_SECONDS = 10
GRACE_SECONDS = 60
# A large model may load for long; the promotion's own deadline decides when it is too long.
START_PERIOD_SECONDS, START_FAILURES = 2, 900
COPY_RESOURCES = Resources(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "512Mi"})
COPY_BACKOFF_LIMIT = 2


def short_digest(digest: str) -> str:
    """A digest as a label value: 32 of its 64 hexadecimal digits."""
    return digest.removeprefix("sha256:")[:32]


def artifacts_prefix(endpoint: Endpoint, spec: EndpointSpec, settings: Settings) -> str:
    """Where this endpoint's models are, each below its digest."""
    root = (spec.artifacts.uri if spec.artifacts else settings.artifacts_uri).rstrip("/")
    return f"{root}/{endpoint.namespace}/endpoints/{endpoint.name}"


def artifacts_secret(spec: EndpointSpec, settings: Settings) -> str | None:
    """The Secret that opens the endpoint's own place."""
    if spec.artifacts is None:
        return settings.artifacts_secret
    return spec.artifacts.secret_ref.name if spec.artifacts.secret_ref else None


def server_deployment(
    endpoint: Endpoint,
    spec: EndpointSpec,
    record: Record,
    *,
    replicas: int,
    role: str,
    since: datetime,
    settings: Settings,
) -> Object:
    """The servers of one model.

    Args:
        endpoint: the owner.
        spec: its spec.
        record: the model; its `uri` is the endpoint's own copy.
        replicas: servers.
        role: ANNOTATION_CHAMPION, ANNOTATION_CANDIDATE or ANNOTATION_PREVIOUS.
        since: since when in that role.
        settings: the installation's.
    """
    digest = record.model.digest
    labels = _labels(endpoint, Component.SERVER, digest)
    template = pod_template(
        _server(endpoint, spec, record, settings),
        labels=labels,
        places=(
            Place("artifacts", (record.model.uri,), _secret(record, endpoint, spec, settings)),
            Place("model", (), spec.model_secret_ref.name if spec.model_secret_ref else None),
        ),
        options=spec.pod,
        service_account=spec.service_account_name,
        grace_seconds=GRACE_SECONDS,
        settings=settings,
    )
    body: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(endpoint, endpoint_object_name(endpoint.name, digest), labels)
        | {"annotations": {ANNOTATION_MODEL: _compact(record.to_json_dict()), role: since.isoformat()}},
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": _selector(endpoint, digest)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template,
        },
    }
    return _hashed(body)


def server_service(endpoint: Endpoint, digest: str) -> Object:
    """The Service, selecting the servers of one model."""
    body: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(endpoint, endpoint_service_name(endpoint.name), _labels(endpoint, Component.SERVER)),
        "spec": {
            "selector": _selector(endpoint, digest),
            "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }
    return _hashed(body)


def copy_job(
    endpoint: Endpoint, spec: EndpointSpec, candidate: Candidate, target: Record, settings: Settings
) -> Object:
    """The Job that copies a candidate's model to the endpoint's own prefix."""
    digest = candidate.model.digest
    container = _artifacts_container(
        "copy",
        {
            environment.SOURCE_URI: candidate.model.uri,
            environment.TARGET_URI: target.model.uri,
            environment.MODEL_DIGEST: digest,
        },
        settings,
    )
    places = (
        Place("source", (candidate.model.uri,), candidate.secret),
        Place("artifacts", (target.model.uri,), target.secret, writable=True),
    )
    name = endpoint_object_name(endpoint.name, digest, Component.COPY)
    return _job(endpoint, spec, name, _labels(endpoint, Component.COPY, digest), container, places, settings)


def collect_job(endpoint: Endpoint, spec: EndpointSpec, record: Record, settings: Settings) -> Object:
    """The Job that removes the endpoint's copy of one model."""
    digest = record.model.digest
    container = _artifacts_container("delete", {environment.TARGET_URI: record.model.uri}, settings)
    places = (Place("artifacts", (record.model.uri,), _secret(record, endpoint, spec, settings), writable=True),)
    name = endpoint_object_name(endpoint.name, digest, Component.COLLECT)
    return _job(endpoint, spec, name, _labels(endpoint, Component.COLLECT, digest), container, places, settings)


def cleanup_job(endpoint: Endpoint, spec: EndpointSpec, settings: Settings) -> Object:
    """The Job that removes all of the endpoint's models."""
    prefix = artifacts_prefix(endpoint, spec, settings)
    container = _artifacts_container("delete", {environment.TARGET_URI: prefix}, settings)
    places = (Place("artifacts", (prefix,), artifacts_secret(spec, settings), writable=True),)
    name = endpoint_object_name(endpoint.name, endpoint.uid, Component.CLEANUP)
    return _job(endpoint, spec, name, _labels(endpoint, Component.CLEANUP), container, places, settings)


def _server(endpoint: Endpoint, spec: EndpointSpec, record: Record, settings: Settings) -> Container:
    probe = {"httpGet": {"path": "/healthz", "port": "http"}, "timeoutSeconds": 5}
    return Container(
        name="server",
        image=spec.image or _image(record.model.task, settings),
        args=("serve",),
        env=(
            *plain_env(
                {
                    environment.MODEL_URI: record.model.uri,
                    environment.MODEL_DIGEST: record.model.digest,
                    environment.MODEL_NAME: endpoint.name,
                }
            ),
            _threads(spec.resources),
        ),
        resources=spec.resources,
        extra={
            "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
            "startupProbe": {**probe, "periodSeconds": START_PERIOD_SECONDS, "failureThreshold": START_FAILURES},
            "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 3},
            "readinessProbe": {
                "httpGet": {"path": "/readyz", "port": "http"},
                "timeoutSeconds": 5,
                "periodSeconds": 2,
                "failureThreshold": 2,
            },
            "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(PRE_STOP_SECONDS)]}}},
        },
    )


def _image(task: str | None, settings: Settings) -> str:
    """The installation's server for models of this task; a task that nobody knows here gets the one without PyTorch."""
    needs_torch = task in TASKS and TASKS[task].server_needs_torch
    return settings.serving_generation_image if needs_torch else settings.serving_image


def _threads(resources: Resources) -> Object:
    """As many threads as cores of the pod's own; without limit and request one, and not all of the node's."""
    for part, amounts in (("limits", resources.limits), ("requests", resources.requests)):
        if "cpu" in amounts:
            reference = {"resource": f"{part}.cpu", "divisor": "1"}
            return {"name": environment.CPU_LIMIT, "valueFrom": {"resourceFieldRef": reference}}
    return {"name": environment.CPU_LIMIT, "value": "1"}


def _artifacts_container(command: str, env: dict[str, str], settings: Settings) -> Container:
    return Container(
        name="artifacts",
        image=settings.serving_image,
        args=(command,),
        env=plain_env(env),
        resources=COPY_RESOURCES,
        extra={},
    )


def _job(
    endpoint: Endpoint,
    spec: EndpointSpec,
    name: str,
    labels: dict[str, str],
    container: Container,
    places: tuple[Place, ...],
    settings: Settings,
) -> Object:
    template = pod_template(
        container,
        labels=labels,
        places=places,
        options=_scheduling_only(spec.pod),
        service_account=spec.service_account_name,
        grace_seconds=10,
        settings=settings,
    )
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(endpoint, name, labels),
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": COPY_BACKOFF_LIMIT, "template": template},
    }


def _scheduling_only(options: PodOptions) -> PodOptions:
    """A Job goes where the servers may go, without what only servers need."""
    return options.model_copy(update={"volumes": (), "volume_mounts": (), "topology_spread_constraints": ()})


def _secret(record: Record, endpoint: Endpoint, spec: EndpointSpec, settings: Settings) -> str | None:
    """The Secret as the spec names it now, unless the model lies where the spec no longer points."""
    here = record.model.uri.startswith(f"{artifacts_prefix(endpoint, spec, settings)}/")
    return artifacts_secret(spec, settings) if here else record.secret


def _metadata(endpoint: Endpoint, name: str, labels: dict[str, str]) -> Object:
    return {
        "name": name,
        "namespace": endpoint.namespace,
        "labels": labels,
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": ENDPOINT_KIND,
                "name": endpoint.name,
                "uid": endpoint.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def _labels(endpoint: Endpoint, component: str, digest: str | None = None) -> dict[str, str]:
    labels = {LABEL_ENDPOINT: label_value(endpoint.name), LABEL_ENDPOINT_UID: endpoint.uid}
    if digest is not None:
        labels[LABEL_DIGEST] = short_digest(digest)
    return own_labels(component, labels)


def _selector(endpoint: Endpoint, digest: str) -> dict[str, str]:
    # The component too: a copy Job's pod carries the same digest.
    return {
        LABEL_COMPONENT: Component.SERVER,
        LABEL_ENDPOINT_UID: endpoint.uid,
        LABEL_DIGEST: short_digest(digest),
    }


def _hashed(body: Object) -> Object:
    """With the hash of everything in it: equal hashes need no second apply."""
    digest = hashlib.sha256(_compact(body).encode()).hexdigest()[:16]
    annotations = {**body["metadata"].get("annotations", {}), ANNOTATION_MANIFEST: digest}
    return {**body, "metadata": {**body["metadata"], "annotations": annotations}}


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
