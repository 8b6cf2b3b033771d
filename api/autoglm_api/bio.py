"""BIO tags: which words of a sentence belong together. Trainer and server read them by these rules and no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

OUTSIDE = "O"


class Entity(NamedTuple):
    """Words `start` to `end` (exclusive), counted from 0, are one thing of a `type`."""

    type: str
    start: int
    end: int


def repaired(tags: Sequence[str]) -> list[str]:
    """The tags with every `I-` that continues nothing of its type written as the `B-` that it begins."""
    found: list[str] = []
    for tag in tags:
        continues = bool(found) and found[-1][2:] == tag[2:]
        found.append(f"B-{tag[2:]}" if tag.startswith("I-") and not continues else tag)
    return found


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence, in order; an `I-` that continues nothing begins one, as in seqeval."""
    found: list[Entity] = []
    for place, tag in enumerate(repaired(tags)):
        if tag.startswith("B-"):
            found.append(Entity(tag[2:], place, place + 1))
        elif tag != OUTSIDE:
            found[-1] = found[-1]._replace(end=place + 1)
    return found
