"""What a study says about itself: conditions that machines branch on, and words for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from autoglm_api.conditions import Condition, ConditionType, Reason, condition, merge_conditions
from autoglm_api.run import task_of
from autoglm_api.status import BudgetUsed, ExportedModel, StudyStatus, Workers
from autoglm_api.study import StudySpec
from autoglm_operator.observation import Observation, StoredStudy

from .ending import Ending, last_failure
from .trouble import Trouble


@dataclass(frozen=True)
class Findings:
    """What planning found out and the status has to tell.

    Attributes:
        changed: names of immutable fields whose edit is being ignored.
        ending: why the search is over.
        failed: the study has ended badly.
        exported: the study has ended well; the model is there.
    """

    workers: Workers = field(default_factory=Workers)
    suspended: bool = False
    changed: str | None = None
    trouble: Trouble | None = None
    ending: Ending | None = None
    failed: Ending | None = None
    exported: ExportedModel | None = None

    @property
    def over(self) -> bool:
        """Whether nothing will happen any more."""
        return self.failed is not None or self.exported is not None


def study_status(seen: Observation, found: Findings, now: datetime) -> StudyStatus:
    """The whole status; what storage could not tell stays as it was."""
    before, stored = seen.study.status, seen.stored
    update: dict[str, object] = {
        "observed_generation": seen.study.generation,
        "workers": found.workers,
        "phase": _phase(seen, found),
        "conditions": merge_conditions(before.conditions, _conditions(seen, found, now)),
    }
    if stored is not None:
        update |= _from_trials(stored)
        update["start_time"] = before.start_time or now.replace(microsecond=0)
    if found.exported is not None:
        update["model"] = found.exported
    if found.over:
        update["completion_time"] = before.completion_time or now.replace(microsecond=0)
    return before.model_copy(update=update)


def _from_trials(stored: StoredStudy) -> dict[str, object]:
    trials, several = stored.trials, len(stored.run.objectives) > 1
    return {
        "trials": trials.counts,
        "progress": f"{trials.counts.finished}/{stored.limits.max}",
        "best": trials.best,
        "top": () if several else trials.top,
        "pareto_front": trials.front if several else (),
        "warm_start": stored.warm_start,
        "budget": BudgetUsed(
            gpu_seconds_used=round(trials.gpu_seconds_used, 1), gpu_seconds_wasted=round(trials.gpu_seconds_wasted, 1)
        ),
    }


def _phase(seen: Observation, found: Findings) -> str:
    if found.exported is not None:
        return "Complete"
    if found.failed is not None:
        return "Failed"
    if seen.study.invalid is not None:
        return "Invalid"
    if found.suspended:
        return "Suspended"
    if found.trouble is not None:
        return "Queued" if found.trouble.reason is Reason.QUEUED else "Stalled"
    if not seen.storage.connected:
        return "Pending" if seen.storage.reason is Reason.PROVISIONING else "Waiting"
    if found.ending is not None:
        return "Exporting"
    return "Running" if found.workers.running else "Pending"


def _conditions(seen: Observation, found: Findings, now: datetime) -> list[Condition]:
    def say(type_: ConditionType, reason: Reason, message: str, *, status: bool | None = True) -> Condition:
        return condition(type_, status, reason, message, generation=seen.study.generation, now=now)

    ready, reason, message = _ready(seen, found)
    said = [say(ConditionType.READY, reason, message, status=ready)]
    storage = True if seen.storage.connected else None if seen.storage.reason is Reason.PROVISIONING else False
    said.append(say(ConditionType.STORAGE_READY, seen.storage.reason, seen.storage.message, status=storage))
    if seen.study.invalid is not None:
        return said
    said.append(say(ConditionType.COMPLETE, *_completion(found), status=found.exported is not None))
    if found.over:
        if found.failed is not None:
            said.append(say(ConditionType.FAILED, found.failed.reason, found.failed.message))
        return said
    if seen.storage.reason is Reason.PROVISIONING:
        said.append(say(ConditionType.RECONCILING, Reason.PROVISIONING, seen.storage.message))
    if found.suspended:
        said.append(say(ConditionType.SUSPENDED, Reason.SUSPENDED, "spec.suspend is set"))
    elif found.trouble is not None:
        queued = found.trouble.reason is Reason.QUEUED
        type_ = ConditionType.QUEUED if queued else ConditionType.STALLED
        said.append(say(type_, found.trouble.reason, found.trouble.message))
    return said


def _ready(seen: Observation, found: Findings) -> tuple[bool | None, Reason, str]:
    """The one condition that everybody reads: worst news first."""
    study, storage, trouble = seen.study, seen.storage, found.trouble
    if found.failed is not None:
        return False, found.failed.reason, found.failed.message
    if study.deleted is not None:
        return False, Reason.DELETING, "the study is being deleted"
    if study.invalid is not None:
        return False, Reason.INVALID_SPEC, study.invalid
    if found.exported is not None:
        return True, Reason.COMPLETE, "the best model is exported"
    if storage.reason is Reason.PROVISIONING:
        return None, Reason.PROVISIONING, storage.message
    if not storage.connected:
        return False, Reason.STORAGE_LOST, storage.message
    if found.changed is not None:
        return False, Reason.SPEC_CHANGED, found.changed
    if found.suspended:
        return True, Reason.SUSPENDED, "spec.suspend is set"
    if trouble is not None:
        return trouble.reason is Reason.QUEUED, trouble.reason, trouble.message
    if found.workers.running or found.ending is not None:
        return True, Reason.RUNNING, "the best model is being exported" if found.ending else _running(seen.stored)
    return True, Reason.ACCEPTED, f"the study is accepted{_as_what(study.spec)}; its workers are starting"


def _running(stored: StoredStudy | None) -> str:
    failed = stored.trials.counts.failed if stored else 0
    if stored is None or not failed:
        return "trials are running"
    return f"trials are running; {failed} {'has' if failed == 1 else 'have'} failed{last_failure(stored)}"


def _as_what(spec: StudySpec | None) -> str:
    """The task that was chosen, where the study left that open."""
    if spec is None:
        return ""
    task, why = task_of(spec)
    return "" if why is None else f" as {task.name}, since {why}"


def _completion(found: Findings) -> tuple[Reason, str]:
    if found.failed is not None:
        return found.failed.reason, found.failed.message
    if found.exported is not None:
        ending = found.ending
        return (ending.reason, ending.message) if ending else (Reason.COMPLETE, "the best model is exported")
    if found.ending is not None:
        return Reason.EXPORTING, found.ending.message
    return Reason.SEARCHING, "trials are still to be run"
