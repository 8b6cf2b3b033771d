"""The operator for listed namespaces: Roles alone are all the rights it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from e2e.cluster.cluster import Cluster
from e2e.cluster.controlplane import free_port
from e2e.installation import Installation, Operator
from e2e.kube import Kube, wait_for
from e2e.studies import status, study, wait_for_reason, workers
from tests.chart.rendering import EXTERNAL, render, select

Json = dict[str, Any]
ACCOUNT = "narrow"
ELSEWHERE = {"train": {"source": "s3://nowhere/train.csv"}}

pytestmark = pytest.mark.timeout(300)


def grant(kube: Kube, namespace: str) -> None:
    """The chart's Role in `namespace`, for an account that has nothing else."""
    kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}}, namespace)
    objects = render({**EXTERNAL, "watchNamespaces": [namespace]})
    assert not select(objects, "ClusterRole")
    for role in select(objects, "Role"):
        if role["metadata"].get("namespace") == namespace:
            kube.create(role)
    for binding in select(objects, "RoleBinding"):
        if binding["metadata"].get("namespace") == namespace:
            subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}
            kube.create({**binding, "subjects": [subject]})


def test_listed_namespace_is_served_with_roles_alone(
    installation: Installation, cluster: Cluster, kube: Kube, namespace: str, namespaces: Any, tmp_path: Path
) -> None:
    other = namespaces.make()
    grant(kube, namespace)
    kubeconfig = kube.service_account_kubeconfig(namespace, ACCOUNT, tmp_path / "kubeconfig")
    narrow = Operator(kubeconfig, tmp_path / "operator.log", free_port("127.0.0.1"), installation.operator.settings)
    installation.operator.stop()
    try:
        narrow.start(NAMESPACES=namespace)
        for each in (other, namespace):
            kube.create(study("here", data=ELSEWHERE, trainer={"image": "idle:1"}), each)
        wait_for_reason(kube, namespace, "here", "Ready", "Running")
        assert len(workers(kube, namespace, "here")) == 1
        assert status(kube, other, "here") == {}
        kube.delete("AutoGLMStudy", "here", namespace)
        wait_for(lambda: workers(kube, namespace, "here") == [])
        assert "Traceback" not in narrow.tail(1000)
        if cluster.plane is not None:
            assert cluster.plane.refused_requests(f"system:serviceaccount:{namespace}:{ACCOUNT}") == []
    finally:
        narrow.stop()
        installation.operator.start()
        namespaces.leave(other)
    installation.check_operator()
