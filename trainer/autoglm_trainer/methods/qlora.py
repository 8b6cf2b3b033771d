"""`qlora`: low-rank adapters on linear layers of 4 bits; merged into what these stand for when exported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import nn
from typing_extensions import override

from autoglm_trainer.errors import SpecError
from autoglm_trainer.model.four_bits import BYTES, dequantised
from autoglm_trainer.model.memory import Footprint
from autoglm_trainer.model.network import Head, Network
from autoglm_trainer.model.pretrained import Pretrained
from autoglm_trainer.tuning.settings import Settings

from .lora import Lora


class QLora(Lora):
    """Adapters and output layer are trained; the base weights wait in the host's memory for what needs them."""

    four_bits = True
    # A CPU computes in 32 bits whatever the weights have: there it would be a slower lora of more memory.
    devices: tuple[str, ...] = ("cuda",)

    @override
    def footprint(self, base: Pretrained, settings: Settings) -> Footprint:
        """The adapters, and weights of 4 bits: on a GPU in place of the base model's, on a CPU beside them."""
        weights = [layer.weight for layer in base.backbone.modules() if isinstance(layer, nn.Linear)]
        spared = sum(weight.nbytes for weight in weights) if base.device.type == "cuda" else 0
        # Every pass turns the weights back, a layer's at a time.
        held = sum(BYTES * weight.numel() for weight in weights) + max(weight.nbytes for weight in weights)
        return replace(super().footprint(base, settings), held=int(held) - spared)

    @override
    def build(self, base: Pretrained, settings: Settings, head: Head) -> Network:
        """The backbone in 4 bits with fresh adapters.

        Raises:
            SpecError: there is no GPU.
        """
        if base.device.type not in self.devices:
            raise SpecError("parameters.method: qlora needs a GPU, and there is none here; use lora")
        return super().build(base, settings, head)

    @override
    def merged(self, backbone: nn.Module) -> nn.Module:
        """What the 4 bits stand for with the adapters added; quantised once more, it would be another model."""
        assert isinstance(backbone, BaseTuner), "only an adapted backbone has something to merge"
        layers: list[Any] = [module for module in backbone.modules() if isinstance(module, BaseTunerLayer)]
        for layer in layers:
            dense = dequantised(layer.get_base_layer())
            with torch.no_grad():
                dense.weight += layer.get_delta_weight("default")
            layer.base_layer = dense
        merged: nn.Module = backbone.unload()
        return merged
