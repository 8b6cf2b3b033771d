"""Events from the watch: which of them have a study looked at."""

from __future__ import annotations

from typing import Any

import kopf
import pytest

from autoglm_operator.children import Children
from autoglm_operator.echoes import Echoes
from autoglm_operator.handlers import build_registry
from autoglm_operator.hearing import Hearing
from autoglm_operator.kube import ENDPOINTS, STUDIES, Resource
from autoglm_operator.queue import Key, WorkQueue

STUDY, ENDPOINT = Key(STUDIES.plural, "team-a", "intents"), Key(ENDPOINTS.plural, "team-a", "serving")


class Watch:
    """Our handlers, called as Kopf calls them, and the queue that they fill."""

    def __init__(self) -> None:
        self.echoes, self.queue = Echoes(), WorkQueue({}, reconcilers=1)
        self._registry = build_registry(self.queue, Children(), Hearing(), self.echoes)

    async def tell(self, key: Key, version: str, *, generation: int = 1, observed: int = 1, gone: bool = False) -> None:
        kind: Resource = STUDIES if key.kind == STUDIES.plural else ENDPOINTS
        metadata = {"namespace": key.namespace, "name": key.name, "uid": key.name, "resourceVersion": version}
        raw: Any = {
            "metadata": {**metadata, "generation": generation},
            "status": {"observedGeneration": observed},
        }
        resource = kopf.Resource(kind.group, kind.version, kind.plural)
        for handler in self._registry._watching.get_all_handlers():
            selector = handler.selector
            if selector is not None and selector.check(resource):
                function: Any = handler.fn
                event = {"type": "DELETED" if gone else "MODIFIED", "object": raw}
                await function(resource=resource, body=kopf.Body(raw), event=event, labels={})

    def marked(self) -> set[Key]:
        """What has been marked since the last question."""
        found = set(self.queue._queued)
        self.queue._queued.clear()
        self.queue._ready.clear()
        return found


@pytest.fixture
def watch() -> Watch:
    watch = Watch()
    watch.echoes.wrote({"metadata": {"uid": STUDY.name, "resourceVersion": "7"}})
    return watch


async def test_our_own_status_is_no_news(watch: Watch) -> None:
    await watch.tell(STUDY, "7")
    assert watch.marked() == set()
    await watch.tell(STUDY, "8")
    assert watch.marked() == {STUDY}


async def test_an_edit_that_our_status_hides_is_news(watch: Watch) -> None:
    await watch.tell(STUDY, "7", generation=2, observed=1)
    assert watch.marked() == {STUDY}


async def test_our_own_status_is_news_for_endpoints_and_a_deletion_for_all(watch: Watch) -> None:
    await watch.tell(ENDPOINT, "1")
    assert watch.marked() == {ENDPOINT}
    await watch.tell(STUDY, "7")
    assert watch.marked() == {ENDPOINT}
    await watch.tell(STUDY, "7", gone=True)
    assert watch.marked() == {STUDY, ENDPOINT}
