"""Prompt optimisation on an endpoint: a key in a Secret, a recipe that is searched, and a server that asks in turn."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.cluster.cluster import Cluster
from e2e.endpoints import BUCKET, SECRET, Store, endpoint_condition, endpoint_status, predict, store_on
from e2e.installation import Installation
from e2e.kube import Kube, wait_for
from e2e.studies import status, study, wait_for_reason
from tests.trainer.contract.cases import CASES
from tests.trainer.task.chat_server import KEY, MODEL, ChatServer, serving, taught_writer
from tests.trainer.task.making import FOLLOWED

pytestmark = pytest.mark.timeout(600)
CASE = next(case for case in CASES if case.task == "prompt-optimization")


@pytest.fixture
def store(cluster: Cluster) -> Iterator[Store]:
    """Where rows and recipes are."""
    with store_on(cluster) as found:
        yield found


@pytest.fixture
def chat(cluster: Cluster, tmp_path: Path) -> Iterator[ChatServer]:
    """The endpoint, where pods reach it."""
    with serving(taught_writer(tmp_path), cluster.host_address) as found:
        yield found


def put_rows(store: Store) -> dict[str, Any]:
    """`data` of a study on rows in the bucket."""
    for split, rows in (("train", CASE.rows(60, 0)), ("test", CASE.rows(12, 200))):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        store.files.pipe(f"{BUCKET}/rows/{split}.jsonl", text.encode())
    sources = {split: {"source": f"s3://{BUCKET}/rows/{split}.jsonl"} for split in ("train", "test")}
    return {**sources, "secretRef": {"name": SECRET}}


def asked_study(store: Store, chat: ChatServer) -> dict[str, Any]:
    """Three trials: the plain template, the one that the model follows, and whatever comes."""
    return study(
        "asked",
        task="prompt-optimization",
        model={"endpoint": {"url": chat.url, "model": MODEL}, "secretRef": {"name": "llm"}},
        data=put_rows(store),
        artifacts={"uri": f"s3://{BUCKET}/studies", "secretRef": {"name": SECRET}},
        parameters=[
            {"name": "template", "categorical": {"choices": ["plain", FOLLOWED, "bred"]}},
            {"name": "shots", "categorical": {"choices": [0, 2]}},
        ],
        enqueue=[{"template": "plain", "shots": 0}, {"template": FOLLOWED, "shots": 0}],
        trials={"max": 3, "parallel": 1},
    )


def put_key(kube: Kube, namespace: str, key: str) -> None:
    data = {"API_KEY": base64.b64encode(key.encode()).decode()}
    kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "llm"}, "data": data}, namespace)


def test_a_recipe_is_searched_on_an_endpoint_and_served_from_there(
    installation: Installation, cluster: Cluster, kube: Kube, namespace: str, store: Store, chat: ChatServer
) -> None:
    store.put_secret(kube, namespace)
    put_key(kube, namespace, KEY)
    kube.create(asked_study(store, chat), namespace)
    wait_for_reason(kube, namespace, "asked", "Complete", "MaxTrialsReached", timeout_seconds=240)
    told = status(kube, namespace, "asked")
    assert told["trials"]["complete"] == 3
    assert told["best"]["parameters"]["template"] == FOLLOWED
    assert told["model"]["metrics"]["accuracy"] >= 0.9

    endpoint = {
        "apiVersion": "autoglm.io/v1alpha1",
        "kind": "AutoGLMEndpoint",
        "metadata": {"name": "sentiment"},
        "spec": {
            "source": {"study": "asked"},
            # One image serves everything here; it has PyTorch, which a forwarding server does not need.
            "image": "autoglm-serving:test",
            "resources": {"limits": {"cpu": "1"}},
            "modelSecretRef": {"name": "llm"},
            "artifacts": {"uri": f"s3://{BUCKET}/served", "secretRef": {"name": SECRET}},
        },
    }
    kube.create(endpoint, namespace)

    def state() -> list[Any]:
        return [endpoint_status(kube, namespace), kube.describe(namespace), installation.operator.tail()]

    wait_for(lambda: endpoint_condition(kube, namespace, "Ready").get("status") == "True", 180, state=state)
    url = wait_for(lambda: cluster.service_url(namespace, "sentiment"))
    chat.asked.clear()
    (answer,) = wait_for(lambda: predict(url, "so very green and deep"))["predictions"]
    assert answer["label"] == "green"
    asked = [body["messages"][0]["content"] for body in chat.asked]
    assert FOLLOWED.replace("{prompt}", "so very green and deep") in asked
    everything = json.dumps([told, endpoint_status(kube, namespace), kube.list("Event", namespace)])
    assert KEY not in everything
    assert KEY not in installation.operator.log.read_text(errors="replace")
    installation.check_operator()


def test_a_wrong_key_ends_the_study_at_once_and_says_what_to_do(
    installation: Installation, kube: Kube, namespace: str, store: Store, chat: ChatServer
) -> None:
    store.put_secret(kube, namespace)
    put_key(kube, namespace, "sk-wrong")
    kube.create(asked_study(store, chat), namespace)
    said = wait_for_reason(kube, namespace, "asked", "Failed", "SpecError", timeout_seconds=120)
    assert "refuses the key API_KEY in model.secretRef (401)" in said["message"]
    assert "sk-wrong" not in json.dumps([status(kube, namespace, "asked"), kube.list("Event", namespace)])
    assert chat.requests == 1
    installation.check_operator()
