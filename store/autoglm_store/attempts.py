"""Ending attempts and beginning their retries. FAIL is the fence: Optuna refuses every later write to the attempt.

Who is not the worker (the operator, locally the supervisor) uses `fail`, `void`, `settle_lost_claim`,
`settle_out_of_memory` and `create_retry`; all of them may be repeated at any time, by several at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoglm_api.attempts import Checkpoint, TrialAttribute
from autoglm_api.exits import LOG_TAIL_BYTES, MESSAGE_BYTES, Cause

from .errors import LeaseLost
from .learning import GENERATION
from .ledger import FIXED_PARAMETERS, cause_of, origin_of

CLAIM_GRACE = timedelta(seconds=60)
_HALVING = "completed_rung_"  # Optuna's, of successive halving and Hyperband
UNTRAINED = "autoglm:untrained"  # an Optuna constraint, broken by points that could not be trained


def fail(study: optuna.Study, trial: FrozenTrial, cause: Cause, message: str, *, log: str = "") -> None:
    """Write why, then tell FAIL. An attempt that is finished already stays as it is."""
    try:
        set_attribute(study, trial, TrialAttribute.CAUSE, cause)
        set_attribute(study, trial, TrialAttribute.MESSAGE, head(message))
        if log:
            set_attribute(study, trial, TrialAttribute.LOG, tail(log))
        tell(study, trial, TrialState.FAIL)
    except LeaseLost:
        return


def void(study: optuna.Study, trial: FrozenTrial) -> None:
    """Take the attempt out of every count, then tell FAIL. A finished one stays as it is."""
    try:
        set_attribute(study, trial, TrialAttribute.VOID, value=True)
        tell(study, trial, TrialState.FAIL)
    except LeaseLost:
        return


def infeasible(study: optuna.Study, trial: FrozenTrial, cause: Cause, message: str) -> None:
    """Tell PRUNED for a point that cannot be trained here; samplers rank it below everything, it is never best.

    Raises:
        LeaseLost: the attempt is finished already.
    """
    set_attribute(study, trial, TrialAttribute.INFEASIBLE, value=True)
    set_attribute(study, trial, TrialAttribute.CAUSE, cause)
    set_attribute(study, trial, TrialAttribute.MESSAGE, head(message))
    # Reported steps would make Optuna rank it by its last value; a broken constraint comes first.
    with leased(trial.number):
        study._storage.set_trial_system_attr(trial._trial_id, f"constraints:{UNTRAINED}", 1.0)  # noqa: SLF001
    tell(study, trial, TrialState.PRUNED)


def settle_out_of_memory(study: optuna.Study, trial: FrozenTrial, trials: Sequence[FrozenTrial], message: str) -> Cause:
    """End an attempt that ran out of memory; a fresh process gets one more try before the point is infeasible.

    Returns:
        OUT_OF_MEMORY: failed, to be retried. INFEASIBLE: it was its process's first, or has run out before.
    """
    owner = trial.user_attrs.get(TrialAttribute.OWNER)
    was_first = not any(
        other.number != trial.number
        and other.state.is_finished()
        and other.user_attrs.get(TrialAttribute.OWNER) == owner
        for other in trials
    )
    before = any(
        origin_of(other) == origin_of(trial) and other.number != trial.number and cause_of(other) == Cause.OUT_OF_MEMORY
        for other in trials
    )
    if not (was_first or before):
        fail(study, trial, Cause.OUT_OF_MEMORY, message)
        return Cause.OUT_OF_MEMORY
    with suppress(LeaseLost):
        infeasible(study, trial, Cause.OUT_OF_MEMORY, message)
    return Cause.INFEASIBLE


def create_retry(study: optuna.Study, original: FrozenTrial) -> None:
    """Queue another attempt at the same point, from the last checkpoint on: one write, harmless when repeated.

    Call it for `retries_due`; should two do so at once, the claim lets only the first one train.

    Args:
        study: the study.
        original: the failed attempt.
    """
    checkpoint = original.user_attrs.get(TrialAttribute.CHECKPOINT)
    last_step = Checkpoint.model_validate(checkpoint).step if checkpoint else -1
    attributes: dict[str, Any] = {
        TrialAttribute.ORIGIN: origin_of(original),
        TrialAttribute.RETRY_OF: original.number,
        TrialAttribute.ATTEMPT: attempt_of(original) + 1,
    }
    for key in (TrialAttribute.CHECKPOINT, TrialAttribute.DERIVED):
        if key in original.user_attrs:
            attributes[key] = original.user_attrs[key]
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            params=original.params,
            distributions=original.distributions,
            system_attrs={key: known for key, known in original.system_attrs.items() if _goes_on(key)},
            intermediate_values={
                step: value for step, value in original.intermediate_values.items() if step <= last_step
            },
            user_attrs=attributes,
        )
    )


def _goes_on(key: str) -> bool:
    """Whether a system attribute is the logical trial's: its point, its generation, the halvings it has survived."""
    return key == FIXED_PARAMETERS or key.endswith(GENERATION) or key.startswith(_HALVING)


def attempt_of(trial: FrozenTrial) -> int:
    """Which attempt of its logical trial this is, from 1."""
    number: int = trial.user_attrs.get(TrialAttribute.ATTEMPT, 1)
    return number


def lost_claims(trials: Sequence[FrozenTrial], first_seen: Mapping[int, datetime], now: datetime) -> list[FrozenTrial]:
    """RUNNING attempts that have had no owner for a minute since they were first seen.

    Args:
        trials: the study's.
        first_seen: attempt number → when the caller first saw it RUNNING without owner; kept by the caller.
        now: in the same clock as `first_seen`.
    """
    return [trial for trial in trials if is_unowned(trial) and now - first_seen.get(trial.number, now) >= CLAIM_GRACE]


def is_unowned(trial: FrozenTrial) -> bool:
    """Whether the attempt has been taken by somebody who has not written who he is."""
    return trial.state == TrialState.RUNNING and TrialAttribute.OWNER not in trial.user_attrs


def settle_lost_claim(study: optuna.Study, trial: FrozenTrial) -> None:
    """End an attempt that was taken and never owned: void, unless its point was given (a retry, an enqueued one)."""
    if trial.params or FIXED_PARAMETERS in trial.system_attrs or TrialAttribute.RETRY_OF in trial.user_attrs:
        fail(study, trial, Cause.CLAIM_LOST, "the worker ended while it was taking this trial")
    else:
        void(study, trial)


def tell(
    study: optuna.Study,
    trial: FrozenTrial | optuna.Trial,
    state: TrialState,
    result: float | Sequence[float] | None = None,
) -> None:
    """Finish the attempt; finding it finished with the same state and result is a success (an answer was lost).

    One write under the attempt's own lock, instead of `study.tell`'s reading, writing and reading again; our samplers
    do nothing after a trial. A pruned one is told by Optuna, which gives it its last reported value.

    Args:
        study: the study.
        trial: the attempt.
        state: how it ends.
        result: of a COMPLETE one, the value of its objective, or of each of them in their order.

    Raises:
        LeaseLost: it is finished otherwise.
    """
    storage = study._storage  # noqa: SLF001
    values = [result] if isinstance(result, float | int) else None if result is None else list(result)
    try:
        if state == TrialState.PRUNED:
            study.tell(trial.number, state=state)
        else:
            storage.set_trial_state_values(trial._trial_id, state, values)  # noqa: SLF001
    except (ValueError, UpdateFinishedTrialError) as error:
        stored = storage.get_trial(trial._trial_id)  # noqa: SLF001
        if not stored.state.is_finished():
            raise
        if stored.state != state or (values is not None and stored.values != values):
            raise LeaseLost(f"trial {trial.number} was ended by somebody else as {stored.state.name}") from error


def set_attribute(study: optuna.Study, trial: FrozenTrial | optuna.Trial, key: TrialAttribute, value: Any) -> None:
    """Write one user attribute of an unfinished attempt.

    Raises:
        LeaseLost: the attempt is finished.
    """
    with leased(trial.number):
        study._storage.set_trial_user_attr(trial._trial_id, key, value)  # noqa: SLF001


@contextmanager
def leased(number: int) -> Iterator[None]:
    """Around any write to an attempt: a refusal means that the lease is lost.

    Raises:
        LeaseLost: the attempt is finished.
    """
    try:
        yield
    except UpdateFinishedTrialError as error:
        raise LeaseLost(f"trial {number} was ended by somebody else") from error


def head(message: str) -> str:
    """The first kilobyte."""
    return message.encode()[:MESSAGE_BYTES].decode(errors="ignore")


def tail(log: str) -> str:
    """The last four kilobytes."""
    return log.encode()[-LOG_TAIL_BYTES:].decode(errors="ignore")
