"""What a tuning method is: it builds a classifier around the base model, and trains it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from autoglm_trainer.classifier import Classifier
from autoglm_trainer.contract import TrialControl
from autoglm_trainer.features import Corpus
from autoglm_trainer.settings import Settings


@dataclass(frozen=True)
class Fitting:
    """All that a method needs to train.

    Attributes:
        targets: label indices of the training rows.
        evaluate: the objective metric of the classifier on validation rows, as it is now; True = and as it stays.
    """

    classifier: Classifier
    settings: Settings
    corpus: Corpus
    targets: tuple[int, ...]
    control: TrialControl
    evaluate: Callable[[bool], float]


class Method(Protocol):
    """One way to tune; stateless."""

    frozen_backbone: bool
    """Whether predictions can be made from cached features."""

    def build(self, corpus: Corpus, settings: Settings, labels: int) -> Classifier:
        """A classifier around the base model; exactly what this method trains has `requires_grad`."""

    def fit(self, fitting: Fitting) -> None:
        """Train in place."""
