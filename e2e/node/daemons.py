"""The programs that make a node, and how they are told to live in namespaces of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from e2e.cluster.controlplane import Server
from e2e.node.imagestore import write_configuration

Json = dict[str, Any]
NODE = "node"


def daemons(
    directory: Path, inside: list[str], programs: Path, kubeconfig: Path, *, address: str, pods: str, cgroup: str
) -> list[Server]:
    """containerd, kubelet, kube-proxy and kube-scheduler, in the order to start them in.

    Args:
        directory: for configuration, logs and data; containerd's images lie in `containerd/` already.
        inside: the beginning of a command that runs in the node's namespaces.
        programs: where the Kubernetes programs are.
        kubeconfig: with the rights of an administrator.
        address: the node's.
        pods: the range of the pods' addresses, as CIDR.
        cgroup: name of the control groups that pods go below.
    """
    (directory / "cni").mkdir()
    (directory / "cni/pods.conflist").write_text(json.dumps(_pod_network(pods, directory / "addresses")))
    write_configuration(
        directory / "containerd.toml",
        root=directory / "containerd",
        state=directory / "state",
        socket=containerd_socket(directory),
        networks=directory / "cni",
    )
    configuration = directory / "kubelet.json"
    configuration.write_text(json.dumps(_kubelet_configuration(address, f"/{cgroup}")))
    credentials = f"--kubeconfig={kubeconfig}"
    commands = {
        "containerd": ["containerd", "--config", str(directory / "containerd.toml")],
        "kubelet": [
            str(programs / "kubelet"),
            credentials,
            f"--config={configuration}",
            f"--root-dir={directory / 'kubelet'}",
            f"--cert-dir={directory / 'certificates'}",
            f"--hostname-override={NODE}",
            f"--node-ip={address}",
            "--container-runtime=remote",
            f"--container-runtime-endpoint=unix://{containerd_socket(directory)}",
        ],
        "kube-proxy": [
            str(programs / "kube-proxy"),
            credentials,
            f"--hostname-override={NODE}",
            "--proxy-mode=iptables",
            f"--cluster-cidr={pods}",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
            "--iptables-min-sync-period=100ms",
        ],
        "kube-scheduler": [str(programs / "kube-scheduler"), credentials, "--leader-elect=false", "--port=0"],
    }
    return [Server(name, [*inside, *argv], directory / f"{name}.log") for name, argv in commands.items()]


def containerd_socket(directory: Path) -> Path:
    """Where a node's containerd answers."""
    return directory / "containerd.sock"


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


def _pod_network(pods: str, addresses: Path) -> Json:
    ranges = {"type": "host-local", "subnet": pods, "routes": [{"dst": "0.0.0.0/0"}], "dataDir": str(addresses)}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipMasq": True, "ipam": ranges}]}
