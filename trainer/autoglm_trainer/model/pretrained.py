"""A backbone in memory: loaded once a process, given back clean to every trial without touching the disk."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import peft
import torch
from peft.tuners.tuners_utils import BaseTuner
from torch import Tensor, nn

from .network import Head, Network, running_statistics


@dataclass(kw_only=True)
class Pretrained:
    """A backbone as it was pretrained, of whatever kind.

    Trials share the one backbone: `clean`, `adapted` and `unfrozen` hand it out and undo whatever the trial
    before did to it, so only the newest network built around it is valid. They put it on its device too: linear
    layers wait in the host's memory while a trial has them in 4 bits, and until the first if a GPU cannot hold them.

    Attributes:
        hidden_size: of what the head sees.
        is_float32: whether the pretrained weights are held in 32 bits; on a CPU always.
        half: the 16-bit type that training computes in; None = 32 bits throughout.
    """

    backbone: nn.Module
    hidden_size: int
    device: torch.device
    is_float32: bool
    half: torch.dtype | None = None
    _adapted: BaseTuner | None = field(default=None, repr=False)
    _dense: dict[str, nn.Linear] = field(default_factory=dict, repr=False)
    _pristine: dict[nn.Parameter, Tensor] = field(default_factory=dict, repr=False)
    _statistics: dict[Tensor, Tensor] = field(default_factory=dict, repr=False)

    @property
    def whole(self) -> nn.Module:
        """All that was loaded; the backbone may be a part of it."""
        return self.backbone

    def collate(self, examples: Any) -> Any:  # what the kind of model reads
        """Examples as one batch on the model's device."""
        raise NotImplementedError

    def network(self, backbone: nn.Module, head: Head) -> Network:
        """Both together, on the model's device."""
        return Network(backbone, head).to(self.device)

    @property
    def nbytes(self) -> int:
        """What all that was loaded takes, wherever it is."""
        return sum(tensor.nbytes for tensor in {*self.whole.parameters(), *self.whole.buffers()})

    def undo(self) -> nn.Module:
        """The backbone as `clean` gives it, but wherever its weights are."""
        if self._adapted is not None:
            self._adapted.unload()
            self._adapted = None
        for name, dense in self._dense.items():
            self.backbone.set_submodule(name, dense)
        self._dense.clear()
        for parameter, pretrained in self._pristine.items():
            parameter.data = pretrained
        self._pristine.clear()
        for running, kept in self._statistics.items():
            running.copy_(kept)
        self._statistics.clear()
        self.whole.requires_grad_(requires_grad=False).eval()
        return self.backbone

    def clean(self) -> nn.Module:
        """The backbone with its pretrained weights, frozen, without adapters, in evaluation mode."""
        backbone = self.undo()
        self.whole.to(self.device)
        return backbone

    def adapted(self, config: peft.LoraConfig | peft.IA3Config, *, four_bits: bool = False) -> nn.Module:
        """The clean backbone with fresh adapters; they alone are trainable.

        With `four_bits` its linear layers have weights of 4 bits, and their own wait in the host's memory.
        """
        backbone = self._quantised() if four_bits else self.clean()
        # PEFT asks this of the model before it looks at a layer.
        backbone.is_loaded_in_4bit = four_bits  # type: ignore[assignment]
        tuner = peft.LoraModel if isinstance(config, peft.LoraConfig) else peft.IA3Model
        self._adapted = tuner(backbone, config, "default")
        for parameter in self._adapted.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()  # AdamW's small steps vanish in 16 bits
        return self._adapted

    def _quantised(self) -> nn.Module:
        from .four_bits import quantised  # its library is an extra

        backbone = self.undo()
        for name, layer in [*backbone.named_modules()]:
            if isinstance(layer, nn.Linear):
                compute = layer.weight.dtype if self.is_float32 or self.half is None else self.half
                small = quantised(layer, self.device, compute)
                self._dense[name] = layer.to("cpu")
                backbone.set_submodule(name, small)
        self.whole.to(self.device)
        return backbone

    @contextmanager
    def without_adapters(self) -> Iterator[None]:
        """While this lasts the backbone is as fast as with its adapters merged: they are off, no layer has 4 bits."""
        if self._adapted is None:
            yield
            return
        self._adapted.disable_adapter_layers()
        wrapped: dict[str, Any] = {name: self.backbone.get_submodule(name) for name in self._dense}  # PEFT's layers
        small = {name: layer.base_layer for name, layer in wrapped.items()}
        try:
            for name, dense in self._dense.items():
                wrapped[name].base_layer = copy.deepcopy(dense).to(self.device)
            yield
        finally:
            for name, layer in small.items():
                wrapped[name].base_layer = layer
            self._adapted.enable_adapter_layers()

    def trainable(self, names: Container[str] | None = None) -> list[nn.Parameter]:
        """The backbone's parameters of these names; None = all that full fine-tuning trains."""
        return [each for name, each in self.backbone.named_parameters() if names is None or name in names]

    def unfrozen(self, names: Container[str] | None = None) -> nn.Module:
        """The clean backbone with `trainable(names)` trainable; only they, and statistics beside them, are copied."""
        backbone = self.clean()
        for parameter in self.trainable(names):
            self._pristine[parameter] = parameter.data
            # AdamW's small steps vanish in 16 bits; a copy in any case.
            parameter.data = parameter.data.to(torch.float32, copy=True)
            parameter.requires_grad = True
        for running in running_statistics(backbone).values():
            self._statistics[running] = running.clone()
        return backbone
