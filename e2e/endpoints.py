"""Endpoints for tests: an S3 store that pods reach, studies that have ended with a tiny real model, and predictions."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import s3fs
from e2e.cluster.cluster import Cluster
from e2e.kube import Kube, wait_for
from e2e.studies import condition, status, study, wait_for_reason
from tests.serving.tiny_model import write_model

from autoglm_api.attempts import Export, Owner, TrialAttribute
from autoglm_api.names import optuna_study_name
from autoglm_store.attempts import set_attribute
from autoglm_store.connection import load_study
from autoglm_store.errors import StoreError
from autoglm_store.limits import read_run, write_export
from autoglm_store.sampling import suggest

Json = dict[str, Any]
BUCKET, SECRET = "models", "s3"
LABELS = {"app": "sentiment"}


@dataclass(frozen=True)
class Store:
    """An S3 API as a process on this machine, reachable from pods."""

    url: str
    files: s3fs.S3FileSystem

    @property
    def credentials(self) -> dict[str, str]:
        """As in a Secret."""
        return {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL": self.url}

    def put_secret(self, kube: Kube, namespace: str) -> None:
        """The Secret that opens the store, in a namespace."""
        data = {name: base64.b64encode(value.encode()).decode() for name, value in self.credentials.items()}
        kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": data}, namespace)

    def found(self, prefix: str) -> list[str]:
        """All keys below a prefix of the bucket."""
        return list(self.files.find(f"{BUCKET}/{prefix}"))


@contextmanager
def running_store(address: str) -> Iterator[Store]:
    """Starts the store on an address of this machine."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", address, "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://{address}:{port}"
    try:
        wait_for(lambda: urllib.request.urlopen(f"{url}/moto-api/", timeout=2).status == 200)
        files = s3fs.S3FileSystem(
            key="key", secret="secret", endpoint_url=url, use_listings_cache=False, skip_instance_cache=True
        )
        files.mkdir(BUCKET)
        yield Store(url, files)
    finally:
        process.kill()
        process.wait()


def finished_study(
    kube: Kube,
    store: Store,
    namespace: str,
    name: str,
    value: float,
    folder: Path,
    *,
    broken: bool = False,
    **spec: Any,
) -> str:
    """A study that ended with one trial of this value and a tiny real model; returns the model's digest.

    The trial and the export are written to the study's database as a worker and an export would; all else is real.

    Args:
        broken: the model is complete, but no server can run it.
        spec: replaces fields of the study's spec.
    """
    body = study(
        name,
        suspend=True,
        trials={"max": 1, "parallel": 1},
        artifacts={"uri": f"s3://{BUCKET}/studies", "secretRef": {"name": SECRET}},
        **spec,
    )
    body["metadata"]["labels"] = LABELS
    uid = kube.create(body, namespace)["metadata"]["uid"]
    stored = wait_for(lambda: _stored(kube, namespace, optuna_study_name(namespace, name, uid)), 60)
    run = read_run(stored)
    task = "speech-recognition" if broken else "text-classification"
    digest = write_model(folder / name, study=name, task=task, seed=int(value * 1000), test={"accuracy": value})
    uri = f"{run.artifacts_uri}/export"
    store.files.put(f"{folder / name}/", f"{uri.removeprefix('s3://')}/", recursive=True)
    shutil.rmtree(folder / name)
    trial = stored.ask()
    suggest(trial, run.parameters)
    set_attribute(stored, trial, TrialAttribute.METRICS, {"accuracy": value})
    # The export first, for no export Job is wanted; the owner last, for the operator will miss its pod.
    write_export(
        stored, Export(uri=uri, digest=digest, trial=trial.number, metrics={"accuracy": value}, test_digest="t" * 64)
    )
    set_attribute(stored, trial, TrialAttribute.OWNER, Owner(name="hand", identity=name).to_json_dict())
    stored.tell(trial, value)
    kube.patch("AutoGLMStudy", name, namespace, {"spec": {"suspend": False}})
    wait_for(
        lambda: condition(kube, namespace, name, "Complete").get("status") == "True",
        60,
        state=lambda: status(kube, namespace, name),
    )
    return digest


def _stored(kube: Kube, namespace: str, name: str) -> Any:
    secret = kube.get("Secret", "autoglm-storage", namespace)
    if secret is None:
        return None
    try:
        found = load_study(base64.b64decode(secret["data"]["url"]).decode(), name)
        read_run(found)
    except StoreError:
        return None
    return found if found.get_trials(deepcopy=False) else None  # the first point is enqueued last


def endpoint(name: str = "sentiment", **spec: Any) -> Json:
    """An endpoint fed by every study with our labels; `spec` replaces fields."""
    body: Json = {
        "source": {"studySelector": {"matchLabels": LABELS}},
        "replicas": 2,
        "resources": {"limits": {"cpu": "1"}},
        "artifacts": {"uri": f"s3://{BUCKET}/live", "secretRef": {"name": SECRET}},
    }
    return {
        "apiVersion": "autoglm.io/v1alpha1",
        "kind": "AutoGLMEndpoint",
        "metadata": {"name": name},
        "spec": {**body, **spec},
    }


def endpoint_status(kube: Kube, namespace: str, name: str = "sentiment") -> Json:
    """The status; empty while there is none."""
    return dict((kube.get("AutoGLMEndpoint", name, namespace) or {}).get("status") or {})


def endpoint_condition(kube: Kube, namespace: str, type_: str) -> Json:
    """One condition; empty when it is not there."""
    found = endpoint_status(kube, namespace).get("conditions", [])
    return next((dict(said) for said in found if said["type"] == type_), {})


def search_and_serve(kube: Kube, cluster: Cluster, namespace: str, body: Json) -> tuple[str, Json]:
    """Runs a study to its last trial and an endpoint of it until it is ready; its URL and the study's status.

    Its artifacts are where the installation puts them.
    """
    name = body["metadata"]["name"]
    kube.create(body, namespace)
    asked = endpoint(source={"study": name}, replicas=1)
    del asked["spec"]["artifacts"]
    kube.create(asked, namespace)
    wait_for_reason(kube, namespace, name, "Complete", "MaxTrialsReached", timeout_seconds=300)
    wait_for(
        lambda: endpoint_condition(kube, namespace, "Ready").get("status") == "True",
        180,
        state=lambda: [endpoint_status(kube, namespace), kube.describe(namespace)],
    )
    return cluster.service_url(namespace, "sentiment"), status(kube, namespace, name)


def wait_for_champion(kube: Kube, namespace: str, digest: str, timeout_seconds: float = 180.0) -> Json:
    """Waits until a model serves and nothing is under way any more; returns the status."""

    def serving() -> Json | None:
        told = endpoint_status(kube, namespace)
        quiet = not endpoint_condition(kube, namespace, "Reconciling")
        ready = endpoint_condition(kube, namespace, "Ready").get("status") == "True"
        return told if quiet and ready and told.get("champion", {}).get("digest") == digest else None

    answer = wait_for(
        serving, timeout_seconds, state=lambda: [endpoint_status(kube, namespace), kube.describe(namespace)]
    )
    assert answer is not None
    return answer


def servers(kube: Kube, namespace: str) -> list[Json]:
    """The server pods that are not on their way out."""
    pods = kube.list("Pod", namespace, "app.kubernetes.io/component=server")
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def replicas(kube: Kube, namespace: str) -> dict[str, int]:
    """Deployment → wanted replicas."""
    found = kube.list("Deployment", namespace, "app.kubernetes.io/component=server")
    return {each["metadata"]["name"]: each["spec"]["replicas"] for each in found}


def predict(url: str, item: object = "hello") -> Json:
    """One prediction over a connection of its own.

    Raises:
        OSError: no answer, or one that is none.
    """
    body = json.dumps({"model_name": "sentiment", "data": item}).encode()
    request = urllib.request.Request(f"{url}/v1/predict", data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return dict(json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        raise OSError(f"{url}: {error.code} {error.read().decode(errors='replace')}") from error


@dataclass
class Load:
    """Clients that ask without pause, and what they were answered: by model, or by error."""

    url: str
    outcomes: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """One client, until told to stop."""
        while not self._stop.is_set():
            try:
                self.outcomes[predict(self.url)["digest"]] += 1
            except (OSError, ValueError) as error:
                self.outcomes[f"{type(error).__name__}: {error}"] += 1
            self._stop.wait(0.02)


@contextmanager
def load_on(url: str, clients: int = 2) -> Iterator[Load]:
    """Load on a URL while the block runs."""
    load = Load(url)
    threads = [threading.Thread(target=load.run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load._stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def store_on(cluster: Cluster) -> Iterator[Store]:
    """A store that the cluster's pods reach."""
    with running_store(cluster.host_address) as store:
        yield store
