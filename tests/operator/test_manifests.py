"""Manifests: golden files, and what must hold for every pod whatever the user writes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.operator.simulation import make_spec, make_study

from autoglm_api.study import StudySpec
from autoglm_operator.kube import Object
from autoglm_operator.manifests.claim import artifacts_claim
from autoglm_operator.manifests.job import cleanup_job, export_job, worker_job
from autoglm_operator.manifests.secret import storage_secret
from autoglm_operator.planning.door import frozen_run
from autoglm_operator.planning.search import study_ref
from autoglm_operator.settings import Settings

GOLDEN = Path(__file__).with_name("golden")
FULL: dict[str, Any] = {
    "model": {"source": "pvc://models/glm-4-9b", "secretRef": {"name": "hub"}},
    "data": {
        "train": {"source": "s3://bucket/train.jsonl"},
        "test": {"source": "pvc://models/test.jsonl"},
        "secretRef": {"name": "s3"},
    },
    "artifacts": {"uri": "s3://models/nlp", "secretRef": {"name": "s3"}},
    "storage": {"secretRef": {"name": "own-postgres", "key": "dsn"}},
    "trainer": {
        "image": "registry.example/trainer@sha256:1",
        "resources": {"requests": {"cpu": 2, "memory": "16Gi"}, "limits": {"nvidia.com/gpu": "2", "cpu": 4}},
        "serviceAccountName": "trainer",
        "terminationGracePeriodSeconds": 120,
        "pod": {
            "nodeSelector": {"gpu": "h100"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {"nodeAffinity": {}},
            "priorityClassName": "low",
            "runtimeClassName": "nvidia",
            "imagePullSecrets": [{"name": "registry"}],
            "env": [{"name": "HF_ENDPOINT", "value": "https://hub.example"}, {"name": "HOME", "value": "/root"}],
            "labels": {"team": "nlp", "app.kubernetes.io/managed-by": "me"},
            "annotations": {"cost-centre": "42"},
            "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        },
    },
}


def worker(spec: StudySpec, settings: Settings | None = None) -> Object:
    settings, study = settings or Settings(), make_study(spec=spec)
    run = frozen_run(spec, namespace=study.namespace, name=study.name, uid=study.uid, settings=settings)
    return worker_job(study, spec, run, study_ref(study, spec), slot=3, number=1, settings=settings)


def export(spec: StudySpec) -> Object:
    settings, study = Settings(), make_study(spec=spec)
    run = frozen_run(spec, namespace=study.namespace, name=study.name, uid=study.uid, settings=settings)
    return export_job(study, spec, run, study_ref(study, spec), number=0, settings=settings)


MANIFESTS = {
    "worker-smallest": lambda: worker(make_spec()),
    "worker-full": lambda: worker(make_spec(**FULL)),
    "export": lambda: export(make_spec()),
    "cleanup": lambda: cleanup_job(make_study(), make_spec(), "s3://models/x", number=1, settings=Settings()),
    "claim": lambda: artifacts_claim("team-a", Settings(artifacts_claim_class="fast")),
    "secret": lambda: storage_secret("team-a", "postgresql://role:password@host:5432/database"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_is_the_golden_file(name: str) -> None:
    path, yaml = GOLDEN / f"{name}.yaml", YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    made = MANIFESTS[name]()
    if os.environ.get("UPDATE_GOLDEN"):
        with path.open("w") as file:
            yaml.dump(json.loads(json.dumps(made)), file)
    assert made == yaml.load(path.read_text()), "look at the difference, then `make golden`"


@pytest.mark.parametrize("name", MANIFESTS)
def test_same_input_gives_the_same_bytes(name: str) -> None:
    assert json.dumps(MANIFESTS[name]()) == json.dumps(MANIFESTS[name]())


@pytest.mark.parametrize("name", ["worker-smallest", "worker-full", "export", "cleanup"])
def test_every_pod_is_restricted(name: str) -> None:
    """What Pod Security's `restricted` asks for, and no token of the API."""
    pod = MANIFESTS[name]()["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert "command" not in container
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert {"/tmp", "/dev/shm"} <= writable


def test_ours_wins_over_the_users() -> None:
    template = worker(make_spec(**FULL))["spec"]["template"]
    assert template["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "autoglm"
    [container] = template["spec"]["containers"]
    homes = [entry["value"] for entry in container["env"] if entry["name"] == "HOME"]
    assert homes == ["/tmp/home"]


def test_jobs_belong_to_the_study_and_are_never_suspended_by_us() -> None:
    job = worker(make_spec())
    [owner] = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("AutoGLMStudy", make_study().uid, True)
    assert "suspend" not in job["spec"]
    assert job["spec"]["backoffLimit"] == 0
    assert "ttlSecondsAfterFinished" not in job["spec"]


def test_data_and_model_claims_are_read_only_unless_artifacts_go_there() -> None:
    spec = make_spec(model={"source": "pvc://models/m"}, artifacts={"uri": "pvc://shared/a"})
    [container] = worker(spec)["spec"]["template"]["spec"]["containers"]
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert mounts["/mnt/autoglm/models"] is True
    assert mounts["/mnt/autoglm/shared"] is False


def test_a_graphs_edges_are_mounted_beside_its_nodes() -> None:
    data = {"train": {"source": "pvc://nodes/n.csv"}, "edges": {"source": "pvc://edges/e.csv"}}
    spec = make_spec(task="node-classification", model=None, data=data)
    [container] = worker(spec)["spec"]["template"]["spec"]["containers"]
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert (mounts["/mnt/autoglm/nodes"], mounts["/mnt/autoglm/edges"]) == (True, True)


def test_a_claim_is_one_volume_however_many_name_it() -> None:
    """With a second volume of the same claim, many kubelets leave the pod in ContainerCreating for ever."""
    rows = {"name": "rows", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}
    options = {"volumes": [rows], "volumeMounts": [{"name": "rows", "mountPath": "/rows"}]}
    read = worker(make_spec(**{**FULL, "trainer": {"pod": options}}))["spec"]["template"]["spec"]
    assert [each for each in read["volumes"] if "persistentVolumeClaim" in each] == [rows]
    mounts = {each["mountPath"]: each for each in read["containers"][0]["volumeMounts"]}
    assert mounts["/mnt/autoglm/models"] == {"name": "rows", "mountPath": "/mnt/autoglm/models", "readOnly": True}
    assert mounts["/rows"]["name"] == "rows"

    written = worker(make_spec(**{**FULL, "artifacts": {"uri": "pvc://models/out"}, "trainer": {"pod": options}}))
    spec = written["spec"]["template"]["spec"]
    assert [each for each in spec["volumes"] if "persistentVolumeClaim" in each] == [
        {"name": "rows", "persistentVolumeClaim": {"claimName": "models"}}
    ]
    mounts = {each["mountPath"]: each for each in spec["containers"][0]["volumeMounts"]}
    assert "readOnly" not in mounts["/mnt/autoglm/models"]
    assert mounts["/rows"]["readOnly"] is True


def test_gpus_of_all_vendors_are_counted() -> None:
    spec = make_spec(trainer={"resources": {"limits": {"amd.com/gpu": "2", "cpu": "8"}}})
    assert spec.trainer.resources.gpus == 2
    assert make_spec().trainer.resources.gpus == 0


def test_openshift_has_no_fs_group() -> None:
    pod = worker(make_spec(), Settings(pod_fs_group=None))["spec"]["template"]["spec"]
    assert "fsGroup" not in pod["securityContext"]
