"""From the space's declaration to Optuna's: distributions, and one point; and the seeds of everything random."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, assert_never

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial
from typing_extensions import override

from autoglm_api.base import Scalar
from autoglm_api.run import Run
from autoglm_api.space import Choices, FloatRange, IntRange, Parameter, is_active, ordered, same


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


def distributions(parameters: Sequence[Parameter]) -> dict[str, BaseDistribution]:
    """What `suggest` asks Optuna for, by name; parameters with one value only are left out."""
    return {parameter.name: distribution(parameter) for parameter in ordered(parameters) if parameter.size() > 1}


def distribution(parameter: Parameter) -> BaseDistribution:
    """Optuna's word for the parameter's domain."""
    domain = parameter.domain
    match domain:
        case FloatRange():
            high = _last_step(domain.min, domain.max, domain.step)
            return FloatDistribution(domain.min, high, step=domain.step, log=domain.log)
        case IntRange():
            high = _last_step(domain.min, domain.max, domain.step)
            return IntDistribution(domain.min, int(high), step=domain.step or 1, log=domain.log)
        case Choices():
            return CategoricalDistribution(domain.choices)
        case _:
            assert_never(domain)


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Scalar:
    name, domain = parameter.name, parameter.domain
    value = trial._suggest(name, distribution(parameter))  # noqa: SLF001 - what `suggest_float` and the others call
    match domain:
        case FloatRange():
            return float(value)
        case IntRange():
            return int(value)
        case Choices():
            # An enqueued `1` comes back as it was enqueued; the choice is what the user wrote.
            return next(choice for choice in domain.choices if value is not None and same(choice, value))
        case _:
            assert_never(domain)


def _last_step(low: float, high: float, step: float | None) -> float:
    """The greatest value that a step reaches; Optuna warns when `high` is not one."""
    if step is None:
        return high
    steps = math.floor((high - low) / step + 1e-9)
    return float(Decimal(str(low)) + steps * Decimal(str(step)))
