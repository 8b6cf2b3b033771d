"""What tests do with a cluster: plain dictionaries in and out, waiting on conditions, kubeconfigs for ServiceAccounts.

It stands on the official client, so that every way to log in that a kubeconfig knows works.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError

Json = dict[str, Any]
Result = TypeVar("Result")
POLL_SECONDS = 0.1
MANAGER = "e2e"
# Kinds that several groups or versions serve.
_RBAC = "rbac.authorization.k8s.io/v1"
_VERSIONS = {
    "Event": "v1",
    "Ingress": "networking.k8s.io/v1",
    "HorizontalPodAutoscaler": "autoscaling/v1",
    **dict.fromkeys(("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"), _RBAC),
}


def wait_for(
    condition: Callable[[], Result],
    timeout_seconds: float = 90.0,
    *,
    state: Callable[[], object] | None = None,
) -> Result:
    """Asks until the answer is true and returns it.

    Args:
        condition: asked every 100 ms; an `AssertionError`, a failed API call or connection counts as "not yet".
        timeout_seconds: when to give up.
        state: what to show when it never came true; the last answer is shown in any case.

    Raises:
        AssertionError: it never came true.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        last: object
        try:
            answer = condition()
            if answer:
                return answer
            last = answer
        except (AssertionError, ApiException, OSError) as error:
            last = f"{type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            shown = f"\nstate: {_pretty(state())}" if state else ""
            raise AssertionError(f"not so after {timeout_seconds:g} s; last answer: {_pretty(last)}{shown}")
        time.sleep(POLL_SECONDS)


class Kube:
    """A client as whoever a kubeconfig says; objects are dictionaries as in YAML."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.api: client.ApiClient = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
        self.core = client.CoreV1Api(self.api)
        self._folder = tempfile.TemporaryDirectory(prefix="e2e-discovery-")  # the default cache outlives clusters
        cache = f"{self._folder.name}/cache.json"
        self._dynamic: Any = DynamicClient(self.api, cache_file=cache)  # type: ignore[no-untyped-call]

    def minor_version(self) -> int:
        """The API server's version: 36 for Kubernetes 1.36."""
        told = json.loads(self._dynamic.request("get", "/version", serialize=False).data)
        return int(re.sub(r"\D", "", told["minor"]))

    def create(self, body: Json, namespace: str | None = None, *, dry_run: bool = False) -> Json:
        """Creates an object. A dry run creates nothing and refuses unknown fields, from Kubernetes 1.25 on."""
        options: Json = {"dry_run": "All", "query_params": [("fieldValidation", "Strict")]} if dry_run else {}
        return _plain(self._of(body).create(body=body, namespace=namespace or _namespace(body), **options))

    def apply(self, body: Json, namespace: str | None = None) -> Json:
        """Server-side apply, taking over fields of others."""
        answer = self._of(body).server_side_apply(
            body=body,
            name=body["metadata"]["name"],
            namespace=namespace or _namespace(body),
            field_manager=MANAGER,
            force_conflicts=True,
        )
        return _plain(answer)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Json | None:
        """Reads an object; None when there is none."""
        try:
            return _plain(self._resource(kind).get(name=name, namespace=namespace))
        except NotFoundError:
            return None

    def list(self, kind: str, namespace: str | None = None, selector: str | None = None) -> list[Json]:
        """Lists objects of a kind, by label selector."""
        answer = _plain(self._resource(kind).get(namespace=namespace, label_selector=selector))
        return list(answer["items"])

    def patch(
        self, kind: str, name: str, namespace: str | None, body: Json, *, subresource: str = "", dry_run: bool = False
    ) -> Json:
        """Merge-patches an object, or its subresource such as `status`. A dry run changes nothing."""
        resource = self._resource(kind)
        target = resource.subresources[subresource] if subresource else resource
        options = {"content_type": "application/merge-patch+json", **({"dry_run": "All"} if dry_run else {})}
        return _plain(target.patch(body=body, name=name, namespace=namespace, **options))

    def delete(self, kind: str, name: str, namespace: str | None = None, *, grace_seconds: int | None = None) -> None:
        """Deletes an object, its dependents in the background. One that is gone already is no error."""
        options: Json = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            self._resource(kind).delete(name=name, namespace=namespace, body=options)
        except NotFoundError:
            return

    def delete_all(self, kind: str, namespace: str, *, grace_seconds: int | None = None) -> None:
        """Deletes all objects of a kind in a namespace, their dependents in the background."""
        options: Json = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        everything = f"metadata.namespace={namespace}"  # the client refuses to delete without any selector
        self._resource(kind).delete(namespace=namespace, body=options, field_selector=everything)

    def may_create_pods(self, namespace: str) -> bool:
        """Whether a pod would be admitted: its ServiceAccount, and on old servers the account's token, are there."""
        container = {"name": "probe", "image": "probe"}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": {"containers": [container]}}
        try:
            self._of(body).create(body=body, namespace=namespace, dry_run="All")
        except ApiException:
            return False
        return True

    def logs(self, namespace: str, pod: str, container: str | None = None, *, previous: bool = False) -> str:
        """A container's log so far."""
        query = [("previous", str(previous).lower()), *([("container", container)] if container else [])]
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        headers = {"Accept": "text/plain, */*"}
        answer = self._dynamic.request("get", path, query_params=query, header_params=headers, serialize=False)
        return str(answer.data.decode(errors="replace"))

    def pod_phase(self, namespace: str, name: str) -> str | None:
        """Pending, Running, Succeeded, Failed; None when there is no such pod."""
        pod = self.get("Pod", name, namespace)
        return pod["status"].get("phase") if pod else None

    def container_status(self, namespace: str, pod: str, container: str | None = None) -> Json:
        """The status of one container, or of the first; empty while there is none."""
        statuses = (self.get("Pod", pod, namespace) or {}).get("status", {}).get("containerStatuses", [])
        return next((dict(each) for each in statuses if container in {None, each["name"]}), {})

    def is_ready(self, namespace: str, pod: str) -> bool:
        """Whether the pod's Ready condition is True."""
        conditions = (self.get("Pod", pod, namespace) or {}).get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def service_account_kubeconfig(self, namespace: str, name: str, path: Path, *, hours: int = 6) -> Path:
        """Writes a kubeconfig with a fresh token of a ServiceAccount, so that RBAC is as real as in its pod."""
        specification = {"expirationSeconds": hours * 3600}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": specification}
        path_in_api = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = json.loads(self._dynamic.request("post", path_in_api, body=body, serialize=False).data)
        configuration = self.api.configuration
        cluster = {"server": configuration.host, "certificate-authority": configuration.ssl_ca_cert}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"token": answer["status"]["token"]}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        }
        path.write_text(json.dumps(content, indent=1))
        path.chmod(0o600)
        return path

    def describe(self, namespace: str) -> str:
        """Pods with states and the ends of their logs, and events: what to read after a failed test."""
        parts = [f"---- namespace {namespace}"]
        for pod in self.list("Pod", namespace):
            name, status = pod["metadata"]["name"], pod.get("status", {})
            parts.append(f"-- pod {name}: {status.get('phase')} {status.get('reason', '')} {status.get('message', '')}")
            for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
                parts.append(f"   {container['name']}: {json.dumps(container.get('state'))}")
                try:
                    lines = self.logs(namespace, name, container["name"]).splitlines()[-30:]
                except ApiException as error:
                    lines = [f"(no log: {error.reason})"]
                parts += [f"     {line}" for line in lines]
        for event in self.list("Event", namespace):
            subject = event["involvedObject"]
            parts.append(
                f"-- event {subject.get('kind')}/{subject.get('name')} {event.get('reason')}: {event.get('message')}"
            )
        return "\n".join(parts)

    def _of(self, body: Json) -> Any:
        return self._dynamic.resources.get(api_version=body["apiVersion"], kind=body["kind"])

    def _resource(self, kind: str) -> Any:
        version = _VERSIONS.get(kind)
        return self._dynamic.resources.get(kind=kind, **({"api_version": version} if version else {}))


def _namespace(body: Json) -> str | None:
    found = body["metadata"].get("namespace")
    return str(found) if found else None


def _plain(answer: Any) -> Json:
    return dict(answer.to_dict())


def _pretty(value: object) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, indent=1, default=str)
    return str(value)
