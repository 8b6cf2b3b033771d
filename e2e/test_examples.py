"""What we hand out is accepted: every example by the API server and the operator, every object of the chart."""

from __future__ import annotations

import copy
import json
from ipaddress import ip_address
from typing import Any

import pytest
from e2e.cluster.cluster import Cluster
from e2e.installation import Installation
from e2e.kube import Kube, wait_for
from e2e.studies import condition
from ruamel.yaml import YAML
from tests.chart.rendering import NAMESPACE, ROOT, render
from tests.chart.test_chart import INSTALLATIONS

Json = dict[str, Any]
EXAMPLES = ROOT / "examples"
VALUES = {path.name: YAML(typ="safe").load(path.read_text()) for path in (EXAMPLES / "install").glob("values-*.yaml")}


def documents(name: str) -> list[Json]:
    return [body for body in YAML(typ="safe").load_all((EXAMPLES / name).read_text()) if body]


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_example_is_accepted(installation: Installation, kube: Kube, namespace: str, name: str) -> None:
    studies = []
    for body in documents(name):
        body["metadata"].pop("namespace", None)
        if body["kind"] == "AutoGLMStudy":
            body["spec"]["suspend"] = True
            studies.append(body)
        kube.create(body, namespace)
    for body in studies:
        study, is_local = body["metadata"]["name"], "file://" in json.dumps(body)
        ready = wait_for(lambda study=study: condition(kube, namespace, study, "Ready"))  # type: ignore[misc]
        assert (ready["reason"] == "InvalidSpec") == is_local, ready
        assert not is_local or "is not allowed in this installation" in ready["message"], ready
    installation.check_operator()


@pytest.mark.parametrize("values", [*INSTALLATIONS.values(), *VALUES.values()], ids=[*INSTALLATIONS, *VALUES])
def test_every_object_of_the_chart_is_accepted(installation: Installation, cluster: Cluster, values: Json) -> None:
    bodies = [copy.deepcopy(body) for body in render(values)]
    for body in bodies:
        if body["metadata"].get("namespace", NAMESPACE) != NAMESPACE:
            body["metadata"]["namespace"] = "default"  # a watched namespace that is not there
        if body["kind"] == "Service" and body["spec"].get("clusterIP", "None") != "None":
            body["spec"]["clusterIP"] = address_for_services(cluster)  # of the range that newer servers ask for
    definitions = [body for body in bodies if body["kind"] == "CustomResourceDefinition"]
    others = [body for body in bodies if body["kind"] != "CustomResourceDefinition"]
    assert refusals(cluster, others) == []
    # kubectl before 1.25 does not know the CEL rules in CRDs; API servers of that age drop them.
    assert not definitions or refusals(cluster, definitions, "--validate=false") == []


def address_for_services(cluster: Cluster) -> str:
    """An address of the cluster's Service range, near that of the API server."""
    taken = cluster.kube.list("Service")
    first = ip_address(next(each for each in taken if each["metadata"]["name"] == "kubernetes")["spec"]["clusterIP"])
    used = {each["spec"].get("clusterIP") for each in taken}
    return next(str(first + offset) for offset in range(1, 250) if str(first + offset) not in used)


def refusals(cluster: Cluster, bodies: list[Json], *options: str) -> list[str]:
    """What the API server says to the objects, and kubectl to their fields; those that are there already are well."""
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
    argv = ["create", "--dry-run=server", "--output=name", *options, "--filename", "-"]
    answer = cluster.run_kubectl(*argv, stdin=everything)
    said = answer.stderr.splitlines()
    assert len(answer.stdout.splitlines()) + len(said) == len(bodies), said
    return [line for line in said if "(AlreadyExists)" not in line]
