"""One study's reconcile: observe, plan, apply. Everything that can be decided is decided in `plan.py`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from time import monotonic
from typing import assert_never

import psycopg

from autoglm_api.names import STORAGE_SECRET
from autoglm_store.errors import StoreError, StudyNotFound

from .actions import (
    Action,
    Apply,
    Create,
    CreateRetry,
    CreateStudy,
    Delete,
    DeleteTrials,
    EmitEvent,
    FailAttempt,
    Patch,
    ProvisionDatabase,
    RefillGrid,
    VoidAttempt,
    WriteFatal,
    WriteLimits,
    WriteStatus,
)
from .apply import apply_one
from .database import Provisioner
from .kube import SECRETS, Rejected
from .metrics import STUDY_SERIES
from .observation import Rejection
from .observe import Memory, Sight, observe
from .plan import is_over, plan
from .queue import Key
from .trials import apply_to_trials

log = logging.getLogger(__name__)


class StudyReconciler:
    """Brings studies to where they should be; called by the queue with one key at a time."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        admin_url = sight.settings.database_url
        self._provisioner = Provisioner(sight.kube, admin_url) if admin_url is not None else None

    async def __call__(self, key: Key) -> float | None:
        """Reconcile one study; returns the seconds until the next look, or None.

        Raises:
            KubeError: the API server could not be asked; the queue calls again.
        """
        seen = await observe(self._sight, key)
        if seen is None:
            self._sight.forget(key)
            STUDY_SERIES.forget(key.namespace, key.name)
            return None
        now = datetime.now(UTC)
        decided = plan(seen, now, self._sight.settings)
        memory = self._sight.memory(key)
        told = seen.stored.run if seen.stored is not None else seen.study.spec
        STUDY_SERIES.show(key.namespace, key.name, decided.status, told.objectives if told is not None else ())
        try:
            for action in decided.actions:
                await self._apply(action, memory, now)
                if isinstance(action, ProvisionDatabase):
                    return 0.0  # what comes after it was planned without a database
        except StoreError as error:
            # The next look finds out what is wrong with the database and says so in the status.
            log.info("storage: %s", error, extra={"namespace": key.namespace, "study": key.name})
            return 0.1
        if is_over(decided.status):
            self._sight.forget(key)
        return decided.requeue_seconds

    async def _apply(self, action: Action, memory: Memory, now: datetime) -> None:
        match action:
            case Create():
                await self._create(action, memory, now)
            case Apply() | Patch() | Delete() | EmitEvent():
                await apply_one(self._sight.kube, action)
            case WriteStatus(resource=resource, namespace=namespace, name=name, status=status):
                self._sight.echoes.wrote(await self._sight.kube.apply_status(resource, namespace, name, status))
                memory.status_written = now
            case ProvisionDatabase(namespace=namespace):
                await self._provision(namespace, memory)
            case (
                CreateStudy()
                | WriteLimits()
                | WriteFatal()
                | FailAttempt()
                | VoidAttempt()
                | CreateRetry()
                | RefillGrid()
                | DeleteTrials()
            ):
                assert memory.url is not None, "trials are written only after they were read"
                try:
                    await apply_to_trials(self._sight.databases, memory.url, action)
                except StudyNotFound as error:
                    if isinstance(action, CreateStudy):
                        memory.lost_source = Rejection(str(error), now, 1)
                    raise
                _tell(action)
            case _:
                assert_never(action)

    async def _create(self, action: Create, memory: Memory, now: datetime) -> None:
        """What the API server refuses to create is remembered for the status, and tried again later."""
        before = memory.rejection
        if before is not None and before.at == now:
            return  # refused once in this pass: the others would be refused alike
        try:
            await apply_one(self._sight.kube, action)
        except Rejected as error:
            times = before.times + 1 if before is not None else 1
            memory.rejection = Rejection(f"{action.resource.kind}: {error}", now, times)
        else:
            memory.rejection = None

    async def _provision(self, namespace: str, memory: Memory) -> None:
        """Have the namespace's database made; how that went is for the next look."""
        assert self._provisioner is not None, "planned only where the installation has a database"
        refused = f"its database refuses Secret {STORAGE_SECRET}; delete the Secret to have both made again"
        try:
            url = await self._provisioner.make(namespace)
        except Rejected as error:
            memory.provisioned = monotonic(), f"the API server refuses Secret {STORAGE_SECRET}: {error}"
        except psycopg.Error as error:
            reason = " ".join(str(error).split())[:300]
            memory.provisioned = monotonic(), f"the database server does not make a database: {reason}"
        else:
            memory.provisioned = monotonic(), refused
            self._sight.recent.forget(SECRETS, namespace, STORAGE_SECRET)
            self._sight.databases.reset(url)
            log.info("the namespace's database is made", extra={"namespace": namespace})


def _tell(action: Action) -> None:
    """One log line for what changed about a trial."""
    match action:
        case FailAttempt(ref=ref, trial=trial, cause=cause, message=message):
            log.info("trial ended without result: %s: %s", cause, message, extra={**_names(ref.study), "trial": trial})
        case VoidAttempt(ref=ref, trial=trial):
            log.info("claim is void", extra={**_names(ref.study), "trial": trial})
        case CreateRetry(ref=ref, trial=trial):
            log.info("trial is tried again", extra={**_names(ref.study), "trial": trial})
        case CreateStudy(ref=ref):
            log.info("study created", extra=_names(ref.study))
        case _:
            return


def _names(study: str) -> dict[str, str]:
    namespace, name, _ = study.split("/")
    return {"namespace": namespace, "study": name}
