"""One point of the search space with every knob filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from autoglm_api.base import Scalar
from autoglm_api.catalog import TaskDeclaration

_KINDS = {"int": int, "float": float, "str": str}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The knobs that tuned models have; which of them matter depends on `method`.

    A task with knobs of its own adds fields in a subclass; a method from elsewhere finds its own in `point`.

    Attributes:
        point: every knob by name.
        learning_rate: peak rate of backbone or adapters. head_learning_rate: peak rate of the output layer, where it
            is a new one.
        weight_decay: decoupled, on matrices only. warmup_ratio: share of the steps in which the rate rises.
        dropout: in the backbone's own dropout layers and before the output layer.
        label_smoothing: 0 where a task knows none.
        scheduler: how the rate falls after the warm-up: `linear` or `cosine` to 0, or not at all.
        accumulation: parts that a batch is passed in, one after the other: memory for time, the same result.
        patience: reports without a better one after which training ends with the best weights; 0 = never.
        lora_alpha: adapters are scaled by lora_alpha / lora_r.
        head_c: inverse strength of the head's L2 penalty, on standardised features, as in scikit-learn.
        max_length: tokens an example, special ones included; cut to what the model can take.
    """

    point: Mapping[str, Scalar]
    method: str
    learning_rate: float
    head_learning_rate: float = 0.0
    epochs: int
    batch_size: int
    weight_decay: float
    warmup_ratio: float
    dropout: float
    label_smoothing: float = 0.0
    scheduler: str
    accumulation: int
    patience: int
    lora_r: int = 0
    lora_alpha: int = 0
    lora_dropout: float = 0.0
    head_c: float = 0.0
    max_length: int = 0

    @property
    def extent(self) -> str:
        """The knob that says how large an example is, with its value."""
        return f"max_length {self.max_length}"

    @classmethod
    def of(cls, task: TaskDeclaration, parameters: Mapping[str, Scalar]) -> Self:
        """Settings at a point; what it leaves out takes its method's default."""
        point = task.complete(parameters)
        typed = {field.name: str(field.type) for field in fields(cls) if field.name != "point"}
        return cls(point=point, **{name: _KINDS[kind](point[name]) for name, kind in typed.items() if name in point})
