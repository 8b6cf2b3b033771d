"""All of Kopf that we use: events mark keys dirty, indices hold children. Nothing is written to users' objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import kopf
from typing_extensions import override

from autoglm_api.names import LABEL_ENDPOINT_UID, LABEL_MANAGED_BY, LABEL_STUDY_UID, MANAGED_BY

from .children import Children
from .echoes import Echoes
from .hearing import Hearing
from .kube import DEPLOYMENTS, ENDPOINTS, JOBS, PODS, SERVICES, STUDIES, Object, Resource
from .observation import Job, Pod
from .parse import parse_job, parse_pod
from .queue import Key, WorkQueue

OURS = {LABEL_MANAGED_BY: MANAGED_BY}
INDEXED = (JOBS, PODS)
CHILDREN = (*INDEXED, DEPLOYMENTS, SERVICES)
# Kopf takes a finalizer with this name away wherever it finds one, so it must not be our own.
UNUSED_FINALIZER = "kopf.autoglm.io/unused"
# Ten Jobs with their pods make forty events within a moment; the study is looked at once for all of them.
CHILDREN_SETTLE_SECONDS = 0.2


class NoHistory(kopf.DiffBaseStorage):
    """Kopf copies every object at every event to find what changed in it; no handler of ours asks for that."""

    @override
    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        return cast("kopf.BodyEssence", {})

    @override
    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    @override
    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        return


class Owners:
    """Which live study or endpoint a label's UID means; children are ignored until their owner is known."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}

    def see(self, uid: str, key: Key, *, gone: bool) -> None:
        """Take in an event about an owner."""
        if gone:
            self._keys.pop(uid, None)
        else:
            self._keys[uid] = key

    def of(self, labels: Mapping[str, str]) -> Key | None:
        """The owner of an object with these labels."""
        return self._keys.get(labels.get(LABEL_STUDY_UID) or labels.get(LABEL_ENDPOINT_UID) or "")

    def endpoints_in(self, namespace: str) -> list[Key]:
        """The endpoints of a namespace: a study's news may make it a candidate for any of them."""
        return [key for key in self._keys.values() if (key.kind, key.namespace) == (ENDPOINTS.plural, namespace)]


def build_registry(queue: WorkQueue, children: Children, hearing: Hearing, echoes: Echoes) -> kopf.OperatorRegistry:
    """The handlers, around the queue that they fill, the children that they show, and what they have heard of."""
    registry, owners = kopf.OperatorRegistry(), Owners()

    async def on_owner(*, resource: kopf.Resource, body: kopf.Body, event: Any, **_: Any) -> None:
        namespace, name, uid = body.meta["namespace"], body.meta["name"], body.meta["uid"]
        key = Key(resource.plural, namespace, name)
        gone = event["type"] == "DELETED"
        owners.see(uid, key, gone=gone)
        hearing.hear(uid, body.meta["resourceVersion"], gone=gone)
        if gone or not echoes.holds(body):
            queue.mark(key)
        if gone:
            echoes.forget(uid)
        if resource.plural == STUDIES.plural:
            for endpoint in owners.endpoints_in(namespace):
                queue.mark(endpoint)

    def mark_owner(labels: Mapping[str, str]) -> None:
        key = owners.of(labels)
        if key is not None:
            queue.mark_after(key, CHILDREN_SETTLE_SECONDS)

    async def on_child(labels: Mapping[str, str], **_: Any) -> None:
        mark_owner(labels)

    for kind in (STUDIES, ENDPOINTS):
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(on_owner)
    for kind in CHILDREN:
        when = _is_gone if kind in INDEXED else None
        kopf.on.event(kind.group, kind.version, kind.plural, labels=OURS, when=when, registry=registry)(on_child)
    _index_children(registry, children, mark_owner)
    return registry


def _is_gone(event: Any, **_: Any) -> bool:
    return bool(event["type"] == "DELETED")


def _index_children(
    registry: kopf.OperatorRegistry, children: Children, changed: Callable[[Mapping[str, str]], None]
) -> None:
    """Jobs and pods come in thousands: indexing tells of each change too, which spares a handler for every event."""

    @kopf.index(JOBS.group, JOBS.version, JOBS.plural, labels=OURS, id="job_index", registry=registry)
    async def job_index(body: kopf.Body, labels: Mapping[str, str], **_: Any) -> dict[str, Job] | None:
        changed(labels)
        uid = labels.get(LABEL_STUDY_UID)
        return None if uid is None else {uid: parse_job(_plain(body))}

    @kopf.index(PODS.group, PODS.version, PODS.plural, labels=OURS, id="pod_index", registry=registry)
    async def pod_index(body: kopf.Body, labels: Mapping[str, str], **_: Any) -> dict[str, Pod] | None:
        changed(labels)
        uid = labels.get(LABEL_STUDY_UID)
        return None if uid is None else {uid: parse_pod(_plain(body))}

    @kopf.on.startup(registry=registry)
    async def bind(**indices: Any) -> None:
        children.bind(indices["job_index"], indices["pod_index"])


def _plain(body: kopf.Body) -> Object:
    return {key: body[key] for key in ("metadata", "spec", "status") if key in body}


def build_settings() -> kopf.OperatorSettings:
    """Kopf as a pure watcher: no Events, no annotations, no finalizers, no watching of namespaces or CRDs."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.finalizer = UNUSED_FINALIZER
    settings.persistence.diffbase_storage = NoHistory()
    settings.process.ultimate_exiting_timeout = 10.0
    for kind in CHILDREN:
        settings.watching.label_selectors[_selector(kind)] = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
    return settings


def _selector(kind: Resource) -> Any:
    return kind.group, kind.version, kind.plural
