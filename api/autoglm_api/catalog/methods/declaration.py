"""What is known of a tuning method without loading it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoglm_api.catalog.knobs import Knob
from autoglm_api.space import Parameter


@dataclass(frozen=True)
class MethodDeclaration:
    """What is known of a tuning method before anything is loaded.

    Attributes:
        summary: one sentence for people who choose a method.
        gradient: whether it trains step by step, hence looks at learning rate, epochs and the like.
        folds: whether all that it learns but the output layer ends up in the model's own weights when exported.
        learning_rate: its default rate; None for a method without gradient.
        knobs: its own parameters.
        parameters: its own part of a default search space.
        trainer: `module:attribute` of the `methods.Method`, imported by workers only.
        needs_gpu: whether it trains on a GPU alone.
    """

    name: str
    summary: str
    trainer: str
    gradient: bool = True
    folds: bool = False
    learning_rate: float | None = None
    knobs: Mapping[str, Knob] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    needs_gpu: bool = False
