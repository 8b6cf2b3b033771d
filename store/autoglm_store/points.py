"""From one claim to something worth training: points that have a result already are not trained again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import Owner, TrialAttribute
from autoglm_api.base import Scalar
from autoglm_api.conditions import Reason
from autoglm_api.run import Run
from autoglm_api.space import all_points, space_size

from .attempts import leased, set_attribute, tell, void
from .claim import Claim, Nothing, claim, is_given
from .ledger import as_point, is_derived, is_ours, origin_of, tried_points
from .limits import write_exhausted
from .patience import PatientStorage
from .sampling import PointSampler, seed_for, suggest, training_seed

DUPLICATES_IN_A_ROW = 5
ENUMERABLE = 20_000
COPIED = (TrialAttribute.METRICS, TrialAttribute.INFEASIBLE, TrialAttribute.CAUSE, TrialAttribute.MESSAGE)


@dataclass(frozen=True)
class Assignment:
    """A trial of our own to be trained at `parameters`.

    Attributes:
        trial: for reports; its number is the attempt's.
        attempt: as it was when it was claimed.
        parameters: the whole point.
        seed: for training; equal for all attempts of one logical trial.
    """

    trial: optuna.Trial
    attempt: FrozenTrial
    parameters: Mapping[str, Scalar]
    seed: int


def next_assignment(study: optuna.Study, run: Run, owner: Owner) -> Assignment | Nothing:
    """Claim, choose a point, and settle duplicates of finished trials on the way.

    Raises:
        LeaseLost: an attempt was taken from us; this process must end.
    """
    while True:
        granted = claim(study, run, owner)
        if isinstance(granted, Nothing):
            if granted.reason == Reason.SPACE_EXHAUSTED:
                write_exhausted(study)
            return granted
        parameters = choose(study, run, granted)
        if parameters is None:
            void(study, granted.attempt)
            write_exhausted(study)
            return Nothing(Reason.SPACE_EXHAUSTED)
        twin = finished_twin(parameters, granted.trials)
        if twin is None:
            seed = training_seed(run, origin_of(granted.attempt))
            return Assignment(granted.trial, granted.attempt, parameters, seed)
        settle_duplicate(study, granted.trial, twin)


def choose(study: optuna.Study, run: Run, granted: Claim) -> dict[str, Scalar] | None:
    """The sampler's point; after five duplicates in a row, one drawn uniformly from those that nobody has tried.

    Returns:
        None: every point has been tried.
    """
    sampler = study.sampler
    if not is_given(granted.attempt) and only_duplicates(granted.trials, granted.trial.number):
        drawn = uniform_draw(run, granted)
        if drawn is None:
            return None
        sampler = drawn
    with leased(granted.trial.number), _sampling(study, sampler, granted.trials):
        return suggest(granted.trial, run.parameters)


@contextmanager
def _sampling(study: optuna.Study, sampler: BaseSampler, trials: Sequence[FrozenTrial]) -> Iterator[None]:
    usual, study.sampler = study.sampler, sampler
    storage = study._storage  # noqa: SLF001
    try:
        if isinstance(storage, PatientStorage):
            with storage.viewing(trials):
                yield
        else:
            yield
    finally:
        study.sampler = usual


def only_duplicates(trials: Sequence[FrozenTrial], number: int) -> bool:
    """Whether the five trials before `number` were all duplicates."""
    before = [trial for trial in trials if trial.number < number and is_ours(trial)][-DUPLICATES_IN_A_ROW:]
    return len(before) == DUPLICATES_IN_A_ROW and all(
        TrialAttribute.DUPLICATE_OF in trial.user_attrs for trial in before
    )


def uniform_draw(run: Run, granted: Claim) -> BaseSampler | None:
    """A sampler for one uniform draw; None when a finite space has no untried point."""
    seed = seed_for(run.sampler.seed, "draw", granted.trial.number)
    if space_size(run.parameters) > ENUMERABLE:
        return RandomSampler(seed=seed)
    tried = tried_points(granted.trials, run)
    free = [point for point in all_points(run.parameters) if as_point(point) not in tried]
    return PointSampler(random.Random(seed).choice(free)) if free else None


def finished_twin(parameters: Mapping[str, Scalar], trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The first trial of ours that has a result at this very point; a twin that is still RUNNING does not matter.

    Neither does one of whose point the task has made something: of this one it will make something else.
    """
    point = as_point(parameters)
    for trial in trials:
        if is_derived(trial):
            continue
        # Comparing dicts is quick but takes True for 1, so it only opens the door.
        if trial.params == parameters and as_point(trial.params) == point and is_ours(trial) and has_result(trial):
            return trial
    return None


def has_result(trial: FrozenTrial) -> bool:
    """Whether the attempt ended with something that a sampler can learn from."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def settle_duplicate(study: optuna.Study, trial: optuna.Trial, twin: FrozenTrial) -> None:
    """Give the attempt its twin's result instead of training it.

    Raises:
        LeaseLost: the attempt is finished already.
    """
    set_attribute(study, trial, TrialAttribute.DUPLICATE_OF, twin.number)
    for key in COPIED:
        if key in twin.user_attrs:
            set_attribute(study, trial, key, twin.user_attrs[key])
    with leased(trial.number):
        for name, violation in twin.constraints.items():
            trial.set_constraint(name, violation)
    tell(study, trial, twin.state, twin.values if twin.state == TrialState.COMPLETE else None)
