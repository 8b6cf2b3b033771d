"""One point of the search space with every knob filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from autoglm_api.base import Scalar
from autoglm_api.catalog import DEFAULTS, defaults

_TASK = "text-classification"


@dataclass(frozen=True)
class Settings:
    """The knobs of `text-classification`; which of them matter depends on `method`.

    Attributes:
        learning_rate: peak rate of backbone or adapters. head_learning_rate: peak rate of the new output layer.
        weight_decay: decoupled, on matrices only. warmup_ratio: share of the steps in which the rate rises.
        dropout: in the backbone's own dropout layers and before the output layer.
        lora_alpha: adapters are scaled by lora_alpha / lora_r.
        head_c: inverse strength of the head's L2 penalty, on standardised features, as in scikit-learn.
        pooling: `mean`, `first` or `last` of the hidden states, padding left out.
        max_length: tokens a text, special ones included; cut to what the model can take.
    """

    method: str
    learning_rate: float
    head_learning_rate: float
    epochs: int
    batch_size: int
    weight_decay: float
    warmup_ratio: float
    dropout: float
    label_smoothing: float
    lora_r: int
    lora_alpha: int
    lora_dropout: float
    head_c: float
    pooling: str
    max_length: int

    @classmethod
    def of(cls, parameters: Mapping[str, Scalar]) -> Settings:
        """Settings at a point; what it leaves out takes its method's default."""
        point = {**DEFAULTS[_TASK], **defaults(_TASK, parameters), **parameters}
        kinds = {"int": int, "float": float, "str": str}
        return cls(**{field.name: kinds[str(field.type)](point[field.name]) for field in fields(cls)})

    def to_dict(self) -> dict[str, Scalar]:
        """All knobs by name."""
        return asdict(self)
