"""Random changes of pictures that leave their label as it is, drawn from torch's generator, which checkpoints keep."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# At strength 1 and at most: degrees, shares of the side, the share by which it grows, the share of light and contrast.
_TURN, _SHIFT, _ZOOM, _LIGHT = 30.0, 0.2, 0.25, 0.5


@dataclass(frozen=True)
class Augmentation:
    """A change drawn anew for each picture.

    Attributes:
        kind: `moves` shifts, turns and zooms; `mirrors` also swaps left and right of half of them; `photo` changes
            light and contrast, too.
        strength: 0 … 1, of everything but the mirror.
    """

    kind: str
    strength: float

    def __call__(self, pictures: Tensor) -> Tensor:
        """(pictures, channels, size, size), 0 … 255, to the same; what comes in from outside repeats the border."""
        count = len(pictures)
        turn = math.radians(_TURN) * self._drawn(count)
        zoom = 1 + _ZOOM * self._drawn(count)
        mirror = torch.ones(count)
        if self.kind in ("mirrors", "photo"):
            mirror = torch.randint(0, 2, (count,)) * 2.0 - 1
        # Rows of the inverse map: where each place of the result is looked up in the picture.
        cos, sin = turn.cos() * zoom, turn.sin() * zoom
        across = torch.stack([cos * mirror, -sin, 2 * _SHIFT * self._drawn(count)], dim=1)
        down = torch.stack([sin * mirror, cos, 2 * _SHIFT * self._drawn(count)], dim=1)
        grid = nn.functional.affine_grid(torch.stack([across, down], dim=1), list(pictures.shape), align_corners=False)
        moved = nn.functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
        return self._lit(moved) if self.kind == "photo" else moved

    def _lit(self, pictures: Tensor) -> Tensor:
        """Contrast around each picture's mean, and brightness."""
        contrast, light = (1 + _LIGHT * self._drawn(len(pictures))[:, None, None, None] for _ in range(2))
        mean = pictures.mean((1, 2, 3), keepdim=True)
        return ((pictures - mean) * contrast + mean * light).clamp(0, 255)

    def _drawn(self, count: int) -> Tensor:
        """(count,), between minus and plus `strength`."""
        return self.strength * (2 * torch.rand(count) - 1)
