"""How hopeless trials are ended early: every pruner, the fields it takes, and what they are when left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from .base import Model, Number

PrunerType = Literal[
    "Median", "Percentile", "SuccessiveHalving", "Hyperband", "Threshold", "Wilcoxon", "Patient", "None"
]
WrappedType = Literal["Median", "Percentile", "SuccessiveHalving", "Hyperband", "Threshold", "Wilcoxon"]


@dataclass(frozen=True)
class PrunerDeclaration:
    """What a pruner is told.

    Attributes:
        how: what it does, for people; no full stop.
        defaults: every field it takes; None = nothing stands for it.
        required: fields that must be given.
    """

    how: str
    defaults: Mapping[str, float | None] = field(default_factory=dict)
    required: frozenset[str] = frozenset()


PRUNERS: Mapping[PrunerType, PrunerDeclaration] = {
    "Median": PrunerDeclaration(
        "ends what is worse than the median of earlier trials at the same step",
        {"startup_trials": 5, "warmup_steps": 0},
    ),
    "Percentile": PrunerDeclaration(
        "ends what is not among the best `percentile` per cent at the same step",
        {"percentile": 25.0, "startup_trials": 5, "warmup_steps": 0},
    ),
    "SuccessiveHalving": PrunerDeclaration(
        "lets the best 1/`reductionFactor` go on at `minResource` steps, at `reductionFactor` times as many, and so on",
        {"min_resource": 1, "reduction_factor": 4},
    ),
    "Hyperband": PrunerDeclaration(
        "several successive halvings that begin at different steps; a trial's bracket follows from its number",
        {"min_resource": 1, "max_resource": None, "reduction_factor": 3},
        required=frozenset({"max_resource"}),
    ),
    "Threshold": PrunerDeclaration(
        "ends what reports less than `lower` or more than `upper`", {"lower": None, "upper": None, "warmup_steps": 0}
    ),
    "Wilcoxon": PrunerDeclaration(
        "ends what a signed-rank test finds worse than the best trial, step by step",
        {"p_threshold": 0.1, "warmup_steps": 2},
    ),
    "Patient": PrunerDeclaration(
        "asks the pruner it `wraps` only when `patience` reports in a row have brought nothing better; without one it"
        " ends the trial",
        {"patience": None, "min_delta": 0.0, "wraps": None},
        required=frozenset({"patience"}),
    ),
    "None": PrunerDeclaration("ends nothing"),
}
_LIMITS = ("lower", "upper")


class Pruner(Model):
    """How hopeless trials are ended early. Each type takes only its own fields; `Patient` also those that it wraps."""

    type: PrunerType = "Median"
    startup_trials: Annotated[int, Field(ge=0, le=10_000)] | None = None
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    percentile: Annotated[float, Field(gt=0, lt=100)] | None = None
    min_resource: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_resource: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    reduction_factor: Annotated[int, Field(ge=2, le=100)] | None = None
    lower: Number | None = None
    upper: Number | None = None
    p_threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    patience: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    min_delta: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    wraps: WrappedType | None = None

    @model_validator(mode="after")
    def _takes_its_fields(self) -> Pruner:
        known, needed = self._declared()
        who = f"Patient around {self.wraps}" if self.wraps and self.type == "Patient" else self.type
        for name in type(self).model_fields:
            given = getattr(self, name) is not None
            if given and name not in known and name != "type":
                takes = ", ".join(sorted(to_camel(field) for field in known)) or "nothing else"
                raise ValueError(f"pruner.{to_camel(name)}: {who} has no {to_camel(name)}; it takes {takes}")
            if name in needed and not given:
                raise ValueError(f"pruner: {who} needs {to_camel(name)}")
        if "lower" in known and self.lower is None and self.upper is None:
            raise ValueError(f"pruner: {who} needs lower, upper or both")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"pruner.lower: must not be greater than upper, got {self.lower:g} and {self.upper:g}")
        if self.max_resource is not None and self.max_resource < self.value("min_resource"):
            least = f"{self.value('min_resource'):g}"
            raise ValueError(f"pruner.maxResource: must be ≥ minResource {least}, got {self.max_resource}")
        return self

    def _declared(self) -> tuple[set[str], frozenset[str]]:
        own = PRUNERS[self.type]
        inner = PRUNERS[self.wraps] if self.wraps and self.type == "Patient" else PrunerDeclaration("")
        return {*own.defaults, *inner.defaults}, own.required | inner.required

    def value(self, name: str) -> float:
        """The field `name` as given, or what it is when left out.

        Raises:
            KeyError: the type has no such field, or nothing stands for it.
        """
        given = getattr(self, name)
        if given is not None:
            return float(given)
        for kind in (self.type, self.wraps):
            default = PRUNERS[kind].defaults.get(name) if kind else None
            if default is not None:
                return default
        raise KeyError(name)


def check_pruner(pruner: Pruner, *, objectives: int) -> None:
    """Refuse a pruner in a study of several objectives: reports would have to be compared by all of them.

    `Median` without fields stands for a pruner left out, which is then none.

    Raises:
        ValueError: naming the field and its value.
    """
    if objectives > 1 and pruner not in (Pruner(), Pruner(type="None")):
        raise ValueError(
            f"pruner.type: {pruner.type} judges by one objective and the study has {objectives}, whose trials are never"
            " ended early; leave pruner out"
        )
