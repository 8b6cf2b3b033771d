"""A study from `kubectl apply` to its exported model, with the real operator and the real trainer."""

from __future__ import annotations

import json

import pytest
from e2e.cluster.cluster import Cluster
from e2e.installation import Installation
from e2e.kube import Kube, wait_for
from e2e.studies import condition, put_rows, status, study, wait_for_reason, worker_pods, workers

ELSEWHERE = {"train": {"source": "s3://nowhere/train.csv"}}
# A container that lives and claims nothing: Jobs without a trainer.
IDLE = {"image": "idle:1", "terminationGracePeriodSeconds": 15}


def test_study_runs_to_an_exported_model(installation: Installation, kube: Kube, namespace: str) -> None:
    put_rows(kube, namespace)
    kube.create(study("intents"), namespace)

    complete = wait_for_reason(kube, namespace, "intents", "Complete", "MaxTrialsReached", timeout_seconds=240)

    assert complete["status"] == "True"
    assert condition(kube, namespace, "intents", "Ready")["reason"] == "Complete"
    told = status(kube, namespace, "intents")
    assert (told["phase"], told["progress"]) == ("Complete", "3/3")
    assert told["model"]["digest"].startswith("sha256:")
    assert told["best"]["value"] > 0.6
    assert told["trials"]["complete"] == 3
    installation.check_operator()


def test_study_of_several_objectives_shows_its_front_and_exports_the_first_of_it(
    installation: Installation, cluster: Cluster, kube: Kube, namespace: str
) -> None:
    put_rows(kube, namespace)
    objectives = [{"metric": "accuracy", "direction": "Maximize"}, {"metric": "loss", "direction": "Minimize"}]
    points = [{"method": "head", "head_c": c, "max_length": 32} for c in (0.01, 100.0)]
    kube.create(study("several", objectives=objectives, enqueue=points), namespace)
    wait_for_reason(kube, namespace, "several", "Complete", "MaxTrialsReached", timeout_seconds=240)

    told = status(kube, namespace, "several")
    best, front = told["best"], told["paretoFront"]
    assert front[0] == best
    assert best["values"] == [best["value"], best["metrics"]["loss"]]
    assert told["model"]["trial"] == best["trial"]
    assert told["model"]["metric"] == "accuracy"
    losses = [member["values"][1] for member in front]
    assert losses == sorted(losses, reverse=True), "each is better in one objective and worse in the other"
    assert not told.get("top")
    shown = cluster.run_kubectl("get", "ags", "several", "--namespace", namespace, "--output", "wide")
    assert json.dumps(best["values"], separators=(",", ":")) in shown.stdout, shown
    installation.check_operator()


def test_suspended_study_has_no_jobs_and_goes_on_when_resumed(
    installation: Installation, kube: Kube, namespace: str
) -> None:
    kube.create(study("paused", suspend=True), namespace)
    wait_for_reason(kube, namespace, "paused", "Ready", "Suspended")
    assert workers(kube, namespace, "paused") == []

    kube.patch("AutoGLMStudy", "paused", namespace, {"spec": {"suspend": False}})
    wait_for(lambda: len(workers(kube, namespace, "paused")) == 1)

    kube.patch("AutoGLMStudy", "paused", namespace, {"spec": {"suspend": True}})
    wait_for(lambda: workers(kube, namespace, "paused") == [])
    wait_for_reason(kube, namespace, "paused", "Suspended", "Suspended")
    installation.check_operator()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"parameters": [{"name": "lora_rank", "int": {"min": 1, "max": 8}}]},
            ["parameters[0]", "lora_rank", "lora_r"],
        ),
        ({"objectives": [{"metric": "acuracy", "direction": "Maximize"}]}, ["objectives[0].metric", "accuracy"]),
        ({"model": {"source": "file:///etc/passwd"}}, ["spec.model.source", "not allowed", "file:///etc/passwd"]),
        ({"enqueue": [{"head_c": 5000.0}]}, ["enqueue[0]", "5000"]),
    ],
    ids=["unknown parameter", "unknown metric", "forbidden source", "point outside the space"],
)
def test_invalid_spec_says_field_value_and_limit(
    installation: Installation, kube: Kube, namespace: str, changes: dict[str, object], words: list[str]
) -> None:
    kube.create(study("wrong", **changes), namespace)
    said = wait_for_reason(kube, namespace, "wrong", "Ready", "InvalidSpec")
    assert said["status"] == "False"
    assert all(word in said["message"] for word in words), said["message"]
    assert workers(kube, namespace, "wrong") == []
    installation.check_operator()


def test_image_that_cannot_be_pulled_is_a_condition(installation: Installation, kube: Kube, namespace: str) -> None:
    kube.create(study("no-image", data=ELSEWHERE, trainer={"image": "registry.example/nobody/nothing:1"}), namespace)
    said = wait_for_reason(kube, namespace, "no-image", "Stalled", "ImagePull")
    assert "registry.example/nobody/nothing:1" in said["message"]
    installation.check_operator()


def test_edits_of_parallel_reach_the_jobs(installation: Installation, kube: Kube, namespace: str) -> None:
    kube.create(study("wide", data=ELSEWHERE, trials={"max": 9, "parallel": 3}, trainer=IDLE), namespace)
    wait_for(lambda: len(workers(kube, namespace, "wide")) == 3)

    kube.patch("AutoGLMStudy", "wide", namespace, {"spec": {"trials": {"parallel": 1}}})
    wait_for(lambda: len([j for j in workers(kube, namespace, "wide") if j["status"].get("active")]) <= 1)
    installation.check_operator()


def test_deleting_a_study_leaves_nothing(installation: Installation, kube: Kube, namespace: str) -> None:
    kube.create(study("brief", data=ELSEWHERE, trials={"max": 50, "parallel": 2}), namespace)
    wait_for(lambda: len(workers(kube, namespace, "brief")) == 2)
    kube.delete("AutoGLMStudy", "brief", namespace)
    wait_for(lambda: kube.get("AutoGLMStudy", "brief", namespace) is None)
    wait_for(lambda: workers(kube, namespace, "brief") == [] and worker_pods(kube, namespace, "brief") == [])
    installation.check_operator()
