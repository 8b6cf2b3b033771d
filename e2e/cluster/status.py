"""A pod's status, computed from its containers; no clock, no API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from e2e.cluster.container import Container

Json = dict[str, Any]


@dataclass
class Verdict:
    """Why a whole pod was failed from outside, such as `Evicted` or `DeadlineExceeded`."""

    reason: str
    message: str


@dataclass
class PodFacts:
    """What the status of one pod is computed from."""

    init_containers: Sequence[Container]
    containers: Sequence[Container]
    restart_policy: str
    started_at: str
    host_address: str
    address: str = ""
    initialized: bool = False
    over: bool = False
    failed_init: bool = False
    verdict: Verdict | None = None
    transitions: dict[str, tuple[str, str]] = field(default_factory=dict)


def phase(facts: PodFacts) -> str:
    """Pending, Running, Succeeded or Failed."""
    codes = [container.exit_code for container in facts.containers]
    if facts.verdict or facts.failed_init:
        return "Failed"
    if facts.over and any(code is None for code in codes):
        return "Failed"
    if facts.over:
        return "Failed" if any(codes) else "Succeeded"
    started = any("waiting" not in each.state or each.restarts for each in facts.containers)
    return "Running" if facts.initialized and started else "Pending"


def pod_status(facts: PodFacts, now: str) -> Json:
    """The whole `status` of a pod on this node; `now` dates conditions that change."""
    current = phase(facts)
    ready = current == "Running" and all(container.ready for container in facts.containers)
    not_ready = "PodCompleted" if current == "Succeeded" else "ContainersNotReady"
    conditions = [
        _condition(facts, "PodScheduled", True, "", now),
        _condition(facts, "Initialized", facts.initialized, "ContainersNotInitialized", now),
        _condition(facts, "ContainersReady", ready, not_ready, now),
        _condition(facts, "Ready", ready, not_ready, now),
    ]
    status: Json = {
        "phase": current,
        "conditions": conditions,
        "startTime": facts.started_at,
        "hostIP": facts.host_address,
        "initContainerStatuses": [each.status(each.spec["image"]) for each in facts.init_containers],
        "containerStatuses": [each.status(each.spec["image"]) for each in facts.containers],
    }
    if facts.address:
        status |= {"podIP": facts.address, "podIPs": [{"ip": facts.address}]}
    if facts.verdict:
        status |= {"reason": facts.verdict.reason, "message": facts.verdict.message}
    return status


def _condition(facts: PodFacts, kind: str, holds: bool, reason: str, now: str) -> Json:
    value = "True" if holds else "False"
    before, since = facts.transitions.get(kind, ("", now))
    since = since if before == value else now
    facts.transitions[kind] = (value, since)
    condition = {"type": kind, "status": value, "lastTransitionTime": since}
    return condition if holds else condition | {"reason": reason}
