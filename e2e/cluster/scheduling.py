"""Decides whether a pod fits the one node; pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from e2e.cluster.environment import parse_quantity

Json = dict[str, Any]


def is_waiting(pod: Json) -> bool:
    """Whether the pod waits for a scheduler, namely for the default one."""
    spec = pod["spec"]
    waits = not spec.get("nodeName") and not pod["metadata"].get("deletionTimestamp")
    return waits and spec.get("schedulerName", "default-scheduler") == "default-scheduler"


def why_not_here(pod: Json, labels: Json, capacity: Json, placed: Iterable[Json]) -> str | None:
    """The scheduler's sentence when the pod does not fit beside those `placed`; None when it does."""
    selector = pod["spec"].get("nodeSelector", {})
    if any(labels.get(key) != value for key, value in selector.items()):
        return "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity."
    used = requests([*placed, pod])
    short = [name for name, amount in used.items() if amount > parse_quantity(capacity.get(name, "0"))]
    wanted = requests([pod])
    short = [name for name in short if wanted.get(name)]
    return f"0/1 nodes are available: 1 Insufficient {', '.join(sorted(short))}." if short else None


def requests(pods: Iterable[Json]) -> dict[str, Decimal]:
    """The sum of what the pods' containers request, by resource, and the number of pods."""
    total: dict[str, Decimal] = {"pods": Decimal(0)}
    for pod in pods:
        total["pods"] += 1
        for container in pod["spec"]["containers"]:
            resources = container.get("resources", {})
            for name, amount in (resources.get("limits", {}) | resources.get("requests", {})).items():
                total[name] = total.get(name, Decimal(0)) + parse_quantity(amount)
    return total


def unschedulable_condition(message: str, now: str) -> Json:
    """The condition that a scheduler leaves on a pod it could not place."""
    return {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": now,
    }
