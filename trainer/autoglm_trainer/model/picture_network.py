"""Networks on pictures: what a backbone says of them becomes one vector each, and a linear layer answers."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from .network import Head, Network, half_type

PICTURE_POOLINGS = ("mean", "first")


def encode_pictures(backbone: nn.Module, pixels: Tensor) -> dict[str, Tensor]:
    """Pooling → (pictures, hidden) in float32, of normalised pixels (pictures, channels, size, size).

    A network of maps has no first place: both are then the mean over places, as the network's own pooling makes it.
    Weights of 16 bits on a GPU compute under autocast.
    """
    halved = pixels.is_cuda and next(backbone.parameters()).dtype != torch.float32
    with torch.autocast("cuda", half_type(pixels.device)) if halved else nullcontext():
        said = backbone(pixel_values=pixels)
    hidden: Tensor = said.last_hidden_state
    if hidden.ndim == 3:  # (pictures, places, hidden)
        return {"mean": hidden.float().mean(1), "first": hidden[:, 0].float()}
    pooled = getattr(said, "pooler_output", None)
    mean = hidden.float().mean((2, 3)) if pooled is None else pooled.float().flatten(1)
    return dict.fromkeys(PICTURE_POOLINGS, mean)


class PictureHead(Head):
    """One answer for each picture."""

    def __init__(self, hidden_size: int, outputs: int, *, dropout: float, pooling: str) -> None:
        super().__init__(hidden_size, outputs, dropout=dropout)
        self.pooling: str = pooling


class PictureNetwork(Network):
    """Pixels to logits; how they are normalised is part of it, so that nobody else needs to know."""

    mean: Tensor
    scale: Tensor
    head: PictureHead

    def __init__(self, backbone: nn.Module, head: Head, mean: tuple[float, ...], scale: tuple[float, ...]) -> None:
        """`mean` and `scale`: of each channel, for pixels 0 … 1."""
        super().__init__(backbone, head)
        for name, values in (("mean", mean), ("scale", scale)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    @override
    def forward(self, pixels: Tensor, *_: Any) -> Tensor:
        """(pictures, channels, size, size), 0 … 255, to logits (pictures, outputs)."""
        logits: Tensor = self.head.output(self.head.dropout(self.features(pixels)))
        return logits

    def features(self, pixels: Tensor) -> Tensor:
        """What the linear layer sees, (pictures, hidden), in float32."""
        return encode_pictures(self.backbone, self.normalised(pixels))[self.head.pooling]

    def normalised(self, pixels: Tensor) -> Tensor:
        """As the backbone was pretrained on them."""
        return (pixels.float() / 255 - self.mean) / self.scale

    @override
    def answers(self, batch: Tensor) -> Tensor:  # type: ignore[override]  # pictures are one tensor
        """Logits of a batch, (pictures, outputs)."""
        logits: Tensor = self(batch)
        return logits
