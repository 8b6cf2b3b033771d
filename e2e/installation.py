"""An installation on the test cluster: the chart's CRDs and RBAC, a PostgreSQL server, and the operator as a process.

The operator has the rights of the chart's ServiceAccount and no others; whatever the API server refuses it fails the
test. As a process of its own it can be killed at any moment and started again.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from e2e.cluster.cluster import Cluster
from e2e.kube import Kube, wait_for
from kubernetes.dynamic.exceptions import ConflictError
from tests.chart.rendering import EXTERNAL, NAMESPACE, render
from tests.postgres import PostgresServer, start_postgres

Json = dict[str, Any]
ACCOUNT = "autoglm"
KINDS = ("CustomResourceDefinition", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
_RIGHT_LACKED = re.compile(r"is forbidden: User .* cannot ")
FAST = {
    "POLL_SECONDS": "1",
    "STATUS_INTERVAL_SECONDS": "0.5",
    "TRIALS_MAX_AGE_SECONDS": "0.2",
    "CLAIM_GRACE_SECONDS": "40",
    "UNSCHEDULABLE_GRACE_SECONDS": "2",
    "SLOT_BACKOFF_SECONDS": "1",
}


@dataclass
class Operator:
    """The operator's process; `stop` is SIGTERM, `kill` SIGKILL, and `start` goes on where either left off."""

    kubeconfig: Path
    log: Path
    port: int
    settings: dict[str, str]
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _judged: int = field(default=0, repr=False)

    def start(self, **settings: str) -> None:
        """Starts it and returns when it answers `/healthz`."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KUBE")}
        chosen = {**FAST, **self.settings, **settings, "HTTP_PORT": str(self.port), "HTTP_HOST": "127.0.0.1"}
        environment |= {f"AUTOGLM_OPERATOR_{name}": value for name, value in chosen.items()}
        environment |= {"KUBECONFIG": str(self.kubeconfig)}
        # It dies with the tests, however they end.
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "autoglm_operator.main"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for(self.healthy, 120, state=self.tail)

    def healthy(self) -> bool:
        """Whether `/healthz` says so; HTTPError when it does not."""
        assert self.running, self.tail()
        with urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as Kubernetes does."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def fault(self) -> str:
        """What it has said since the last call that is a defect or a right it lacks, and what follows; mostly empty.

        Each fault is shown once: a test is not judged by what an earlier one has found.
        """
        lines = self.log.read_text(errors="replace").splitlines()
        new, self._judged = lines[self._judged :], len(lines)
        faulty = (number for number, line in enumerate(new) if "Traceback" in line or _RIGHT_LACKED.search(line))
        first = next(faulty, len(new))
        return "\n".join(new[first : first + 40])

    def metrics(self) -> str:
        """What Prometheus would read."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())


@dataclass
class Installation:
    """Everything that stands while tests run."""

    cluster: Cluster
    operator: Operator
    postgres: PostgresServer

    @property
    def kube(self) -> Kube:
        """A client as administrator."""
        return self.cluster.kube

    def check_operator(self) -> None:
        """Nothing was refused to the operator, nothing in its log is a defect, and its watch is not deaf."""
        wait_for(self.operator.healthy, 20, state=self.operator.tail)
        fault = self.operator.fault()
        assert not fault, fault
        if self.cluster.plane is not None:
            refused = self.cluster.plane.refused_requests(f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}")
            assert not refused, refused


def install(cluster: Cluster, directory: Path, port: int) -> Installation:
    """Applies the chart's CRDs and RBAC, starts PostgreSQL and the operator; the caller calls `uninstall`."""
    if cluster.kube.get("Namespace", NAMESPACE) is None:
        cluster.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    for body in sorted(render(EXTERNAL), key=lambda body: KINDS.index(body["kind"]) if body["kind"] in KINDS else 99):
        if body["kind"] in KINDS:
            _put(cluster.kube, body)
    wait_for(lambda: cluster.kube.may_create_pods(NAMESPACE))
    postgres = start_postgres(directory / "postgres", host=cluster.host_address)
    kubeconfig = directory / "operator.kubeconfig"
    wait_for(lambda: cluster.kube.service_account_kubeconfig(NAMESPACE, ACCOUNT, kubeconfig))
    settings = {
        "DATABASE_URL": postgres.dsn,
        "TRAINER_IMAGE": "autoglm-trainer:test",
        "SERVING_IMAGE": "autoglm-serving:test",
        "ALLOWED_SOURCES": "hf://,s3://,gs://,pvc://,package://,https://,file:///tmp,http://",
        "POD_FS_GROUP": "100731",
    }
    operator = Operator(kubeconfig, directory / "operator.log", port, settings)
    operator.start()
    return Installation(cluster, operator, postgres)


def _put(kube: Kube, body: Json) -> None:
    """Create; not by server-side apply, which Kubernetes 1.20 refuses for CRDs with CEL rules."""
    try:
        kube.create(body)
    except ConflictError:
        return  # a cluster that outlives its tests has it already


def uninstall(installed: Installation) -> None:
    """Ends the operator and PostgreSQL."""
    installed.operator.stop()
    installed.postgres.stop()
