"""Pictures as a network sees them, with the right answers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autoglm_api.pictures import Bytes

from .augmentation import Augmentation

# Pictures a forward pass without gradients.
INFERENCE_BATCH = 64


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of one split, or some of them; meets `lessons.Lessons`.

    Attributes:
        key: tells sets of pictures apart, so that what is computed from them can be kept.
        pixels: (pictures, channels, size, size).
        targets: the label's index of each.
        augmentation: how each is changed whenever it is trained on; None = not at all.
    """

    key: tuple[Hashable, ...]
    pixels: Bytes
    targets: tuple[tuple[int, ...], ...]
    augmentation: Augmentation | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def lengths(self) -> list[int]:
        """All are of one size."""
        return [1] * len(self)

    @property
    def sizes(self) -> list[int]:
        """Answers of each picture."""
        return [1] * len(self)

    @property
    def items(self) -> tuple[int, ...]:
        """The row of each picture."""
        return tuple(range(len(self)))

    def joined(self, more: Pictures) -> Pictures:
        """These, then `more`, changed as these are."""
        return Pictures(
            key=("joined", *self.key, *more.key),
            pixels=np.concatenate([self.pixels, more.pixels]),
            targets=(*self.targets, *more.targets),
            augmentation=self.augmentation,
        )

    def of(self, items: Sequence[int]) -> list[int]:
        """The pictures of some rows."""
        return list(items)

    def take(self, chosen: Sequence[int]) -> Pictures:
        """Some of them, in the order of `chosen`."""
        rows = list(chosen)
        return Pictures(
            key=(*self.key, "some", *rows),
            pixels=self.pixels[rows],
            targets=tuple(self.targets[row] for row in rows),
            augmentation=self.augmentation,
        )

    def batch(self) -> Tensor:
        """(pictures, channels, size, size) in float32, 0 … 255; changed by chance where they are trained on."""
        plain = torch.from_numpy(self.pixels).float()
        return plain if self.augmentation is None else self.augmentation(plain)
