"""A backbone in memory: loaded once a process, given back clean to every trial without touching the disk."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
    before did to it, so only the newest network built around it is valid.

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

    def clean(self) -> nn.Module:
        """The backbone with its pretrained weights, frozen, without adapters, in evaluation mode."""
        if self._adapted is not None:
            self._adapted.unload()
            self._adapted = None
        for parameter, pretrained in self._pristine.items():
            parameter.data = pretrained
        self._pristine.clear()
        for running, kept in self._statistics.items():
            running.copy_(kept)
        self._statistics.clear()
        self.whole.requires_grad_(requires_grad=False).eval()
        return self.backbone

    def adapted(self, config: peft.LoraConfig | peft.IA3Config) -> nn.Module:
        """The clean backbone with fresh adapters; they alone are trainable."""
        tuner = peft.LoraModel if isinstance(config, peft.LoraConfig) else peft.IA3Model
        self._adapted = tuner(self.clean(), config, "default")
        return self._adapted

    def without_adapters(self) -> AbstractContextManager[object]:
        """While this lasts, adapters are switched off, as if merged."""
        return _disabled(self._adapted) if self._adapted is not None else nullcontext()

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


@contextmanager
def _disabled(adapted: BaseTuner) -> Iterator[None]:
    adapted.disable_adapter_layers()
    try:
        yield
    finally:
        adapted.enable_adapter_layers()
