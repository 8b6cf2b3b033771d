"""From the run's sampler to Optuna's, for workers that share nothing but the trials and one seed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, assert_never

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from autoglm_api.run import Run

from .evolution import CmaEs
from .learning import Shown, lessons, with_generations
from .sampling import distributions, seed_for

_ELSEWHERE = 10  # Optuna's own number of start-up trials, for runs without one


class ReseededTPE(TPESampler):
    """TPE whose generators can be set back; what it remembers of the search space stays."""

    def reseed(self, seed: int) -> None:
        """Begin as a new sampler with this seed would."""
        self._rng = LazyRandomState(seed)
        self._random_sampler = RandomSampler(seed=seed)


class Sobol(QMCSampler):
    """One point of the study's sequence: the one that has the trial's number.

    Optuna counts points in an attribute of the study, which two workers may read at the same time. Attempts that never
    come to a point (void, enqueued, retries) leave gaps; a point is never given twice.
    """

    def __init__(self, seed: int, index: int) -> None:
        super().__init__(qmc_type="sobol", scramble=True, seed=seed, warn_independent_sampling=False)
        self._index = index

    @override
    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, BaseDistribution]) -> int:
        return self._index


class SeededSampler(BaseSampler):
    """The run's sampler, begun anew for each trial from the study's seed and the trial's number.

    With one seed in all workers Optuna would start every worker at the same points. The space that parameters are
    sampled from together is the declared one; Optuna would gather it from the trials.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._begin = _beginner(run)
        self._sampler: BaseSampler = RandomSampler(seed=0)
        declared = run.sampler.type in ("GP", "CmaEs", "NSGAII", "NSGAIII", "QMC")
        self._space = distributions(run.parameters) if declared else None

    @override
    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        with _experiments():
            self._sampler = self._begin(seed_for(self._run.sampler.seed, "sampler", trial.number), trial.number)

    @override
    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self._space is not None:
            return self._space
        return self._sampler.infer_relative_search_space(study, trial)

    @override
    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(self._shown(study), trial, search_space)

    @override
    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    @override
    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Nothing: constraints are written by the worker, and trials that others end never come here."""

    def _shown(self, study: optuna.Study) -> optuna.Study:
        """The study as the sampler learns most from it; TPE ranks pruned trials itself."""
        if not isinstance(self._sampler, GPSampler | CmaEs | NSGAIISampler | NSGAIIISampler):
            return study
        trials = lessons(study._get_trials(deepcopy=False, use_cache=True), self._run)  # noqa: SLF001
        if isinstance(self._sampler, NSGAIISampler | NSGAIIISampler):
            trials = with_generations(trials, self._sampler._get_generation_key())  # noqa: SLF001
        return Shown(study, trials)


def build_sampler(run: Run) -> BaseSampler:
    """The run's sampler, to be set on a loaded study before it is asked."""
    return SeededSampler(run)


def _beginner(run: Run) -> Callable[[int, int], BaseSampler]:
    """Gives Optuna's sampler for one trial, from a seed of its own and its number."""
    kind, startup = run.sampler.type, run.sampler.startup_trials
    startup = _ELSEWHERE if startup is None else startup
    population = run.sampler.population_size or 50
    match kind:
        case "TPE":
            return _reseeded(_tpe(run, startup))
        case "Random" | "Grid":  # a grid's points are enqueued; what an enqueued point leaves open is drawn
            return lambda seed, _: RandomSampler(seed=seed)
        case "GP":
            return lambda seed, _: GPSampler(seed=seed, n_startup_trials=startup)
        case "CmaEs":
            return lambda seed, _: CmaEs(seed, startup)
        case "NSGAII":
            return lambda seed, _: NSGAIISampler(seed=seed, population_size=population)
        case "NSGAIII":
            return lambda seed, _: NSGAIIISampler(seed=seed, population_size=population)
        case "QMC":
            sequence = seed_for(run.sampler.seed, "sequence", 0)
            return lambda _, number: Sobol(sequence, number)
        case _:
            assert_never(kind)


def _tpe(run: Run, startup: int) -> ReseededTPE:
    conditional = any(parameter.when is not None for parameter in run.parameters)
    with _experiments():
        if conditional:
            return ReseededTPE(n_startup_trials=startup, multivariate=True, group=True)
        return ReseededTPE(n_startup_trials=startup)


@contextmanager
def _experiments() -> Iterator[None]:
    """Optuna calls `group` and NSGA-III experimental at each use; the release is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _reseeded(sampler: ReseededTPE) -> Callable[[int, int], BaseSampler]:
    def begin(seed: int, _: int) -> BaseSampler:
        sampler.reseed(seed)
        return sampler

    return begin
