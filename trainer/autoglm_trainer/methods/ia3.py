"""`ia3`: learned factors on keys, values and the inner activations; multiplied into the weights when exported."""

from __future__ import annotations

import peft
from peft.utils import TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as KNOWN_FEEDFORWARD
from peft.utils import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as KNOWN_TARGETS
from torch import nn

from autoglm_trainer.errors import SpecError
from autoglm_trainer.model.memory import Footprint
from autoglm_trainer.model.network import Head, Network
from autoglm_trainer.model.pretrained import Pretrained
from autoglm_trainer.tuning.settings import Settings

from .gradient import fit_by_gradient, merge_adapters, set_dropout
from .method import Fitting

# The layers of GLM and of most decoders after it, which PEFT's own table lists one model at a time.
_DECODER = ("k_proj", "v_proj", "down_proj")


class IA3:
    """Factors and output layer are trained; the base weights are untouched."""

    frozen_backbone = False

    def footprint(self, base: Pretrained, settings: Settings) -> Footprint:
        """Few factors, but what they multiply is kept."""
        return Footprint(trained=0, beside=0.5)

    def build(self, base: Pretrained, settings: Settings, head: Head) -> Network:
        """The clean backbone with factors of one."""
        backbone = base.clean()
        set_dropout(backbone, settings.dropout)
        targets, feedforward = _layers(backbone)
        config = peft.IA3Config(target_modules=targets, feedforward_modules=feedforward)
        return base.network(base.adapted(config), head)

    def fit(self, fitting: Fitting) -> None:
        """Train by gradient."""
        fit_by_gradient(fitting)

    def merged(self, backbone: nn.Module) -> nn.Module:
        """The base weights times the factors."""
        return merge_adapters(backbone)


def _layers(backbone: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the layers that get factors, and of those whose factors scale what goes in."""
    kind = str(backbone.config.model_type)  # type: ignore[union-attr]
    if kind in KNOWN_TARGETS:
        return list(KNOWN_TARGETS[kind]), list(KNOWN_FEEDFORWARD[kind])
    names = {name.rsplit(".", 1)[-1] for name, _ in backbone.named_modules()}
    if names.issuperset(_DECODER):
        return list(_DECODER), [_DECODER[-1]]
    raise SpecError(
        f"parameters.method ia3: the layers of {type(backbone).__name__} that it scales are not known; use lora"
    )
