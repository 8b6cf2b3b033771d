"""Objects that every study of a namespace asks for and that hardly ever change: an answer is good for a moment."""

from __future__ import annotations

from time import monotonic

from .kube import Kube, Object, Resource

MAX_AGE_SECONDS = 2.0


class Recent:
    """GETs whose answers are shared for a moment; that an object is missing is asked anew every time."""

    def __init__(self, kube: Kube, *, max_age_seconds: float = MAX_AGE_SECONDS) -> None:
        self._kube = kube
        self._max_age = max_age_seconds
        self._known: dict[tuple[Resource, str, str], tuple[float, Object]] = {}

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """One object, as it is or was a moment ago.

        Raises:
            KubeError: as `Kube.get`.
        """
        key, now = (resource, namespace, name), monotonic()
        at, body = self._known.get(key, (-self._max_age, {}))
        if now - at < self._max_age:
            return body
        self._known = {known: answer for known, answer in self._known.items() if now - answer[0] < self._max_age}
        body = await self._kube.get(resource, namespace, name)
        self._known[key] = now, body
        return body

    def forget(self, resource: Resource, namespace: str, name: str) -> None:
        """Ask anew next time: it may have changed."""
        self._known.pop((resource, namespace, name), None)
