"""The node as tests use it: runs in a thread of its own and can do to pods what befalls them in real clusters."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from e2e.cluster.controlplane import ControlPlane
from e2e.cluster.images import TABLE, Image
from e2e.cluster.network import PodNetwork
from e2e.cluster.node import Node

Result = TypeVar("Result")
CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "250", "ephemeral-storage": "100Gi", "nvidia.com/gpu": "8"}
CALL_TIMEOUT_SECONDS = 60.0


class Kubelet:
    """Runs the pods of a control plane as processes. Needs root, for namespaces and the bridge."""

    def __init__(self, plane: ControlPlane, network: PodNetwork, capacity: dict[str, str] | None = None) -> None:
        self.images: dict[str, Image] = dict(TABLE)
        self._plane, self._network = plane, network
        self._capacity = capacity or CAPACITY
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kubelet", daemon=True)

    def start(self) -> None:
        """Registers the node; pods start from now on."""
        self._thread.start()
        self._call(self._start())

    def stop(self) -> None:
        """Kills all pods' processes and removes their network."""
        self._call(self.node.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._network.remove()

    def logs(self, namespace: str, pod: str, container: str | None = None, *, previous: bool = False) -> str:
        """What a container has written so far; works for deleted pods too."""
        file = self.node.find_pod(namespace, pod).container(container).log_file(previous=previous)
        return file.read_text(errors="replace") if file.exists() else ""

    def processes(self, namespace: str, pod: str, container: str | None = None) -> list[int]:
        """The container's processes by their number on this machine, its process 1 first."""
        return self.node.find_pod(namespace, pod).container(container).processes()

    def signal(self, namespace: str, pod: str, number: signal.Signals, container: str | None = None) -> None:
        """Sends a signal to all processes of a container: SIGKILL, SIGSTOP, SIGCONT, …

        Raises:
            LookupError: there is no such pod, or it does not run.
        """
        processes = self.processes(namespace, pod, container)
        if not processes:
            raise LookupError(f"pod {namespace}/{pod} runs no process")
        for process in processes:
            with contextlib.suppress(ProcessLookupError):  # children come and go, and die with process 1
                os.kill(process, number)

    def oom_kill(self, namespace: str, pod: str, container: str | None = None) -> None:
        """Kills a container as the kernel does over the memory limit: exit code 137, reason OOMKilled."""
        self.node.find_pod(namespace, pod).container(container).forced_reason = "OOMKilled"
        self.signal(namespace, pod, signal.SIGKILL, container)

    def evict(self, namespace: str, pod: str, message: str = "The node was low on resource: memory.") -> None:
        """Ends a pod as a kubelet under pressure does: phase Failed, reason Evicted, no grace; the object stays."""
        self._call(self.node.find_pod(namespace, pod).fail("Evicted", message))

    def execute(
        self, namespace: str, pod: str, argv: list[str], container: str | None = None, timeout_seconds: float = 30
    ) -> tuple[int, str]:
        """Runs a command in a container, as its user; returns exit code and output."""
        return self._call(self.node.find_pod(namespace, pod).container(container).execute(argv, timeout_seconds))

    def log_directory(self) -> Path:
        """Where the pods' logs are, one folder a pod."""
        return self.node.directory / "pods"

    async def _start(self) -> None:
        self.node = Node(self._plane, self._network, self.images, self._capacity, self._plane.directory)
        await self.node.start()

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_SECONDS)
