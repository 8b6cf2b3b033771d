"""Carrying out what a plan asks of the database: always through Optuna's own API, and always safe to repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import assert_never

import optuna
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial

from autoglm_api.attempts import Limits
from autoglm_api.run import Run
from autoglm_store import attempts
from autoglm_store.connection import answered, delete_study
from autoglm_store.creation import CREATION_LOCK, complete_study, refill_grid
from autoglm_store.errors import LeaseLost, StudyNotFound
from autoglm_store.insertion import insert_study
from autoglm_store.limits import write_fatal, write_limits

from .actions import (
    CreateRetry,
    CreateStudy,
    DeleteTrials,
    FailAttempt,
    RefillGrid,
    VoidAttempt,
    WriteFatal,
    WriteLimits,
)
from .counts import SPEC_ATTRIBUTE
from .databases import Database, Databases

TrialAction = (
    CreateStudy | WriteLimits | WriteFatal | FailAttempt | VoidAttempt | CreateRetry | RefillGrid | DeleteTrials
)


async def apply_to_trials(databases: Databases, url: str, action: TrialAction) -> None:
    """Carry out one action on the study's database.

    Raises:
        StoreError: as the store explains it.
    """

    def write(database: Database) -> None:
        try:
            with answered(url):
                _write(database, url, action)
        finally:
            database.stale(action.ref.study)

    await databases.call(url, _OPERATIONS[type(action)], write)
    if isinstance(action, DeleteTrials):
        databases.forget(url, action.ref.study)


_OPERATIONS = {
    CreateStudy: "create_study",
    WriteLimits: "write_limits",
    WriteFatal: "write_fatal",
    FailAttempt: "fail_attempt",
    VoidAttempt: "void_attempt",
    CreateRetry: "create_retry",
    RefillGrid: "refill_grid",
    DeleteTrials: "delete_study",
}


def _write(database: Database, url: str, action: TrialAction) -> None:
    match action:
        case CreateStudy(ref=ref, run=run, limits=limits, spec=spec):
            _create(database, ref.study, run, limits, {SPEC_ATTRIBUTE: spec.to_json_dict()})
        case WriteLimits(ref=ref, limits=limits):
            write_limits(_study(database, ref.study), limits)
        case WriteFatal(ref=ref, fatal=fatal):
            write_fatal(_study(database, ref.study), fatal)
        case FailAttempt():
            _fail(database, action)
        case VoidAttempt(ref=ref, trial=trial):
            _on_attempt(database, ref.study, trial, attempts.void)
        case CreateRetry(ref=ref, trial=trial):
            _on_attempt(database, ref.study, trial, attempts.create_retry)
        case RefillGrid(ref=ref, run=run, limits=limits):
            with database.locked(CREATION_LOCK):
                refill_grid(url, ref.study, run, limits)
        case DeleteTrials(ref=ref):
            delete_study(url, ref.study)
        case _:
            assert_never(action)


def _create(database: Database, name: str, run: Run, limits: Limits, attributes: Mapping[str, object]) -> None:
    """In one statement where that is possible; otherwise whatever is missing yet, by Optuna's own means."""
    database.ensure_tables()
    with database.writing(CREATION_LOCK) as connection:
        created = insert_study(connection, name, run, limits, attributes)
    if not created:
        storage = database.storage()
        with database.locked(CREATION_LOCK):
            complete_study(storage, name, run, limits, attributes)


def _fail(database: Database, action: FailAttempt) -> None:
    def end(study: optuna.Study, attempt: FrozenTrial) -> None:
        if action.infeasible:
            with suppress(LeaseLost):  # it has ended in the meantime, and that stands
                attempts.infeasible(study, attempt, action.cause, action.message)
        else:
            attempts.fail(study, attempt, action.cause, action.message)

    _on_attempt(database, action.ref.study, action.trial, end)


def _on_attempt(
    database: Database, study_name: str, number: int, function: Callable[[optuna.Study, FrozenTrial], None]
) -> None:
    study, storage = _study(database, study_name), database.storage()
    trial_id = storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(study_name), number)
    function(study, storage.get_trial(trial_id))


def _study(database: Database, name: str) -> optuna.Study:
    try:
        return optuna.load_study(
            study_name=name, storage=database.storage(), sampler=RandomSampler(seed=0), pruner=NopPruner()
        )
    except KeyError:
        raise StudyNotFound(f"the database holds no study {name}") from None
