"""Runs etcd, kube-apiserver and kube-controller-manager as child processes on free ports of one address.

What answers is the genuine server, with RBAC, ServiceAccount tokens, admission and the controllers; the programs come
from `build.sh`, or from the folder that E2E_PROGRAMS names, of any later version. Starting takes a few seconds and
everything lives in one folder.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUILD_SCRIPT = Path(__file__).with_name("build.sh")
PROGRAMS_VARIABLE = "E2E_PROGRAMS"
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 10.0
DISABLED_CONTROLLERS = ("nodelifecycle", "nodeipam", "route", "service", "cloud-node-lifecycle", "csrsigning")

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}


class ServerFailedError(RuntimeError):
    """A server of the control plane ended, or did not become ready; the message holds the end of its log."""


def build_programs(*arguments: str) -> Path:
    """Builds what is not built yet (minutes the first time) and returns the folder of the programs.

    Where $E2E_PROGRAMS names a folder (etcd, kube-apiserver, kube-controller-manager, kubectl), it is that one.
    """
    if os.environ.get(PROGRAMS_VARIABLE):
        return Path(os.environ[PROGRAMS_VARIABLE]).resolve()
    done = subprocess.run([str(BUILD_SCRIPT), *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip().splitlines()[-1])


def minor_version(program: Path) -> int:
    """The 36 of `Kubernetes v1.36.2`, as a server's `--version` says it.

    Raises:
        ServerFailedError: it says something else.
    """
    said = subprocess.run([str(program), "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = re.match(r"Kubernetes v1\.(\d+)\.", said)
    if not found:
        raise ServerFailedError(f"{program} --version says {said!r}, not a version such as Kubernetes v1.36.2")
    return int(found.group(1))


def free_port(address: str) -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind((address, 0))
        return int(listener.getsockname()[1])


@dataclass
class Server:
    """One child process with its log; it dies with the thread that started it, by the kernel's own doing."""

    name: str
    argv: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Starts the process. Call it from a thread that lives as long as the server shall."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> None:
        """SIGTERM, then SIGKILL. Stopping twice is no error."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill(self) -> None:
        """SIGKILL, for servers whose data nobody needs any more."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def wait_until(self, ready: Callable[[], bool], timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Waits for `ready()`.

        Raises:
            ServerFailedError: the process ended first, or the time is over.
        """
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            if self.process is None or self.process.poll() is not None:
                raise ServerFailedError(f"{self.name} ended while starting:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ServerFailedError(f"{self.name} not ready after {timeout_seconds:g} s:\n{self.tail()}")
            time.sleep(0.05)

    def tail(self, lines: int = 30) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class ControlPlane:
    """A Kubernetes API server with its controllers, without any node.

    Args:
        directory: where data, certificates, logs and kubeconfigs go.
        address: the address to listen on; it is in the server's certificate.
        service_cidr: the range of ClusterIPs.

    Attributes:
        minor: the version of the servers: 20 for Kubernetes 1.20.
    """

    def __init__(self, directory: Path, *, address: str = "127.0.0.1", service_cidr: str = "10.255.240.0/20") -> None:
        self.directory = directory
        self.address = address
        self.service_cidr = service_cidr
        self.programs = build_programs()
        self.minor = minor_version(self.programs / "kube-apiserver")
        self.kubectl = self.programs / "kubectl"
        self.port = free_port(address)
        self.url = f"https://{address}:{self.port}"
        self.token = secrets.token_urlsafe(24)
        self.certificates = directory / "certificates"
        self.ca_file = self.certificates / "apiserver.crt"
        self.kubeconfig = directory / "admin.kubeconfig"
        self._audit_log = directory / "audit.log"
        self._servers: list[Server] = []
        self.certificates.mkdir(parents=True)

    def start(self) -> None:
        """Starts the three servers and returns when objects can be created and controllers act."""
        etcd_url = f"http://127.0.0.1:{free_port('127.0.0.1')}"
        self.etcd = self._server("etcd", self._etcd_flags(etcd_url))
        self.apiserver = self._server("kube-apiserver", self._apiserver_flags(etcd_url))
        self.controllers = self._server("kube-controller-manager", self._controller_flags())
        self._write_credentials()
        self.etcd.start()
        self.apiserver.start()
        self.apiserver.wait_until(self._is_ready)
        self.controllers.start()
        self.controllers.wait_until(self._has_default_service_account)

    def stop(self) -> None:
        """Ends what was started, the controllers first and all without ceremony: the data is for throwing away."""
        for server in reversed(self._servers):
            server.kill()

    def restart_apiserver(self) -> None:
        """Stops and starts the API server alone, on the same port and the same data."""
        self.apiserver.stop()
        self.apiserver.start()
        self.apiserver.wait_until(self._is_ready)

    def write_kubeconfig(self, path: Path, token: str) -> Path:
        """Writes a kubeconfig for a bearer token (JSON, which is YAML as well)."""
        cluster = {"server": self.url, "certificate-authority": str(self.ca_file)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "e2e",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": "e2e", "user": {"token": token}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
        }
        path.write_text(json.dumps(config, indent=1))
        path.chmod(0o600)
        return path

    def get(self, path: str) -> dict[str, Any] | None:
        """GETs a path as admin; None for anything but a 200 with an object."""
        request = urllib.request.Request(f"{self.url}{path}", headers={"Authorization": f"Bearer {self.token}"})
        try:
            trust = ssl.create_default_context(cafile=str(self.ca_file))
            with urllib.request.urlopen(request, context=trust, timeout=5) as answer:
                body = answer.read()
        except OSError:  # not listening yet, no certificate yet, or an HTTP error
            return None
        return dict(json.loads(body)) if body.startswith(b"{") else {}

    def refused_requests(self, user: str) -> list[str]:
        """Every request of a ServiceAccount that RBAC refused so far, as "verb uri".

        Other 403s, such as creating something in a namespace that is being deleted, are not counted.

        Args:
            user: "system:serviceaccount:<namespace>:<name>".
        """
        entries = (json.loads(line) for line in self._audit_log.read_text().splitlines())
        return [
            f"{entry['verb']} {entry['requestURI']}"
            for entry in entries
            if entry["user"]["username"] == user
            and entry.get("responseStatus", {}).get("code") == 403
            and entry.get("annotations", {}).get("authorization.k8s.io/decision") != "allow"
        ]

    def _server(self, program: str, flags: dict[str, str]) -> Server:
        argv = [str(self.programs / program), *(f"--{name}={value}" for name, value in flags.items())]
        server = Server(program, argv, self.directory / f"{program}.log")
        self._servers.append(server)
        return server

    def _write_credentials(self) -> None:
        key = self.certificates / "service-account.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        tokens = self.certificates / "tokens.csv"
        tokens.write_text(f'{self.token},admin,admin,"system:masters"\n')
        tokens.chmod(0o600)
        self.write_kubeconfig(self.kubeconfig, self.token)
        (self.directory / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))

    def _etcd_flags(self, url: str) -> dict[str, str]:
        peer = f"http://127.0.0.1:{free_port('127.0.0.1')}"
        return {
            "data-dir": str(self.directory / "etcd"),
            "unsafe-no-fsync": "true",
            "listen-client-urls": url,
            "advertise-client-urls": url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "logger": "zap",
            "log-level": "warn",
        }

    def _apiserver_flags(self, etcd_url: str) -> dict[str, str]:
        return {
            "etcd-servers": etcd_url,
            "bind-address": self.address,
            "secure-port": str(self.port),
            "cert-dir": str(self.certificates),
            "token-auth-file": str(self.certificates / "tokens.csv"),
            "authorization-mode": "RBAC",
            "allow-privileged": "true",
            "service-cluster-ip-range": self.service_cidr,
            "endpoint-reconciler-type": "none" if self.address.startswith("127.") else "lease",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": str(self.certificates / "service-account.key"),
            "service-account-signing-key-file": str(self.certificates / "service-account.key"),
            "audit-policy-file": str(self.directory / "audit-policy.json"),
            "audit-log-path": str(self._audit_log),
            "kubelet-preferred-address-types": "InternalIP",
            "profiling": "false",
        }

    def _controller_flags(self) -> dict[str, str]:
        insecure_port = {"port": "0"} if self.minor < 24 else {}  # the flag is gone since
        return insecure_port | {
            "kubeconfig": str(self.kubeconfig),
            "service-account-private-key-file": str(self.certificates / "service-account.key"),
            "root-ca-file": str(self.ca_file),
            "controllers": ",".join(["*", *(f"-{name}" for name in DISABLED_CONTROLLERS)]),
            "leader-elect": "false",
            "secure-port": "0",
            "kube-api-qps": "500",
            "kube-api-burst": "1000",
            "enable-hostpath-provisioner": "true",
            "pvclaimbinder-sync-period": "1s",
            "flex-volume-plugin-dir": str(self.directory / "flexvolume"),  # otherwise made below /usr/libexec
            "profiling": "false",
        }

    def _is_ready(self) -> bool:
        return self.get("/readyz") is not None

    def _has_default_service_account(self) -> bool:
        account = self.get("/api/v1/namespaces/default/serviceaccounts/default")
        # From 1.24 on an account needs no Secret before pods can use it.
        return bool(account and (account.get("secrets") or self.minor >= 24))
