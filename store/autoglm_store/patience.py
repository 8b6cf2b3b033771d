"""A storage that waits for its database: every call is tried again, with jitter, until the process must stop.

Safe for calls that are not idempotent, by the protocol and not by luck: a trial created twice has no owner and is
voided, a WAITING trial taken twice is `ClaimLost`, a `tell` that finds its own values is a success.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, exc
from typing_extensions import override

from .errors import StorageUnreachable

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 10.0

_TRANSIENT = (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError)


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later: connection lost, time-outs, server shutting down."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    return isinstance(cause, _TRANSIENT) or (isinstance(cause, exc.DBAPIError) and cause.connection_invalidated)


class PatientStorage(BaseStorage):
    """Delegates to another storage and waits while its database is away.

    Args:
        storage: the real one.
        stopping: set when the process must end; each call is then tried once more and no longer.
        engine: the real one's engine, if it has connections that can be given back.
    """

    def __init__(self, storage: BaseStorage, stopping: threading.Event, engine: Engine | None = None) -> None:
        self._storage = storage
        self._stopping = stopping
        self._engine = engine
        self._last_used = time.monotonic()
        self._view: Sequence[FrozenTrial] | None = None

    @contextmanager
    def viewing(self, trials: Sequence[FrozenTrial]) -> Iterator[None]:
        """Answer `get_all_trials` from `trials` inside; the sampler asks once for each group of parameters."""
        self._view = trials
        try:
            yield
        finally:
            self._view = None

    def rest(self, *, after_seconds: float) -> None:
        """Close the pooled connection if nobody has used it for `after_seconds`; training needs none."""
        if self._engine is not None and time.monotonic() - self._last_used > after_seconds:
            self._engine.dispose()

    def _patiently(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                return call(*args, **kwargs)
            except (StorageInternalError, exc.SQLAlchemyError) as error:
                if not is_transient(error):
                    raise
                reason = str(error.__cause__ or error).splitlines()[0]
                if self._stopping.is_set():
                    raise StorageUnreachable(f"the database is away: {reason}") from error
                logger.warning("the database is away, trying again: %s", reason)
                self._stopping.wait(delay * random.uniform(0.5, 1.5))
                delay = min(2 * delay, LONGEST_DELAY_SECONDS)
            finally:
                self._last_used = time.monotonic()

    @override
    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return self._patiently(self._storage.create_new_study, directions, study_name)

    @override
    def delete_study(self, study_id: int) -> None:
        self._patiently(self._storage.delete_study, study_id)

    @override
    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._patiently(self._storage.set_study_user_attr, study_id, key, value)

    @override
    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._patiently(self._storage.set_study_system_attr, study_id, key, value)

    @override
    def get_study_id_from_name(self, study_name: str) -> int:
        return self._patiently(self._storage.get_study_id_from_name, study_name)

    @override
    def get_study_name_from_id(self, study_id: int) -> str:
        return self._patiently(self._storage.get_study_name_from_id, study_id)

    @override
    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._patiently(self._storage.get_study_directions, study_id)

    @override
    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._patiently(self._storage.get_study_user_attrs, study_id)

    @override
    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._patiently(self._storage.get_study_system_attrs, study_id)

    @override
    def get_all_studies(self) -> list[FrozenStudy]:
        return self._patiently(self._storage.get_all_studies)

    @override
    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        return self._patiently(self._storage.create_new_trial, study_id, template_trial)

    @override
    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self._patiently(self._storage.set_trial_param, trial_id, param_name, param_value_internal, distribution)

    @override
    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self._patiently(self._storage.get_trial_id_from_study_id_trial_number, study_id, trial_number)

    @override
    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        return self._patiently(self._storage.set_trial_state_values, trial_id, state, values)

    @override
    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._patiently(self._storage.set_trial_intermediate_value, trial_id, step, intermediate_value)

    @override
    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._patiently(self._storage.set_trial_user_attr, trial_id, key, value)

    @override
    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._patiently(self._storage.set_trial_system_attr, trial_id, key, value)

    @override
    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._patiently(self._storage.get_trial, trial_id)

    @override
    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if self._view is not None and not deepcopy:
            return [trial for trial in self._view if states is None or trial.state in states]
        return self._patiently(self._storage.get_all_trials, study_id, deepcopy, states)
