"""Gives every pod an address of its own: a bridge on this machine and a network namespace a pod.

The bridge's address is the only way out of a pod: the API server, the Service proxy and test servers listen there.
Names carry our process id, so that leftovers of a killed run are known and removed by the next one.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PREFIX = "agl"
_HARDWARE_ADDRESS = "02:61:67:6c:00:01"  # locally administered


class NetworkError(RuntimeError):
    """iproute2 refused; the message is its own."""


def ip(*arguments: str, batch: str | None = None) -> str:
    """Runs iproute2's `ip` and returns its output."""
    done = subprocess.run(["ip", *arguments], input=batch, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NetworkError(f"ip {' '.join(arguments)} {batch or ''}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True)
class PodNamespace:
    """A pod's network namespace and its address there."""

    name: str
    address: str


@dataclass
class PodNetwork:
    """A bridge with 10.X.0.0/20 for pods and 10.X.128.0/20 for Services, where 10.X.0.0/16 was free."""

    bridge: str
    prefix: str
    _used: dict[str, PodNamespace] = field(default_factory=dict)
    _count: int = 0

    @classmethod
    def create(cls) -> PodNetwork:
        """Makes the bridge. Needs root."""
        _remove_leftovers()
        network = cls(f"{_PREFIX}{os.getpid()}", _free_prefix())
        # Left to itself a bridge takes the lowest of its ports' hardware addresses, so another one whenever pods come
        # and go, and whatever the others send meanwhile is lost until they ask anew: a connection stalls for minutes.
        ip("link", "add", network.bridge, "address", _HARDWARE_ADDRESS, "type", "bridge")
        ip("addr", "add", f"{network.host_address}/20", "dev", network.bridge)
        ip("link", "set", network.bridge, "up")
        return network

    @property
    def host_address(self) -> str:
        """This machine's address on the bridge; pods reach it."""
        return f"{self.prefix}.0.1"

    @property
    def service_cidr(self) -> str:
        """Addresses for ClusterIPs; the proxy adds each to the bridge as it is used."""
        return f"{self.prefix}.128.0/20"

    def attach(self) -> PodNamespace:
        """Makes a namespace with one address and a default route to the bridge."""
        self._count += 1
        pod = PodNamespace(f"{self.bridge}-{self._count}", self._next_address())
        outside = f"{_PREFIX[0]}{self._count}p{os.getpid()}"
        ip("netns", "add", pod.name)
        self._used[pod.address] = pod
        ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", pod.name)
        ip("link", "set", outside, "master", self.bridge, "up")
        steps = f"addr add {pod.address}/20 dev eth0\nlink set lo up\nlink set eth0 up\n"
        ip("-n", pod.name, "-batch", "-", batch=f"{steps}route add default via {self.host_address}\n")
        return pod

    def detach(self, pod: PodNamespace) -> None:
        """Removes a pod's namespace. Detaching twice is no error."""
        if self._used.pop(pod.address, None):
            ip("netns", "del", pod.name)

    def remove(self) -> None:
        """Removes all of it."""
        for pod in list(self._used.values()):
            self.detach(pod)
        ip("link", "del", self.bridge)

    def _next_address(self) -> str:
        for offset in range(4000):
            number = (self._count + offset) % 4000 + 2  # an address comes back late, so nobody mistakes a new pod
            address = f"{self.prefix}.{number // 256}.{number % 256}"
            if address not in self._used:
                return address
        raise NetworkError("no pod address is free: 4,000 pods have one")


def _free_prefix() -> str:
    taken = [
        ipaddress.ip_network(f"{entry['local']}/{entry['prefixlen']}", strict=False)
        for link in _json("addr", "show")
        for entry in link.get("addr_info", [])
        if entry["family"] == "inet"
    ]
    for second in range(88, 250):
        candidate = ipaddress.ip_network(f"10.{second}.0.0/16")
        if not any(candidate.overlaps(network) for network in taken):
            return f"10.{second}"
    raise NetworkError("no network of the form 10.X.0.0/16 is free")


def _remove_leftovers() -> None:
    for namespace in _json("netns", "list"):
        if _is_leftover(namespace["name"]):
            ip("netns", "del", namespace["name"])
    for link in _json("link", "show", "type", "bridge"):
        if link and _is_leftover(link["ifname"]):
            ip("link", "del", link["ifname"])


def _is_leftover(name: str) -> bool:
    ours = re.fullmatch(rf"{_PREFIX}(\d+)(-\d+)?", name)
    return ours is not None and not Path(f"/proc/{ours.group(1)}").exists()


def _json(*arguments: str) -> list[dict[str, Any]]:
    return list(json.loads(ip("-json", *arguments) or "[]"))
