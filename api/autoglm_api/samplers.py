"""How new points are chosen: every sampler, the fields it takes, and what it can be combined with. THE table.

A test runs each sampler on each kind of study that it is declared for; the docs' table is made from this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from .base import Model
from .space import Choices, Parameter, space_size

GRID_POINTS = 5_000
"""A grid is listed as a whole, so it must have an end that is near."""

SamplerType = Literal["TPE", "Random", "GP", "CmaEs", "NSGAII", "NSGAIII", "QMC", "Grid"]


@dataclass(frozen=True)
class SamplerDeclaration:
    """What a sampler can be combined with: True = it takes this into account, or needs not since it does not learn.

    Attributes:
        how: what it does, for people; no full stop.
        categorical: parameters with choices.
        conditional: parameters with `when`.
        constraints: trials that break a constraint do not lead it astray.
        objectives: more than one.
        fields: what it takes besides type and seed.
        finite: it needs a space with an end.
    """

    how: str
    categorical: bool = True
    conditional: bool = True
    constraints: bool = True
    objectives: bool = True
    fields: frozenset[str] = frozenset()
    finite: bool = False


SAMPLERS: Mapping[SamplerType, SamplerDeclaration] = {
    "TPE": SamplerDeclaration(
        "models where good and where bad trials lie; fits everything", fields=frozenset({"startup_trials"})
    ),
    "Random": SamplerDeclaration("draws uniformly; learns nothing"),
    "GP": SamplerDeclaration(
        "a Gaussian process; for few and costly trials: choosing a point takes seconds",
        conditional=False,
        fields=frozenset({"startup_trials"}),
    ),
    "CmaEs": SamplerDeclaration(
        "an evolution strategy that adapts to the objective's shape; for many trials over numbers",
        categorical=False,
        conditional=False,
        constraints=False,
        objectives=False,
        fields=frozenset({"startup_trials"}),
    ),
    "NSGAII": SamplerDeclaration(
        "a genetic algorithm, generation by generation; for many trials",
        conditional=False,
        fields=frozenset({"population_size"}),
    ),
    "NSGAIII": SamplerDeclaration(
        "as `NSGAII`, made for three objectives and more", conditional=False, fields=frozenset({"population_size"})
    ),
    "QMC": SamplerDeclaration("a scrambled Sobol sequence: covers the space evenly; learns nothing"),
    "Grid": SamplerDeclaration("every point of a finite space once, in random order; learns nothing", finite=True),
}


class Sampler(Model):
    """How new points are chosen. `startupTrials` and `populationSize` left out = sized to the budget."""

    type: SamplerType = "TPE"
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    startup_trials: Annotated[int, Field(ge=0, le=10_000)] | None = None
    population_size: Annotated[int, Field(ge=2, le=1_000)] | None = None

    @model_validator(mode="after")
    def _takes_its_fields(self) -> Sampler:
        for field in ("startup_trials", "population_size"):
            if getattr(self, field) is not None and field not in SAMPLERS[self.type].fields:
                raise ValueError(
                    f"sampler.{to_camel(field)}: {self.type} has no {to_camel(field)}; {_taking(field)} have"
                )
        return self


def _taking(field: str) -> str:
    return able(lambda sampler: field in sampler.fields)


def able(can: Callable[[SamplerDeclaration], bool]) -> str:
    """The samplers for which `can` holds, as words."""
    return ", ".join(name for name, sampler in SAMPLERS.items() if can(sampler))


def sampler_problems(
    sampler: Sampler, parameters: Sequence[Parameter], *, constraints: int = 0, objectives: int = 1
) -> Iterator[str]:
    """Everything in a study that its sampler cannot do: field or parameter, and which samplers can.

    Args:
        sampler: as in the spec.
        parameters: the space; the task's own where the spec has none.
        constraints: how many the study has.
        objectives: how many it has.
    """
    name, known = sampler.type, SAMPLERS[sampler.type]
    for parameter in parameters:
        if not known.categorical and isinstance(parameter.domain, Choices) and parameter.size() > 1:
            others = able(lambda other: other.categorical)
            yield f"parameters: {parameter.name} is categorical, which sampler {name} cannot search; {others} can"
        if not known.conditional and parameter.when is not None:
            what = f"{parameter.name} exists only for some values of {parameter.when.parameter}"
            yield f"parameters: {what}, which sampler {name} cannot search; {able(lambda other: other.conditional)} can"
        if known.finite and parameter.size() == float("inf"):
            what = f"{parameter.name} has no end of values; sampler {name} needs a step, or categorical choices"
            yield f"parameters: {what}; {able(lambda other: not other.finite)} need neither"
    if known.finite and GRID_POINTS < (size := space_size(parameters)) < float("inf"):
        what = f"the grid has {size:,.0f} points, at most {GRID_POINTS:,} are allowed"
        yield f"parameters: {what}; give fewer values or larger steps, or choose another sampler"
    if constraints and not known.constraints:
        others = able(lambda other: other.constraints)
        yield f"constraints: sampler {name} would be led by trials that break them; {others} take them into account"
    if objectives > 1 and not known.objectives:
        yield f"objectives: sampler {name} takes one objective; {able(lambda other: other.objectives)} take several"


def check_sampler(
    sampler: Sampler, parameters: Sequence[Parameter], *, constraints: int = 0, objectives: int = 1
) -> None:
    """Refuse a study that its sampler cannot search.

    Raises:
        ValueError: the first of `sampler_problems`.
    """
    for problem in sampler_problems(sampler, parameters, constraints=constraints, objectives=objectives):
        raise ValueError(problem)
