"""From what was seen to what is to be done: pure, so that every situation can be tested as a value.

The order of actions is the order of safety: what the trials need first, then Jobs, the status, and Events last.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from autoglm_api.conditions import Condition, ConditionType
from autoglm_api.names import FINALIZER
from autoglm_api.status import StudyStatus

from .actions import Action, Create, DeleteTrials, EmitEvent, EventType, Patch, WriteStatus
from .kube import JOBS, STUDIES
from .manifests.job import cleanup_job
from .observation import Observation
from .planning.cleanup import has_finalizer, plan_cleanup
from .planning.door import artifacts_uri
from .planning.draft import Draft
from .planning.search import plan_search, study_ref
from .planning.slots import expired
from .planning.status import Findings, study_status
from .settings import Settings


@dataclass(frozen=True)
class Plan:
    """What to do now, and when to look again at the latest (None = only when something changes)."""

    actions: tuple[Action, ...]
    status: StudyStatus
    requeue_seconds: float | None = None


def plan(seen: Observation, now: datetime, settings: Settings) -> Plan:
    """Plan one study.

    Args:
        seen: everything that was observed.
        now: the moment, with time zone.
        settings: the installation's.
    """
    draft = Draft()
    study = seen.study
    if study.deleted is not None:
        if not has_finalizer(seen.study):
            return Plan((), study.status)
        _plan_deletion(draft, seen, now, settings)
        status = study_status(seen, Findings(), now)
    elif is_over(study.status):
        _plan_finalizer(draft, seen)
        _plan_rest(draft, seen, now)
        status = _seen_again(seen)
    elif study.spec is None:
        status = study_status(seen, Findings(), now)
    else:
        _plan_finalizer(draft, seen)
        status = study_status(seen, plan_search(draft, seen, study.spec, now, settings), now)
    _plan_status(draft, seen, status, now, settings)
    return Plan(tuple(draft.actions), status, draft.requeue_seconds)


def is_over(status: StudyStatus) -> bool:
    """Whether the study has ended, well or badly; nothing brings it back."""
    ends = (ConditionType.COMPLETE, ConditionType.FAILED)
    return any(said.type in ends and said.status == "True" for said in status.conditions)


def _plan_finalizer(draft: Draft, seen: Observation) -> None:
    """Our finalizer is there exactly while deleting the study must delete its trials."""
    spec = seen.study.spec
    if spec is not None and has_finalizer(seen.study) != (spec.deletion_policy == "Delete"):
        draft.actions.append(_finalizer_patch(seen, present=not has_finalizer(seen.study)))


def _finalizer_patch(seen: Observation, *, present: bool) -> Patch:
    study = seen.study
    others = [name for name in study.finalizers if name != FINALIZER]
    # The version makes it a conflict instead of a lost update when somebody else edits the list.
    metadata = {"finalizers": [*others, FINALIZER] if present else others, "resourceVersion": study.resource_version}
    return Patch(STUDIES, study.namespace, study.name, {"metadata": metadata})


def _plan_rest(draft: Draft, seen: Observation, now: datetime) -> None:
    """After the end: finished Jobs go by `ttlSecondsAfterFinished`."""
    study = seen.study
    if study.spec is None or not seen.jobs:
        return
    ended = study.status.completion_time or now
    ttl = study.spec.ttl_seconds_after_finished
    draft.delete(study, expired(seen, ended=ended, ttl_seconds=ttl, now=now))
    if now < ended + timedelta(seconds=ttl):
        draft.look_again_at(ended + timedelta(seconds=ttl), now)


def _plan_deletion(draft: Draft, seen: Observation, now: datetime, settings: Settings) -> None:
    study = seen.study
    step = plan_cleanup(seen, now=now, settings=settings)
    draft.delete(study, step.stop)
    if step.create is not None and study.spec is not None:
        prefix = f"{artifacts_uri(study.spec, settings).rstrip('/')}/{study.namespace}/{study.uid}"
        uri = seen.stored.run.artifacts_uri if seen.stored else prefix
        job = cleanup_job(study, study.spec, uri, number=step.create, settings=settings)
        draft.actions.append(Create(JOBS, job))
    if step.delete_trials and study.spec is not None:
        draft.actions.append(DeleteTrials(study_ref(study, study.spec)))
    if step.left is not None:
        draft.actions.append(_event(seen, "Warning", "CleanupIncomplete", step.left))
    if step.release:
        draft.actions.append(_finalizer_patch(seen, present=False))
    draft.look_again(step.requeue_seconds)


def _seen_again(seen: Observation) -> StudyStatus:
    """The status of a study that has ended: only the generation it speaks of may change."""
    generation = seen.study.generation
    before = seen.study.status
    conditions = tuple(said.model_copy(update={"observed_generation": generation}) for said in before.conditions)
    return before.model_copy(update={"observed_generation": generation, "conditions": conditions})


def _plan_status(draft: Draft, seen: Observation, status: StudyStatus, now: datetime, settings: Settings) -> None:
    """Write the status when it says something new: at once for conditions, otherwise not more often than every 5 s."""
    study = seen.study
    if status != study.status and study.deleted is None:
        interval = timedelta(seconds=settings.status_interval_seconds)
        due = seen.status_written + interval if seen.status_written else now
        if _news(status) == _news(study.status) and now < due:
            draft.look_again_at(due, now)
        else:
            draft.actions.append(WriteStatus(STUDIES, study.namespace, study.name, status.to_json_dict()))
            draft.events += _changes(study.status.conditions, status.conditions)
    draft.actions += [_event(seen, *said) for said in draft.events]


def _news(status: StudyStatus) -> object:
    said = frozenset((known.type, known.status, known.reason) for known in status.conditions)
    return said, status.observed_generation, status.completion_time


def _changes(before: tuple[Condition, ...], after: tuple[Condition, ...]) -> list[tuple[EventType, str, str]]:
    """An Event whenever Ready says something else: everything that matters shows there."""
    known = {said.type: (said.status, said.reason) for said in before}
    return [
        ("Warning" if said.status == "False" else "Normal", said.reason, said.message)
        for said in after
        if said.type == ConditionType.READY and known.get(said.type) != (said.status, said.reason)
    ]


def _event(seen: Observation, type_: EventType, reason: str, message: str) -> EmitEvent:
    study = seen.study
    return EmitEvent(STUDIES, study.namespace, study.name, study.uid, type_, reason, message)
