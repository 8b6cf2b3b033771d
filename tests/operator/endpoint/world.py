"""An API server in memory, with the controllers that endpoints rely on played by hand; the operator's code is real."""

from __future__ import annotations

import builtins
import copy
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from autoglm_api.conditions import Condition
from autoglm_api.names import LABEL_COMPONENT, LABEL_DIGEST, Component
from autoglm_api.status import EndpointStatus
from autoglm_operator.endpoint.reconcile import reconcile
from autoglm_operator.kube import (
    DEPLOYMENTS,
    ENDPOINTS,
    EVENTS,
    JOBS,
    PODS,
    SERVICES,
    STUDIES,
    Conflict,
    Kube,
    NotFound,
    Object,
    Rejected,
    Resource,
    Unavailable,
)
from autoglm_operator.settings import Settings

START = datetime(2026, 11, 1, tzinfo=UTC)
NAMESPACE, NAME = "team", "sentiment"
SERVING_IMAGE = "serving:1"


def digest_of(number: int) -> str:
    return f"sha256:{number:064x}"[:7] + f"{number:08x}" + "0" * 56


def merged(old: Any, patch: Any) -> Any:
    """A JSON merge patch."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    base = old if isinstance(old, dict) else {}
    keys = [*base, *(key for key in patch if key not in base)]
    gone = {key for key, value in patch.items() if value is None}
    return {key: merged(base.get(key), patch[key]) if key in patch else base[key] for key in keys if key not in gone}


class MemoryKube:
    """What `Kube` offers, over dicts; counts writes, and breaks off after a given number of them."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.writes: list[str] = []
        self.events: list[Object] = []
        self.break_after: int | None = None
        self.refuses: dict[str, str] = {}

    async def get(self, resource: Resource, _namespace: str | None, name: str) -> Object:
        found = self.objects.get((resource.plural, name))
        if found is None:
            raise NotFound(f"{resource.plural} {name} not found")
        return copy.deepcopy(found)

    async def list(
        self, resource: Resource, _namespace: str | None, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        wanted = (labels or {}).items()
        return [
            copy.deepcopy(body)
            for (plural, _), body in self.objects.items()
            if plural == resource.plural and wanted <= (body["metadata"].get("labels") or {}).items()
        ]

    async def create(self, resource: Resource, _namespace: str | None, body: Object) -> Object:
        if resource is EVENTS:
            self.events.append(body)
            return body
        self._written(resource, "create", body["metadata"]["name"])
        key = resource.plural, body["metadata"]["name"]
        if key in self.objects:
            raise Conflict(f"{key} exists")
        return self.put(resource, body)

    async def apply(self, resource: Resource, _namespace: str | None, body: Object) -> Object:
        self._written(resource, "apply", body["metadata"]["name"])
        known = self.objects.get((resource.plural, body["metadata"]["name"]))
        if known is None:
            return self.put(resource, body)
        metadata = known["metadata"]
        known["metadata"] = {**metadata, **copy.deepcopy(body["metadata"])}
        if known["spec"] != body["spec"]:
            known["spec"] = copy.deepcopy(body["spec"])
            known["metadata"]["generation"] = metadata["generation"] + 1
        return known

    async def patch(
        self, resource: Resource, _namespace: str | None, name: str, body: Object, *, subresource: str | None = None
    ) -> Object:
        self._written(resource, subresource or "patch", name)
        if subresource == "status":
            known = self.objects[resource.plural, name]
            known["status"] = merged(known.get("status") or {}, body["status"])
            return known
        metadata = self.objects[resource.plural, name]["metadata"]
        patch = copy.deepcopy(body["metadata"])
        version = patch.pop("resourceVersion", metadata["resourceVersion"])
        if version != metadata["resourceVersion"]:
            raise Conflict("changed meanwhile")
        metadata["annotations"] = {**metadata.get("annotations", {}), **patch.pop("annotations", {})}
        metadata.update(patch)
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self.remove(resource, name)
        return self.objects.get((resource.plural, name), {})

    async def delete(self, resource: Resource, _namespace: str | None, name: str, *, uid: str) -> None:
        self._written(resource, "delete", name)
        found = self.objects.get((resource.plural, name))
        if found is None:
            raise NotFound(name)
        if found["metadata"]["uid"] != uid:
            raise Conflict("another UID")
        self.remove(resource, name)

    def put(self, resource: Resource, body: Object) -> Object:
        body = copy.deepcopy(body)
        body["metadata"] = {
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "resourceVersion": "1",
            "namespace": NAMESPACE,
            **body["metadata"],
        }
        self.objects[resource.plural, body["metadata"]["name"]] = body
        return body

    def remove(self, resource: Resource, name: str) -> None:
        self.objects.pop((resource.plural, name), None)

    def all(self, resource: Resource) -> builtins.list[Object]:
        return [body for (plural, _), body in self.objects.items() if plural == resource.plural]

    def _written(self, resource: Resource, verb: str, name: str) -> None:
        if self.break_after is not None:
            if self.break_after <= 0:
                raise Unavailable("the operator died here")
            self.break_after -= 1
        if resource.plural in self.refuses:
            raise Rejected(self.refuses[resource.plural], status=422)
        self.writes.append(f"{verb} {resource.plural}/{name}")


class World:
    """One endpoint, its studies, and time."""

    def __init__(self, **spec: Any) -> None:
        self.kube = MemoryKube()
        self.now = START
        self.settings = Settings(serving_image=SERVING_IMAGE, allowed_sources=("s3://", "pvc://", "file://"))
        source = {"studySelector": {"matchLabels": {"app": "sentiment"}}}
        self.kube.put(
            ENDPOINTS,
            {
                "metadata": {"name": NAME},
                "spec": {"source": source, "artifacts": {"uri": "s3://models/live"}, **spec},
            },
        )

    # ---- the operator

    def pass_once(self) -> float | None:
        """One reconcile; raises what it raises."""
        import asyncio

        return asyncio.run(reconcile(cast("Kube", self.kube), self.settings, NAMESPACE, NAME, clock=lambda: self.now))

    def settle(self, *, ready: bool = True) -> None:
        """Reconcile until nothing is written any more, with Jobs succeeding and servers becoming ready."""
        for _ in range(40):
            before = len(self.kube.writes)
            self.pass_once()
            changed = self.finish_jobs() + (self.make_ready() if ready else 0)
            if not changed and len(self.kube.writes) == before:
                return
            self.now += timedelta(seconds=11)
        raise AssertionError(f"never settles: {self.kube.writes[-12:]}")

    # ---- users

    @property
    def endpoint(self) -> Object:
        return self.kube.objects[ENDPOINTS.plural, NAME]

    @property
    def status(self) -> EndpointStatus:
        return EndpointStatus.model_validate(self.endpoint.get("status") or {})

    def edit(self, **spec: Any) -> None:
        self.endpoint["spec"].update(spec)
        self.endpoint["metadata"]["generation"] += 1

    def add_study(
        self,
        name: str,
        value: float,
        *,
        number: int | None = None,
        metric: str = "f1_macro",
        direction: str = "Maximize",
        test_digest: str | None = "t" * 64,
        labels: Mapping[str, str] | None = None,
        policy: str | None = None,
        complete: bool = True,
        task: str | None = None,
        **metrics: float,
    ) -> str:
        """A study that has completed now; returns its model's digest."""
        self.now += timedelta(seconds=1)
        digest = digest_of(number if number is not None else len(self.kube.writes) * 1000 + hash(name) % 1000)
        stamp = self.now.isoformat()
        complete_condition = {"type": "Complete", "status": str(complete), "reason": "MaxTrialsReached"}
        model = {
            "uri": f"s3://models/{name}/export",
            "digest": digest,
            "metrics": {metric: value, **metrics},
            "trial": 7,
            "metric": metric,
            "direction": direction,
            "value": value,
        }
        if test_digest is not None:
            model["testDigest"] = test_digest
        if task is not None:
            model["task"] = task
        self.kube.put(
            STUDIES,
            {
                "metadata": {"name": name, "labels": dict(labels or {"app": "sentiment"})},
                "spec": {"promotion": {"policy": policy}} if policy else {},
                "status": {
                    "conditions": [{**complete_condition, "lastTransitionTime": stamp}],
                    "model": model,
                    "completionTime": stamp,
                },
            },
        )
        return digest

    # ---- controllers

    def finish_jobs(self, outcome: str = "Complete") -> int:
        """Every active Job ends so; returns how many."""
        ended = 0
        for job in self.kube.all(JOBS):
            if not (job.get("status") or {}).get("conditions"):
                done = {"type": outcome, "status": "True", "lastTransitionTime": self.now.isoformat()}
                job["status"] = {"conditions": [done]}
                ended += 1
        return ended

    def make_ready(self, *digests: str, but: frozenset[str] = frozenset()) -> int:
        """The servers of these models (default: all) are up to date and ready; returns how many Deployments changed."""
        changed = 0
        for deployment in self.kube.all(DEPLOYMENTS):
            label = deployment["metadata"]["labels"][LABEL_DIGEST]
            if label in but or (digests and label not in {one.removeprefix("sha256:")[:32] for one in digests}):
                continue
            changed += self.set_ready(deployment, deployment["spec"]["replicas"])
        return changed

    def set_ready(self, deployment: Object, ready: int) -> bool:
        replicas = deployment["spec"]["replicas"]
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": ready,
            "availableReplicas": ready,
        }
        changed = deployment.get("status") != status
        deployment["status"] = status
        return changed

    def add_pod(self, digest: str, component: str = Component.SERVER, **status: Any) -> None:
        """A pod with its own words."""
        endpoint_uid = self.endpoint["metadata"]["uid"]
        labels = {LABEL_COMPONENT: component, LABEL_DIGEST: digest.removeprefix("sha256:")[:32]}
        labels["autoglm.io/endpoint-uid"] = endpoint_uid
        self.kube.put(PODS, {"metadata": {"name": f"pod-{digest[7:15]}", "labels": labels}, "status": status})

    # ---- what one sees

    @property
    def served(self) -> str | None:
        """The digest label that the Service selects."""
        services = self.kube.all(SERVICES)
        return str(services[0]["spec"]["selector"][LABEL_DIGEST]) if services else None

    def deployment(self, digest: str) -> Object | None:
        label = digest.removeprefix("sha256:")[:32]
        for one in self.kube.all(DEPLOYMENTS):
            if one["metadata"]["labels"][LABEL_DIGEST] == label:
                return one
        return None

    def replicas(self) -> dict[str, int]:
        """Digest (8 digits) → replicas."""
        return {
            one["metadata"]["labels"][LABEL_DIGEST][:8]: one["spec"]["replicas"] for one in self.kube.all(DEPLOYMENTS)
        }

    def condition(self, type_: str) -> Condition | None:
        return next((one for one in self.status.conditions if one.type == type_), None)

    def ready(self) -> tuple[str, str]:
        found = self.condition("Ready")
        assert found is not None
        return found.status, found.reason


def short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:32]


def served(world: World, value: float = 0.8, name: str = "first", number: int = 1) -> str:
    """A champion of this value; returns its digest."""
    digest = world.add_study(name, value, number=number)
    world.settle()
    assert world.served == short(digest)
    return digest
