"""Early stopping: when to give up hoping for a better report, and the weights of the best one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

_BEST = "best.safetensors"


@dataclass
class Patience:
    """The best report so far.

    Attributes:
        reports: how many in a row may be no better before training ends; 0 = any number, and nothing is kept.
        maximize: whether more is better.
    """

    reports: int
    maximize: bool
    misses: int = 0
    best: float | None = None
    _weights: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def over(self) -> bool:
        """Whether it is time to end."""
        return self.misses >= self.reports > 0

    def note(self, value: float, weights: Mapping[str, Tensor]) -> None:
        """Take a report, made with `weights`; NaN is never better."""
        if not self.reports:
            return
        better = self.best is None or (value > self.best if self.maximize else value < self.best)
        if better and not math.isnan(value):
            self.best, self.misses = value, 0
            self._weights = {name: tensor.detach().clone() for name, tensor in weights.items()}
        else:
            self.misses += 1

    def weights(self) -> dict[str, Tensor]:
        """Of the best report; empty where nothing is kept."""
        return self._weights

    def save(self, folder: Path) -> dict[str, float | int | None]:
        """Write the weights; the answer is the rest, for `load`."""
        if self._weights:
            save_file({name: tensor.contiguous() for name, tensor in self._weights.items()}, folder / _BEST)
        return {"misses": self.misses, "best": self.best}

    def load(self, folder: Path, rest: dict[str, float | int | None], *, device: str) -> None:
        """Go on where `save` stood."""
        self.misses, self.best = int(rest["misses"] or 0), rest["best"]
        if (folder / _BEST).exists():
            self._weights = load_file(folder / _BEST, device=device)
