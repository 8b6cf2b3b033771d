"""From `kubectl apply` to a prediction, all in the project's own containers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from e2e.conftest import Namespaces
from e2e.endpoints import endpoint, endpoint_status, load_on, predict, servers, wait_for_champion
from e2e.kube import Kube, wait_for
from e2e.node.fixtures import MODEL, put_inputs, small_study
from e2e.node.machine import Machine
from e2e.node.release import Release
from e2e.pods import terminated
from e2e.studies import status, wait_for_reason

from autoglm_api.manifest import MANIFEST, digest
from autoglm_api.names import ARTIFACTS_CLAIM

pytestmark = pytest.mark.timeout(900)
ANY_USER = 1_000_730_000


@pytest.fixture(scope="module")
def served(machine: Machine, kube: Kube, release: Release, namespaces: Namespaces) -> Iterator[str]:
    """A namespace with a finished study and an endpoint of two servers that serves its model."""
    namespace = namespaces.make("served")
    put_inputs(machine, namespace)
    kube.create(small_study("intents", trials={"max": 3, "parallel": 1}), namespace)
    limits = {"limits": {"cpu": "500m", "memory": "512Mi"}}
    kube.create(endpoint(source={"study": "intents"}, replicas=2, resources=limits, artifacts=None), namespace)
    wait_for_reason(kube, namespace, "intents", "Complete", "MaxTrialsReached", timeout_seconds=480)
    wait_for_champion(kube, namespace, status(kube, namespace, "intents")["model"]["digest"])
    wait_for(lambda: endpoint_status(kube, namespace).get("readyReplicas") == 2, 180)
    # kube-proxy may learn of the Service some hundred milliseconds after it was made.
    wait_for(lambda: predict(url(kube, namespace)))
    yield namespace
    print(kube.describe(namespace))
    namespaces.leave(namespace)


def url(kube: Kube, namespace: str) -> str:
    service = kube.get("Service", "sentiment", namespace)
    assert service is not None
    return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"


def behind_service(kube: Kube, namespace: str) -> set[str]:
    """Addresses of the pods that the Service sends requests to."""
    endpoints = kube.get("Endpoints", "sentiment", namespace) or {}
    return {each["ip"] for subset in endpoints.get("subsets") or () for each in subset.get("addresses") or ()}


def test_a_study_becomes_a_served_prediction(kube: Kube, release: Release, served: str) -> None:
    told = status(kube, served, "intents")
    assert told["progress"] == "3/3"
    assert told["best"]["value"] > 0.6
    answer = predict(url(kube, served), "this phone is simply wonderful")
    assert answer["digest"] == told["model"]["digest"]
    assert answer["predictions"][0]["label"] == "praise"
    release.check_operator()


def test_models_lie_in_the_claim_and_belong_to_the_image_s_user(machine: Machine, kube: Kube, served: str) -> None:
    folder = machine.volume_of(served, ARTIFACTS_CLAIM)
    found = {digest(path.read_bytes()): path for path in folder.rglob(MANIFEST)}
    wanted = status(kube, served, "intents")["model"]["digest"]
    assert wanted in found
    for entry in json.loads(found[wanted].read_text())["files"]:
        assert (found[wanted].parent / entry["path"]).stat().st_size == entry["sizeBytes"]
    assert {path.stat().st_uid for path in folder.rglob("*") if path.is_file()} == {65532}


def test_servers_are_process_1_without_any_right(machine: Machine, kube: Kube, served: str) -> None:
    pod = servers(kube, served)[0]["metadata"]["name"]
    assert "autoglm-serving" in machine.exec(served, pod, "cat", "/proc/1/cmdline")
    said = dict(line.split(":\t", 1) for line in machine.exec(served, pod, "cat", "/proc/1/status").splitlines())
    assert (said["Uid"].split()[0], int(said["CapEff"], 16), said["NoNewPrivs"], said["Seccomp"]) == (
        "65532",
        0,
        "1",
        "2",
    )
    with pytest.raises(RuntimeError, match="Read-only file system"):
        machine.exec(served, pod, "touch", "/opt/here")
    with pytest.raises(RuntimeError, match="No such file"):
        machine.exec(served, pod, "ls", "/var/run/secrets/kubernetes.io/serviceaccount/token")


def test_a_deleted_server_costs_no_request(kube: Kube, release: Release, served: str) -> None:
    with load_on(url(kube, served)) as load:
        wait_for(lambda: sum(load.outcomes.values()) > 20)
        for pod in servers(kube, served):
            kube.delete("Pod", pod["metadata"]["name"], served)
            # Not the endpoint's status: it may still tell of the server that goes, and then both would go at once.
            wait_for(lambda gone=pod: len(behind_service(kube, served) - {gone["status"]["podIP"]}) == 2, 120)
        enough = sum(load.outcomes.values()) + 20
        wait_for(lambda: sum(load.outcomes.values()) > enough)
    assert list(load.outcomes) == [status(kube, served, "intents")["model"]["digest"]], load.outcomes


@pytest.mark.parametrize("image", ["operator", "serving", "trainer"])
def test_images_run_as_any_user_on_a_read_only_root(kube: Kube, machine: Machine, served: str, image: str) -> None:
    """Platforms such as OpenShift choose the UID; all that is certain is group 0."""
    security = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "main",
        "image": f"autoglm-{image}:0.1.0",
        "imagePullPolicy": "Never",
        "command": ["python", "-c", _IMPORTS[image]],
        "securityContext": security,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "data", "mountPath": "/data", "readOnly": True},
        ],
    }
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsUser": ANY_USER, "runAsGroup": 0, "runAsNonRoot": True},
        "containers": [container],
        "volumes": volumes,
    }
    name = f"any-{image}"
    kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}, served)
    ended = terminated(kube, served, name)
    assert ended["exitCode"] == 0, kube.logs(served, name)


_WHO = f"import getpass, os, tempfile; assert os.getuid() == {ANY_USER}; getpass.getuser(); tempfile.mkdtemp()\n"
_IMPORTS = {
    "operator": _WHO + "import autoglm_operator.main",
    "serving": _WHO + "import autoglm_serving.app, s3fs, onnxruntime, importlib.util\n"
    "assert importlib.util.find_spec('torch') is None",
    "trainer": _WHO
    + "import autoglm_trainer.main, autoglm_trainer.work.worker, matplotlib.pyplot, torch, peft, sklearn\n"
    "import transformers\n"
    "model = transformers.AutoModel.from_pretrained('/data/model')\n"
    "torch.compiler.reset(); print(sum(p.numel() for p in model.parameters()))",
}


def test_a_study_finds_every_kind_of_volume(machine: Machine, kube: Kube, release: Release, namespace: str) -> None:
    put_inputs(machine, namespace)
    kube.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"word": "found"}},
        namespace,
    )
    options = {
        "volumes": [
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "cache", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": "rows", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
        ],
        "volumeMounts": [
            {"name": "settings", "mountPath": "/etc/settings", "readOnly": True},
            {"name": "cache", "mountPath": "/cache"},
            {"name": "rows", "mountPath": "/rows", "readOnly": True},
        ],
    }
    trainer = {"resources": {"limits": {"cpu": "500m", "memory": "2Gi"}}, "pod": options}
    kube.create(small_study("volumes", trainer=trainer, model=MODEL), namespace)
    selector = "autoglm.io/study=volumes"

    def running() -> str | None:
        pods = kube.list("Pod", namespace, selector)
        return next((pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == "Running"), None)

    pod = wait_for(running, 120, state=lambda: kube.describe(namespace))
    assert pod is not None
    assert machine.exec(namespace, pod, "cat", "/etc/settings/word") == "found"
    assert "tmpfs" in machine.exec(namespace, pod, "df", "/cache")
    machine.exec(namespace, pod, "touch", "/cache/here")
    assert machine.exec(namespace, pod, "head", "-c", "10", "/rows/train.csv") == "text,label"
    with pytest.raises(RuntimeError, match="Read-only file system"):
        machine.exec(namespace, pod, "touch", "/mnt/autoglm/data/here")
    with pytest.raises(RuntimeError, match="Read-only file system"):
        machine.exec(namespace, pod, "touch", "/opt/here")
    kube.delete("AutoGLMStudy", "volumes", namespace)
    wait_for(lambda: kube.list("Pod", namespace, selector) == [], 60)
    release.check_operator()
