"""The work queue: a key is reconciled by one coroutine at a time, never twice for one change, and again when it failed.

Handlers only call `mark`. A key marked while it runs is run once more; a reconcile says when it wants to be
called again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic

from . import metrics
from .kube import KubeError

log = logging.getLogger(__name__)

BACKOFF_SECONDS = 0.5
BACKOFF_LIMIT_SECONDS = 60.0
PUT_OFF_SECONDS = 0.2


@dataclass(frozen=True, order=True)
class Key:
    """What is reconciled: an object's plural kind, namespace and name."""

    kind: str
    namespace: str
    name: str


Reconcile = Callable[[Key], Awaitable[float | None]]
"""Brings one key to where it should be; returns the seconds after which it wants to be called again, or None."""


class WorkQueue:
    """Keys waiting to be reconciled, and the coroutines that do it."""

    def __init__(self, reconcile: Mapping[str, Reconcile], *, reconcilers: int) -> None:
        """Create a queue.

        Args:
            reconcile: the function for each kind of key.
            reconcilers: how many keys are worked on at once.
        """
        self._reconcile = reconcile
        self._reconcilers = reconcilers
        self._ready: deque[Key] = deque()
        self._queued: set[Key] = set()
        self._running: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Semaphore(0)

    @property
    def depth(self) -> int:
        """Keys ready to be reconciled that nobody has taken yet."""
        return len(self._ready)

    def longest_run_seconds(self) -> float:
        """For how long the oldest reconcile has been running; 0 when none runs."""
        return max((monotonic() - start for start in self._running.values()), default=0.0)

    def idle(self) -> bool:
        """Whether nothing is queued or running; timers may still be set."""
        return not self._ready and not self._running

    def mark(self, key: Key) -> None:
        """Have `key` reconciled as soon as possible; many marks before it runs are one."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._running:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._wake.release()

    def mark_after(self, key: Key, seconds: float) -> None:
        """Have `key` reconciled in `seconds` at the latest; an earlier appointment stays."""
        due = asyncio.get_running_loop().time() + seconds
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= due:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._due, key)

    def _due(self, key: Key) -> None:
        """An appointment has come. What it is about is often being done right now: then it is put off a little."""
        del self._timers[key]
        if key in self._running:
            self.mark_after(key, PUT_OFF_SECONDS)
        else:
            self.mark(key)

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._reconcilers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            await self._wake.acquire()
            key = self._ready.popleft()
            self._queued.discard(key)
            self._running[key] = monotonic()
            try:
                await self._once(key)
            finally:
                del self._running[key]
            if key in self._again:
                self._again.discard(key)
                self.mark(key)

    async def _once(self, key: Key) -> None:
        started = monotonic()
        try:
            after = await self._reconcile[key.kind](key)
        except KubeError as error:
            self._retry(key, str(error), level=logging.INFO)
        except Exception:  # a defect in one study must not stop the others; it is logged and counted
            log.exception("reconcile failed", extra=_fields(key))
            self._retry(key, "defect", level=logging.DEBUG)
        else:
            self._failures.pop(key, None)
            if after is not None:
                self.mark_after(key, after)
        metrics.RECONCILE_SECONDS.labels(kind=key.kind).observe(monotonic() - started)

    def _retry(self, key: Key, why: str, *, level: int) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(BACKOFF_LIMIT_SECONDS, BACKOFF_SECONDS * 2 ** min(failures - 1, 16)) * random.uniform(0.75, 1.25)
        metrics.RECONCILE_ERRORS.labels(kind=key.kind).inc()
        log.log(level, "will try again in %.1f s: %s", delay, why, extra=_fields(key))
        self.mark_after(key, delay)


def _fields(key: Key) -> dict[str, str]:
    return {"namespace": key.namespace, "study" if key.kind == "autoglmstudies" else "endpoint": key.name}
