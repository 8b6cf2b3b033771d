"""The tasks as declarations: metrics, default space, good first points. Checked at the door, without torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .base import Scalar
from .space import Choices, FloatRange, IntRange, Parameter, When, is_active, ordered

Direction = Literal["Maximize", "Minimize"]


@dataclass(frozen=True)
class TaskDeclaration:
    """What is known of a task before anything is loaded.

    Attributes:
        metrics: every metric the task measures, with its better direction.
        parameters: the default search space.
        knobs: every parameter name the task understands, with the type of its values.
        choices: for categorical knobs, all values that the task implements.
        bounds: what a numeric knob can ever be, both ends included.
        points: good configurations, best first; tried before anything is sampled.
    """

    name: str
    metrics: Mapping[str, Direction]
    parameters: tuple[Parameter, ...]
    knobs: Mapping[str, type[float | int | str]]
    choices: Mapping[str, tuple[Scalar, ...]]
    bounds: Mapping[str, tuple[float, float]]
    points: tuple[Mapping[str, Scalar], ...]

    def good_points(self, parameters: Sequence[Parameter]) -> Iterator[dict[str, Scalar]]:
        """The good points cut to `parameters`; a value outside its range is left to the sampler.

        A point whose value does not exist where others depend on it (a method that the space leaves out) is dropped.
        """
        parents = {parameter.when.parameter for parameter in parameters if parameter.when}
        seen: list[dict[str, Scalar]] = []
        for point in self.points:
            cut: dict[str, Scalar] = {}
            misfits: set[str] = set()
            for parameter in ordered(parameters):
                if parameter.name not in point or not is_active(parameter, cut):
                    continue
                if parameter.contains(point[parameter.name]):
                    cut[parameter.name] = point[parameter.name]
                else:
                    misfits.add(parameter.name)
            if cut and not misfits & (parents | {"method"}) and cut not in seen:
                seen.append(cut)
                yield cut

    def check_space(self, parameters: Sequence[Parameter]) -> None:
        """Refuse parameters and choices that the task does not know.

        Raises:
            ValueError: naming the parameter, its value and what is known.
        """
        for parameter in parameters:
            if parameter.name not in self.knobs:
                known_names = ", ".join(sorted(self.knobs))
                raise ValueError(f"parameters: {self.name} has no parameter {parameter.name!r}; known: {known_names}")
            domain = parameter.domain
            known = self.choices.get(parameter.name)
            if known is not None:
                values: tuple[Scalar, ...] = domain.choices if isinstance(domain, Choices) else ()
                unknown = [value for value in values if value not in known]
                if unknown or not values:
                    raise ValueError(
                        f"parameters: {parameter.name} must be choices from {list(known)}, got {unknown or 'a range'}"
                    )
            elif isinstance(domain, Choices) and any(isinstance(value, bool | str) for value in domain.choices):
                raise ValueError(f"parameters: {parameter.name} takes numbers, got {list(domain.choices)}")
            elif self.knobs[parameter.name] is int and not _is_whole(domain):
                raise ValueError(f"parameters: {parameter.name} takes whole numbers; use int instead of float")
            else:
                self._check_bounds(parameter)

    def _check_bounds(self, parameter: Parameter) -> None:
        low, high = self.bounds.get(parameter.name, (-math.inf, math.inf))
        domain = parameter.domain
        values = domain.choices if isinstance(domain, Choices) else (domain.min, domain.max)
        for value in values:
            if not low <= float(value) <= high:
                raise ValueError(f"parameters: {parameter.name} must lie in [{low:g}, {high:g}], got {value!r}")


def _is_whole(domain: FloatRange | IntRange | Choices) -> bool:
    if isinstance(domain, Choices):
        return all(isinstance(value, int) for value in domain.choices)
    return isinstance(domain, IntRange)


METHODS = ("head", "lora", "full")
TUNED = ("lora", "full")

_METHOD = Parameter(name="method", categorical=Choices(choices=METHODS))

TEXT_CLASSIFICATION = TaskDeclaration(
    name="text-classification",
    metrics={
        "accuracy": "Maximize",
        "f1_macro": "Maximize",
        "precision": "Maximize",
        "recall": "Maximize",
        "loss": "Minimize",
        "latency_p95_ms": "Minimize",
    },
    parameters=(
        _METHOD,
        Parameter(
            name="learning_rate",
            float_=FloatRange(min=1e-5, max=1e-2, log=True),
            when=When(parameter="method", in_=TUNED),
        ),
        Parameter(name="epochs", int_=IntRange(min=1, max=6), when=When(parameter="method", in_=TUNED)),
        Parameter(name="batch_size", categorical=Choices(choices=(16, 32)), when=When(parameter="method", in_=TUNED)),
        Parameter(
            name="lora_r",
            int_=IntRange(min=4, max=64, log=True),
            when=When(parameter="method", in_=("lora",)),
        ),
        Parameter(
            name="lora_alpha",
            int_=IntRange(min=8, max=128, log=True),
            when=When(parameter="method", in_=("lora",)),
        ),
        Parameter(
            name="head_c",
            float_=FloatRange(min=1e-3, max=1e2, log=True),
            when=When(parameter="method", in_=("head",)),
        ),
        Parameter(name="pooling", categorical=Choices(choices=("mean", "first", "last"))),
        Parameter(name="max_length", categorical=Choices(choices=(64, 128))),
    ),
    knobs={
        "method": str,
        "learning_rate": float,
        "head_learning_rate": float,
        "epochs": int,
        "batch_size": int,
        "weight_decay": float,
        "warmup_ratio": float,
        "dropout": float,
        "label_smoothing": float,
        "lora_r": int,
        "lora_alpha": int,
        "lora_dropout": float,
        "head_c": float,
        "pooling": str,
        "max_length": int,
    },
    choices={"method": METHODS, "pooling": ("mean", "first", "last")},
    bounds={
        "learning_rate": (0, 1),
        "head_learning_rate": (0, 1),
        "epochs": (1, 1_000),
        "batch_size": (1, 4_096),
        "weight_decay": (0, 10),
        "warmup_ratio": (0, 1),
        "dropout": (0, 0.9),
        "label_smoothing": (0, 0.9),
        "lora_r": (1, 1_024),
        "lora_alpha": (1, 4_096),
        "lora_dropout": (0, 0.9),
        "head_c": (1e-6, 1e6),
        "max_length": (4, 131_072),
    },
    points=(
        {"method": "head", "head_c": 0.1, "pooling": "mean", "max_length": 64},
        {
            "method": "lora",
            "learning_rate": 1e-3,
            "epochs": 3,
            "batch_size": 16,
            "lora_r": 16,
            "lora_alpha": 32,
            "pooling": "mean",
            "max_length": 64,
        },
        {
            "method": "full",
            "learning_rate": 1e-4,
            "epochs": 3,
            "batch_size": 16,
            "pooling": "mean",
            "max_length": 64,
        },
    ),
)

# What the user would have without a search: every knob at these values. The report shows it beside the winner.
DEFAULTS: Mapping[str, Mapping[str, Scalar]] = {
    "text-classification": {
        "method": "lora",
        "learning_rate": 1e-3,
        "head_learning_rate": 5e-3,
        "epochs": 3,
        "batch_size": 16,
        "weight_decay": 0.01,
        "warmup_ratio": 0.1,
        "dropout": 0.1,
        "label_smoothing": 0.0,
        "lora_r": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.05,
        "head_c": 0.1,
        "pooling": "mean",
        "max_length": 128,
    },
}

TASKS: Mapping[str, TaskDeclaration] = {TEXT_CLASSIFICATION.name: TEXT_CLASSIFICATION}

# Where one default would be wrong for another method.
_METHOD_DEFAULTS: Mapping[str, Mapping[str, Mapping[str, Scalar]]] = {
    "text-classification": {"full": {"learning_rate": 1e-4}},
}

# Knobs that a method does not look at.
_LORA_KNOBS = frozenset({"lora_r", "lora_alpha", "lora_dropout"})
_GRADIENT_KNOBS = frozenset(
    {
        "learning_rate",
        "head_learning_rate",
        "epochs",
        "batch_size",
        "weight_decay",
        "warmup_ratio",
        "dropout",
        "label_smoothing",
    }
)
_UNUSED: Mapping[str, Mapping[str, frozenset[str]]] = {
    "text-classification": {
        "head": _LORA_KNOBS | _GRADIENT_KNOBS,
        "lora": frozenset({"head_c"}),
        "full": _LORA_KNOBS | {"head_c"},
    },
}


def defaults(task: str, point: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    """The values of the knobs that matter at `point` where it says nothing of them."""
    method = str(point.get("method", DEFAULTS[task]["method"]))
    known = {**DEFAULTS[task], **_METHOD_DEFAULTS[task].get(method, {}), "method": method}
    unused = _UNUSED[task].get(method, frozenset())
    return {name: value for name, value in known.items() if name not in unused}
