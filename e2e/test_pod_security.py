"""A namespace that enforces the Pod Security standard `restricted` takes every pod of ours.

The pods are those of the golden manifests and of the rendered chart; only admission is asked. API servers before
Kubernetes 1.25 do not enforce anything, which the first test tells apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import Namespaces
from e2e.kube import Kube
from e2e.pods import pod
from kubernetes.client.exceptions import ApiException
from ruamel.yaml import YAML
from tests.chart.rendering import ROOT, render
from tests.chart.test_chart import INSTALLATIONS

Json = dict[str, Any]
ENFORCED_SINCE = 25
ELSEWHERE = ("serviceAccountName", "priorityClassName", "runtimeClassName")  # objects that a manifest only names
GOLDEN = sorted((ROOT / "tests/operator").rglob("golden/*"))


@pytest.fixture(scope="module")
def restricted(kube: Kube, namespaces: Namespaces) -> Iterator[str]:
    """A namespace as strict as Kubernetes knows."""
    name = namespaces.make()
    labels = {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/enforce-version": "latest",
    }
    kube.patch("Namespace", name, None, {"metadata": {"labels": labels}})
    yield name
    namespaces.leave(name)


def refusals(kube: Kube, namespace: str, bodies: list[Json]) -> dict[str, str]:
    """What admission says to the pods of Jobs, Deployments and StatefulSets; those it takes are left out."""
    said = {}
    for body in bodies:
        template = body.get("spec", {}).get("template")
        if template:
            name = f"{body['kind']} {body['metadata']['name']}"
            spec = {field: value for field, value in template["spec"].items() if field not in ELSEWHERE}
            claims = [each["metadata"]["name"] for each in body["spec"].get("volumeClaimTemplates", [])]
            spec["volumes"] = [*spec.get("volumes", []), *({"name": claim, "emptyDir": {}} for claim in claims)]
            said[name] = refusal(kube, namespace, {"metadata": template["metadata"], "spec": spec})
    return {name: words for name, words in said.items() if words}


def refusal(kube: Kube, namespace: str, body: Json) -> str:
    """What the API server says to a pod; empty when it would take it."""
    metadata = {**body["metadata"], "name": "asked"}
    try:
        kube.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body["spec"]}, namespace, dry_run=True
        )
    except ApiException as error:
        return str(json.loads(error.body or "{}")["message"])
    return ""


def test_an_ordinary_pod_is_refused(kube: Kube, restricted: str) -> None:
    said = refusal(kube, restricted, pod("plain", "true"))
    assert ("violates PodSecurity" in said) == (kube.minor_version() >= ENFORCED_SINCE), said


@pytest.mark.parametrize("path", GOLDEN, ids=[path.name for path in GOLDEN])
def test_pods_of_studies_and_endpoints_are_taken(kube: Kube, restricted: str, path: Path) -> None:
    assert refusals(kube, restricted, list(YAML(typ="safe").load_all(path.read_text()))) == {}


@pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_pods_of_the_chart_are_taken(kube: Kube, restricted: str, values: Json) -> None:
    assert refusals(kube, restricted, render(values)) == {}
