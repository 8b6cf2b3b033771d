"""A run's disk, watched: on a full one workers can neither save anything nor write down what has happened to them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

# What a journal, logs and the smallest weights take.
LEAST_BYTES = 2**20


@dataclass
class Disk:
    """The disk that `folder` lies on."""

    folder: Path
    _full: bool = False

    def news(self) -> str | None:
        """A sentence when it has become full, and when it has room again; else None."""
        before, free = self._full, shutil.disk_usage(self.folder).free
        self._full = free < LEAST_BYTES
        if self._full == before:
            return None
        if self._full:
            return (
                f"the disk that holds {self.folder} is full ({free:,} bytes are free): make room, and the run goes on"
            )
        return f"the disk that holds {self.folder} has room again"
