"""Small pods for tests of the harness, and what became of them."""

from __future__ import annotations

from typing import Any

from e2e.kube import Kube, wait_for

Json = dict[str, Any]


def pod(name: str, script: str, **container: Any) -> Json:
    """A pod of one shell container; `container` overrides its fields."""
    spec: Json = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5}
    main: Json = {"name": "main", "image": "debian:12", "command": ["sh", "-c", script], **container}
    spec["containers"] = [main]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def terminated(kube: Kube, namespace: str, name: str) -> Json:
    """Waits until the pod's container is over and returns its terminated state."""

    def state() -> Json:
        return dict(kube.container_status(namespace, name).get("state", {}).get("terminated", {}))

    return wait_for(state, state=lambda: kube.describe(namespace))
