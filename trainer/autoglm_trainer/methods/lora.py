"""`lora`: low-rank adapters on every linear layer of the backbone; merged into it when exported."""

from __future__ import annotations

import peft
from torch import nn

from autoglm_trainer.models import BaseModel
from autoglm_trainer.network import Head, Network
from autoglm_trainer.settings import Settings

from .gradient import fit_by_gradient, set_dropout
from .method import Fitting


class Lora:
    """Adapters and output layer are trained; the base weights are untouched."""

    frozen_backbone = False

    def build(self, base: BaseModel, settings: Settings, head: Head) -> Network:
        """The clean backbone with fresh adapters."""
        set_dropout(base.clean(), settings.dropout)
        config = peft.LoraConfig(
            r=settings.lora_r,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            target_modules="all-linear",
        )
        return Network(base.with_lora(config), head).to(base.device)

    def fit(self, fitting: Fitting) -> None:
        """Train by gradient."""
        fit_by_gradient(fitting)

    def merged(self, backbone: nn.Module) -> nn.Module:
        """The base weights with the adapters added."""
        assert isinstance(backbone, peft.LoraModel)
        merged: nn.Module = backbone.merge_and_unload()
        return merged
