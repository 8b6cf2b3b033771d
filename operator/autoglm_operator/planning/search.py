"""A study that runs: storage, trials, slots and the way to its end, one step after the other."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from autoglm_api.attempts import Export, Fatal, Limits
from autoglm_api.conditions import Reason
from autoglm_api.exits import Cause
from autoglm_api.names import STORAGE_SECRET, STORAGE_SECRET_KEY, Component, optuna_study_name
from autoglm_api.run import Run
from autoglm_api.run import limits as limits_of
from autoglm_api.status import ExportedModel, TrialCounts, Workers
from autoglm_api.study import StudySpec
from autoglm_operator.actions import (
    Create,
    CreateRetry,
    CreateStudy,
    FailAttempt,
    ProvisionDatabase,
    RefillGrid,
    StudyRef,
    VoidAttempt,
    WriteFatal,
    WriteLimits,
)
from autoglm_operator.kube import CLAIMS, JOBS
from autoglm_operator.manifests.claim import artifacts_claim
from autoglm_operator.manifests.job import export_job, worker_job
from autoglm_operator.observation import Job, JobState, Observation, StoredStudy, Study, Trials
from autoglm_operator.settings import Settings
from autoglm_store.grid import QUEUED, wants_points
from autoglm_store.ledger import is_grid

from .door import frozen_run
from .draft import SOON_SECONDS, Draft
from .edits import effective_spec, ignored_edit
from .ending import Ending, ending_of, fatal_of, remaining
from .export import plan_export
from .liveness import verdicts
from .slots import expired, plan_slots, refused_until, surplus
from .status import Findings
from .trouble import Trouble, trouble_of

SOURCE_PAUSE = timedelta(seconds=15)


def study_ref(study: Study, spec: StudySpec) -> StudyRef:
    """Where the study's trials are: its own database, or the namespace's."""
    own = spec.storage.secret_ref if spec.storage else None
    name = optuna_study_name(study.namespace, study.name, study.uid)
    if own is not None:
        return StudyRef(study.namespace, own.name, own.key, name)
    return StudyRef(study.namespace, STORAGE_SECRET, STORAGE_SECRET_KEY, name)


def plan_search(draft: Draft, seen: Observation, live: StudySpec, now: datetime, settings: Settings) -> Findings:
    """Plan a study that has not ended."""
    study = seen.study
    if not seen.storage.connected:
        return _without_storage(draft, seen, live)
    if seen.stored is None and seen.lost_source is not None and now < seen.lost_source.at + SOURCE_PAUSE:
        draft.look_again_at(seen.lost_source.at + SOURCE_PAUSE, now)
        return Findings(trouble=Trouble(Reason.SOURCE_NOT_FOUND, seen.lost_source.message))
    stored = seen.stored or _begin(draft, study, live, settings)
    if stored.warm_start and study.status.warm_start is None:
        draft.say("Normal", "WarmStarted", stored.warm_start)
    spec, changed = effective_spec(stored.spec, live), ignored_edit(stored.spec, live)
    if seen.has_claim is False and _may_create(draft, seen, now, settings):
        draft.actions.insert(0, Create(CLAIMS, artifacts_claim(study.namespace, settings)))
    seen = replace(seen, stored=stored)
    ref = study_ref(study, spec)
    ending = _plan_trials(draft, seen, stored, spec, ref, now, settings)
    draft.look_again(settings.poll_seconds)
    draft.delete(study, expired(seen, ended=None, ttl_seconds=spec.ttl_seconds_after_finished, now=now))
    if ending is None:
        found = _plan_workers(draft, seen, stored, spec, ref, now, settings)
    else:
        found = _plan_end(draft, seen, stored, spec, ref, ending, now, settings)
    return replace(found, changed=changed)


def _without_storage(draft: Draft, seen: Observation, live: StudySpec) -> Findings:
    """Nothing is failed and nothing started while trials cannot be read; workers wait on their own."""
    if seen.storage.missing:
        draft.actions.append(ProvisionDatabase(seen.study.namespace))
        draft.look_again(SOON_SECONDS)
    else:
        draft.look_again(seen.storage.retry_seconds or 10.0)
    if live.suspend:
        draft.delete(seen.study, surplus(seen, _active(seen), 0))
    wanted = seen.study.status.workers.wanted
    return Findings(workers=Workers(wanted=wanted, running=_running(seen)), suspended=live.suspend)


def _begin(draft: Draft, study: Study, live: StudySpec, settings: Settings) -> StoredStudy:
    run = frozen_run(live, namespace=study.namespace, name=study.name, uid=study.uid, settings=settings)
    limits = limits_of(live, generation=study.generation)
    draft.actions.append(CreateStudy(study_ref(study, live), run, limits, live))
    waiting = min(QUEUED, limits.max) if is_grid(run) else len(run.enqueue)
    return StoredStudy(run, limits, live, Trials(counts=TrialCounts(waiting=waiting)))


def _plan_trials(
    draft: Draft,
    seen: Observation,
    stored: StoredStudy,
    spec: StudySpec,
    ref: StudyRef,
    now: datetime,
    settings: Settings,
) -> Ending | None:
    """Limits, lost attempts, retries; and whether the search is over."""
    over = verdicts(seen, stored.trials.running, claim_grace=timedelta(seconds=settings.claim_grace_seconds), now=now)
    fatal = fatal_of(seen) or next(
        (Fatal(cause=verdict.cause, message=verdict.message) for verdict in over if verdict.cause.ends_study), None
    )
    if fatal is not None and stored.fatal is None:
        draft.actions.append(WriteFatal(ref, fatal))
    wanted = limits_of(spec, generation=seen.study.generation)
    ending = ending_of(stored, wanted, fatal, now)
    if ending is None and stored.limits.stop:
        ending = Ending(Reason.MAX_TRIALS, "the search was ended before trials.max was raised")
    _write_limits(draft, stored, wanted.model_copy(update={"stop": ending is not None}), ref)
    stopped = ending is not None and ending.hard
    for verdict in over:
        if verdict.void:
            draft.actions.append(VoidAttempt(ref, verdict.trial))
            continue
        cause = Cause.STOPPED if stopped and verdict.cause.retryable else verdict.cause
        draft.actions.append(FailAttempt(ref, verdict.trial, cause, verdict.message, verdict.infeasible))
        draft.say("Warning", f"Trial{cause.value}", f"trial {verdict.trial}: {verdict.message}")
    if ending is None:
        draft.actions += [CreateRetry(ref, trial) for trial in stored.trials.due]
        tally = stored.trials.counts
        known = tally.waiting + tally.running + tally.finished
        if wants_points(stored.run, wanted, waiting=tally.waiting, known=known):
            draft.actions.append(RefillGrid(ref, stored.run, wanted))
    if draft.actions:
        draft.look_again(1.0)
    return ending


def _write_limits(draft: Draft, stored: StoredStudy, limits: Limits, ref: StudyRef) -> None:
    if limits != stored.limits:
        draft.actions.append(WriteLimits(ref, limits))


def _plan_workers(
    draft: Draft,
    seen: Observation,
    stored: StoredStudy,
    spec: StudySpec,
    ref: StudyRef,
    now: datetime,
    settings: Settings,
) -> Findings:
    study = seen.study
    allowed = 0 if spec.suspend else spec.trials.parallel
    limits = limits_of(spec, generation=study.generation)
    wanted = min(allowed, remaining(stored.trials.counts, limits, exhausted=stored.exhausted))
    slots = plan_slots(seen, wanted=wanted, allowed=allowed, now=now, settings=settings)
    draft.delete(study, slots.delete)
    draft.look_again(slots.requeue_seconds)
    if _may_create(draft, seen, now, settings):
        for new in slots.create:
            job = worker_job(study, spec, stored.run, ref, slot=new.slot, number=new.number, settings=settings)
            draft.actions.append(Create(JOBS, job))
    if spec.budget.deadline is not None:
        draft.look_again_at(spec.budget.deadline, now)
    return Findings(
        workers=Workers(wanted=wanted, running=_running(seen)),
        suspended=spec.suspend,
        trouble=None if spec.suspend else trouble_of(seen, now=now, settings=settings),
    )


def _plan_end(
    draft: Draft,
    seen: Observation,
    stored: StoredStudy,
    spec: StudySpec,
    ref: StudyRef,
    ending: Ending,
    now: datetime,
    settings: Settings,
) -> Findings:
    """Stop what still runs, export once, and only then call the study complete or failed."""
    study, active = seen.study, _active(seen)
    leaving = [job for job in active if ending.hard or not _runs(seen, job)]
    draft.delete(study, [job for job in leaving if job.deleted is None])
    found = Findings(workers=Workers(wanted=0, running=_running(seen)), ending=ending)
    if stored.trials.running:
        draft.look_again(1.0)
        return found
    if ending.failed:
        return replace(found, failed=ending)
    if stored.export is not None:
        return replace(found, exported=_exported(stored.run, stored.export))
    if spec.suspend:
        return replace(found, suspended=True)
    step = plan_export(seen, now=now, settings=settings)
    draft.look_again(step.requeue_seconds)
    if step.failed is not None:
        return replace(found, failed=Ending(Reason.EXPORT_FAILED, step.failed, failed=True))
    if step.create is not None and _may_create(draft, seen, now, settings):
        job = export_job(study, spec, stored.run, ref, number=step.create, settings=settings)
        draft.actions.append(Create(JOBS, job))
    return replace(found, trouble=trouble_of(seen, now=now, settings=settings))


def _exported(run: Run, export: Export) -> ExportedModel:
    return ExportedModel(
        uri=export.uri,
        digest=export.digest,
        metrics=export.metrics,
        trial=export.trial,
        metric=run.objective.metric,
        direction=run.objective.direction,
        value=export.metrics.get(run.objective.metric),
        test_digest=export.test_digest,
        task=run.task,
    )


def _may_create(draft: Draft, seen: Observation, now: datetime, settings: Settings) -> bool:
    """Whether Jobs may be tried; after the API server has refused one, only now and then."""
    if seen.rejection is None:
        return True
    due = refused_until(seen.rejection, settings)
    if now >= due:
        return True
    draft.look_again_at(due, now)
    return False


def _active(seen: Observation) -> list[Job]:
    return [job for job in seen.jobs_of(Component.WORKER) if job.state is JobState.ACTIVE]


def _runs(seen: Observation, job: Job) -> bool:
    pod = seen.pod_of(job)
    return pod is not None and pod.phase == "Running"


def _running(seen: Observation) -> int:
    return sum(_runs(seen, job) for job in _active(seen))
