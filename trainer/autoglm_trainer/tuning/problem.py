"""What one task on a tuned language model has of its own; everything else is `task.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from typing_extensions import override

from autoglm_api.base import Scalar
from autoglm_api.catalog import TaskDeclaration
from autoglm_trainer.contract import ExportDescription, Predictions, Section
from autoglm_trainer.methods import Loss
from autoglm_trainer.metrics import Floats
from autoglm_trainer.model.base import BaseModel
from autoglm_trainer.model.graph import Activation
from autoglm_trainer.model.network import Head
from autoglm_trainer.rows.splits import Splits
from autoglm_trainer.tokens.examples import Examples

from .lessons import Lessons


class Learning(Protocol):
    """Rows in memory, and how a network learns them.

    A network gives each example one vector of logits (outputs,), or one for each answered token.
    """

    @property
    def declaration(self) -> TaskDeclaration:
        """The task as the door knows it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes by index; empty where there are none. A saved model of other labels is refused."""

    @property
    def splits(self) -> Splits[Any]:
        """The rows."""

    def settings(self, parameters: Mapping[str, Scalar]) -> Any:  # Settings or a subclass of the task's own
        """Every knob at a point."""

    def head(self, base: Any, settings: Any) -> Head:  # the kind of model that the task is tuned on
        """A fresh head for the base model's hidden states."""

    def examples(self, split: str, settings: Any) -> Lessons:
        """The rows of a split as a network sees them; the same object's content for the same key."""

    def criterion(self, examples: Any, settings: Any) -> Loss:
        """The loss of the examples' logits, (answers, outputs) → (); a mean, convex in the logits."""

    def baseline(self, split: str) -> Predictions:
        """What a plain method answers."""

    @property
    def baseline_name(self) -> str:
        """What it is, in two or three words."""


@runtime_checkable
class Doubts(Protocol):
    """A problem whose labels may be wrong, and can be doubted."""

    def doubts(self) -> list[Section]:
        """Labels that a simple model doubts, for the report; looked for when this is called."""


class Problem(Learning, Protocol):
    """A problem whose answers are read off the logits of tokens, or of whole texts."""

    @override
    def examples(self, split: str, settings: Any) -> Examples:
        """The rows of a split as token ids."""

    def predictions(
        self, split: str, settings: Any, rows: Sequence[int], examples: Examples, logits: Sequence[Floats]
    ) -> Predictions:
        """What the logits say of `rows`.

        Args:
            split: its name.
            settings: the point.
            rows: indices into the split, increasing.
            examples: all of theirs, and no others.
            logits: (answers, outputs) of each example.
        """

    def activation(self, settings: Any) -> Activation:
        """What the exported graph makes of logits."""

    def describe(self, base: BaseModel, settings: Any) -> ExportDescription:
        """What the server must know."""
