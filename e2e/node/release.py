"""The chart as a release on the node, by the Helm library itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python
from e2e.kube import wait_for
from e2e.node.machine import Machine

Json = dict[str, Any]
CHART = Path(__file__).resolve().parents[2] / "charts/autoglm"
NAME = "autoglm"
NAMESPACE = "autoglm-system"


@dataclass
class Release:
    """One release of the chart; its database's Service has a fixed address, because the node has no DNS."""

    machine: Machine
    user: int = 1_000_730_001

    def values(self, **more: Any) -> Json:
        """What the release is installed with."""
        return {
            "images": {"pullPolicy": "Never", "postgresql": {"tag": "test"}},
            "database": {"bundled": {"clusterIP": f"{self.machine.network.prefix}.129.1"}},
            "operator": {
                "podSecurityContext": {"runAsUser": self.user},
                "settings": {
                    "pollSeconds": 1,
                    "statusIntervalSeconds": 0.5,
                    "slotBackoffSeconds": 2,
                    "claimGraceSeconds": 40,
                    "unschedulableGraceSeconds": 2,
                },
            },
            **more,
        }

    def install(self) -> None:
        """Installs it and returns when operator and database are ready."""
        with self._helm() as helm:
            helm.install(CHART, NAME, self.values(), namespace=NAMESPACE, create_namespace=True, timeout=240)
        self.wait_until_ready()

    def upgrade(self, **more: Any) -> None:
        """Upgrades it with other values."""
        with self._helm() as helm:
            helm.upgrade(CHART, NAME, self.values(**more), namespace=NAMESPACE, timeout=240)
        self.wait_until_ready()

    def uninstall(self) -> None:
        """Uninstalls it, hook and all."""
        with self._helm() as helm:
            helm.uninstall(NAME, timeout=240, wait="legacy")

    def is_installed(self) -> bool:
        """Whether it was not uninstalled yet."""
        return self.machine.kube.get("Deployment", NAME, NAMESPACE) is not None

    def wait_until_ready(self) -> None:
        """Waits for the operator's and the database's pod."""

        def ready() -> bool:
            kube = self.machine.kube
            operator = kube.get("Deployment", NAME, NAMESPACE) or {}
            database = kube.get("StatefulSet", f"{NAME}-postgresql", NAMESPACE) or {}
            return all(_is_rolled_out(each) for each in (operator, database))

        wait_for(ready, 180, state=lambda: self.machine.kube.describe(NAMESPACE))

    def operator_pod(self) -> str:
        """Name of the operator's running pod."""
        selector = "app.kubernetes.io/component=operator"
        pods = self.machine.kube.list("Pod", NAMESPACE, selector)
        return str(next(pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == "Running"))

    def operator_log(self) -> str:
        """Everything the operator's pod has said."""
        return self.machine.kube.logs(NAMESPACE, self.operator_pod())

    def check_operator(self) -> None:
        """Nothing was refused to the operator, it was not restarted, and nothing in its log is a defect."""
        pod = self.operator_pod()
        assert "Traceback" not in self.operator_log()
        assert self.machine.kube.container_status(NAMESPACE, pod)["restartCount"] == 0
        assert not self.machine.plane.refused_requests(f"system:serviceaccount:{NAMESPACE}:{NAME}")

    @contextmanager
    def _helm(self) -> Iterator[helm_python.Config]:
        with helm_python.Config(kubeconfig_path=self.machine.kube.kubeconfig, namespace=NAMESPACE) as config:
            yield config


def _is_rolled_out(body: Json) -> bool:
    status = body.get("status", {})
    wanted = {
        "observedGeneration": body.get("metadata", {}).get("generation"),
        "updatedReplicas": 1,
        "readyReplicas": 1,
    }
    return all(status.get(name) == value for name, value in wanted.items())
