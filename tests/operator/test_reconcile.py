"""One study's reconcile against a real HTTP API and a real PostgreSQL: what is written when things are missing."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client
from tests.operator.simulation import make_spec
from tests.postgres import PostgresServer, start_postgres

from autoglm_api.attempts import TrialAttribute
from autoglm_api.names import STORAGE_SECRET, database_name
from autoglm_api.run import freeze, limits
from autoglm_operator.children import Children
from autoglm_operator.databases import Databases
from autoglm_operator.kube import Kube
from autoglm_operator.observe import Sight
from autoglm_operator.queue import Key
from autoglm_operator.settings import Settings
from autoglm_operator.study import StudyReconciler
from autoglm_store.connection import load_study
from autoglm_store.creation import create_study
from autoglm_store.sampling import suggest

EPOCHS = {"name": "epochs", "int": {"min": 1, "max": 50}}
KEY = Key("autoglmstudies", "team-a", "intents")
STUDY = "/apis/autoglm.io/v1alpha1/namespaces/team-a/autoglmstudies/intents"
SECRETS = "/api/v1/namespaces/team-a/secrets"
JOBS = "/apis/batch/v1/namespaces/team-a/jobs"
CLAIMS = "/api/v1/namespaces/team-a/persistentvolumeclaims"


class Api:
    """Objects by path; POST creates, PATCH of a status replaces it, `refuse` answers 403."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.refuse: dict[str, str] = {}
        self.statuses = 0
        self.asked: Counter[tuple[str, str]] = Counter()

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else {}
        self.asked[request.method, request.path] += 1
        if request.method == "GET":
            found = self.objects.get(request.path)
            return web.json_response(found or {"message": f"{request.path} not found"}, status=200 if found else 404)
        if request.method == "POST":
            return self._create(request.path, body)
        self.statuses += 1
        self.objects[request.path.removesuffix("/status")]["status"] = body["status"]
        return web.json_response({})

    def _create(self, collection: str, body: dict[str, Any]) -> web.Response:
        if collection in self.refuse:
            return web.json_response({"message": self.refuse[collection]}, status=403)
        path = f"{collection}/{body['metadata']['name']}"
        if path in self.objects:
            return web.json_response({"message": "exists"}, status=409)
        if "stringData" in body:
            body["data"] = {key: b64encode(text.encode()).decode() for key, text in body["stringData"].items()}
        self.objects[path] = {**body, "metadata": {**body["metadata"], "uid": path}}
        return web.json_response(body, status=201)

    def put_study(self, **spec: Any) -> None:
        metadata = {"name": "intents", "namespace": "team-a", "uid": "0badcafe", "generation": 1}
        self.objects[STUDY] = {"metadata": metadata, "spec": {**make_spec().to_json_dict(), **spec}}

    def condition(self, type_: str) -> dict[str, Any]:
        conditions = self.objects[STUDY].get("status", {}).get("conditions", [])
        return next((said for said in conditions if said["type"] == type_), {})

    def jobs(self) -> list[str]:
        return [path for path in self.objects if path.startswith(JOBS)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = start_postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop()


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def kube(api: Api) -> AsyncIterator[Kube]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    [address] = runner.addresses
    configuration = client.Configuration(host=f"http://127.0.0.1:{address[1]}")
    async with Kube(client.ApiClient(configuration), timeout_seconds=5) as kube:
        yield kube
    await runner.cleanup()


def reconciler(kube: Kube, database_url: str | None) -> tuple[StudyReconciler, Databases]:
    settings = Settings(database_url=database_url, trials_max_age_seconds=0)
    databases = Databases(threads=1, timeout_seconds=10, max_age_seconds=0)
    return StudyReconciler(Sight(kube, databases, Children(), settings)), databases


async def test_first_study_of_a_namespace_gets_a_database_and_its_jobs(
    api: Api, kube: Kube, server: PostgresServer
) -> None:
    reconcile, databases = reconciler(kube, server.dsn)
    api.put_study()
    assert await reconcile(KEY) == 0.0
    await reconcile(KEY)
    assert api.condition("Ready")["reason"] == "Accepted"
    assert len(api.jobs()) == 2
    assert database_name("team-a") in api.objects[f"{SECRETS}/{STORAGE_SECRET}"]["stringData"]["url"]
    databases.close()


async def test_studies_that_find_no_database_at_the_same_time_have_one_made(
    api: Api, kube: Kube, server: PostgresServer
) -> None:
    reconcile, databases = reconciler(kube, server.dsn)
    keys = [Key(KEY.kind, "team-b", f"study-{number}") for number in range(4)]
    for key in keys:
        metadata = {"name": key.name, "namespace": key.namespace, "uid": f"uid-of-{key.name}", "generation": 1}
        path = f"/apis/autoglm.io/v1alpha1/namespaces/team-b/autoglmstudies/{key.name}"
        api.objects[path] = {"metadata": metadata, "spec": make_spec().to_json_dict()}
    for _ in range(2):
        await asyncio.gather(*(reconcile(key) for key in keys))
    assert api.asked["POST", "/api/v1/namespaces/team-b/secrets"] == 1
    assert len([path for path in api.objects if path.startswith("/apis/batch/v1/namespaces/team-b/jobs")]) == 8
    databases.close()


async def test_a_second_pass_creates_nothing_and_writes_no_status(api: Api, kube: Kube, server: PostgresServer) -> None:
    reconcile, databases = reconciler(kube, server.dsn)
    api.put_study()
    for _ in range(3):
        await reconcile(KEY)
    before = (set(api.objects), api.statuses)
    await reconcile(KEY)
    assert (set(api.objects), api.statuses) == before
    databases.close()


async def test_database_server_that_cannot_be_reached_is_a_condition(api: Api, kube: Kube) -> None:
    reconcile, databases = reconciler(kube, "postgresql://admin:secret@127.0.0.1:1/postgres")
    api.put_study()
    await reconcile(KEY)
    await reconcile(KEY)
    said = api.condition("StorageReady")
    assert (said["status"], said["reason"]) == ("False", "Unreachable")
    assert "secret" not in said["message"]
    assert api.jobs() == []
    databases.close()


async def test_installation_without_a_database_says_what_to_do(api: Api, kube: Kube) -> None:
    reconcile, databases = reconciler(kube, None)
    api.put_study()
    await reconcile(KEY)
    said = api.condition("StorageReady")
    assert said["reason"] == "SecretNotFound"
    assert "storage.secretRef" in said["message"]
    databases.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [("mysql://host/db", "postgresql://"), ("postgresql://u:p@169.254.169.254/db", "link-local")],
)
async def test_own_database_must_be_postgresql_and_no_metadata_service(
    api: Api, kube: Kube, url: str, words: str
) -> None:
    reconcile, databases = reconciler(kube, None)
    api.put_study(storage={"secretRef": {"name": "own", "key": "url"}})
    api.objects[f"{SECRETS}/own"] = {"data": {"url": b64encode(url.encode()).decode()}}
    await reconcile(KEY)
    assert words in api.condition("StorageReady")["message"]
    databases.close()


async def test_a_mended_secret_of_ones_own_counts_at_once(api: Api, kube: Kube, server: PostgresServer) -> None:
    reconcile, databases = reconciler(kube, None)
    api.put_study(storage={"secretRef": {"name": "own", "key": "url"}})
    for url, reason in (("mysql://host/db", "Unreachable"), (server.create_database("mended"), "Connected")):
        api.objects[f"{SECRETS}/own"] = {"data": {"url": b64encode(url.encode()).decode()}}
        await reconcile(KEY)
        assert api.condition("StorageReady")["reason"] == reason
    databases.close()


@pytest.mark.parametrize(("collection", "kind"), [(JOBS, "Job"), (CLAIMS, "PersistentVolumeClaim")])
async def test_what_the_api_server_refuses_is_told_in_its_words(
    api: Api, kube: Kube, server: PostgresServer, collection: str, kind: str
) -> None:
    reconcile, databases = reconciler(kube, server.dsn)
    api.put_study()
    api.refuse[collection] = "exceeded quota: gpus"
    for _ in range(3):
        await reconcile(KEY)
    said = api.condition("Stalled")
    assert said["reason"] == "PodRejected"
    assert f"refuses a {kind}: exceeded quota: gpus" in said["message"]
    databases.close()


async def test_a_study_that_is_gone_is_forgotten(api: Api, kube: Kube, server: PostgresServer) -> None:
    reconcile, databases = reconciler(kube, server.dsn)
    api.put_study()
    await reconcile(KEY)
    del api.objects[STUDY]
    assert await reconcile(KEY) is None
    databases.close()


async def test_a_study_waits_for_the_one_it_begins_with_and_then_begins_with_what_it_found(
    api: Api, kube: Kube, server: PostgresServer
) -> None:
    reconcile, databases = reconciler(kube, server.dsn)
    api.put_study(warmStart={"fromStudies": ["earlier"]}, parameters=[EPOCHS])
    api.objects[STUDY]["metadata"]["uid"] = "0badcafe-warm"
    for _ in range(4):
        await reconcile(KEY)
    assert api.condition("Stalled")["reason"] == api.condition("Ready")["reason"] == "SourceStudyNotFound"
    assert "names study earlier" in api.condition("Stalled")["message"]
    assert api.jobs() == []

    url = api.objects[f"{SECRETS}/{STORAGE_SECRET}"]["stringData"]["url"]
    spec = make_spec(parameters=[EPOCHS])
    run = freeze(spec, namespace="team-a", name="earlier", uid="u1", artifacts_uri="s3://b")
    source = create_study(url, "team-a/earlier/u1", run, limits(spec, generation=1))
    for value in (0.5, 0.6):
        trial = source.ask()
        suggest(trial, run.parameters)
        trial.set_user_attr(TrialAttribute.METRICS, {"accuracy": value})
        source.tell(trial, value)
    reconcile._sight.memory(KEY).lost_source = None  # its pause is over
    for _ in range(3):
        reconcile._sight.memory(KEY).status_written = None  # five seconds have passed
        await reconcile(KEY)
    status = api.objects[STUDY]["status"]
    assert status["warmStart"] == "2 of 2 complete trials of study earlier imported"
    assert (status["progress"], status.get("best")) == ("0/6", None)
    assert len(api.jobs()) == 2
    restarted, others = reconciler(kube, server.dsn)
    await restarted(KEY)
    study = load_study(url, "team-a/intents/0badcafe-warm")
    assert sum(TrialAttribute.IMPORTED in trial.user_attrs for trial in study.get_trials()) == 2
    databases.close()
    others.close()
