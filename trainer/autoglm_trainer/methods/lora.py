"""`lora` and `dora`: low-rank adapters on every linear layer of the backbone; merged into it when exported."""

from __future__ import annotations

import peft
from torch import nn

from autoglm_trainer.model.memory import Footprint
from autoglm_trainer.model.network import Head, Network
from autoglm_trainer.model.pretrained import Pretrained
from autoglm_trainer.tuning.settings import Settings

from .gradient import fit_by_gradient, merge_adapters, set_dropout
from .method import Fitting


class Lora:
    """Adapters and output layer are trained; the base weights are untouched."""

    frozen_backbone = False
    use_dora = False
    four_bits = False
    beside = 2.5

    def footprint(self, base: Pretrained, settings: Settings) -> Footprint:
        """Two thin matrices for each linear layer, and its masked input."""
        linear = [module for module in base.backbone.modules() if isinstance(module, nn.Linear)]
        trained = sum(settings.lora_r * (module.in_features + module.out_features) for module in linear)
        return Footprint(trained=trained, beside=self.beside)

    def build(self, base: Pretrained, settings: Settings, head: Head) -> Network:
        """The clean backbone with fresh adapters."""
        set_dropout(base.undo(), settings.dropout)
        return base.network(base.adapted(self.config(settings), four_bits=self.four_bits), head)

    def config(self, settings: Settings) -> peft.LoraConfig:
        """The adapters of a point."""
        return peft.LoraConfig(
            r=settings.lora_r,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            target_modules="all-linear",
            use_dora=self.use_dora,
        )

    def fit(self, fitting: Fitting) -> None:
        """Train by gradient."""
        fit_by_gradient(fitting)

    def merged(self, backbone: nn.Module) -> nn.Module:
        """The base weights with the adapters added."""
        return merge_adapters(backbone)


class Dora(Lora):
    """Weight-decomposed adapters: direction by low rank, length by a vector."""

    use_dora = True
    beside = 5.5
