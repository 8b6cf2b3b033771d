"""`full`: every weight of the backbone is trained."""

from __future__ import annotations

from autoglm_trainer.classifier import Classifier
from autoglm_trainer.features import Corpus
from autoglm_trainer.settings import Settings

from .gradient import fit_by_gradient, set_dropout
from .method import Fitting


class Full:
    """Full fine-tuning; the pretrained weights stay in memory for the next trial."""

    frozen_backbone = False

    def build(self, corpus: Corpus, settings: Settings, labels: int) -> Classifier:
        """The clean backbone, unfrozen."""
        base = corpus.base
        backbone = base.unfrozen()
        set_dropout(backbone, settings.dropout)
        return Classifier(backbone, base.hidden_size, labels, pooling=settings.pooling, dropout=settings.dropout).to(
            base.device
        )

    def fit(self, fitting: Fitting) -> None:
        """Train by gradient."""
        fit_by_gradient(fitting)
