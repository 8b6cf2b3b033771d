"""A real node, run beside a genuine control plane: containerd, runc, kubelet, kube-proxy and kube-scheduler.

All of it lives in namespaces of its own (network, mounts, processes), behind the bridge of the tests' control plane:
ports and firewall rules meet nobody else's, and whatever runs there ends with the first process of the namespace.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.controlplane import ControlPlane, build_programs
from e2e.cluster.network import PodNamespace, PodNetwork, ip
from e2e.kube import Kube, wait_for
from e2e.node.daemons import NODE, containerd_socket, daemons
from e2e.node.imagestore import answers, copy_store
from e2e.node.surroundings import Surroundings

Json = dict[str, Any]


@dataclass
class Machine:
    """The node and what tests do to it from outside.

    Attributes:
        kube: a client as administrator.
        plane: the control plane's servers.
        network: between the control plane and the node.
        surroundings: the node's namespaces, control groups and folder; volumes lie in the folder's `volumes/`.
    """

    kube: Kube
    plane: ControlPlane
    network: PodNetwork
    surroundings: Surroundings

    @property
    def directory(self) -> Path:
        """Everything that the node writes."""
        return self.surroundings.directory

    def kubectl(self, *arguments: str) -> str:
        """Runs kubectl as administrator.

        Raises:
            RuntimeError: it failed; the message is what it said.
        """
        argv = [str(self.plane.kubectl), f"--kubeconfig={self.kube.kubeconfig}", *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def exec(self, namespace: str, pod: str, *command: str) -> str:
        """Runs a program in a pod's container."""
        return self.kubectl("exec", "--namespace", namespace, pod, "--", *command)

    def throttle(self, pod: Json, cores: float) -> None:
        """Gives a running pod less CPU than it was promised: what it does takes longer."""
        (folder,) = self.surroundings.cgroup("cpu").rglob(f"pod{pod['metadata']['uid']}")
        period = int((folder / "cpu.cfs_period_us").read_text())
        for container in folder.iterdir():
            if container.is_dir():
                (container / "cpu.cfs_quota_us").write_text(str(int(period * cores)))

    def make_volumes(self, count: int) -> None:
        """Creates claimable volumes: folders of this machine that every user may write to."""
        for number in range(count):
            folder = self.directory / "volumes" / f"volume-{number}"
            folder.mkdir(parents=True)
            folder.chmod(0o777)
            spec = {
                "capacity": {"storage": "50Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": str(folder)},
            }
            name = {"name": folder.name}
            self.kube.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": name, "spec": spec})

    def volume_of(self, namespace: str, claim: str) -> Path:
        """The folder behind a bound claim."""
        bound = wait_for(
            lambda: (self.kube.get("PersistentVolumeClaim", claim, namespace) or {})["spec"].get("volumeName")
        )
        return self.directory / "volumes" / str(bound)


@contextmanager
def running_machine(plane_directory: Path) -> Iterator[Machine]:
    """Starts control plane and node, and yields when pods can run. Needs root, and `imagestore.stock` before."""
    programs = build_programs("node")
    with ExitStack() as stack:
        network = PodNetwork.create()
        stack.callback(network.remove)
        plane = ControlPlane(plane_directory, address=network.host_address, service_cidr=network.service_cidr)
        stack.callback(plane.stop)
        plane.start()
        namespace = network.attach()
        pods = f"{network.prefix}.64.0/20"
        _route(network, namespace, pods)
        surroundings = Surroundings(network.bridge, namespace)
        stack.callback(surroundings.remove)
        machine = Machine(Kube(plane.kubeconfig), plane, network, surroundings)
        copy_store(machine.directory / "containerd")
        containerd, *others = servers = daemons(
            machine.directory,
            surroundings.inside,
            programs,
            plane.kubeconfig,
            address=namespace.address,
            pods=pods,
            cgroup=surroundings.name,
        )
        containerd.start()
        wait_for(lambda: answers(containerd_socket(machine.directory)), state=containerd.tail)
        for server in others:
            server.start()
        wait_for(lambda: _is_ready(machine.kube), 60, state=lambda: "\n".join(each.tail(15) for each in servers))
        yield machine


def _route(network: PodNetwork, namespace: PodNamespace, pods: str) -> None:
    """Pods and Services are reached through the node, whose kube-proxy knows them."""
    for cidr in (pods, network.service_cidr):
        ip("route", "add", cidr, "via", namespace.address)
    subprocess.run(["ip", "netns", "exec", namespace.name, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)


def _is_ready(kube: Kube) -> bool:
    """Ready, and free of the taint that the controllers of a cloud would take away."""
    node = kube.get("Node", NODE)
    if node is None or not any(
        each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"]
    ):
        return False
    if node["spec"].get("taints"):
        kube.patch("Node", NODE, None, {"spec": {"taints": None}})
    return True
