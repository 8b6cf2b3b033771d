"""From the run's declarations to Optuna's: sampler, pruner, and one point of the space."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, assert_never

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from autoglm_api.base import Scalar
from autoglm_api.run import Run
from autoglm_api.space import Choices, FloatRange, IntRange, Parameter, is_active, ordered, same


class ReseededTPE(TPESampler):
    """TPE whose generators can be set back; what it remembers of the search space stays."""

    def reseed(self, seed: int) -> None:
        """Begin as a new sampler with this seed would."""
        self._rng = LazyRandomState(seed)
        self._random_sampler = RandomSampler(seed=seed)


class SeededSampler(BaseSampler):
    """The run's sampler, begun anew for each trial from the study's seed and the trial's number.

    With one seed in all workers Optuna would start every worker at the same points.
    """

    def __init__(self, run: Run) -> None:
        self._seed = run.sampler.seed
        self._tpe = _tpe(run) if run.sampler.type == "TPE" else None
        self._sampler: BaseSampler = RandomSampler(seed=self._seed)

    @override
    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        seed = seed_for(self._seed, "sampler", trial.number)
        if self._tpe is None:
            self._sampler = RandomSampler(seed=seed)
        else:
            self._sampler = self._tpe
            self._tpe.reseed(seed)

    @override
    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    @override
    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    @override
    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    @override
    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._sampler.after_trial(study, trial, state, values)


class PointSampler(RandomSampler):
    """Gives one chosen point, whatever is asked."""

    def __init__(self, point: Mapping[str, Scalar]) -> None:
        super().__init__(seed=0)
        self._point = point

    @override
    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._point[param_name]


def build_sampler(run: Run) -> BaseSampler:
    """The run's sampler, to be set on a loaded study before it is asked."""
    return SeededSampler(run)


def _tpe(run: Run) -> ReseededTPE:
    conditional = any(parameter.when is not None for parameter in run.parameters)
    startup = run.sampler.startup_trials
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group`
        return ReseededTPE(n_startup_trials=10 if startup is None else startup, group=conditional)


def build_pruner(run: Run) -> BasePruner:
    """The run's pruner, to be set on a loaded study."""
    match run.pruner.type:
        case "Median":
            return MedianPruner(n_startup_trials=run.pruner.startup_trials, n_warmup_steps=run.pruner.warmup_steps)
        case "SuccessiveHalving":
            return SuccessiveHalvingPruner(min_early_stopping_rate=0, min_resource=max(1, run.pruner.warmup_steps))
        case "None":
            return NopPruner()


def seed_for(study_seed: int, purpose: str, number: int) -> int:
    """A seed of 31 bits, far from those of neighbouring numbers."""
    digest = hashlib.sha256(f"{study_seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def training_seed(run: Run, origin: int) -> int:
    """Seeds everything random in training; equal for all attempts of one logical trial."""
    return seed_for(run.sampler.seed, "training", origin)


def suggest(trial: optuna.Trial, parameters: Sequence[Parameter]) -> dict[str, Scalar]:
    """Ask for every parameter that exists, parents before children.

    Raises:
        optuna.exceptions.UpdateFinishedTrialError: the attempt was ended by somebody else.
    """
    point: dict[str, Scalar] = {}
    for parameter in ordered(parameters):
        if is_active(parameter, point):
            point[parameter.name] = _suggest(trial, parameter)
    return point


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Scalar:
    name, domain = parameter.name, parameter.domain
    match domain:
        case FloatRange():
            high = _last_step(domain.min, domain.max, domain.step)
            return float(trial.suggest_float(name, domain.min, high, step=domain.step, log=domain.log))
        case IntRange():
            high = int(_last_step(domain.min, domain.max, domain.step))
            return int(trial.suggest_int(name, domain.min, high, step=domain.step or 1, log=domain.log))
        case Choices():
            chosen = trial.suggest_categorical(name, domain.choices)
            # An enqueued `1` comes back as it was enqueued; the choice is what the user wrote.
            return next(choice for choice in domain.choices if chosen is not None and same(choice, chosen))
        case _:
            assert_never(domain)


def _last_step(low: float, high: float, step: float | None) -> float:
    """The greatest value that a step reaches; Optuna warns when `high` is not one."""
    if step is None:
        return high
    steps = math.floor((high - low) / step + 1e-9)
    return float(Decimal(str(low)) + steps * Decimal(str(step)))
