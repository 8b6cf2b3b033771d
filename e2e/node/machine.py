"""A real node, run beside a genuine control plane: containerd, runc, kubelet, kube-proxy and kube-scheduler.

All of it lives in namespaces of its own (network, mounts, processes), behind the bridge of the tests' control plane:
ports and firewall rules meet nobody else's, and whatever runs there ends with the first process of the namespace.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.controlplane import ControlPlane, Server, build_programs
from e2e.cluster.network import PodNamespace, PodNetwork, ip
from e2e.kube import Kube, wait_for

Json = dict[str, Any]
NAME = "node"
CONTROLLERS = Path("/sys/fs/cgroup")
# Folders that programs know by heart, and that are the node's own here.
OWN_FOLDERS = ("/var/log/pods", "/var/log/containers", "/var/lib/cni", "/run/netns")


@dataclass
class Machine:
    """The node and what tests do to it from outside.

    Attributes:
        kube: a client as administrator.
        plane: the control plane's servers.
        directory: everything that the node writes; volumes lie in `volumes/`.
    """

    kube: Kube
    plane: ControlPlane
    network: PodNetwork
    directory: Path
    namespace: PodNamespace
    inside: list[str]

    def import_image(self, archive: Path) -> None:
        """Loads a docker-archive into containerd, where the kubelet finds it under the name it was saved with."""
        self.run("ctr", "--address", str(self.socket), "--namespace", "k8s.io", "images", "import", str(archive))

    @property
    def socket(self) -> Path:
        """containerd's socket."""
        return self.directory / "containerd.sock"

    def run(self, *command: str) -> str:
        """Runs a program in the node's namespaces and returns what it printed.

        Raises:
            RuntimeError: it failed; the message is what it said.
        """
        done = subprocess.run([*self.inside, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

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
        (folder,) = (CONTROLLERS / "cpu" / self.network.bridge).rglob(f"pod{pod['metadata']['uid']}")
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
    """Starts control plane and node, and yields when pods can run. Needs root."""
    if (CONTROLLERS / "cgroup.controllers").exists():
        raise RuntimeError(f"{CONTROLLERS} is cgroup v2 alone, which Kubernetes 1.20's kubelet does not manage")
    programs = build_programs("node")
    network = PodNetwork.create()
    plane = ControlPlane(plane_directory, address=network.host_address, service_cidr=network.service_cidr)
    plane.start()
    namespace = network.attach()
    _route(network, namespace)
    # Sockets have short names, and images need room: not below pytest's folder.
    directory = Path(tempfile.mkdtemp(prefix="agl", dir="/var/tmp"))
    cgroup = f"{network.bridge}"
    anchor, inside = _enter(namespace, directory)
    try:
        _make_cgroups(cgroup)
        machine = Machine(Kube(plane.kubeconfig), plane, network, directory, namespace, inside)
        servers = _servers(machine, programs, cgroup)
        for server in servers:
            server.start()
            if server.name == "containerd":
                wait_for(lambda: machine.run("ctr", "--address", str(machine.socket), "version"))
        wait_for(lambda: _is_ready(machine.kube), 60, state=lambda: "\n".join(each.tail(15) for each in servers))
        yield machine
    finally:
        anchor.kill()
        anchor.wait()
        plane.stop()
        network.remove()
        _remove_cgroups(cgroup)
        shutil.rmtree(directory, ignore_errors=True)


def _route(network: PodNetwork, namespace: PodNamespace) -> None:
    """Pods and Services are reached through the node, whose kube-proxy knows them."""
    for cidr in (_pod_cidr(network), network.service_cidr):
        ip("route", "add", cidr, "via", namespace.address)
    subprocess.run(["ip", "netns", "exec", namespace.name, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)


def _pod_cidr(network: PodNetwork) -> str:
    return f"{network.prefix}.64.0/20"


def _enter(namespace: PodNamespace, directory: Path) -> tuple[subprocess.Popen[bytes], list[str]]:
    """The first process of the namespaces, and the command that enters them."""
    argv = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{namespace.name}"]
    argv += ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "sleep", "infinity"]
    anchor = subprocess.Popen(argv)
    children = Path(f"/proc/{anchor.pid}/task/{anchor.pid}/children")
    first = wait_for(lambda: next(iter(children.read_text().split()), ""))
    inside = ["nsenter", "--target", first, "--net", "--mount", "--pid", "--"]
    for folder in OWN_FOLDERS:
        own = directory / folder.strip("/").replace("/", "-")
        own.mkdir()
        Path(folder).mkdir(parents=True, exist_ok=True)
        subprocess.run([*inside, "mount", "--bind", str(own), folder], check=True)
    return anchor, inside


def _make_cgroups(name: str) -> None:
    for controller in CONTROLLERS.iterdir():
        if not controller.is_symlink() and (controller / "cgroup.procs").exists():
            (controller / name).mkdir(exist_ok=True)
    for setting in ("cpuset.cpus", "cpuset.mems"):
        source = CONTROLLERS / "cpuset" / setting
        if source.exists():
            (CONTROLLERS / "cpuset" / name / setting).write_text(source.read_text())


def _remove_cgroups(name: str) -> None:
    for top in CONTROLLERS.glob(f"*/{name}"):
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):  # the kernel still clears the last processes away; the next reboot takes the folder
                Path(folder).rmdir()


def _is_ready(kube: Kube) -> bool:
    """Ready, and free of the taint that the controllers of a cloud would take away."""
    node = kube.get("Node", NAME)
    if node is None or not any(
        each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"]
    ):
        return False
    if node["spec"].get("taints"):
        kube.patch("Node", NAME, None, {"spec": {"taints": None}})
    return True


def _servers(machine: Machine, programs: Path, cgroup: str) -> list[Server]:
    directory = machine.directory
    _write_containerd(machine)
    kubelet = directory / "kubelet.json"
    kubelet.write_text(json.dumps(_kubelet_configuration(machine.namespace.address, f"/{cgroup}")))
    credentials = f"--kubeconfig={machine.kube.kubeconfig}"
    commands = {
        "containerd": ["/usr/bin/containerd", "--config", str(directory / "containerd.toml")],
        "kubelet": [
            str(programs / "kubelet"),
            credentials,
            f"--config={kubelet}",
            f"--root-dir={directory / 'kubelet'}",
            f"--cert-dir={directory / 'certificates'}",
            f"--hostname-override={NAME}",
            f"--node-ip={machine.namespace.address}",
            "--container-runtime=remote",
            f"--container-runtime-endpoint=unix://{machine.socket}",
        ],
        "kube-proxy": [
            str(programs / "kube-proxy"),
            credentials,
            f"--hostname-override={NAME}",
            "--proxy-mode=iptables",
            f"--cluster-cidr={_pod_cidr(machine.network)}",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
            "--iptables-min-sync-period=100ms",
        ],
        "kube-scheduler": [str(programs / "kube-scheduler"), credentials, "--leader-elect=false", "--port=0"],
    }
    return [Server(name, [*machine.inside, *argv], directory / f"{name}.log") for name, argv in commands.items()]


def _kubelet_configuration(address: str, cgroup: str) -> Json:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # Only this machine can reach the address.
        "address": address,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "nodeStatusUpdateFrequency": "2s",
        "serializeImagePulls": False,
        "resolvConf": "",
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def _write_containerd(machine: Machine) -> None:
    directory = machine.directory
    network = {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": True,
                "ipam": {
                    "type": "host-local",
                    "subnet": _pod_cidr(machine.network),
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(directory / "addresses"),
                },
            }
        ],
    }
    (directory / "cni").mkdir()
    (directory / "cni" / "pods.conflist").write_text(json.dumps(network))
    (directory / "containerd.toml").write_text(
        f"""
version = 2
root = "{directory}/containerd"
state = "{directory}/state"
[grpc]
address = "{machine.socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{directory}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/library/autoglm-sandbox:test"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{directory}/cni"
"""
    )
