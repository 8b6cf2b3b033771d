"""`full`: every weight of the backbone is trained."""

from __future__ import annotations

from torch import nn

from autoglm_trainer.model.memory import Footprint
from autoglm_trainer.model.network import Head, Network
from autoglm_trainer.model.pretrained import Pretrained
from autoglm_trainer.tuning.settings import Settings

from .gradient import fit_by_gradient, set_dropout
from .method import Fitting


class Full:
    """Full fine-tuning; the pretrained weights stay in memory for the next trial."""

    frozen_backbone = False

    def footprint(self, base: Pretrained, settings: Settings) -> Footprint:
        """Everything is copied."""
        return Footprint(trained=sum(value.numel() for value in base.trainable()))

    def build(self, base: Pretrained, settings: Settings, head: Head) -> Network:
        """The clean backbone, unfrozen."""
        backbone = base.unfrozen()
        set_dropout(backbone, settings.dropout)
        return base.network(backbone, head)

    def fit(self, fitting: Fitting) -> None:
        """Train by gradient."""
        fit_by_gradient(fitting)

    def merged(self, backbone: nn.Module) -> nn.Module:
        """As it is."""
        return backbone
