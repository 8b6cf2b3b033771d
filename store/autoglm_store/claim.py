"""Claiming one trial: never more than `max`, none lost, whatever is killed between two of the steps.

1. Nothing waiting and no budget left: nothing to do. 2. `ask`. 3. Write the owner; a refusal means that the claim was
voided. 4. Look only at trials with lower numbers, which cannot grow in number any more: may this one train? 5. If not,
void it and begin again. Parameters are suggested only after step 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import optuna
from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import Fatal, Limits, Owner, TrialAttribute
from autoglm_api.conditions import Reason
from autoglm_api.exits import MAX_FREE_ATTEMPTS
from autoglm_api.run import Run

from .attempts import attempt_of, set_attribute, void
from .errors import LeaseLost
from .ledger import (
    FIXED_PARAMETERS,
    end_reason,
    is_counted,
    is_grid,
    is_ours,
    logical_trials,
    origin_of,
    rank,
    retry_of,
)
from .limits import read_limits_and_fatal


@dataclass(frozen=True)
class Nothing:
    """There is no trial to claim. `reason` says why the study ends; None = others are still training."""

    reason: Reason | None = None


@dataclass(frozen=True)
class Claim:
    """A trial of our own, and all trials as they were when it was granted."""

    trial: optuna.Trial
    attempt: FrozenTrial
    trials: Sequence[FrozenTrial]


def claim(study: optuna.Study, run: Run, owner: Owner) -> Claim | Nothing:
    """Take the next trial.

    Args:
        study: loaded, with the run's sampler and pruner.
        run: the frozen run.
        owner: who we are; never used by anybody else, now or later.

    Raises:
        LeaseLost: the claim was voided before we could sign it; this process must end.
    """
    while True:
        limits, fatal = read_limits_and_fatal(study)
        nothing = nothing_left(study, run, limits, fatal)
        if nothing is not None:
            return nothing
        trial = study.ask()
        set_attribute(study, trial, TrialAttribute.OWNER, owner.to_json_dict())
        trials = study.get_trials(deepcopy=False)
        attempt = next(known for known in trials if known.number == trial.number)
        if TrialAttribute.VOID in attempt.user_attrs:
            raise LeaseLost(f"trial {trial.number} was voided while it was being claimed")
        if may_train(attempt, trials, limits) and (is_given(attempt) or not is_grid(run)):
            return Claim(trial, attempt, trials)
        void(study, attempt)


def nothing_left(study: optuna.Study, run: Run, limits: Limits, fatal: Fatal | None) -> Nothing | None:
    """Step 1; None = there is something to claim."""
    trials = study.get_trials(deepcopy=False)
    reason = end_reason(trials, run, limits, datetime.now(UTC), fatal)
    if limits.stop or reason is not None:
        return Nothing(reason)
    # A grid's trials are all enqueued: more may come, but not from us.
    if not is_grid(run) and (len(trials) < limits.max or sum(map(is_counted, trials)) < limits.max):
        return None
    waiting = any(trial.last.state == TrialState.WAITING for trial in logical_trials(trials, limits))
    return None if waiting else Nothing()


def may_train(attempt: FrozenTrial, trials: Sequence[FrozenTrial], limits: Limits) -> bool:
    """Step 4: whether this is, or repeats, one of the `max` originals, and is the first retry of its predecessor.

    The origin of a retry is looked at too: it may have been killed after it signed and before it was voided.
    """
    origin = origin_of(attempt)
    # A number below `max` has fewer than `max` originals before it; nobody needs to count them.
    if origin >= limits.max and rank(origin, trials) >= limits.max:
        return False
    predecessor = retry_of(attempt)
    if predecessor is None:
        return True
    if any(retry_of(trial) == predecessor and trial.number < attempt.number and is_ours(trial) for trial in trials):
        return False
    return attempt_of(attempt) <= 1 + limits.retries + MAX_FREE_ATTEMPTS


def is_given(attempt: FrozenTrial) -> bool:
    """Whether the point, or part of it, came with the trial: enqueued or a retry."""
    return bool(attempt.params) or FIXED_PARAMETERS in attempt.system_attrs or retry_of(attempt) is not None
