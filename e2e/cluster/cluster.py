"""A cluster for tests: ours, made on the spot, or whatever KUBECONFIG points at."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from e2e.cluster.controlplane import ControlPlane
from e2e.cluster.kubelet import Kubelet
from e2e.cluster.network import PodNetwork
from e2e.kube import Kube

HOST_VARIABLE = "E2E_HOST_ADDRESS"


@dataclass
class Cluster:
    """What tests need to know of a cluster.

    Attributes:
        kube: a client as administrator.
        host_address: where pods reach a server that a test starts on this machine.
        kubelet: signals, eviction and the like; None on a cluster that is not ours.
        plane: the control plane's servers; None on a cluster that is not ours.
    """

    kube: Kube
    host_address: str
    kubectl: str
    kubelet: Kubelet | None = None
    plane: ControlPlane | None = None
    _forwards: dict[tuple[str, str, int], tuple[subprocess.Popen[str], str, str]] = field(default_factory=dict)

    @classmethod
    def start(cls, directory: Path) -> Cluster:
        """Starts a control plane and a node in `directory`. Needs root."""
        if os.geteuid() != 0:
            raise PermissionError("pods as processes need root (namespaces, a bridge); or set KUBECONFIG")
        network = PodNetwork.create()
        plane = ControlPlane(directory, address=network.host_address, service_cidr=network.service_cidr)
        plane.start()
        kubelet = Kubelet(plane, network)
        kubelet.start()
        return cls(Kube(plane.kubeconfig), network.host_address, str(plane.kubectl), kubelet, plane)

    @classmethod
    def existing(cls, kubeconfig: Path) -> Cluster:
        """A cluster that somebody else runs. E2E_HOST_ADDRESS says where its pods reach this machine."""
        return cls(Kube(kubeconfig), os.environ.get(HOST_VARIABLE, "127.0.0.1"), "kubectl")

    def stop(self) -> None:
        """Stops what `start` started."""
        for process, _, _ in self._forwards.values():
            process.terminate()
            process.wait()
        if self.kubelet:
            self.kubelet.stop()
        if self.plane:
            self.plane.stop()

    def run_kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs kubectl as administrator; output is captured, a failure is the caller's to look at."""
        argv = [self.kubectl, f"--kubeconfig={self.kube.kubeconfig}", *arguments]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)

    def service_url(self, namespace: str, name: str, port: int | None = None, scheme: str = "http") -> str:
        """Where this machine reaches a Service; each new connection goes to a ready pod.

        Args:
            port: a port of the Service; its first one when left out.

        Raises:
            LookupError: there is no such Service.
            ConnectionError: it has no ready pod (on a cluster of KUBECONFIG only).
        """
        service = self.kube.get("Service", name, namespace)
        if service is None:
            raise LookupError(f"no Service {namespace}/{name}")
        number = port or int(service["spec"]["ports"][0]["port"])
        if self.kubelet:
            return f"{scheme}://{service['spec']['clusterIP']}:{number}"
        return f"{scheme}://{self._forward(namespace, name, number)}"

    def ready_addresses(self, namespace: str, name: str) -> list[str]:
        """`address:port` of the Service's ready pods, of its first port."""
        endpoints = self.kube.get("Endpoints", name, namespace) or {}
        return [
            f"{address['ip']}:{subset['ports'][0]['port']}"
            for subset in endpoints.get("subsets") or []
            for address in subset.get("addresses") or []
        ]

    def _forward(self, namespace: str, name: str, port: int) -> str:
        """A local `address:port` that leads to a ready pod; kubectl itself would hold on to one that is gone."""
        ready = self._ready_pods(namespace, name)
        process, pod, place = self._forwards.get((namespace, name, port), (None, "", ""))
        if process is not None and (process.poll() is not None or pod not in ready):
            process.terminate()
            process.wait()
            process = None
        if process is None:
            if not ready:
                raise ConnectionError(f"the Service {namespace}/{name} has no ready pod")
            pod = ready[0]
            argv = [self.kubectl, f"--kubeconfig={self.kube.kubeconfig}", "--namespace", namespace]
            argv += ["port-forward", f"pod/{pod}", f":{self._target_port(namespace, name, port)}"]
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:\d+", line)
            if not found:
                raise RuntimeError(f"kubectl port-forward to {namespace}/{name} failed: {line}")
            place = found.group()
            self._forwards[namespace, name, port] = (process, pod, place)
        return place

    def _ready_pods(self, namespace: str, name: str) -> list[str]:
        endpoints = self.kube.get("Endpoints", name, namespace) or {}
        addresses = [each for subset in endpoints.get("subsets") or [] for each in subset.get("addresses") or []]
        return [each["targetRef"]["name"] for each in addresses if "targetRef" in each]

    def _target_port(self, namespace: str, name: str, port: int) -> int:
        """The pods' port behind a Service's."""
        service = self.kube.get("Service", name, namespace) or {}
        wanted = next(each.get("name") for each in service["spec"]["ports"] if int(each["port"]) == port)
        endpoints = self.kube.get("Endpoints", name, namespace) or {}
        ports = [each for subset in endpoints["subsets"] for each in subset["ports"]]
        return next(int(each["port"]) for each in ports if each.get("name") == wanted)
