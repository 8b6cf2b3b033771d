"""What cannot be trained ends with a sentence; what cannot run says why and is not tried for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from e2e.broken import CLAIM, put_broken
from e2e.cluster.cluster import Cluster
from e2e.cluster.controlplane import free_port
from e2e.conftest import Namespaces
from e2e.installation import Installation
from e2e.kube import Kube, wait_for
from e2e.studies import condition, status, study, wait_for_reason, workers
from e2e.trials import Trials, tuned
from optuna.trial import TrialState

from autoglm_api.attempts import TrialAttribute
from autoglm_api.exits import Cause

Json = dict[str, Any]
pytestmark = pytest.mark.timeout(600)
TRIALS = {"max": 9, "parallel": 1, "maxFailed": 1}
GOOD = {"train": {"source": f"pvc://{CLAIM}/good.csv"}}


def rows(train: str, **data: object) -> Json:
    return {"data": {"train": {"source": f"pvc://{CLAIM}/{train}"}, **data}}


def model(name: str) -> Json:
    return {"data": GOOD, "model": {"source": f"pvc://{CLAIM}/{name}"}}


# Name: the spec, how the study ends, and words of the sentence.
BROKEN: dict[str, tuple[Json, str, list[str]]] = {
    "missing rows": (rows("nowhere.csv"), "DataError", ["nowhere.csv", "no such file", "check the path"]),
    "no rows": (rows("empty.csv"), "DataError", ["empty.csv", "the file is empty"]),
    "not utf-8": (rows("latin.csv"), "DataError", ["latin.csv", "line 2", "0xe9", "save the file as UTF-8"]),
    "no label column": (rows("columns.csv"), "DataError", ["columns.csv", "'label'", "stars"]),
    "one label": (rows("one-label.csv"), "DataError", ["one-label.csv", "'praise'", "at least two labels"]),
    "label in test alone": (
        rows("good.csv", test={"source": f"pvc://{CLAIM}/third-label.csv"}),
        "DataError",
        ["third-label.csv", "'question'", "test rows only"],
    ),
    "model without weights": (model("bare"), "SpecError", ["model.source", "no weights", "model.safetensors"]),
    "pickled weights": (model("pickled"), "SpecError", ["pytorch_model.bin", "refused", "safetensors"]),
    "no such package": (
        {"data": GOOD, "model": {"source": "package://nobody_has_it"}},
        "SpecError",
        ["nobody_has_it", "install it"],
    ),
    "s3 denied": (
        {"data": {"train": {"source": "s3://vault/train.csv"}, "secretRef": {"name": "s3"}}},
        "DataError",
        ["s3://vault/train.csv", "access denied", "secretRef"],
    ),
}


@pytest.fixture(scope="module")
def strict_s3(cluster: Cluster) -> Iterator[str]:
    """An S3 server that knows nobody's keys; its URL as pods reach it."""
    port = free_port(cluster.host_address)
    program = str(Path(sys.executable).with_name("moto_server"))
    environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "0"}
    server = subprocess.Popen(
        [program, "-H", cluster.host_address, "-p", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://{cluster.host_address}:{port}"
    server.kill()
    server.wait()


@pytest.fixture(scope="module")
def failing(installation: Installation, kube: Kube, namespaces: Namespaces, strict_s3: str) -> Iterator[str]:
    """A namespace in which all of them run at once."""
    namespace = namespaces.make()
    keys = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_ENDPOINT_URL": strict_s3}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"}, "stringData": keys}
    kube.create(secret, namespace)
    put_broken(kube, namespace)
    for name, (changes, _, _) in BROKEN.items():
        kube.create(study(slug(name), **{"trials": TRIALS, **changes}), namespace)
    yield namespace
    namespaces.leave(namespace)


def slug(name: str) -> str:
    return name.lower().replace(" ", "-")


def jobs_made(kube: Kube, namespace: str, study: str) -> set[str]:
    """Every Job of the study that ever had a pod, deleted ones too."""
    subjects = [each["involvedObject"] for each in kube.list("Event", namespace)]
    return {each["name"] for each in subjects if each["kind"] == "Job" and each["name"].startswith(f"{study}-")}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_trained_fails_once_with_a_sentence(
    installation: Installation, kube: Kube, failing: str, name: str
) -> None:
    _, reason, words = BROKEN[name]
    said = wait_for_reason(kube, failing, slug(name), "Failed", reason, timeout_seconds=300)
    assert all(word in said["message"] for word in words), said["message"]
    assert "Traceback" not in said["message"]
    ready = condition(kube, failing, slug(name), "Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", reason, said["message"])
    assert len(jobs_made(kube, failing, slug(name))) == 1
    assert status(kube, failing, slug(name))["phase"] == "Failed"
    installation.check_operator()


def test_metric_that_is_no_number_fails_the_trial_and_is_never_best(
    installation: Installation, kube: Kube, failing: str
) -> None:
    objectives = [{"metric": "loss", "direction": "Minimize"}]
    kube.create(tuned("nan", epochs=1, objectives=objectives, trials=TRIALS, **model("nan")), failing)
    said = wait_for_reason(kube, failing, "nan", "Failed", "MaxFailedExceeded", timeout_seconds=300)
    assert "trials.maxFailed allows 1" in said["message"]

    attempts = [each for each in Trials(kube, failing, "nan").counted() if each.state.is_finished()]
    assert {each.state for each in attempts} == {TrialState.FAIL}
    causes = {each.user_attrs[TrialAttribute.CAUSE] for each in attempts}
    assert causes <= {Cause.NON_FINITE, Cause.STOPPED}
    assert "loss is nan" in attempts[0].user_attrs[TrialAttribute.MESSAGE]
    told = status(kube, failing, "nan")
    assert told.get("best") is None
    assert told["trials"]["failed"] == 2
    assert told["trials"].get("retried", 0) == 0
    installation.check_operator()


def test_code_that_raises_in_training_is_tried_again_and_its_words_are_in_the_status(
    installation: Installation, kube: Kube, failing: str
) -> None:
    kube.create(tuned("crooked", epochs=1, trials={**TRIALS, "retries": 1}, **model("crooked")), failing)
    said = wait_for_reason(kube, failing, "crooked", "Failed", "MaxFailedExceeded", timeout_seconds=300)
    assert "trials failed; trials.maxFailed allows 1; the last one was trial" in said["message"]
    assert f"{Cause.TASK_ERROR}: RuntimeError: index_select()" in said["message"]
    assert "Traceback" not in said["message"]

    failed = [each for each in Trials(kube, failing, "crooked").counted() if each.state is TrialState.FAIL]
    assert 'File "' in failed[0].user_attrs[TrialAttribute.LOG], "the end of the traceback, for whoever mends the code"
    told = status(kube, failing, "crooked")
    # Two each, and what the worker could begin before the operator saw the second.
    assert told["trials"]["failed"] >= 2
    assert told["trials"]["retried"] >= 2
    installation.check_operator()


NOWHERE = {"train": {"source": "s3://nowhere/train.csv"}}


def test_pod_that_fits_nowhere_is_a_condition(installation: Installation, kube: Kube, namespace: str) -> None:
    trainer = {"resources": {"limits": {"nvidia.com/gpu": 4096}}}
    kube.create(study("huge", data=NOWHERE, trainer=trainer), namespace)
    said = wait_for_reason(kube, namespace, "huge", "Stalled", "Unschedulable")
    assert "nvidia.com/gpu" in said["message"]
    assert status(kube, namespace, "huge")["phase"] == "Stalled"
    installation.check_operator()


def test_job_that_the_api_server_refuses_is_a_condition(installation: Installation, kube: Kube, namespace: str) -> None:
    trainer = {"pod": {"labels": {"no such/label key!": "x"}}}
    kube.create(study("refused", data=NOWHERE, trainer=trainer), namespace)
    said = wait_for_reason(kube, namespace, "refused", "Stalled", "PodRejected")
    assert "no such/label key!" in said["message"]
    assert workers(kube, namespace, "refused") == []
    installation.check_operator()


def test_workers_that_never_train_are_started_less_and_less_often(
    installation: Installation, kube: Kube, namespace: str
) -> None:
    """An image without our trainer: the server in it does not know the command `work`."""
    kube.create(study("barren", data=NOWHERE, trainer={"image": "autoglm-serving:test"}), namespace)
    said = wait_for_reason(kube, namespace, "barren", "Stalled", "WorkersFailing", timeout_seconds=120)
    assert "3 workers in a row" in said["message"]
    assert "exit code 2" in said["message"]
    wait_for(lambda: len(workers(kube, namespace, "barren")) >= 4, 60)
    made = sorted(
        datetime.fromisoformat(job["metadata"]["creationTimestamp"]) for job in workers(kube, namespace, "barren")
    )
    assert made[3] - made[2] >= timedelta(seconds=4)  # after 1 and 2
    installation.check_operator()


def test_a_secret_that_does_not_exist_is_named(installation: Installation, kube: Kube, namespace: str) -> None:
    data = {"train": {"source": "s3://vault/train.csv"}, "secretRef": {"name": "nobody-made-it"}}
    kube.create(study("locked", data=data), namespace)
    said = wait_for_reason(kube, namespace, "locked", "Stalled", "SecretNotFound")
    assert "Secret nobody-made-it does not exist" in said["message"]
    installation.check_operator()
