"""Our Jobs and pods by study: a view of Kopf's indices, which are complete before the first reconcile begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .observation import Job, Pod

JobIndex = Mapping[str, Iterable[Job]]
PodIndex = Mapping[str, Iterable[Pod]]


class Children:
    """What the watch has told us; it may lag behind the API server, and names make that harmless."""

    def __init__(self, jobs: JobIndex | None = None, pods: PodIndex | None = None) -> None:
        self._jobs: JobIndex = jobs if jobs is not None else {}
        self._pods: PodIndex = pods if pods is not None else {}

    def bind(self, jobs: JobIndex, pods: PodIndex) -> None:
        """Look into these indices from now on."""
        self._jobs, self._pods = jobs, pods

    def jobs(self, study_uid: str) -> tuple[Job, ...]:
        """The Jobs of a study, by name."""
        found = self._jobs.get(study_uid, ())
        return tuple(sorted(found, key=lambda job: job.name))

    def pods(self, study_uid: str) -> tuple[Pod, ...]:
        """The pods of a study, by name."""
        found = self._pods.get(study_uid, ())
        return tuple(sorted(found, key=lambda pod: pod.name))
