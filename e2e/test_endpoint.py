"""Endpoints with the real operator, copy Jobs and servers: the best model serves, whatever happens to studies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.cluster.cluster import Cluster
from e2e.endpoints import (
    Store,
    endpoint,
    endpoint_condition,
    endpoint_status,
    finished_study,
    load_on,
    predict,
    replicas,
    servers,
    store_on,
    wait_for_champion,
)
from e2e.installation import Installation
from e2e.kube import Kube, wait_for
from tests.serving.tiny_model import write_model

from autoglm_api.names import ANNOTATION_REJECTED, FINALIZER, endpoint_object_name

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def store(cluster: Cluster) -> Iterator[Store]:
    """The S3 store of this module's tests."""
    with store_on(cluster) as running:
        yield running


def deployment(digest: str) -> str:
    return endpoint_object_name("sentiment", digest)


def kept(store: Store, namespace: str) -> set[str]:
    """The digests of the endpoint's own copies."""
    prefix = f"live/{namespace}/endpoints/sentiment/"
    return {f"sha256:{path.partition(prefix)[2].partition('/')[0]}" for path in store.found(prefix)}


def test_the_best_model_serves_and_goes_on_when_its_study_and_all_servers_are_gone(
    installation: Installation, cluster: Cluster, kube: Kube, store: Store, namespace: str, tmp_path: Path
) -> None:
    store.put_secret(kube, namespace)
    kube.create(endpoint(), namespace)
    wait_for(lambda: endpoint_condition(kube, namespace, "Ready").get("reason") == "NoCandidate")

    first = finished_study(kube, store, namespace, "first", 0.80, tmp_path)
    told = wait_for_champion(kube, namespace, first)
    assert (told["champion"]["study"], told["champion"]["value"], told["readyReplicas"]) == ("first", 0.80, 2)
    assert told["url"] == f"http://sentiment.{namespace}.svc"
    url = cluster.service_url(namespace, "sentiment")
    assert wait_for(lambda: predict(url, "send money"))["predictions"][0]["label"] == "transfer"

    with load_on(url) as load:
        wait_for(lambda: load.outcomes[first] > 20)
        better = finished_study(kube, store, namespace, "better", 0.90, tmp_path, deletionPolicy="Delete")
        told = wait_for_champion(kube, namespace, better)
        wait_for(lambda: load.outcomes[better] > 20, state=lambda: load.outcomes)
        # The old servers go only after the traffic has moved; the load goes on until they are gone.
        wait_for(lambda: len(servers(kube, namespace)) == 2, 60)
        wait_for(lambda: len(kube.list("Pod", namespace, "app.kubernetes.io/component=server")) == 2, 90)
    if cluster.kubelet is not None:
        assert set(load.outcomes) == {first, better}, "a request failed during the rollout"
    assert told["previous"]["digest"] == first
    assert replicas(kube, namespace) == {deployment(first): 0, deployment(better): 2}

    finished_study(kube, store, namespace, "worse", 0.70, tmp_path)
    wait_for(lambda: endpoint_condition(kube, namespace, "Ready").get("reason") == "GateRefused")
    assert "0.7 is not better than the champion's 0.9" in endpoint_condition(kube, namespace, "Ready")["message"]
    assert endpoint_status(kube, namespace)["champion"]["digest"] == better

    prefix = kube.get("AutoGLMStudy", "better", namespace)
    assert prefix is not None
    folder = f"studies/{namespace}/{prefix['metadata']['uid']}"
    assert store.found(folder)
    kube.delete("AutoGLMStudy", "better", namespace)
    wait_for(lambda: kube.get("AutoGLMStudy", "better", namespace) is None, 90)
    assert store.found(folder) == []
    for pod in servers(kube, namespace):
        kube.delete("Pod", pod["metadata"]["name"], namespace, grace_seconds=0)
    wait_for(lambda: endpoint_condition(kube, namespace, "Ready").get("status") == "False", 90)
    wait_for_champion(kube, namespace, better)
    assert wait_for(lambda: predict(url), 90)["digest"] == better

    best = finished_study(kube, store, namespace, "best", 0.95, tmp_path)
    assert wait_for_champion(kube, namespace, best)["previous"]["digest"] == better
    wait_for(lambda: kept(store, namespace) == {better, best}, state=lambda: kube.describe(namespace))
    installation.check_operator()


def test_a_model_that_no_server_can_run_is_rolled_back_and_says_why(
    installation: Installation, cluster: Cluster, kube: Kube, store: Store, namespace: str, tmp_path: Path
) -> None:
    store.put_secret(kube, namespace)
    kube.create(endpoint(replicas=1), namespace)
    good = finished_study(kube, store, namespace, "good", 0.80, tmp_path)
    wait_for_champion(kube, namespace, good)

    bad = finished_study(kube, store, namespace, "bad", 0.95, tmp_path, broken=True)
    wait_for(
        lambda: endpoint_condition(kube, namespace, "RolledBack").get("status") == "True",
        180,
        state=lambda: endpoint_status(kube, namespace),
    )
    assert "'speech-recognition'" in endpoint_condition(kube, namespace, "RolledBack")["message"]
    told = wait_for_champion(kube, namespace, good)
    assert told["champion"]["study"] == "good"
    body = kube.get("AutoGLMEndpoint", "sentiment", namespace)
    assert body is not None
    assert body["metadata"]["annotations"][ANNOTATION_REJECTED] == bad
    wait_for(lambda: replicas(kube, namespace) == {deployment(good): 1})
    assert wait_for(lambda: predict(cluster.service_url(namespace, "sentiment")))["digest"] == good
    installation.check_operator()


def test_a_pinned_model_serves_scales_and_is_removed_with_its_endpoint(
    installation: Installation, cluster: Cluster, kube: Kube, store: Store, namespace: str, tmp_path: Path
) -> None:
    store.put_secret(kube, namespace)
    digest = write_model(tmp_path / "pinned")
    store.files.put(f"{tmp_path / 'pinned'}/", f"models/pinned/{namespace}/", recursive=True)
    source = {"model": {"uri": f"s3://models/pinned/{namespace}", "digest": digest}}
    kube.create(endpoint(source=source, replicas=1, deletionPolicy="Delete"), namespace)
    wait_for_champion(kube, namespace, digest)
    assert wait_for(lambda: predict(cluster.service_url(namespace, "sentiment")))["digest"] == digest

    kube.patch("AutoGLMEndpoint", "sentiment", namespace, {"spec": {"replicas": 2}})
    wait_for(lambda: endpoint_status(kube, namespace).get("readyReplicas") == 2, 60)

    kube.delete("Service", "sentiment", namespace)
    wait_for(lambda: kube.get("Service", "sentiment", namespace), 60)

    body = kube.get("AutoGLMEndpoint", "sentiment", namespace)
    assert body is not None
    assert FINALIZER in body["metadata"]["finalizers"]
    assert store.found(f"live/{namespace}/endpoints/sentiment")
    kube.delete("AutoGLMEndpoint", "sentiment", namespace)
    wait_for(lambda: kube.get("AutoGLMEndpoint", "sentiment", namespace) is None, 90)
    assert store.found(f"live/{namespace}/endpoints/sentiment") == []
    assert store.found(f"pinned/{namespace}")
    wait_for(lambda: not servers(kube, namespace) and kube.get("Service", "sentiment", namespace) is None, 60)
    installation.check_operator()


def test_an_endpoint_that_cannot_work_says_so(installation: Installation, kube: Kube, namespace: str) -> None:
    kube.create(endpoint(artifacts={"uri": "file:///etc"}), namespace)
    wait_for(lambda: endpoint_condition(kube, namespace, "Ready").get("reason") == "InvalidSpec")
    message = endpoint_condition(kube, namespace, "Ready")["message"]
    assert "spec.artifacts.uri" in message
    assert "file:///etc is not allowed" in message
    installation.check_operator()
