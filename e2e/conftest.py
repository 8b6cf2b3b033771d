"""Fixtures of the tier that needs a genuine API server: the cluster first, then what stands on it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.cluster.cluster import Cluster
from e2e.cluster.controlplane import free_port
from e2e.cluster.kubelet import Kubelet
from e2e.installation import Installation, install, uninstall
from e2e.kube import Kube, wait_for

Json = dict[str, Any]
HERE = Path(__file__).parent
NAMESPACE_TIMEOUT_SECONDS = 60.0
_failed = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is tier 2."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remembers a failure, so that the namespace is described before it goes."""
    report = yield
    if report.when == "call" and report.failed:
        item.stash[_failed] = True
    return report


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster of $KUBECONFIG, or one made here from Debian's packages (the first time takes minutes)."""
    if os.environ.get("KUBECONFIG"):
        existing = Cluster.existing(Path(os.environ["KUBECONFIG"]))
        yield existing
        existing.stop()
        return
    made = Cluster.start(tmp_path_factory.mktemp("cluster") / "cluster")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def kube(cluster: Cluster) -> Kube:
    """A client as administrator."""
    return cluster.kube


@pytest.fixture(scope="session")
def kubelet(cluster: Cluster) -> Kubelet:
    """What one can do to pods only where we run them: signals, out of memory, eviction."""
    if cluster.kubelet is None:
        pytest.skip("the cluster of KUBECONFIG has no pod runner of ours")
    return cluster.kubelet


@pytest.fixture(scope="session")
def installation(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The operator under the chart's RBAC, with a PostgreSQL server."""
    installed = install(cluster, tmp_path_factory.mktemp("installation"), free_port("127.0.0.1"))
    yield installed
    uninstall(installed)


@pytest.fixture(scope="session")
def namespaces(kube: Kube) -> Iterator[Namespaces]:
    """Makes and removes namespaces; at the end of the session every one that was left must be gone."""
    made = Namespaces(kube)
    yield made
    made.wait_until_gone()


@pytest.fixture
def namespace(namespaces: Namespaces, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own; after a failure its pods, logs and events are printed. Always removed."""
    name = namespaces.make()
    yield name
    if request.node.stash.get(_failed, False):
        print(namespaces.kube.describe(name))
    namespaces.leave(name)


class Namespaces:
    """Namespaces for tests that need one or several."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self._left: set[str] = set()

    def make(self, prefix: str = "e2e") -> str:
        """Creates a namespace in which pods can be created at once."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        self.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        wait_for(lambda: self.kube.may_create_pods(name))
        return name

    def leave(self, name: str) -> None:
        """Deletes a namespace and ends its pods now. It is gone some seconds later; nobody waits for that here."""
        self.kube.delete("Namespace", name)
        for kind in ("Job", "Deployment", "StatefulSet", "ReplicaSet"):
            self.kube.delete_all(kind, name)
        self.kube.delete_all("Pod", name, grace_seconds=0)
        self._left.add(name)

    def wait_until_gone(self) -> None:
        """Waits for the end of all that were left: what hangs here is a finalizer that nobody takes away."""

        def remaining() -> list[Json]:
            return [each for each in self.kube.list("Namespace") if each["metadata"]["name"] in self._left]

        wait_for(lambda: not remaining(), NAMESPACE_TIMEOUT_SECONDS, state=remaining)
