"""Pictures as arrays of bytes at one size, each decoded once a process for each size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np

from autoglm_api.pictures import Bytes, Fit, PictureError, decode, pixels
from autoglm_trainer.errors import DataError
from autoglm_trainer.rows.images import LabelledPicture
from autoglm_trainer.rows.splits import Rows, Splits

# Arrays beyond this are given up again, the oldest first; the newest stays whatever its size.
KEPT_BYTES = 2 * 1024**3

Key = tuple[str, int, str]


@dataclass
class Album:
    """The pictures of each split.

    Attributes:
        channels: 1 = grey, 3 = coloured; all are made so.
    """

    splits: Splits[LabelledPicture]
    channels: int
    _kept: dict[Key, Bytes] = field(default_factory=dict, repr=False)

    def pixels(self, split: str, size: int, fit: str) -> Bytes:
        """All pictures of a split, (rows, channels, size, size), 0 … 255.

        Raises:
            DataError: one cannot be decoded; naming it.
        """
        key = (split, size, fit)
        if key not in self._kept:
            self._kept[key] = _decoded(self.splits.by_name[split], size, self.channels, cast("Fit", fit))
            self._make_room(key)
        return self._kept[key]

    def more_bytes(self, size: int, fit: str) -> int:
        """What the pictures of all splits take at that size, but for those that are kept already."""
        counts = self.splits.counts
        return sum(
            counts[split] * self.channels * size * size for split in counts if (split, size, fit) not in self._kept
        )

    def _make_room(self, newest: Key) -> None:
        for key in [key for key in self._kept if key[1:] != newest[1:]]:
            if sum(kept.nbytes for kept in self._kept.values()) > KEPT_BYTES:
                del self._kept[key]


def _decoded(rows: Rows[LabelledPicture], size: int, channels: int, fit: Fit) -> Bytes:
    found = np.empty((len(rows), channels, size, size), dtype=np.uint8)
    for place, row in enumerate(rows):
        try:
            found[place] = pixels(decode(row.load()), size=size, channels=channels, fit=fit)
        except PictureError as error:
            raise DataError(f"{row.where} {error}") from error
    return found
