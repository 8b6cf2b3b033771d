"""The API client: four errors instead of HTTP codes, the right verbs and headers, against a real HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client
from tests.operator.simulation import make_study

from autoglm_operator.actions import Create, Delete
from autoglm_operator.apply import apply
from autoglm_operator.kube import JOBS, SECRETS, STUDIES, Conflict, Kube, KubeError, NotFound, Rejected, Unavailable
from autoglm_operator.recent import Recent


class Api:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[tuple[str, str, dict[str, str], str, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path, dict(request.query), request.content_type, body))
        status, answer = self.answers.pop(0) if self.answers else (200, {})
        return web.json_response(answer, status=status)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def kube(api: Api) -> AsyncIterator[Kube]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [address] = runner.addresses
    configuration = client.Configuration(host=f"http://127.0.0.1:{address[1]}")
    async with Kube(client.ApiClient(configuration), timeout_seconds=2) as kube:
        yield kube
    await runner.cleanup()


def failure(status: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"kind": "Status", "code": status, "message": message}


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, NotFound), (409, Conflict), (403, Rejected), (422, Rejected), (429, Unavailable), (500, Unavailable)],
)
async def test_answers_become_errors_with_the_servers_sentence(
    api: Api, kube: Kube, status: int, expected: type[KubeError]
) -> None:
    api.answers = [failure(status, "exceeded quota: gpus")]
    with pytest.raises(expected, match="exceeded quota: gpus"):
        await kube.get(JOBS, "team-a", "w0")


async def test_no_server_is_unavailable() -> None:
    configuration = client.Configuration(host="http://127.0.0.1:1")
    async with Kube(client.ApiClient(configuration)) as kube:
        with pytest.raises(Unavailable):
            await kube.get(JOBS, "team-a", "w0")


async def test_delete_is_for_one_uid_and_reaches_the_pods(api: Api, kube: Kube) -> None:
    await kube.delete(JOBS, "team-a", "w0", uid="u")
    [(method, path, _, _, body)] = api.asked
    assert (method, path) == ("DELETE", "/apis/batch/v1/namespaces/team-a/jobs/w0")
    assert body == {"propagationPolicy": "Background", "preconditions": {"uid": "u"}}


async def test_status_is_applied_by_the_server(api: Api, kube: Kube) -> None:
    await kube.apply_status(STUDIES, "team-a", "intents", {"phase": "Running"})
    [(method, path, query, content, body)] = api.asked
    assert (method, content) == ("PATCH", "application/apply-patch+yaml")
    assert path == "/apis/autoglm.io/v1alpha1/namespaces/team-a/autoglmstudies/intents/status"
    assert query == {"fieldManager": "autoglm-operator", "force": "true"}
    assert body["kind"] == "AutoGLMStudy"
    assert body["status"] == {"phase": "Running"}


def job(uid: str) -> dict[str, Any]:
    return {"metadata": {"name": "w0", "namespace": "team-a", "ownerReferences": [{"uid": uid}]}}


async def test_a_job_that_is_there_already_and_ours_is_done(api: Api, kube: Kube) -> None:
    uid = make_study().uid
    api.answers = [failure(409, "exists"), (200, job(uid))]
    await apply(kube, [Create(JOBS, job(uid))])


async def test_a_job_of_somebody_else_is_a_conflict(api: Api, kube: Kube) -> None:
    api.answers = [failure(409, "exists"), (200, job("somebody"))]
    with pytest.raises(Conflict, match="belongs to somebody else"):
        await apply(kube, [Create(JOBS, job(make_study().uid))])


@pytest.mark.parametrize("status", [404, 409])
async def test_deleting_what_is_gone_is_done(api: Api, kube: Kube, status: int) -> None:
    api.answers = [failure(status, "gone")]
    await apply(kube, [Delete(JOBS, "team-a", "w0", "u")])


async def test_a_kind_is_served_when_discovery_lists_it(api: Api, kube: Kube) -> None:
    api.answers = [(200, {"resources": [{"name": "autoglmstudies"}]}), failure(404, "no such group")]
    assert await kube.serves(STUDIES)
    assert not await kube.serves(STUDIES)


async def test_what_studies_share_is_asked_once_in_a_moment_but_what_is_missing_every_time(
    api: Api, kube: Kube
) -> None:
    recent = Recent(kube)
    api.answers = [failure(404, "not found"), (200, {"data": {"url": "first"}}), (200, {"data": {"url": "second"}})]
    with pytest.raises(NotFound):
        await recent.get(SECRETS, "team-a", "storage")
    found = [await recent.get(SECRETS, "team-a", "storage") for _ in range(3)]
    assert found == [{"data": {"url": "first"}}] * 3
    recent.forget(SECRETS, "team-a", "storage")
    assert await recent.get(SECRETS, "team-a", "storage") == {"data": {"url": "second"}}


async def test_an_answer_is_not_shared_for_ever(api: Api, kube: Kube) -> None:
    recent = Recent(kube, max_age_seconds=0.0)
    for _ in range(2):
        await recent.get(SECRETS, "team-a", "storage")
    assert len(api.asked) == 2
