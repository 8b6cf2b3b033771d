"""What a tuning method is: it builds a network around the base model, and trains it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from autoglm_trainer.contract import TrialControl
from autoglm_trainer.model.memory import Footprint
from autoglm_trainer.model.network import Head, Network
from autoglm_trainer.model.pretrained import Pretrained
from autoglm_trainer.tuning.lessons import Lessons
from autoglm_trainer.tuning.ranks import Ranks
from autoglm_trainer.tuning.settings import Settings

Loss = Callable[[Tensor], Tensor]


class Kept(Protocol):
    """Features of a frozen backbone, computed once a process."""

    def of(self, examples: Any, pooling: str | None, heartbeat: Callable[[], None]) -> Tensor:
        """(answers, hidden) in float32 on the CPU."""


@dataclass(frozen=True)
class Fitting:
    """All that a method needs to train.

    Attributes:
        examples: the training rows.
        criterion: examples → the loss of their logits, (answers, outputs) → ().
        evaluate: the objective metric of the network on validation rows, as it is now; True = and as it stays.
        maximize: whether more of it is better.
        reports: end after so many; None = the settings alone say when.
        ranks: who trains together with this process.
    """

    network: Network
    settings: Settings
    base: Pretrained
    features: Kept
    examples: Lessons
    criterion: Callable[[Any], Loss]
    control: TrialControl
    evaluate: Callable[[bool], float]
    maximize: bool = True
    reports: int | None = None
    ranks: Ranks = field(default_factory=Ranks)


class Method(Protocol):
    """One way to tune; stateless."""

    frozen_backbone: bool
    """Whether predictions can be made from kept features."""

    def footprint(self, base: Pretrained, settings: Settings) -> Footprint:
        """What it will add to the clean model, before it is built."""

    def build(self, base: Pretrained, settings: Settings, head: Head) -> Network:
        """A network around the base model, on its device; exactly what this method trains has `requires_grad`."""

    def fit(self, fitting: Fitting) -> None:
        """Train in place."""

    def merged(self, backbone: nn.Module) -> nn.Module:
        """A copy's backbone as it is exported: what can be folded into the base weights is."""
