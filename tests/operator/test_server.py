"""The operator's port: what the kubelet and Prometheus are told."""

from __future__ import annotations

import asyncio
from time import monotonic

import aiohttp
import pytest

from autoglm_operator.hearing import DEAF_SECONDS, Hearing
from autoglm_operator.main import STUCK_SECONDS, _health
from autoglm_operator.queue import Key, WorkQueue
from autoglm_operator.server import Health, serve

KEY = Key("autoglmstudies", "team-a", "intents")


async def ask(health: Health, path: str) -> tuple[int, str]:
    runner = await serve("127.0.0.1", 0, health)
    try:
        host, port = runner.addresses[0]
        async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}{path}") as answer:
            return answer.status, await answer.text()
    finally:
        await runner.cleanup()


async def test_an_operator_that_works_is_healthy_and_measured() -> None:
    assert await ask(lambda: None, "/healthz") == (200, "ok")
    status, text = await ask(lambda: None, "/metrics")
    assert status == 200
    assert "# TYPE autoglm_queue_depth gauge" in text


async def test_what_is_wrong_is_said_with_503() -> None:
    assert await ask(lambda: "the watch is deaf", "/healthz") == (503, "the watch is deaf")


async def test_a_reconcile_that_does_not_end_is_a_reason_to_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    began = asyncio.Event()

    async def hang(_: Key) -> float | None:
        began.set()
        await asyncio.Event().wait()
        return None

    queue = WorkQueue({KEY.kind: hang}, reconcilers=1)
    running = asyncio.create_task(queue.run())
    queue.mark(KEY)
    await began.wait()
    assert _health(queue, Hearing()) is None
    monkeypatch.setattr("autoglm_operator.queue.monotonic", lambda: monotonic() + STUCK_SECONDS + 1)
    assert _health(queue, Hearing()) == f"a reconcile has been running for {STUCK_SECONDS + 1:.0f} s"
    running.cancel()


def test_a_watch_that_is_deaf_is_a_reason_to_restart() -> None:
    hearing = Hearing()
    hearing.compare([{"metadata": {"uid": "a", "resourceVersion": "7"}}], monotonic() - DEAF_SECONDS - 1)
    queue = WorkQueue({}, reconcilers=1)
    assert "the watch has not told" in (_health(queue, hearing) or "")
