"""What a point of the search space says of how to ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from autoglm_api.base import Scalar
from autoglm_api.catalog.prompt_optimization import PROMPT_OPTIMIZATION


@dataclass(frozen=True)
class PromptSettings:
    """Every knob of the task; `docs/tasks/prompt-optimization.md` says what each does."""

    template: str
    language: str
    purpose: str
    shots: int
    selection: str
    decoding: Literal["greedy", "sample", "beams"]
    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    num_beams: int
    max_new_tokens: int
    judged_rows: int
    point: Mapping[str, Scalar] = field(default_factory=dict)

    @classmethod
    def of(cls, point: Mapping[str, Scalar]) -> PromptSettings:
        """`point` with the task's defaults."""
        whole = PROMPT_OPTIMIZATION.complete(point)
        known: dict[str, Any] = {each.name: whole[each.name] for each in fields(cls) if each.name != "point"}
        return cls(**known, point=dict(point))
