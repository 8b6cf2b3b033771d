"""What a frozen backbone says of pictures, computed once a process and kept for every later trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from autoglm_trainer.pictures.examples import INFERENCE_BATCH, Pictures

from .image_model import ImageModel
from .network import Head
from .picture_network import PICTURE_POOLINGS, encode_pictures

# Sets of pictures whose features are kept: splits at some sizes; the oldest make room.
_SETS = 16


@dataclass
class PictureFeatures:
    """Features under the clean backbone, float32 on the CPU."""

    base: ImageModel
    _kept: dict[tuple[object, ...], dict[str, Tensor]] = field(default_factory=dict, repr=False)

    def of(self, examples: Pictures, pooling: str | None, heartbeat: Callable[[], None]) -> Tensor:
        """(pictures, hidden) with `pooling`."""
        if examples.key not in self._kept:
            while len(self._kept) >= _SETS:
                del self._kept[next(iter(self._kept))]
            self._kept[examples.key] = features_under(self.base, self.base.clean(), examples, heartbeat)
        return self._kept[examples.key][pooling or PICTURE_POOLINGS[0]]


def features_under(
    base: ImageModel, backbone: nn.Module, examples: Pictures, heartbeat: Callable[[], None] = lambda: None
) -> dict[str, Tensor]:
    """Pooling → (pictures, hidden), of pictures as they are, under a backbone of the same kind as the base model's."""
    network = base.network(backbone, Head(base.hidden_size, 1, dropout=0.0)).eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(examples), INFERENCE_BATCH):
            some = examples.take(range(start, min(start + INFERENCE_BATCH, len(examples))))
            said = encode_pictures(backbone, network.normalised(base.collate(some)))
            parts.append({name: value.cpu() for name, value in said.items()})
            heartbeat()
    return {name: torch.cat([part[name] for part in parts]) for name in PICTURE_POOLINGS}
