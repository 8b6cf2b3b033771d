"""A grid's points are enqueued, a batch at a time, by whoever looks after the study; workers only take them.

Optuna's own grid sampler chooses when it is asked, and two that are asked at once choose the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import optuna
from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import Limits, TrialAttribute
from autoglm_api.base import Scalar
from autoglm_api.run import Run
from autoglm_api.space import all_points

from .ledger import FIXED_PARAMETERS, as_point, is_counted, is_grid
from .sampling import seed_for

QUEUED = 256
"""Points that wait after a batch. Half of them must last until somebody looks again: a few seconds."""


def wants_points(run: Run, limits: Limits, *, waiting: int, known: int) -> bool:
    """Whether it is time for another batch.

    Args:
        run: the frozen run.
        limits: as they are now.
        waiting: trials that nobody has claimed yet.
        known: these, and those that are running or finished.
    """
    return is_grid(run) and not limits.stop and waiting < QUEUED // 2 and known < limits.max


def points_due(trials: Sequence[FrozenTrial], run: Run, limits: Limits) -> list[dict[str, Scalar]]:
    """The next points to enqueue; none while enough are waiting, and never one that a trial has already."""
    counted = [trial for trial in trials if is_counted(trial)]
    waiting = sum(trial.state == TrialState.WAITING for trial in counted)
    if not wants_points(run, limits, waiting=waiting, known=len(counted)):
        return []
    taken = {as_point(trial.system_attrs.get(FIXED_PARAMETERS, trial.params)) for trial in counted}
    free = (point for point in _shuffled(run) if as_point(point) not in taken)
    return list(islice(free, min(QUEUED - waiting, limits.max - len(counted))))


def _shuffled(run: Run) -> Iterator[dict[str, Scalar]]:
    """The whole grid in the seed's order: as written, a study that ends early would have seen one corner of it."""
    points = list(all_points(run.parameters))
    random.Random(seed_for(run.sampler.seed, "grid", 0)).shuffle(points)
    yield from points


def enqueue(study: optuna.Study, points: Sequence[Mapping[str, Scalar]]) -> None:
    """Have these points tried next, in this order."""
    for point in points:
        study.enqueue_trial(dict(point), user_attrs={TrialAttribute.ENQUEUED: True})
