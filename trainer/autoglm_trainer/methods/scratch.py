"""`scratch`: the network's architecture with random weights, all of them trained."""

from __future__ import annotations

from torch import nn

from autoglm_trainer.model.image_model import ImageModel
from autoglm_trainer.model.memory import Footprint
from autoglm_trainer.model.network import Head, Network
from autoglm_trainer.tuning.settings import Settings

from .gradient import fit_by_gradient, set_dropout
from .method import Fitting


class Scratch:
    """What was pretrained is not used; it stays as it is for other trials."""

    frozen_backbone = False

    def footprint(self, base: ImageModel, settings: Settings) -> Footprint:
        """A whole network beside the pretrained one."""
        return Footprint(trained=2 * sum(value.numel() for value in base.backbone.parameters()))

    def build(self, base: ImageModel, settings: Settings, head: Head) -> Network:
        """A fresh backbone; the seed of torch's generator decides its weights."""
        backbone = base.fresh()
        set_dropout(backbone, settings.dropout)
        return base.network(backbone, head)

    def fit(self, fitting: Fitting) -> None:
        """Train by gradient."""
        fit_by_gradient(fitting)

    def merged(self, backbone: nn.Module) -> nn.Module:
        """As it is."""
        return backbone
