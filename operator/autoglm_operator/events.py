"""Kubernetes Events for people: said once, and never so many that they hide each other."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from datetime import UTC, datetime
from time import monotonic

from autoglm_api.names import FIELD_MANAGER

from .actions import EmitEvent
from .kube import EVENTS, Kube, NotFound, Object, Rejected

SAME_AGAIN_SECONDS = 1800.0
BURST = 10
REFILL_SECONDS = 30.0
REMEMBERED = 4096


class EventBudget:
    """Decides whether an Event is worth saying: not the same within half an hour, and at most two a minute an object.

    Ten may come at once, because a study's first minute has much to say.
    """

    def __init__(self) -> None:
        self._said: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, event: EmitEvent, now: float) -> bool:
        """Whether to write `event` at monotonic time `now`; a yes is counted."""
        key = (event.uid, event.reason, event.message)
        last = self._said.get(key)
        if last is not None and now - last < SAME_AGAIN_SECONDS:
            return False
        tokens, since = self._tokens.get(event.uid, (float(BURST), now))
        tokens = min(float(BURST), tokens + (now - since) / REFILL_SECONDS)
        if tokens < 1:
            return False
        self._said[key] = now
        self._tokens[event.uid] = (tokens - 1, now)
        self._said.move_to_end(key)
        self._tokens.move_to_end(event.uid)
        while len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        while len(self._tokens) > REMEMBERED:
            self._tokens.popitem(last=False)
        return True


BUDGET = EventBudget()
"""One budget for the process: whoever emits, the reader is the same person."""


async def emit(kube: Kube, event: EmitEvent, budget: EventBudget = BUDGET) -> None:
    """Write an Event if the budget allows; an Event that cannot be written is no reason to fail."""
    if not budget.allows(event, monotonic()):
        return
    try:
        await kube.create(EVENTS, event.namespace, _body(event, datetime.now(UTC)))
    except (Rejected, NotFound):  # the namespace is terminating or gone: nobody would read it
        return


def _body(event: EmitEvent, now: datetime) -> Object:
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "metadata": {"name": f"{event.name[:200]}.{secrets.token_hex(8)}", "namespace": event.namespace},
        "involvedObject": {
            "apiVersion": event.resource.api_version,
            "kind": event.resource.kind,
            "namespace": event.namespace,
            "name": event.name,
            "uid": event.uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:1024],
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
        "source": {"component": FIELD_MANAGER},
    }
