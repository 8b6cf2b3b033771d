"""One point of a tabular task's search space with every knob filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from autoglm_api.base import Scalar
from autoglm_api.catalog import TaskDeclaration

from .features import Choices

_KINDS = {"int": int, "float": float, "str": str}


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """The knobs; which of them matter depends on `method`.

    Attributes:
        point: every knob by name.
        categories: features of a category: one for each of its `levels`, how often its value `counts`, or `both`.
        integers: whole numbers of few values stay `numbers`, or have a feature for each of their `levels` as well.
        paired_columns: so many numbers, those that go most with the answer, are subtracted and divided in pairs.
        window: which of an entity's rows means are taken of: `none`, its `last`, its last `five`, or `all`.
        class_weight: `balanced` weighs rows by the inverse frequency of their class.
        threshold: the rarer of two classes is answered from this probability on; or, by `threshold_from`, from the one
            that is best on the validation rows.
        tree_min_rows, leaf_min_rows: training rows in a leaf, at least.
        tree_features, column_share: share of the features that a split, or a tree, may look at.
        leaf_penalty: L2 on the leaves' values. row_share: of the training rows, for each tree.
        networks: so many are trained side by side, and answer by their mean.
        linear_c: inverse strength of the L2 penalty on scaled features.
        folds: parts of the training rows that are held out in turn, to find the ensemble's weights and to judge trials.
        judged_by: these `folds` beside the validation rows, as long as they are few; or `validation` rows alone.
    """

    point: Mapping[str, Scalar]
    method: str
    categories: str
    integers: str
    paired_columns: int
    window: str
    class_weight: str = "none"
    threshold: float = 0.5
    threshold_from: str = "point"
    trees: int
    tree_min_rows: int
    tree_features: float
    rounds: int
    learning_rate: float
    leaves: int
    leaf_min_rows: int
    row_share: float
    column_share: float
    leaf_penalty: float
    networks: int
    epochs: int
    network_learning_rate: float
    batch_size: int
    width: int
    layers: int
    dropout: float
    weight_decay: float
    linear_c: float
    folds: int
    judged_by: str

    @classmethod
    def of(cls, task: TaskDeclaration, parameters: Mapping[str, Scalar]) -> Self:
        """Settings at a point; what it leaves out takes its default."""
        point = task.complete(parameters)
        typed = {field.name: str(field.type) for field in fields(cls) if field.name != "point"}
        return cls(point=point, **{name: _KINDS[kind](point[name]) for name, kind in typed.items() if name in point})

    @property
    def choices(self) -> Choices:
        """What is chosen of the features."""
        return Choices(self.categories, self.integers, self.paired_columns, self.window)
