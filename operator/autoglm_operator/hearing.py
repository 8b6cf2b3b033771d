"""Whether the watch still hears: what it told of the users' objects against what a list of them says.

A connection that died is opened again by Kopf; this notices everything else by which events may fail to arrive, so that
the kubelet restarts an operator that is alive and deaf.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from .kube import ENDPOINTS, STUDIES, Kube, KubeError, Object

DEAF_SECONDS = 180.0
"""So long may one change of an object remain unheard."""
CHECK_SECONDS = 45.0

log = logging.getLogger(__name__)


@dataclass
class Hearing:
    """The newest version of each object that the watch told, and since when another one is known to exist."""

    _versions: dict[str, str] = field(default_factory=dict)
    _unheard: dict[str, float] = field(default_factory=dict)

    def hear(self, uid: str, version: str, *, gone: bool) -> None:
        """Take in an event; whatever it says, the object is heard of again."""
        self._unheard.pop(uid, None)
        if gone:
            self._versions.pop(uid, None)
        else:
            self._versions[uid] = version

    def compare(self, listed: Iterable[Object], now: float) -> None:
        """Hold a list of all objects against what was heard; a difference counts from the first list that shows it."""
        there = {body["metadata"]["uid"]: body["metadata"]["resourceVersion"] for body in listed}
        differing = [uid for uid in there.keys() | self._versions.keys() if there.get(uid) != self._versions.get(uid)]
        self._unheard = {uid: self._unheard.get(uid, now) for uid in differing}

    def problem(self, now: float) -> str | None:
        """Why the process should be restarted; None while it hears."""
        seconds = now - min(self._unheard.values(), default=now)
        return f"the watch has not told of a change for {seconds:.0f} s" if seconds > DEAF_SECONDS else None


async def listen(kube: Kube, hearing: Hearing, namespaces: Sequence[str]) -> None:
    """Compare again and again, until cancelled; an API server that does not answer says nothing about the watch."""
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        try:
            listed = [
                body
                for kind in (STUDIES, ENDPOINTS)
                for namespace in (namespaces or (None,))
                for body in await kube.list(kind, namespace)
            ]
        except KubeError as error:
            log.debug("the watch was not checked: %s", error)
        else:
            hearing.compare(listed, monotonic())
