"""One point of the search space of networks on graphs, with every knob filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from autoglm_api.base import Scalar
from autoglm_api.catalog.node_classification import NODE_CLASSIFICATION

_KINDS = {"int": int, "float": float, "str": str}


@dataclass(frozen=True, kw_only=True)
class GraphSettings:
    """Which of the knobs matter depends on `method`.

    Attributes:
        point: every knob by name.
        layers: with the one that gives the logits.
        hidden: numbers a node, between layers; with attention, of each head.
        dropout: of what goes into each layer. edge_dropout: of the edges, anew in each step.
        weight_decay: added to the gradient of matrices (L2), as in the papers; not decoupled.
        patience: looks at the validation nodes (one every 5 epochs) without a better one after which training ends; the
            best weights are kept. 0 = train to the end, and keep the last.
        batch_size: training nodes a step; 0 = the whole graph at once.
        neighbours: of each node, at most, that a step looks at; nothing is left out where the whole graph is passed.
    """

    point: Mapping[str, Scalar]
    method: str
    layers: int
    hidden: int
    heads: int
    dropout: float
    attention_dropout: float
    edge_dropout: float
    learning_rate: float
    weight_decay: float
    epochs: int
    patience: int
    self_weight: float
    normalisation: str
    aggregation: str
    edge_direction: str
    hops: int
    teleport: float
    norm: str
    class_weight: str
    batch_size: int
    neighbours: int

    @classmethod
    def of(cls, parameters: Mapping[str, Scalar]) -> Self:
        """Settings at a point; what it leaves out, and what does not matter to its method, takes the default."""
        point = NODE_CLASSIFICATION.complete(parameters)
        for name, knob in NODE_CLASSIFICATION.knobs.items():
            if not knob.matters(str(point["method"])):
                point[name] = knob.default
        typed = {field.name: str(field.type) for field in fields(cls) if field.name != "point"}
        return cls(point=point, **{name: _KINDS[kind](point[name]) for name, kind in typed.items()})
