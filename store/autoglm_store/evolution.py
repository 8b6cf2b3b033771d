"""CMA-ES for workers that share only the trials: its state is told anew from them for each point.

Optuna's own keeps a pickled optimiser in a trial's attributes, which every reader must trust, and begins in the middle
of the space whatever is known already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from .learning import GENERATION

_KEY = f"autoglm:cma{GENERATION}"
_SIGMA = 1 / 6  # of each parameter's range


class CmaEs(RandomSampler):
    """CMA-ES over numbers, for one point.

    Args:
        seed: the trial's own.
        startup_trials: results before the first generation; it begins around the best of them.
    """

    def __init__(self, seed: int, startup_trials: int) -> None:
        super().__init__(seed=seed)
        self._seed = seed
        self._startup_trials = startup_trials

    @override
    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        known = study._get_trials(deepcopy=False, states=(TrialState.COMPLETE,))  # noqa: SLF001
        if not search_space or len(known) < self._startup_trials:
            return {}
        from cmaes import CMA

        transform = _SearchSpaceTransform(search_space, transform_0_1=True)
        sign = 1.0 if study.direction == StudyDirection.MINIMIZE else -1.0
        members = sorted((other for other in known if _KEY in other.system_attrs), key=_ended)
        optimizer = CMA(
            mean=_start(transform, known, members, sign),
            sigma=_SIGMA,
            bounds=transform.bounds,
            seed=self._seed,
            n_max_resampling=10 * len(search_space),
        )
        while True:
            own = [other for other in members if other.system_attrs[_KEY] == optimizer.generation]
            if len(own) < optimizer.population_size:
                break
            told = own[: optimizer.population_size]
            optimizer.tell([(transform.transform(other.params), sign * (other.value or 0.0)) for other in told])
        study._storage.set_trial_system_attr(trial._trial_id, _KEY, optimizer.generation)  # noqa: SLF001
        return transform.untransform(optimizer.ask())


def _start(
    transform: _SearchSpaceTransform, known: Sequence[FrozenTrial], members: Sequence[FrozenTrial], sign: float
) -> Any:
    """The best point that was known before the first generation began: it stays the same however the search goes on."""
    began = min((other.datetime_start for other in members if other.datetime_start), default=None)
    before = [other for other in known if _KEY not in other.system_attrs and (began is None or _ended(other) <= began)]
    if not before:
        return np.mean(transform.bounds, axis=1)
    best = min(before, key=lambda other: (sign * (other.value or 0.0), other.number))
    return transform.transform(best.params)


def _ended(trial: FrozenTrial) -> Any:
    return trial.datetime_complete
