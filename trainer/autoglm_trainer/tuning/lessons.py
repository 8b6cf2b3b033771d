"""What a network is trained on, of whatever kind: texts as tokens, or pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self


class Lessons(Protocol):
    """Examples with their answers."""

    @property
    def targets(self) -> Sequence[tuple[int, ...]]:
        """The right answers of each, in the task's own numbers."""

    @property
    def lengths(self) -> Sequence[int]:
        """How long each is; those of like length go through the network together."""

    def __len__(self) -> int:
        """How many."""

    def joined(self, more: Self) -> Self:
        """These, then `more` of other rows."""

    def take(self, chosen: Sequence[int]) -> Self:
        """Some of them, in the order of `chosen`."""
