"""Processes that are killed at any step of a claim, and reapers that settle what they leave. Children of the tests."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from optuna.trial import TrialState

from autoglm_api.attempts import Owner, TrialAttribute
from autoglm_api.exits import Cause
from autoglm_api.run import Run
from autoglm_store.attempts import create_retry, fail, is_unowned, lost_claims, settle_lost_claim, tell
from autoglm_store.claim import Nothing
from autoglm_store.errors import LeaseLost
from autoglm_store.journal import KernelLock
from autoglm_store.ledger import retries_due
from autoglm_store.limits import read_limits
from autoglm_store.patience import PatientStorage
from autoglm_store.points import next_assignment

from .studies import reload

CLAIM_GRACE_SECONDS = 3.0

# The fork server imports this file once; what Optuna does at its first connection is done there too, not in each child.
RDBStorage("sqlite:///:memory:").engine.dispose()


class DeadlyStorage(PatientStorage):
    """Kills its process before or after a call, one time in `rarity`."""

    def __init__(self, real: Any, rarity: int) -> None:
        super().__init__(real, threading.Event())
        self._chance = random.Random(os.getpid())
        self._rarity = rarity

    def _patiently(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._perhaps_die()
        answer = super()._patiently(call, *args, **kwargs)
        self._perhaps_die()
        return answer

    def _perhaps_die(self) -> None:
        if self._chance.randrange(self._rarity) == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def own_identity() -> str:
    return f"{os.getpid()}@{_started(os.getpid())}"


def _started(pid: int) -> str | None:
    """When the process started, in ticks since boot; None for one that is dead, reaped or not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def is_alive(identity: str) -> bool:
    pid, started = identity.split("@")
    return _started(int(pid)) == started


def doomed_worker(url: str, run: Run, trained: str, rarity: int) -> None:
    """A worker that dies somewhere; what it has trained is appended to the file `trained`."""
    study = reload(url, run)
    study._storage = DeadlyStorage(study._storage, rarity)
    owner = Owner(name="doomed", identity=own_identity())
    try:
        while True:
            assignment = next_assignment(study, run, owner)
            if isinstance(assignment, Nothing):
                return
            with Path(trained).open("a") as file:
                file.write(f"{assignment.trial.number}\n")
            tell(study, assignment.trial, TrialState.COMPLETE, 0.5)
    except LeaseLost:
        return


def reaper(url: str, run: Run, done: str) -> None:
    """What operator and supervisor do, over and over until the file `done` is there."""
    study = reload(url, run)
    first_seen: dict[int, datetime] = {}
    while not Path(done).exists():
        trials = study.get_trials(deepcopy=False)
        now = datetime.now(UTC)
        for trial in trials:
            owner = trial.user_attrs.get(TrialAttribute.OWNER)
            if is_unowned(trial):
                first_seen.setdefault(trial.number, now)
            elif trial.state == TrialState.RUNNING and owner and not is_alive(owner["identity"]):
                fail(study, trial, Cause.LOST, "its process is gone")
        for trial in lost_claims(trials, first_seen, now + timedelta(seconds=60 - CLAIM_GRACE_SECONDS)):
            settle_lost_claim(study, trial)
        for trial in retries_due(study.get_trials(deepcopy=False), read_limits(study)):
            create_retry(study, trial)
        time.sleep(0.05)


def claim_points(url: str, run: Run, how_many: int, answers: Any) -> None:
    """Claims some trials and answers their points."""
    study = reload(url, run)
    for _ in range(how_many):
        assignment = next_assignment(study, run, Owner(name="worker", identity=own_identity()))
        assert not isinstance(assignment, Nothing)
        answers.put(dict(assignment.parameters))


def stop_inside_ask(url: str, run: Run, stopped: Any) -> None:
    """Stops itself while it holds the study's row in PostgreSQL."""
    study = reload(url, run)
    rdb = study._storage._backend
    prepare = rdb._get_prepared_new_trial

    def prepare_and_stop(*args: Any) -> Any:
        trial = prepare(*args)
        stopped.put(os.getpid())
        time.sleep(0.2)  # let the queue's thread hand the number over
        os.kill(os.getpid(), signal.SIGSTOP)
        return trial

    rdb._get_prepared_new_trial = prepare_and_stop
    study.ask()


def hold_journal_lock(journal: str) -> None:
    """Takes the journal's lock and never gives it back."""
    KernelLock(Path(journal)).acquire()
    (Path(journal).parent / "held").touch()
    time.sleep(600)
