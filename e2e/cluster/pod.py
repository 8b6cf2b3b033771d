"""One pod on this node from binding to removal: network, volumes, init containers, containers, end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from e2e.cluster.api import ApiError
from e2e.cluster.container import RETRY_SECONDS, Container, timestamp
from e2e.cluster.environment import ReferenceNotFoundError, container_environment
from e2e.cluster.images import code_paths, find_image
from e2e.cluster.network import PodNamespace
from e2e.cluster.sandbox import Identity, Mount, Sandbox
from e2e.cluster.status import PodFacts, Verdict, phase, pod_status
from e2e.cluster.volumes import prepare_volumes, remove_volumes

if TYPE_CHECKING:
    from e2e.cluster.node import Node

Json = dict[str, Any]
log = logging.getLogger(__name__)


class Pod:
    """Runs one pod object and reports its status until it is deleted."""

    def __init__(self, body: Json, node: Node) -> None:
        self.body, self.node = body, node
        self.name, self.namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        self.uid = body["metadata"]["uid"]
        self.directory: Path = node.directory / "pods" / f"{self.namespace}_{self.name}_{self.uid}"
        self.volumes: dict[str, Path] = {}
        self._hosts, self._resolver = self.directory / "hosts", self.directory / "resolv.conf"
        self._network: PodNamespace | None = None
        self._dirty = asyncio.Event()
        self._stopping = False
        self._grace_seconds: float | None = None
        self.directory.mkdir(parents=True)
        spec = body["spec"]
        self.facts = PodFacts(
            init_containers=[self._container(each) for each in spec.get("initContainers", [])],
            containers=[self._container(each) for each in spec["containers"]],
            restart_policy=spec.get("restartPolicy", "Always"),
            started_at=timestamp(),
            host_address=node.network.host_address,
        )
        self._running = asyncio.create_task(self._run())
        self._reporting = asyncio.create_task(self._report())

    @property
    def path(self) -> str:
        """Of the object in the API."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    @property
    def is_over(self) -> bool:
        """Whether it has left its resources."""
        return phase(self.facts) in {"Succeeded", "Failed"}

    def container(self, name: str | None = None) -> Container:
        """A container by name, or the first one.

        Raises:
            LookupError: the pod has no such container.
        """
        for each in [*self.facts.containers, *self.facts.init_containers]:
            if name in {None, each.name}:
                return each
        raise LookupError(f"pod {self.namespace}/{self.name} has no container {name}")

    def write_hosts(self, names: str) -> None:
        """Brings /etc/hosts up to date, in place: it is bound into running containers."""
        if self.facts.address:
            own = f"127.0.0.1 localhost\n{self.facts.address} {self.name}\n"
            self._hosts.write_text(own + names)

    async def fail(self, reason: str, message: str) -> None:
        """Ends the pod as `Failed` with a reason, without grace, as eviction does."""
        self.facts.verdict = Verdict(reason, message)
        await self._stop(0)

    async def delete(self, grace_seconds: float) -> None:
        """Stops the pod, reports its end, and tells the API server that it may forget the object.

        Asked again it only does something when the grace has become shorter.
        """
        before, self._grace_seconds = self._grace_seconds, grace_seconds
        if before is not None and grace_seconds >= before:
            return  # each report of ours comes back as an event with the same wish
        await self._stop(grace_seconds)
        if before is not None:
            return
        await self._flush()
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        with contextlib.suppress(ApiError, aiohttp.ClientError):  # gone already, or another one has the name
            await self.node.api.request("DELETE", self.path, options)

    async def remove(self) -> None:
        """Kills what is left and removes the pod's volumes; logs stay for reading after a failed test."""
        await self._stop(0)
        self._reporting.cancel()
        remove_volumes(self.directory / "volumes")

    async def _stop(self, grace_seconds: float) -> None:
        self._stopping = True
        everything = [*self.facts.containers, *self.facts.init_containers]
        await asyncio.gather(*(container.stop(grace_seconds) for container in everything))
        await asyncio.wait([self._running])  # not `await`: cancelling us must not cancel it

    async def _run(self) -> None:
        try:
            self._network = await asyncio.to_thread(self.node.network.attach)
            self._connect(self._network.address)
            deadline = self.body["spec"].get("activeDeadlineSeconds")
            timer = asyncio.create_task(self._fail_after(deadline)) if deadline else None
            await self._prepare_volumes()
            await self._run_containers()
            if timer:
                timer.cancel()
        except Exception:  # a fault of this runner: it must not look like a hanging pod
            log.exception("pod %s/%s", self.namespace, self.name)
            self.facts.verdict = Verdict("PodRunnerError", "the pod runner failed: see the log of the tests")
        finally:
            self.facts.over = True
            self._dirty.set()
            if self._network:
                await asyncio.to_thread(self.node.network.detach, self._network)

    def _connect(self, address: str) -> None:
        self.facts.address = address
        self.body.setdefault("status", {}).update(podIP=address, hostIP=self.facts.host_address)
        self._resolver.write_text(f"nameserver {self.facts.host_address}\noptions timeout:1 attempts:1\n")
        self.write_hosts(self.node.host_names(self.namespace))
        for container in [*self.facts.init_containers, *self.facts.containers]:
            container.address = address
        self._dirty.set()

    async def _prepare_volumes(self) -> None:
        while not self._stopping:
            try:
                self.volumes = await prepare_volumes(
                    self.body, self.directory / "volumes", self._lookup, self._service_account_token
                )
            except (ReferenceNotFoundError, ApiError, aiohttp.ClientError) as error:
                for container in [*self.facts.init_containers, *self.facts.containers]:
                    container.wait_with("ContainerCreating", str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _run_containers(self) -> None:
        policy = self.facts.restart_policy
        for container in self.facts.init_containers:
            await container.run("Never" if policy == "Never" else "OnFailure")
            if container.exit_code != 0:
                self.facts.failed_init = True
            if self._stopping or self.facts.failed_init:
                return
        self.facts.initialized = True
        await asyncio.gather(*(container.run(policy) for container in self.facts.containers))

    async def _fail_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")

    def _container(self, spec: Json) -> Container:
        return Container(spec, self.directory / spec["name"], self._sandbox, self._dirty.set)

    async def _sandbox(self, container: Container) -> Sandbox:
        spec = container.spec
        image = find_image(spec["image"], self.node.images)
        context = self.body["spec"].get("securityContext", {}) | spec.get("securityContext", {})
        user = context.get("runAsUser", image.user)
        if context.get("runAsNonRoot") and user == 0:
            raise ReferenceNotFoundError("container has runAsNonRoot and image will run as root")
        groups = [*context.get("supplementalGroups", []), *([context["fsGroup"]] if "fsGroup" in context else [])]
        identity = Identity(
            user=user,
            group=context.get("runAsGroup", 0),
            groups=tuple(groups),
            drops_capabilities="ALL" in context.get("capabilities", {}).get("drop", []),
            no_new_privileges=context.get("allowPrivilegeEscalation") is False,
        )
        initial = {"HOME": "/", **self.node.cluster_environment(), **image.environment, "HOSTNAME": self.name}
        environment = await container_environment(
            spec, self.body, self._lookup, initial=initial, allocatable=self.node.capacity
        )
        assert self._network is not None
        return Sandbox(
            hostname=self.name,
            network_namespace=self._network.name,
            root=container.directory / "root",
            mounts=self._mounts(container),
            code=code_paths(),
            identity=identity,
            environment=environment,
            working_directory=spec.get("workingDir") or image.working_directory,
            argv=image.argv(spec, environment),
            read_only_root=bool(context.get("readOnlyRootFilesystem")),
            has_user_entry=image.has_user_entry,
        )

    def _mounts(self, container: Container) -> list[Mount]:
        container.termination_log.touch()
        message_path = container.spec.get("terminationMessagePath", "/dev/termination-log")
        mounts = [
            Mount(container.termination_log, message_path),
            Mount(self._hosts, "/etc/hosts"),
            Mount(self._resolver, "/etc/resolv.conf"),
        ]
        for mount in container.spec.get("volumeMounts", []):
            source = self.volumes[mount["name"]] / mount.get("subPath", "")
            if not source.exists():
                source.mkdir(parents=True)
                source.chmod(0o2777)
            mounts.append(Mount(source, mount["mountPath"], mount.get("readOnly", False)))
        return mounts

    async def _lookup(self, kind: str, name: str) -> Json | None:
        if kind == "persistentvolumes":
            return await self.node.api.find(f"/api/v1/{kind}/{name}") if name else None
        return await self.node.api.find(f"/api/v1/namespaces/{self.namespace}/{kind}/{name}")

    async def _service_account_token(self, projection: Json) -> str:
        account = self.body["spec"].get("serviceAccountName", "default")
        reference = {"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": self.uid}
        spec: Json = {"expirationSeconds": projection.get("expirationSeconds", 3600), "boundObjectRef": reference}
        if projection.get("audience"):
            spec["audiences"] = [projection["audience"]]
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        answer = await self.node.api.request("POST", path, {"spec": spec})
        return str(answer["status"]["token"])

    async def _report(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._flush()
            except (ApiError, aiohttp.ClientError) as error:
                log.info("status of pod %s/%s, once more: %s", self.namespace, self.name, error)
                self._dirty.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _flush(self) -> None:
        body = {"metadata": {"uid": self.uid}, "status": pod_status(self.facts, timestamp())}
        await self.node.api.merge(f"{self.path}/status", body)
