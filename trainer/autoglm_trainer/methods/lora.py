"""`lora`: low-rank adapters on every linear layer of the backbone; merged into it when exported."""

from __future__ import annotations

import peft

from autoglm_trainer.classifier import Classifier
from autoglm_trainer.features import Corpus
from autoglm_trainer.settings import Settings

from .gradient import fit_by_gradient, set_dropout
from .method import Fitting


class Lora:
    """Adapters and output layer are trained; the base weights are untouched."""

    frozen_backbone = False

    def build(self, corpus: Corpus, settings: Settings, labels: int) -> Classifier:
        """The clean backbone with fresh adapters."""
        base = corpus.base
        set_dropout(base.clean(), settings.dropout)
        config = peft.LoraConfig(
            r=settings.lora_r,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            target_modules="all-linear",
        )
        backbone = base.with_lora(config)
        return Classifier(backbone, base.hidden_size, labels, pooling=settings.pooling, dropout=settings.dropout).to(
            base.device
        )

    def fit(self, fitting: Fitting) -> None:
        """Train by gradient."""
        fit_by_gradient(fitting)
