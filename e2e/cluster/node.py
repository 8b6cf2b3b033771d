"""A node whose pods are processes of this machine: watches pods, binds and runs them, keeps Services working."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from e2e.cluster.api import Api, ApiError
from e2e.cluster.container import Container, timestamp
from e2e.cluster.controlplane import ControlPlane
from e2e.cluster.images import Image
from e2e.cluster.logserver import serve_logs
from e2e.cluster.network import PodNetwork
from e2e.cluster.pod import Pod
from e2e.cluster.proxy import ServiceProxy
from e2e.cluster.scheduling import is_waiting, unschedulable_condition, why_not_here

Json = dict[str, Any]
NAME = "process-node"
LABELS = {"kubernetes.io/hostname": NAME, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
STORAGE_CLASS: Json = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "directory", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "kubernetes.io/host-path",
}
PROVISIONED = Path("/tmp/hostpath_pv")  # where kube-controller-manager's host-path provisioner makes its folders
log = logging.getLogger(__name__)


class Node:
    """Everything that runs inside the node's event loop.

    Args:
        plane: a running control plane.
        network: where pods get their addresses.
        images: what can be pulled; may be changed while running.
        capacity: the node's resources as quantities, for scheduling and the downward API.
        directory: holds the pods' files.
    """

    def __init__(
        self, plane: ControlPlane, network: PodNetwork, images: Mapping[str, Image], capacity: Json, directory: Path
    ) -> None:
        self.network, self.images, self.directory = network, images, directory
        self.capacity = capacity
        self.pods: dict[str, Pod] = {}
        self.api = Api(plane.url, plane.token, str(plane.ca_file))
        self._plane = plane
        self._proxy = ServiceProxy(network)
        self._waiting: dict[str, Json] = {}
        self._binding: dict[str, Json] = {}
        self._schedule_again = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._log_server: web.AppRunner | None = None

    async def start(self) -> None:
        """Registers the node and begins to watch."""
        certificates = self._plane.certificates
        self._log_server, port = await serve_logs(
            self._find, self.network.host_address, self._plane.ca_file, certificates / "apiserver.key"
        )
        await self._register(port)
        await self.api.request("POST", "/apis/storage.k8s.io/v1/storageclasses", STORAGE_CLASS)
        self._spawn(self._schedule_for_ever())
        self._spawn(self.api.follow("/api/v1/services", self._on_service))
        self._spawn(self.api.follow("/api/v1/endpoints", self._on_endpoints))
        self._spawn(self.api.follow("/api/v1/pods", self._on_pod))

    async def stop(self) -> None:
        """Ends every pod at once and stops watching; the objects stay in the API."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*(pod.remove() for pod in self.pods.values()))
        await self._proxy.close()
        await self._remove_claimed_directories()
        if self._log_server:
            await self._log_server.cleanup()
        await self.api.close()

    def find_pod(self, namespace: str, name: str) -> Pod:
        """The newest pod of this name that this node runs or ran.

        Raises:
            LookupError: there is none.
        """
        for pod in reversed(self.pods.values()):
            if (pod.namespace, pod.name) == (namespace, name):
                return pod
        raise LookupError(f"no pod {namespace}/{name} on this node")

    def host_names(self, namespace: str) -> str:
        """The Services' lines for /etc/hosts of a pod in `namespace`."""
        return self._proxy.host_names(namespace)

    def cluster_environment(self) -> dict[str, str]:
        """How a container finds the API server."""
        base = self.network.service_cidr.split("/")[0].rsplit(".", 1)[0]
        return {"KUBERNETES_SERVICE_HOST": f"{base}.1", "KUBERNETES_SERVICE_PORT": "443"}

    async def _remove_claimed_directories(self) -> None:
        with contextlib.suppress(ApiError, aiohttp.ClientError):
            listed = await self.api.request("GET", "/api/v1/persistentvolumes")
            paths = [Path(volume["spec"].get("hostPath", {}).get("path", "/")) for volume in listed["items"]]
            for path in paths:
                if path.is_relative_to(PROVISIONED):
                    shutil.rmtree(path, ignore_errors=True)

    async def _register(self, log_port: int) -> None:
        labels = LABELS
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME, "labels": labels}}
        with contextlib.suppress(ApiError):
            await self.api.request("POST", "/api/v1/nodes", node)
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": timestamp()}
        addresses = [
            {"type": "InternalIP", "address": self.network.host_address},
            {"type": "Hostname", "address": NAME},
        ]
        status = {
            "capacity": self.capacity,
            "allocatable": self.capacity,
            "conditions": [ready],
            "addresses": addresses,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": log_port}},
        }
        await self.api.merge(f"/api/v1/nodes/{NAME}/status", {"status": status})
        await self.api.merge(f"/api/v1/nodes/{NAME}", {"spec": {"taints": None}})

    def _on_pod(self, event: str, body: Json) -> None:
        uid, metadata = body["metadata"]["uid"], body["metadata"]
        pod = self.pods.get(uid)
        self._waiting.pop(uid, None)
        if event == "DELETED":
            self._binding.pop(uid, None)
            if pod:
                self._spawn(self._forget(pod))
        elif pod and "deletionTimestamp" in metadata:
            self._spawn(pod.delete(float(metadata.get("deletionGracePeriodSeconds", 0))))
        elif pod is None and body["spec"].get("nodeName") == NAME:
            self._take(body)
        elif pod is None and is_waiting(body):
            self._waiting[uid] = body
        self._schedule_again.set()

    def _take(self, body: Json) -> None:
        self._binding.pop(body["metadata"]["uid"], None)
        if body.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
            return
        pod = Pod(body, self)
        self.pods[pod.uid] = pod
        if "deletionTimestamp" in body["metadata"]:
            self._spawn(pod.delete(0))

    async def _forget(self, pod: Pod) -> None:
        await pod.remove()
        self._schedule_again.set()

    async def _schedule_for_ever(self) -> None:
        while True:
            await self._schedule_again.wait()
            self._schedule_again.clear()
            await self._schedule()

    async def _schedule(self) -> None:
        for uid, body in list(self._waiting.items()):
            placed = [pod.body for pod in self.pods.values() if not pod.is_over]
            reason = why_not_here(body, LABELS, self.capacity, [*placed, *self._binding.values()])
            path = f"/api/v1/namespaces/{body['metadata']['namespace']}/pods/{body['metadata']['name']}"
            try:
                if reason is None:
                    self._waiting.pop(uid, None)
                    self._binding[uid] = body
                    target = {"apiVersion": "v1", "kind": "Node", "name": NAME}
                    metadata = {"name": body["metadata"]["name"], "uid": uid}
                    await self.api.request("POST", f"{path}/binding", {"metadata": metadata, "target": target})
                elif not body.get("status", {}).get("conditions"):
                    conditions = [unschedulable_condition(reason, timestamp())]
                    await self.api.merge(f"{path}/status", {"status": {"conditions": conditions}})
            except (ApiError, aiohttp.ClientError) as error:
                self._binding.pop(uid, None)
                if not isinstance(error, ApiError) or error.status not in {404, 409}:
                    self._waiting[uid] = body
                    log.info("binding of %s, once more with the next change: %s", path, error)

    def _on_service(self, event: str, service: Json) -> None:
        self._proxy.on_service(event, service)
        self._spawn(self._proxy.sync())
        self._rewrite_hosts()

    def _on_endpoints(self, event: str, endpoints: Json) -> None:
        self._proxy.on_endpoints(event, endpoints)
        self._rewrite_hosts()

    def _rewrite_hosts(self) -> None:
        for pod in self.pods.values():
            if not pod.is_over:
                pod.write_hosts(self._proxy.host_names(pod.namespace))

    def _find(self, namespace: str, pod: str, container: str) -> Container | None:
        try:
            return self.find_pod(namespace, pod).container(container)
        except LookupError:
            return None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
