"""`unfreeze`: the top layers and the norm after them are trained, lower ones with smaller steps where that is asked."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from autoglm_trainer.errors import SpecError
from autoglm_trainer.model.memory import Footprint
from autoglm_trainer.model.network import Head, Network
from autoglm_trainer.model.pretrained import Pretrained
from autoglm_trainer.tuning.settings import Settings

from .gradient import fit_by_gradient, set_dropout
from .method import Fitting


class Unfreeze:
    """The layers below stay as they were pretrained and are never copied."""

    frozen_backbone = False

    def footprint(self, base: Pretrained, settings: Settings) -> Footprint:
        """The top layers are copied, and keep what goes through them."""
        count = int(settings.point["unfrozen_layers"])
        names = _depths(base.backbone, count)
        own = [value.numel() for name, value in base.backbone.named_parameters() if name in names]
        return Footprint(trained=sum(own), layers=count)

    def build(self, base: Pretrained, settings: Settings, head: Head) -> Network:
        """The clean backbone with its top layers trainable."""
        depths = _depths(base.clean(), int(settings.point["unfrozen_layers"]))
        backbone = base.unfrozen(frozenset(depths))
        set_dropout(backbone, settings.dropout)
        network = base.network(backbone, head)
        decay = float(settings.point["layer_decay"])
        network.rate_factors = {f"backbone.{name}": decay**depth for name, depth in depths.items()}
        return network

    def fit(self, fitting: Fitting) -> None:
        """Train by gradient."""
        fit_by_gradient(fitting)

    def merged(self, backbone: nn.Module) -> nn.Module:
        """As it is."""
        return backbone


def _depths(backbone: nn.Module, count: int) -> dict[str, int]:
    """Parameter name → layers above it, for the top `count` layers (at most all) and what comes after them.

    Where a network on pictures has stages, they count as its layers.
    """
    config: Any = backbone.config  # a transformers config has no useful type
    lists = {name: len(part) for name, part in backbone.named_modules() if isinstance(part, nn.ModuleList)}
    total = getattr(config, "num_hidden_layers", None)
    pictures = "pixel_values" in inspect.signature(backbone.forward).parameters
    stacks = [name for name, length in lists.items() if length == total or (pictures and total is None and length > 1)]
    if not stacks:
        raise SpecError(
            f"parameters.method unfreeze: the layers of {type(backbone).__name__} cannot be told apart; use full"
        )
    stack, length = f"{stacks[0]}.", lists[stacks[0]]
    found = {}
    above = False
    for name, _ in backbone.named_parameters():
        if name.startswith(stack):
            above = True
            depth = length - 1 - int(name.removeprefix(stack).split(".")[0])
            if depth < count:
                found[name] = depth
        elif name.startswith(("norm.", "ln_f.", "final_layernorm.")) or (pictures and above):
            found[name] = 0
    return found
