"""The chart on a real node: what runs, as whom, and what survives an upgrade."""

from __future__ import annotations

from urllib.request import urlopen

import pytest
from e2e.kube import Kube
from e2e.node.machine import Machine
from e2e.node.release import NAME, NAMESPACE, Release
from e2e.pods import terminated

pytestmark = pytest.mark.timeout(900)


def test_the_operator_is_process_1_without_any_right(machine: Machine, release: Release) -> None:
    pod = release.operator_pod()
    assert "autoglm-operator" in machine.exec(NAMESPACE, pod, "cat", "/proc/1/cmdline")
    status = dict(line.split(":\t", 1) for line in machine.exec(NAMESPACE, pod, "cat", "/proc/1/status").splitlines())
    assert status["Uid"].split()[0] == str(release.user)
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2", "no seccomp filter"
    with pytest.raises(RuntimeError, match="Read-only file system"):
        machine.exec(NAMESPACE, pod, "touch", "/opt/here")
    machine.exec(NAMESPACE, pod, "touch", "/tmp/here")


def test_metrics_and_health_are_answered_by_the_service(kube: Kube, release: Release) -> None:
    service = kube.get("Service", NAME, NAMESPACE)
    assert service is not None
    with urlopen(f"http://{service['spec']['clusterIP']}:8080/metrics", timeout=10) as answer:
        assert b"autoglm_" in answer.read()


@pytest.mark.parametrize(("image", "megabytes"), [("operator", 200), ("serving", 300)])
def test_images_are_as_small_as_they_should_be(
    kube: Kube, release: Release, namespace: str, image: str, megabytes: int
) -> None:
    """What is laid over the base; nodes pull it before the first prediction."""
    container = {"name": "main", "image": f"autoglm-{image}:0.1.0", "imagePullPolicy": "Never"}
    container["command"] = ["du", "-sm", "/opt"]
    body: dict[str, object] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"size-{image}"}}
    kube.create({**body, "spec": {"restartPolicy": "Never", "containers": [container]}}, namespace)
    assert terminated(kube, namespace, f"size-{image}")["exitCode"] == 0
    assert int(kube.logs(namespace, f"size-{image}").split()[0]) <= megabytes


def test_an_upgrade_keeps_the_database_and_its_password(kube: Kube, release: Release) -> None:
    secret = f"{NAME}-postgresql"
    before = [kube.get("Secret", secret, NAMESPACE), kube.get("Pod", f"{secret}-0", NAMESPACE)]
    release.upgrade(pods={"proxy": {"noProxy": "example.org"}})
    after = [kube.get("Secret", secret, NAMESPACE), kube.get("Pod", f"{secret}-0", NAMESPACE)]
    assert before[0] is not None
    assert before[1] is not None
    assert after[0] is not None
    assert after[1] is not None
    assert before[0]["data"] == after[0]["data"]
    assert before[1]["metadata"]["uid"] == after[1]["metadata"]["uid"]
    release.check_operator()
