"""A status that we write comes back as an event: nothing in it is new, and looking again would read everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .kube import Object


class Echoes:
    """The last version of each object that a write of ours has made."""

    def __init__(self) -> None:
        self._versions: dict[str, str] = {}

    def wrote(self, answer: Object) -> None:
        """Take in the object that the API server answered a write of ours with."""
        metadata = answer.get("metadata") or {}
        if "uid" in metadata:
            self._versions[metadata["uid"]] = metadata["resourceVersion"]

    def holds(self, body: Mapping[str, Any]) -> bool:
        """Whether an event tells of our own write and of nothing else.

        Of events that come together only the last is told, so somebody's edit may be hidden behind our write: its
        generation, which a deletion raises too, is not the one that our status speaks of.
        """
        metadata, status = body["metadata"], body.get("status") or {}
        ours = self._versions.get(metadata["uid"]) == metadata["resourceVersion"]
        return bool(ours and status.get("observedGeneration") == metadata.get("generation"))

    def forget(self, uid: str) -> None:
        """The object is gone."""
        self._versions.pop(uid, None)
