"""The queue: one run for many marks, one at a time, once more when marked meanwhile, back-off after errors."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from tests.waiting import until

from autoglm_operator import queue as queue_module
from autoglm_operator.kube import Unavailable
from autoglm_operator.queue import Key, WorkQueue

ONE, TWO = Key("autoglmstudies", "team-a", "one"), Key("autoglmstudies", "team-a", "two")


@asynccontextmanager
async def running(
    reconcile: Callable[[Key], Awaitable[float | None]], reconcilers: int = 4
) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue({"autoglmstudies": reconcile}, reconcilers=reconcilers)
    task = asyncio.create_task(queue.run())
    yield queue
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_many_marks_are_one_run() -> None:
    runs: Counter[Key] = Counter()

    async def reconcile(key: Key) -> None:
        runs[key] += 1

    queue = WorkQueue({"autoglmstudies": reconcile}, reconcilers=2)
    for _ in range(100):
        queue.mark(ONE)
        queue.mark(TWO)
    assert queue.depth == 2
    task = asyncio.create_task(queue.run())
    await until(lambda: queue.idle() and sum(runs.values()) > 0)
    task.cancel()
    assert runs == {ONE: 1, TWO: 1}


async def test_a_key_marked_while_it_runs_runs_once_more_and_never_beside_itself() -> None:
    runs, together, gate = 0, 0, asyncio.Event()

    async def reconcile(_: Key) -> None:
        nonlocal runs, together
        together += 1
        assert together == 1
        runs += 1
        await gate.wait()
        together -= 1

    async with running(reconcile) as queue:
        queue.mark(ONE)
        await until(lambda: runs == 1)
        for _ in range(5):
            queue.mark(ONE)
        gate.set()
        await until(lambda: queue.idle() and runs == 2)


async def test_appointments_that_come_while_a_key_runs_are_one_run_a_moment_later() -> None:
    starts: list[float] = []
    now = asyncio.get_running_loop().time
    gate = asyncio.Event()

    async def reconcile(_: Key) -> None:
        starts.append(now())
        await gate.wait()

    async with running(reconcile) as queue:
        queue.mark(ONE)
        await until(lambda: len(starts) == 1)
        for _ in range(3):
            queue.mark_after(ONE, 0.0)
            await until(lambda: queue._timers[ONE].when() > now() + queue_module.PUT_OFF_SECONDS / 2)
        ended = now()
        gate.set()
        await until(lambda: queue.idle() and len(starts) == 2)
        assert starts[1] > ended
        assert queue._timers == {}


async def test_different_keys_run_side_by_side() -> None:
    inside, gate = set[Key](), asyncio.Event()

    async def reconcile(key: Key) -> None:
        inside.add(key)
        await gate.wait()

    async with running(reconcile) as queue:
        queue.mark(ONE)
        queue.mark(TWO)
        await until(lambda: inside == {ONE, TWO})
        assert queue.longest_run_seconds() > 0
        gate.set()


async def test_a_reconcile_is_called_again_when_it_asks_for_it() -> None:
    runs = 0

    async def reconcile(_: Key) -> float | None:
        nonlocal runs
        runs += 1
        return 0.01 if runs < 3 else None

    async with running(reconcile) as queue:
        queue.mark(ONE)
        await until(lambda: runs == 3)


async def test_an_earlier_appointment_is_kept() -> None:
    runs = 0

    async def reconcile(_: Key) -> None:
        nonlocal runs
        runs += 1

    async with running(reconcile) as queue:
        queue.mark_after(ONE, 0.01)
        queue.mark_after(ONE, 3600)
        await until(lambda: runs == 1)


@pytest.mark.parametrize("error", [Unavailable("no answer"), ZeroDivisionError()])
async def test_errors_back_off_further_and_further_and_stop_nobody_else(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "BACKOFF_SECONDS", 0.02)
    monkeypatch.setattr(queue_module.random, "uniform", lambda _low, _high: 1.0)
    at: list[float] = []
    others = 0

    async def reconcile(key: Key) -> None:
        nonlocal others
        if key == TWO:
            others += 1
            return
        at.append(asyncio.get_running_loop().time())
        if len(at) < 5:
            raise error

    async with running(reconcile, reconcilers=1) as queue:
        queue.mark(ONE)
        queue.mark(TWO)
        await until(lambda: len(at) == 5)
    pauses = [later - earlier for earlier, later in pairwise(at)]
    assert all(pause >= 0.02 * 2**index * 0.9 for index, pause in enumerate(pauses))
    assert others == 1
