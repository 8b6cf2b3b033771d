"""Uninstalling leaves no finalizer behind. The API server here is a small real HTTP server with optimistic locking."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from autoglm_api.names import FINALIZER
from autoglm_operator import uninstall
from autoglm_operator.kube import Kube

Object = dict[str, Any]
OTHER = "somebody.example/else"
STUDIES = "/apis/autoglm.io/v1alpha1"


def study(name: str, *finalizers: str) -> Object:
    return {"metadata": {"name": name, "namespace": "team", "finalizers": list(finalizers), "resourceVersion": "1"}}


class Server:
    """Studies in one namespace, and an operator whose pod ends a few questions after it was told to."""

    def __init__(self, *studies: Object, conflicts: int = 0, pod_questions: int = 0) -> None:
        self.studies = {body["metadata"]["name"]: body for body in studies}
        self.conflicts = conflicts
        self.pod_questions = pod_questions
        self.replicas = 1
        self.said: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.said.append(f"{request.method} {request.path}")
        tail = request.path.rsplit("/", 1)[-1]
        if request.path == STUDIES:
            return web.json_response({"resources": [{"name": "autoglmstudies"}]})
        if tail == "pods":
            self.pod_questions -= 1
            evicted = {"status": {"phase": "Failed"}}
            alive = [{"status": {"phase": "Running"}}] if self.pod_questions >= 0 else []
            return web.json_response({"items": [evicted, *alive]})
        if "/deployments/" in request.path:
            self.replicas = (await request.json())["spec"]["replicas"]
            return web.json_response({"spec": {"selector": {"matchLabels": {"a": "b"}}}})
        if tail == "autoglmstudies":
            return web.json_response({"items": list(self.studies.values())})
        if tail not in self.studies:
            return web.json_response({"message": "not found"}, status=404)
        return await self._one(request, self.studies[tail])

    async def _one(self, request: web.Request, body: Object) -> web.Response:
        metadata = body["metadata"]
        if request.method == "PATCH":
            patch = (await request.json())["metadata"]
            if self.conflicts:
                self.conflicts -= 1
                metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
                metadata["finalizers"].append(OTHER)
            if patch["resourceVersion"] != metadata["resourceVersion"]:
                return web.json_response({"message": "the object has been modified"}, status=409)
            metadata["finalizers"] = patch["finalizers"]
        return web.json_response(body)


@pytest.fixture
async def connect() -> AsyncIterator[Any]:
    opened: list[Any] = []

    async def open_(server: Server) -> Kube:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        kube = Kube(client.ApiClient(client.Configuration(host=f"http://{host}:{port}")))
        opened.extend([kube.close, runner.cleanup])
        return kube

    yield open_
    for close in opened:
        await close()


async def test_our_finalizer_goes_and_others_stay(connect: Any) -> None:
    server = Server(study("a", OTHER, FINALIZER), study("b", OTHER), study("c"))
    removed = await uninstall.uninstall(await connect(server), deployment=None, namespaces=["team"])
    assert removed == 1
    assert [body["metadata"]["finalizers"] for body in server.studies.values()] == [[OTHER], [OTHER], []]
    assert await uninstall.uninstall(await connect(server), deployment=None, namespaces=["team"]) == 0


async def test_an_object_that_changes_meanwhile_is_read_again(connect: Any) -> None:
    server = Server(study("a", FINALIZER), conflicts=1)
    assert await uninstall.uninstall(await connect(server), deployment=None, namespaces=["team"]) == 1
    assert server.studies["a"]["metadata"]["finalizers"] == [OTHER]


async def test_the_operator_has_ended_before_anything_is_taken(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uninstall, "POLL_SECONDS", 0.01)
    server = Server(study("a", FINALIZER), pod_questions=2)
    await uninstall.uninstall(await connect(server), deployment="system/autoglm", namespaces=())
    assert server.replicas == 0
    first_patch = server.said.index(f"PATCH {STUDIES}/namespaces/team/autoglmstudies/a")
    assert [said.endswith("/pods") for said in server.said[:first_patch]].count(True) == 3


async def test_an_operator_that_does_not_end_keeps_its_finalizers(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uninstall, "POLL_SECONDS", 0.01)
    server = Server(study("a", FINALIZER), pod_questions=10**6)
    with pytest.raises(TimeoutError):
        await uninstall.uninstall(
            await connect(server), deployment="system/autoglm", namespaces=(), timeout_seconds=0.1
        )
    assert server.studies["a"]["metadata"]["finalizers"] == [FINALIZER]
